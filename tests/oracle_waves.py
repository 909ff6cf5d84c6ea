"""Oracle of how a network's layers are cut into waves, from docs/mnf-cycles.md and nothing else.

The tile, the filter groups of a channel wave and the height of bands are given.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from oracle_mnf import Mapping, OracleLayer, OracleMachine, OracleWave, WeightRow


@dataclass(frozen=True)
class OracleCut:
    """A layer, its machine with the tile, and how it is cut."""

    machine: OracleMachine
    layer: OracleLayer
    groups: int  # filter groups of a PE in a channel wave, at most
    height: int  # output rows of a band, at most


@dataclass(frozen=True)
class OracleBlock:
    """Weights that PEs hold at a time, with the first row, pointer and bias of each PE."""

    groups: tuple[int, int]
    channels: tuple[int, int]
    rows: dict  # PE -> rows, in order
    n_places: dict  # PE -> places of rows, more than rows if they are packed wave by wave
    row_base: Counter
    pointer_base: Counter
    bias_base: Counter
    dram_base: dict  # PE -> row in DRAM
    residency: str  # "network", "layer" or "wave"


def bands(mapping: Mapping, height: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the psum rows and the output rows of each band."""
    needed = defaultdict(set)  # output row -> psum rows
    for (py, _), window in mapping.windows.items():
        needed[py] |= {y for y, _ in window}
    n_outputs, found = mapping.pooled[1], []
    for first in range(0, n_outputs, height):
        outputs = first, min(first + height, n_outputs)
        rows = set().union(*(needed[py] for py in range(*outputs)))
        found.append([min(rows), max(rows) + 1, outputs])
    found[0][0], found[-1][1] = 0, mapping.y.n_out
    for upper, lower in zip(found, found[1:], strict=False):
        upper[1] = max(upper[1], lower[0])
    return [((b0, b1), outputs) for b0, b1, outputs in found]


def channel_waves(cut: OracleCut) -> list[tuple[int, int]]:
    """Return the filter groups of each channel wave."""
    most = max(map(len, Mapping(cut.machine, cut.layer).held.values()))
    return [(first, first + cut.groups) for first in range(0, most, cut.groups)]


def part(cut: OracleCut, groups: tuple[int, int], channels: tuple[int, int]) -> Mapping:
    """Return the mapping of some filter groups and channels; its ofmap is the layer's."""
    mapping = Mapping(cut.machine, cut.layer)
    whole = (0, mapping.y.n_out), (0, mapping.pooled[1])
    return Mapping(cut.machine, cut.layer, OracleWave(0, groups, channels, *whole, True, True))


def rows_of(cut: OracleCut, groups, channels, is_packed: bool = True) -> dict[int, list]:
    """Return the stored rows of each PE; those before packing, if told so."""
    if cut.machine.weights == "ideal" and not is_packed:
        cut = replace(cut, machine=replace(cut.machine, weights="rows"))
    mapping = part(cut, groups, channels)
    return {node: mapping.stored_rows(node) for node in sorted(mapping.held)}


def fits(tables: list[dict[int, list]], weight_rows: int) -> bool:
    """Whether the rows of all tables fit every PE."""
    total = Counter()
    for rows in tables:
        total.update({node: len(some) for node, some in rows.items()})
    return all(n <= weight_rows for n in total.values())


def chunks(cut: OracleCut, groups, weight_rows: int) -> list[tuple[int, int]]:
    """Cut a channel wave's channels into chunks as large as they can be."""
    n_c, found, first = cut.layer.weight.shape[1], [], 0
    while first < n_c:
        ends = range(n_c, first, -1)
        end = next(e for e in ends if fits([rows_of(cut, groups, (first, e), False)], weight_rows))
        found.append((first, end))
        first = end
    return found


def blocks(cuts: list[OracleCut], weight_rows: int) -> list[list[OracleBlock]]:
    """Return the blocks of each layer."""
    whole = [
        [
            rows_of(cut, groups, (0, cut.layer.weight.shape[1]), is_packed=False)
            for groups in channel_waves(cut)
        ]
        for cut in cuts
    ]
    all_fit = fits([rows for tables in whole for rows in tables], weight_rows)
    next_row, next_pointer, next_bias, dram, found = Counter(), Counter(), Counter(), 0, []
    for cut, tables in zip(cuts, whole, strict=True):
        residency = "network" if all_fit else "layer" if fits(tables, weight_rows) else "wave"
        if residency == "layer":
            next_row = Counter()
        of_layer = []
        for groups in channel_waves(cut):
            every = [(0, cut.layer.weight.shape[1])]
            some = chunks(cut, groups, weight_rows) if residency == "wave" else every
            for channels in some:
                if residency == "wave":
                    next_row = Counter()
                rows, dram_base = rows_of(cut, groups, channels), {}
                places = rows_of(cut, groups, channels, is_packed=residency != "wave")
                n_places = {node: len(some) for node, some in places.items()}
                for node in rows:
                    dram_base[node] = dram
                    dram += n_places[node]
                bases = Counter(next_row), Counter(next_pointer), Counter(next_bias)
                of_layer.append(
                    OracleBlock(groups, channels, rows, n_places, *bases, dram_base, residency)
                )
                next_row.update({node: len(some) for node, some in rows.items()})
            mapping, n_c = part(cut, groups, every[0]), cut.layer.weight.shape[1]
            for node, held in mapping.held.items():
                n_pointers = len(mapping.groups_of(node)) * n_c * math.prod(cut.layer.strides)
                next_pointer[node] += n_pointers
                next_bias[node] += len(held) * mapping.n_filters
        found.append(of_layer)
    return found


def weight_rows_of(block: OracleBlock) -> list[WeightRow]:
    """Return all rows of a block."""
    return [
        WeightRow(node, row.channel, block.row_base[node] + i, block.dram_base[node] + i)
        for node, rows in block.rows.items()
        for i, row in enumerate(rows)
    ]


def waves(cut: OracleCut, of_layer: list[OracleBlock]) -> list[OracleWave]:
    """Return the waves of a layer, in order."""
    mapping, found, before = Mapping(cut.machine, cut.layer), [], None
    for groups in channel_waves(cut):
        some = [number for number, block in enumerate(of_layer) if block.groups == groups]
        for rows, outputs in bands(mapping, cut.height):
            for number in some:
                block = of_layer[number]
                arriving = []
                if block.residency == "layer" and not found:
                    for each in of_layer:
                        arriving += weight_rows_of(each)
                elif block.residency == "wave" and number != before:
                    arriving = weight_rows_of(block)
                arriving.sort(key=lambda row: (row.node, row.address))
                before = number
                found.append(
                    OracleWave(
                        len(found),
                        groups,
                        block.channels,
                        rows,
                        outputs,
                        number == some[0],
                        number == some[-1],
                        block.row_base,
                        block.pointer_base,
                        block.bias_base,
                        tuple(arriving),
                    )  # fmt: skip
                )
    return found
