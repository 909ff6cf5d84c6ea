"""The candidate set of a layer, listed naively from docs/flexnn-schedule.md.

Every order of loops is listed, not only the few that the search goes through.
"""

from __future__ import annotations

import itertools
import math

from firemesh.emulator.flexnn.dataflows import DATAFLOWS
from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import NAMES
from firemesh.emulator.flexnn.rules import banks_needed, broken

PARTITIONED = ("N", "G", "OY", "OX", "OC", "IC", "FY")
TILED = ("N", "G", "OY", "OX", "OC", "IC")
REDUCTION = ("IC", "FY", "FX")


def over(a, b):
    return -(-a // b)


def values(n, is_all):
    """Return the least v of each value of ceil(n / v)."""
    found = [v for v in range(1, n + 1) if v == 1 or over(n, v) < over(n, v - 1)]
    return [v for v in found if is_all or n % v == 0 or v in (1, 2, 4, 8, 16, 32, 64, 128)]


def axis_partitions(quotients, most, is_all):
    found = [{}]
    for n in (1, 2):
        for dims in itertools.combinations(quotients, n):
            options = [[v for v in values(quotients[d], is_all) if v > 1] for d in dims]
            fit = [p for p in itertools.product(*options) if math.prod(p) <= most]
            for p in fit:
                larger = [
                    q for q in fit if q != p and all(x >= y for x, y in zip(q, p, strict=True))
                ]
                if is_all or not larger:
                    found.append(dict(zip(dims, p, strict=True)))
    return found


def partitions(sizes, units, array, is_all):
    whole = {d: over(sizes[d], units[d]) for d in PARTITIONED}
    for columns in axis_partitions(whole, array.columns, is_all):
        left = {d: over(n, columns.get(d, 1)) for d, n in whole.items()}
        if set(columns) & set(REDUCTION):
            left = {d: n for d, n in left.items() if d not in REDUCTION}
        for rows in axis_partitions(left, array.rows, is_all):
            yield rows, columns


def blocks(sizes, units, parts, is_all):
    options = {}
    for d in NAMES:
        quotient = over(sizes[d], units[d] * parts[d])
        chosen = [1, quotient] if d in ("FY", "FX") else values(quotient, is_all)
        options[d] = [units[d] * v for v in sorted(set(chosen))]
    for chosen in itertools.product(*options.values()):
        yield dict(zip(NAMES, chosen, strict=True))


def tiles(sizes, steps, is_all):
    options = [
        [min(v * steps[d], sizes[d]) for v in values(over(sizes[d], steps[d]), is_all)]
        for d in TILED
    ]
    for chosen in itertools.product(*options):
        yield dict(zip(TILED, chosen, strict=True))


def orders(counts):
    """Return all orders of the dimensions with more than one."""
    return itertools.permutations([d for d in NAMES if counts[d] > 1])


def raw(layer, machine, is_all):
    """Yield all but orders and banks, as fields of a descriptor."""
    sizes, array = dict(zip(NAMES, layer.sizes, strict=True)), machine.array
    for mode in array.lane_modes:
        units = {d: 1 for d in NAMES} | {"IC" if mode == "vxv" else "OC": array.lanes}
        for rows, columns in partitions(sizes, units, array, is_all):
            parts = {d: rows.get(d, 1) * columns.get(d, 1) for d in NAMES}
            for block in blocks(sizes, units, parts, is_all):
                steps = {d: block[d] * parts[d] for d in NAMES}
                for tile in tiles(sizes, steps, is_all):
                    for sparsity in machine.sparsity.modes:
                        yield {
                            "block": block, "rows": rows, "columns": columns, "tile": tile,
                            "lanes": mode, "sparsity": sparsity,
                        }  # fmt: skip


def completed(fields, layer, machine):
    """Yield the legal candidates with these fields: every order, every reduction."""
    spare = fields | {"banks": {"if": 1, "fl": 1, "of": 1}}
    cut = Cut(Descriptor.model_validate(spare), layer)
    needed = dict(zip(("if", "fl", "of"), banks_needed(cut, machine), strict=True))
    if sum(needed.values()) > machine.rf.banks:
        return
    inner = dict(zip(NAMES, cut.blocks(), strict=True))
    n_tiles = dict(zip(NAMES, cut.tiles, strict=True))
    for order, tile_order, reduction in itertools.product(
        orders(inner), orders(n_tiles), ("tree", "chain")
    ):
        found = Descriptor.model_validate(
            fields
            | {"banks": needed, "order": order, "tile_order": tile_order, "reduction": reduction}
        )
        if next(broken(Cut(found, layer), machine), None) is None:
            yield found


def candidates(layer, machine, is_all=False):
    """Yield all legal candidates of a layer."""
    for fields in raw(layer, machine, is_all):
        yield from completed(fields, layer, machine)


def flows_of(descriptor, layer, machine):
    """Return the fixed dataflows that a descriptor keeps."""
    cut = Cut(descriptor, layer)
    return {name for name, rule in DATAFLOWS.items() if rule(cut, machine.array.lanes) is None}
