"""The search through all candidates of a lane mode: kernels, branch and bound.

Partitions are given; the kernel nests blocks under partitions, sparsities under blocks, tiles under
sparsities and orders under tiles. It leaves out what is not legal, and what is bounded below by
more than the worst candidate that is kept: nothing else.
"""

from enum import IntEnum
from typing import Any, NamedTuple

from ...noc.kernel import kernel, outer_kernel
from ..arrays import I64x1, I64x2, I64x3
from .dims import Dim
from .problem import F64x1, F64x2, F64x3, F64x4, Fact, Kind, Problem, Trial

N_DIMS = len(Dim)
N_ORDERS = 3
LESS = 1 - 1e-9
"""Keeps what floating point adds from making a bound too large."""


class Values(IntEnum):
    """Which values of a size are taken."""

    DEFAULT = 0
    """Where ``ceil(size / v)`` changes, if a power of two or a divisor."""
    ALL = 1
    """Where it changes."""
    ENDS = 2
    """1 and the size."""


ENDS = Values.ENDS.value


class Objective(IntEnum):
    """What is to be small."""

    CYCLES = 0
    ENERGY = 1
    EDP = 2


class Flow(IntEnum):
    """Dataflows."""

    FLEXIBLE = 0
    WEIGHT = 1
    INPUT = 2
    OUTPUT = 3
    NONE = 4
    ROW = 5


class Count(IntEnum):
    """Entries of `Branches.counts`."""

    PARTITIONS = 0
    BRANCHES = 1
    """Sets of blocks with larger ones that do not fit the register file either."""
    BLOCKS = 2
    """Blocks of all dimensions, with partitions and a sparsity."""
    BLOCKS_OVER_BANKS = 3
    BLOCKS_OVER_SRAM = 4
    """Those of which the smallest tile is too large."""
    BLOCKS_BOUNDED = 5
    BLOCKS_OPENED = 6
    SCHEDULES = 7
    """The same with tiles and orders."""
    SCHEDULES_BOUNDED = 8
    SCHEDULES_OVER_SRAM = 9
    SCHEDULES_PRICED = 10


class Row(IntEnum):
    """Columns of `Branches.kept`; of arrays the first of eight."""

    MODE = 0
    SPARSITY = 1
    CHAIN = 2
    ORDER = 3
    TILE_ORDER = 4
    BLOCK = 5
    ROWS = 13
    COLUMNS = 21
    TILE = 29
    END = 37


class Branches(NamedTuple):
    """What a search goes through, works on and leaves behind."""

    partitions: I64x3
    """[partitions, 2, 8]: over rows and columns."""
    chains: I64x1
    """[partitions]: whether the reduction is a chain."""
    sparsities: I64x1
    nested: I64x1
    """[8]: dimensions in the order in which their blocks are chosen."""
    tiled: I64x1
    """Dimensions that may be tiled."""
    n_values: I64x1
    """[8]"""
    value: I64x2
    """[8, values]: blocks."""
    at: I64x1
    """[8]: of the blocks that are chosen."""
    cut: F64x3
    """[8, values, 4]: n_blocks, first, column, vpes of `Trial`."""
    span: F64x4
    """[2, values, 2, 3]: ``spans`` of `Trial`, by output and kernel block."""
    n_tile_values: I64x1
    tile_value: I64x2
    """[tiled, values]"""
    tile_at: I64x1
    weights: F64x1
    """[2]: of cycles and energy in the objectives that are sums."""
    flows: I64x1
    """Dataflows whose best are kept; more than one only where their blocks are the same."""
    n_kept: I64x1
    """[flows]: how many are kept."""
    cost: F64x2
    """[flows, keep]: ascending."""
    kept: I64x3
    """[flows, keep, 37]: columns are those of `Row`."""
    counts: I64x1
    """[11]: entries are those of `Count`."""
    values: int
    objective: int


@kernel
def copy(source: I64x1, target: I64x1) -> None:
    """Copy an array, which numpy would not do without allocating."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def list_values(size: int, kind: int, out: I64x1) -> int:
    """Put the `Values` of a size into ``out``, ascending, and return how many there are."""
    if kind == Values.ENDS:
        out[0] = 1
        out[1] = size
        return 1 if size == 1 else 2
    n, value = 0, 1
    while True:
        if kind == Values.ALL or size % value == 0 or value & (value - 1) == 0:
            out[n] = value
            n += 1
        quotient = (size + value - 1) // value
        if quotient == 1:
            return n
        value = (size + quotient - 2) // (quotient - 1)


@kernel
def ifmap_box(problem: Problem, lengths: I64x1, is_clipped: bool) -> int:
    """Return the most elements of an IF box of ranges of some lengths, perhaps without padding."""
    strides, dilations = problem.geometry[:2], problem.geometry[2:4]
    box = lengths[Dim.IC] * lengths[Dim.G] * lengths[Dim.N]
    for axis in range(2):
        outputs, taps = lengths[Dim.OY + axis], lengths[Dim.FY + axis]
        side = (outputs - 1) * strides[axis] + (taps - 1) * dilations[axis] + 1
        box *= min(side, problem.geometry[6 + axis]) if is_clipped else side
    return int(box)


@kernel
def filters(lengths: I64x1) -> int:
    """Return the elements of an FL box."""
    taps = lengths[Dim.FY] * lengths[Dim.FX]
    return int(lengths[Dim.G] * lengths[Dim.OC] * lengths[Dim.IC] * taps)


@kernel
def points(lengths: I64x1) -> int:
    """Return the elements of an OF box."""
    plane = lengths[Dim.OY] * lengths[Dim.OX]
    return int(lengths[Dim.N] * lengths[Dim.G] * lengths[Dim.OC] * plane)


@kernel
def with_bitmap(size: int, is_skippable: bool) -> int:
    """Return the bytes of a block in the worst case."""
    return size + (size + 7) // 8 if is_skippable else size


@kernel
def has_kind(problem: Problem, counts: I64x1, kind: int) -> bool:
    """Return whether a dimension of a kind has more than one."""
    for dim in range(N_DIMS):
        if problem.kinds[dim] == kind and counts[dim] > 1:
            return True
    return False


@kernel
def banks(problem: Problem, trial: Trial, sparsity: int, is_once: bool) -> int:
    """Return the sub-banks that a VPE needs; with ``is_once`` as if it held no tensor twice."""
    n, unit = trial.n_blocks, problem.bank_bytes
    changes = not is_once and n[Dim.G] > 1
    by_point = not is_once and has_kind(problem, n, Kind.POINT)
    by_filter = not is_once and n[Dim.OC] > 1
    by_reduced = not is_once and has_kind(problem, n, Kind.REDUCED)
    size = with_bitmap(ifmap_box(problem, trial.block, False), sparsity & 1 > 0)
    size *= 2 if changes or by_point or by_reduced else 1
    total = (size + unit - 1) // unit
    size = with_bitmap(filters(trial.block), sparsity & 2 > 0)
    size *= 2 if changes or by_filter or by_reduced else 1
    total += (size + unit - 1) // unit
    size = 4 * points(trial.block) * (2 if changes or by_point or by_filter else 1)
    return total + (size + unit - 1) // unit


@kernel
def spills(problem: Problem, trial: Trial, order: int) -> bool:
    """Return whether psums leave the VPEs before they are complete, in an order of blocks."""
    has_blocks = trial.inner[Dim.G] > 1
    for kind in range(Kind.REDUCED):
        has_blocks = has_blocks or has_kind(problem, trial.inner, kind)
    if not has_blocks:
        return False
    if has_kind(problem, trial.n_tiles, Kind.REDUCED):
        return True
    return order != Kind.REDUCED and has_kind(problem, trial.inner, Kind.REDUCED)


@kernel
def fits_sram(problem: Problem, trial: Trial, order: int) -> bool:
    """Return whether the tiles fit."""
    sparsity, n = trial.choice[1], 1
    total = with_bitmap(ifmap_box(problem, trial.tile, True), sparsity & 1 > 0)
    total += with_bitmap(filters(trial.tile), sparsity & 2 > 0)
    total += points(trial.tile) * (4 if spills(problem, trial, order) else 1)
    for dim in range(N_DIMS):
        n *= trial.n_tiles[dim]
    return total * (2 if n > 1 else 1) <= problem.sram_bytes


@kernel
def is_over_sram(problem: Problem, branches: Branches, trial: Trial, sparsity: int) -> bool:
    """Return whether not even tiles of one block fit, each held once and without psums."""
    copy(problem.sizes, trial.tile)
    for dim in branches.tiled:
        step = trial.block[dim] * trial.rows[dim] * trial.columns[dim]
        trial.tile[dim] = min(step, problem.sizes[dim])
    total = with_bitmap(ifmap_box(problem, trial.tile, True), sparsity & 1 > 0)
    total += with_bitmap(filters(trial.tile), sparsity & 2 > 0)
    return total + points(trial.tile) > problem.sram_bytes


@kernel
def is_own(problem: Problem, trial: Trial, order: int) -> bool:
    """Return whether an order differs from those before it."""
    if has_kind(problem, trial.inner, order):
        return True
    # another order has the same innermost loops, unless there are none but groups
    for kind in range(N_ORDERS):
        if has_kind(problem, trial.inner, kind):
            return False
    return order == 0


@kernel
def suits(problem: Problem, trial: Trial, order: int, flow: int) -> bool:
    """Return whether an order keeps a dataflow."""
    if Flow.WEIGHT <= flow <= Flow.OUTPUT:
        wanted = flow - Flow.WEIGHT
        return order == wanted or not has_kind(problem, trial.inner, wanted)
    return flow != Flow.ROW or order == Kind.POINT or trial.inner[Dim.OX] == 1


@kernel
def cost(branches: Branches, cycles: float, energy: float) -> float:
    """Return the objective."""
    if branches.objective == Objective.EDP:
        return cycles * energy
    return float(branches.weights[0] * cycles + branches.weights[1] * energy)


@kernel
def is_row(trial: Trial, row: I64x1, order: int, tile_order: int) -> bool:
    """Return whether a candidate is in a row of `Branches.kept`."""
    for i in range(N_DIMS):
        if row[Row.BLOCK + i] != trial.block[i] or row[Row.TILE + i] != trial.tile[i]:
            return False
        if row[Row.ROWS + i] != trial.rows[i] or row[Row.COLUMNS + i] != trial.columns[i]:
            return False
    for i in range(trial.choice.size):
        if row[Row.MODE + i] != trial.choice[i]:
            return False
    return bool(row[Row.ORDER] == order and row[Row.TILE_ORDER] == tile_order)


@kernel
def keep(branches: Branches, trial: Trial, i: int, value: float, order: int, tiles: int) -> None:
    """Insert a candidate into the list of a dataflow, unless it is there or is too bad."""
    costs, rows, last = branches.cost[i], branches.kept[i], branches.n_kept[i] - 1
    if value >= costs[last]:
        return
    at = last
    while at > 0 and costs[at - 1] > value:
        at -= 1
    for place in range(at - 1, -1, -1):
        if costs[place] == value and is_row(trial, rows[place], order, tiles):
            return
    for place in range(last, at, -1):
        costs[place] = costs[place - 1]
        copy(rows[place - 1], rows[place])
    costs[at] = value
    row = rows[at]
    copy(trial.choice, row[Row.MODE : Row.ORDER])
    row[Row.ORDER], row[Row.TILE_ORDER] = order, tiles
    copy(trial.block, row[Row.BLOCK : Row.ROWS])
    copy(trial.rows, row[Row.ROWS : Row.COLUMNS])
    copy(trial.columns, row[Row.COLUMNS : Row.TILE])
    copy(trial.tile, row[Row.TILE : Row.END])


@kernel
def is_hopeless(branches: Branches, least: float) -> bool:
    """Return whether no dataflow keeps a candidate of a cost, or a larger one."""
    for i in range(branches.flows.size):
        if least < branches.cost[i, branches.n_kept[i] - 1]:
            return False
    return True


@kernel
def least(problem: Problem, branches: Branches, trial: Trial) -> float:
    """Return what no order of the tiles that are set is below; `pricing.price_blocks` tells why."""
    facts, sparsity = trial.facts, trial.choice[1]
    n = n_if = n_fl = n_of = 1.0
    for dim in range(N_DIMS):
        n_tiles, kind = trial.n_tiles[dim], problem.kinds[dim]
        n *= n_tiles
        n_if *= 1 if kind == Kind.FILTER else n_tiles
        n_fl *= 1 if kind == Kind.POINT else n_tiles
        n_of *= 1 if kind == Kind.REDUCED else n_tiles
    dram, moved = problem.least_dram[sparsity], problem.least_moved[sparsity]
    bare = (dram[0] / n_if + dram[1] / n_fl + dram[2] / n_of) / problem.dram_bytes
    rounds = facts[Fact.LEAST_ROUNDS]
    behind = moved / problem.dram_bytes + (n - 1) * facts[Fact.LEAST_LOAD] + rounds / n
    cycles = max(rounds + bare, behind) + facts[Fact.FIRST_LOAD] + facts[Fact.LAST_DRAIN]
    return cost(branches, cycles * LESS, facts[Fact.LEAST_ENERGY])


@kernel
def try_orders(problem: Problem, branches: Branches, trial: Trial, price: Any) -> None:
    """Price the tiles that are set in all orders."""
    facts, counts = trial.facts, branches.counts
    is_bounded = is_hopeless(branches, least(problem, branches, trial))
    # of tiles the order does not matter where the innermost ones are the same in all
    n_orders = 1
    if not has_kind(problem, trial.n_tiles, Kind.REDUCED):
        by_point = has_kind(problem, trial.n_tiles, Kind.POINT)
        n_orders = 2 if by_point and trial.n_tiles[Dim.OC] > 1 else 1
    for order in range(N_ORDERS):
        if not is_own(problem, trial, order):
            continue
        is_wanted = False
        for flow in branches.flows:
            is_wanted = is_wanted or suits(problem, trial, order, flow)
        if not is_wanted:
            continue
        counts[Count.SCHEDULES] += n_orders
        if is_bounded:
            counts[Count.SCHEDULES_BOUNDED] += n_orders
            continue
        if not fits_sram(problem, trial, order):
            counts[Count.SCHEDULES_OVER_SRAM] += n_orders
            continue
        counts[Count.SCHEDULES_PRICED] += n_orders
        copy(problem.orders[order], trial.order)
        for tile_order in range(n_orders):
            copy(problem.tile_orders[tile_order], trial.tile_order)
            price(problem, trial)
            found = cost(branches, facts[Fact.CYCLES], facts[Fact.ENERGY])
            for i in range(branches.flows.size):
                if suits(problem, trial, order, branches.flows[i]):
                    keep(branches, trial, i, found, order, tile_order)


@kernel
def try_tiles(problem: Problem, branches: Branches, trial: Trial, price: Any) -> None:
    """Go through the tiles of blocks, the largest first."""
    tiled, at = branches.tiled, branches.tile_at
    copy(problem.sizes, trial.tile)
    for i in range(tiled.size):
        n, row = trial.n_blocks[tiled[i]], branches.tile_value[i]
        branches.n_tile_values[i] = list_values(n, branches.values, row)
        at[i] = branches.n_tile_values[i] - 1
    trial.n_tiles[:] = 1
    copy(trial.n_blocks, trial.inner)
    i = 0
    while i < tiled.size:
        try_orders(problem, branches, trial, price)
        for i in range(tiled.size + 1):
            if i == tiled.size:
                break
            dim = tiled[i]
            at[i] = at[i] - 1 if at[i] > 0 else branches.n_tile_values[i] - 1
            n, inner = trial.n_blocks[dim], branches.tile_value[i, at[i]]
            step = trial.block[dim] * trial.rows[dim] * trial.columns[dim]
            trial.inner[dim] = inner
            trial.n_tiles[dim] = (n + inner - 1) // inner
            trial.tile[dim] = min(inner * step, problem.sizes[dim])
            if inner < n:
                break


@kernel
def try_blocks(
    problem: Problem,
    branches: Branches,
    trial: Trial,
    price_windows: Any,
    price_blocks: Any,
    price: Any,
) -> None:
    """Bound blocks in each sparsity; go through the tiles of those that may be good."""
    facts, counts = trial.facts, branches.counts
    for i in range(branches.sparsities.size):
        sparsity = branches.sparsities[i]
        counts[Count.BLOCKS] += 1
        if banks(problem, trial, sparsity, False) > problem.banks:
            counts[Count.BLOCKS_OVER_BANKS] += 1
            continue
        if is_over_sram(problem, branches, trial, sparsity):
            counts[Count.BLOCKS_OVER_SRAM] += 1
            continue
        trial.choice[1] = sparsity
        price_windows(problem, trial)
        below = cost(branches, facts[Fact.LEAST_CYCLES], facts[Fact.LEAST_ENERGY])
        if not is_hopeless(branches, below):
            price_blocks(problem, trial)
            below = cost(branches, facts[Fact.LEAST_CYCLES], facts[Fact.LEAST_ENERGY])
        if is_hopeless(branches, below):
            counts[Count.BLOCKS_BOUNDED] += 1
            continue
        counts[Count.BLOCKS_OPENED] += 1
        try_tiles(problem, branches, trial, price)


@kernel
def list_blocks(problem: Problem, branches: Branches, trial: Trial, dim: int) -> None:
    """List the blocks of a dimension for the partitions that are set."""
    unit, flow, row = trial.units[dim], branches.flows[0], branches.value[dim]
    step = unit * trial.rows[dim] * trial.columns[dim]
    kind = ENDS if dim >= Dim.FY else branches.values
    n = list_values((problem.sizes[dim] + step - 1) // step, kind, row)
    if flow == Flow.ROW and dim == Dim.FX:
        row[0] = row[n - 1]
    if flow == Flow.NONE or (flow == Flow.ROW and (dim == Dim.OY or dim >= Dim.FY)):
        n = 1
    for i in range(n):
        row[i] *= unit
    branches.n_values[dim] = n


@kernel
def set_block(branches: Branches, trial: Trial, dim: int, i: int) -> None:
    """Choose a block of a dimension."""
    branches.at[dim] = i
    trial.block[dim] = branches.value[dim, i]
    trial.n_blocks[dim] = int(branches.cut[dim, i, 0])
    trial.first[dim] = branches.cut[dim, i, 1]
    trial.column[dim] = branches.cut[dim, i, 2]
    trial.vpes[dim] = branches.cut[dim, i, 3]


@kernel
def try_partition(
    problem: Problem,
    branches: Branches,
    trial: Trial,
    price_windows: Any,
    price_blocks: Any,
    price: Any,
) -> None:
    """Go through the blocks of the partition that is set, depth first."""
    at, nested, depth = branches.at, branches.nested, 0
    for dim in range(N_DIMS):
        set_block(branches, trial, dim, 0)
    at[nested[0]] = -1
    while depth >= 0:
        dim = nested[depth]
        at[dim] += 1
        if at[dim] < branches.n_values[dim]:
            set_block(branches, trial, dim, at[dim])
            if banks(problem, trial, 0, True) <= problem.banks:
                if depth < N_DIMS - 1:
                    depth += 1
                    at[nested[depth]] = -1
                    continue
                for axis in range(2):
                    out, inside = at[Dim.OY + axis], at[Dim.FY + axis]
                    copy(branches.span[axis, out, inside], trial.spans[axis])
                try_blocks(problem, branches, trial, price_windows, price_blocks, price)
                continue
            branches.counts[Count.BRANCHES] += 1
        set_block(branches, trial, dim, 0)
        depth -= 1


@outer_kernel
def search(
    problem: Problem,
    branches: Branches,
    trial: Trial,
    begin: int,
    end: int,
    cut_block: Any,
    cut_axis: Any,
    price_windows: Any,
    price_blocks: Any,
    price: Any,
) -> None:
    """Go through the partitions ``begin`` to ``end``; kernels of `pricing` are given."""
    for number in range(begin, end):
        copy(branches.partitions[number, 0], trial.rows)
        copy(branches.partitions[number, 1], trial.columns)
        trial.choice[2] = branches.chains[number]
        branches.counts[Count.PARTITIONS] += 1
        for dim in range(N_DIMS):
            list_blocks(problem, branches, trial, dim)
            for i in range(branches.n_values[dim]):
                trial.block[dim] = branches.value[dim, i]
                cut_block(problem, trial, dim)
                branches.cut[dim, i, 0] = trial.n_blocks[dim]
                branches.cut[dim, i, 1] = trial.first[dim]
                branches.cut[dim, i, 2] = trial.column[dim]
                branches.cut[dim, i, 3] = trial.vpes[dim]
        for axis in range(2):
            out, inside = Dim.OY + axis, Dim.FY + axis
            for i in range(branches.n_values[out]):
                for j in range(branches.n_values[inside]):
                    trial.block[out] = branches.value[out, i]
                    trial.block[inside] = branches.value[inside, j]
                    cut_axis(problem, trial, axis)
                    copy(trial.spans[axis], branches.span[axis, i, j])
        try_partition(problem, branches, trial, price_windows, price_blocks, price)
