"""The rules that a legal descriptor keeps, each with its sentence; `docs/flexnn-cycles.md`."""

from collections.abc import Iterator

from ..description import MachineError
from .dataflows import DATAFLOWS
from .descriptor import Cut, Descriptor, product
from .dims import FL_DIMS, IF_DIMS, OF_DIMS, REDUCTION, Dim, LayerDims, Sizes
from .machine import FlexMachine


def rounded_up(value: int, unit: int) -> int:
    """Return the least multiple of ``unit`` that is not below ``value``."""
    return -(-value // unit) * unit


def compressed(size: int, is_skippable: bool) -> int:
    """Return the bytes of a block in the worst case: with a bit per value where it has a bitmap."""
    return size + -(-size // 8) if is_skippable else size


def skippable(descriptor: Descriptor) -> tuple[bool, bool]:
    """Return whether activations, and weights, may be skipped."""
    mode = descriptor.sparsity
    return mode in ("activation", "both"), mode in ("weight", "both")


def check(descriptor: Descriptor, layer: LayerDims, machine: FlexMachine, where: str) -> Cut:
    """Return a legal descriptor in numbers.

    Parameters
    ----------
    descriptor : Descriptor
    layer : LayerDims
    machine : FlexMachine
    where : str
        File and layer, for messages.

    Raises
    ------
    MachineError
        With the first rule that it breaks, and its numbers.
    """
    cut = Cut(descriptor, layer)
    for problem in broken(cut, machine):
        raise MachineError(f"{where}: {problem}")
    return cut


def broken(cut: Cut, machine: FlexMachine) -> Iterator[str]:
    """Yield a sentence for each rule that a descriptor breaks, in the order of the page."""
    yield from _sizes(cut, machine.array.lanes)
    yield from _partitions(cut, machine)
    yield from _lanes(cut, machine.array.lanes)
    yield from _register_file(cut, machine)
    yield from _sram(cut, machine)
    yield from _tiles(cut)
    yield from _machine(cut, machine)


def _sizes(cut: Cut, lanes: int) -> Iterator[str]:
    lane = Dim.IC if cut.descriptor.lanes == "vxv" else Dim.OC
    for dim in Dim:
        size, block, step = cut.layer.sizes[dim], cut.block[dim], cut.steps[dim]
        most = rounded_up(size, lanes) if dim == lane else size
        if block > most:
            yield f"block.{dim.name}: must be at most {most}, got {block}"
        tile = cut.tile[dim]
        if tile > size:
            yield f"tile.{dim.name}: must be at most {size}, got {tile}"
        if tile < size and tile % step:
            yield (
                f"tile.{dim.name}: must be {size} or a multiple of block times partitions "
                f"({step}), got {tile}"
            )


def _partitions(cut: Cut, machine: FlexMachine) -> Iterator[str]:
    array = machine.array
    for axis, parts, most in (
        ("rows", cut.row_parts, array.rows),
        ("columns", cut.column_parts, array.columns),
    ):
        used = product(parts, tuple(Dim))
        if used > most:
            yield f"{axis}: partitions must multiply to at most {most}, got {used}"
    over_rows, over_columns = (
        product(parts, REDUCTION) > 1 for parts in (cut.row_parts, cut.column_parts)
    )
    if over_rows and over_columns:
        yield "rows, columns: partitions of IC, FY and FX must lie on one axis, got both"
    n = cut.n_reduced
    if cut.descriptor.reduction == "tree" and n & (n - 1):
        yield (
            f"reduction: tree needs partitions of IC, FY and FX that multiply to a power of two, "
            f"got {n}; use chain"
        )


def _lanes(cut: Cut, lanes: int) -> Iterator[str]:
    mode = cut.descriptor.lanes
    dim = Dim.IC if mode == "vxv" else Dim.OC
    if cut.block[dim] % lanes:
        yield f"block.{dim.name}: must be a multiple of the {lanes} lanes, got {cut.block[dim]}"
    if mode == "mxm" and cut.layer.is_depthwise:
        yield "lanes: must be vxv in a depth-wise layer, got mxm"


def bank_bytes(cut: Cut) -> tuple[int, int, int]:
    """Return the bytes of a VPE's register file that IF, FL and OF need."""
    skips_if, skips_fl = skippable(cut.descriptor)
    block = cut.block
    needs = (
        (compressed(cut.ifmap_box(block), skips_if), IF_DIMS),
        (compressed(product(block, FL_DIMS), skips_fl), FL_DIMS),
        (4 * product(block, OF_DIMS), OF_DIMS),
    )
    found = [size * (2 if cut.holds_twice(dims) else 1) for size, dims in needs]
    return found[0], found[1], found[2]


def banks_needed(cut: Cut, machine: FlexMachine) -> tuple[int, int, int]:
    """Return the sub-banks that IF, FL and OF need."""
    found = [-(-size // machine.rf.bank_bytes) for size in bank_bytes(cut)]
    return found[0], found[1], found[2]


def _register_file(cut: Cut, machine: FlexMachine) -> Iterator[str]:
    banks, rf = cut.descriptor.banks, machine.rf
    given = (banks.ifmap, banks.weights, banks.ofmap)
    needed, size = banks_needed(cut, machine), bank_bytes(cut)
    for name, n, wanted, held in zip(("if", "fl", "of"), given, needed, size, strict=True):
        if n < wanted:
            yield (
                f"banks.{name}: must be at least {wanted} sub-banks of {rf.bank_bytes} bytes for "
                f"{held} bytes, got {n}"
            )
    if banks.total > rf.banks:
        yield f"banks: must add up to at most {rf.banks}, got {banks.total}"


def sram_bytes(cut: Cut) -> int:
    """Return the bytes of SRAM that a layer's tiles need."""
    skips_if, skips_fl = skippable(cut.descriptor)
    tile: Sizes = cut.tile
    total = compressed(cut.ifmap_box(tile, is_clipped=True), skips_if)
    total += compressed(product(tile, FL_DIMS), skips_fl)
    total += product(tile, OF_DIMS) * (4 if cut.spills else 1)
    return total * (2 if product(cut.tiles, tuple(Dim)) > 1 else 1)


def _sram(cut: Cut, machine: FlexMachine) -> Iterator[str]:
    size = sram_bytes(cut)
    if size > machine.sram.bytes:
        yield f"tile: needs {size} bytes of SRAM, {machine.name} has {machine.sram.bytes}"


def _tiles(cut: Cut) -> Iterator[str]:
    tiled = [dim for dim in cut.tile_order if cut.tiles[dim] > 1]
    for place, dim in enumerate(tiled):
        behind = [other for other in tiled[place + 1 :] if other in OF_DIMS]
        if dim in REDUCTION and behind:
            yield (
                f"tile_order: tiles of {dim.name} must lie inside those of {behind[0].name}, so "
                "that psums stay out of DRAM"
            )


def _machine(cut: Cut, machine: FlexMachine) -> Iterator[str]:
    descriptor, array = cut.descriptor, machine.array
    for field, given, known in (
        ("lanes", descriptor.lanes, array.lane_modes),
        ("reduction", descriptor.reduction, array.reductions if cut.n_reduced > 1 else ()),
        ("sparsity", descriptor.sparsity, machine.sparsity.modes),
    ):
        if known and given not in known:
            yield f"{field}: {machine.name} has {', '.join(known)}, got {given}"
    if array.dataflow != "flexible":
        problem = DATAFLOWS[array.dataflow](cut, array.lanes)
        if problem:
            yield f"{machine.name} has the dataflow {array.dataflow}: {problem}"
