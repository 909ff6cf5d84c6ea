"""Tiles, rounds and ranges of a layer: oracle of docs/flexnn-cycles.md 2 and 3."""

from __future__ import annotations

import itertools
import math

from oracle_flexnn_time import Round

DIMS = ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX")
REDUCTION = ("IC", "FY", "FX")
TENSORS = {
    "IF": ("N", "G", "OY", "OX", "IC", "FY", "FX"),
    "FL": ("G", "OC", "IC", "FY", "FX"),
    "OF": ("N", "G", "OY", "OX", "OC"),
}


def over(a: int, b: int) -> int:
    """Return a/b, rounded up."""
    return -(-a // b)


def sizes_of(ranges: dict) -> dict:
    return {d: max(0, high - low) for d, (low, high) in ranges.items()}


def has_work(ranges: dict) -> bool:
    return all(sizes_of(ranges).values())


def differ(tensor: str, ranges: dict, others: dict) -> bool:
    return any(ranges[d] != others[d] for d in TENSORS[tensor])


def points(ranges: dict) -> int:
    """Return the number of points of the OF ranges."""
    return math.prod(sizes_of(ranges)[d] for d in TENSORS["OF"])


def walk(order: list[str], counts: dict):
    """Yield dimension -> index, in nested loops of which `order` names the outermost first."""
    order = [*order, *(d for d in DIMS if d not in order)]
    for indices in itertools.product(*(range(counts[d]) for d in order)):
        yield dict(zip(order, indices, strict=True))


def digits(index: int, parts: dict) -> dict | None:
    """Return the mixed-radix digits of an index, or None if it is not below their product."""
    found = {}
    for d in reversed(DIMS):
        index, found[d] = divmod(index, parts[d])
    return None if index else found


class Mapping:
    """Tiles, rounds and ranges: sections 2 and 3."""

    def __init__(self, sizes: dict, descriptor: dict, columns: int):
        self.sizes, self.columns = sizes, columns
        self.block = descriptor["block"]
        self.row_parts = {d: descriptor["rows"].get(d, 1) for d in DIMS}
        self.column_parts = {d: descriptor["columns"].get(d, 1) for d in DIMS}
        self.parts = {d: self.row_parts[d] * self.column_parts[d] for d in DIMS}
        self.tile = {d: descriptor["tile"].get(d, sizes[d]) for d in DIMS}
        self.tiles, self.is_last_tile, self.rounds = [], [], []
        n_tiles = {d: over(sizes[d], self.tile[d]) for d in DIMS}
        for tile in walk(descriptor["tile_order"], n_tiles):
            bounds = {d: self.tile_bounds(d, tile[d]) for d in DIMS}
            n = {d: over(size, self.block[d] * self.parts[d]) for d, size in
                 sizes_of(bounds).items()}  # fmt: skip
            last_tile = all(tile[d] == n_tiles[d] - 1 for d in REDUCTION)
            for i, block in enumerate(walk(descriptor["order"], n)):
                begins = all(tile[d] == block[d] == 0 for d in REDUCTION)
                ends = last_tile and all(block[d] == n[d] - 1 for d in REDUCTION)
                ranges = {d: self.cut(d, bounds, block[d] * self.parts[d], self.parts[d])
                          for d in DIMS}  # fmt: skip
                place = len(self.rounds), len(self.tiles), i == 0
                self.rounds.append(Round(*place, bounds, block, ranges, begins, ends))
            self.tiles.append(bounds)
            self.is_last_tile.append(last_tile)

    def tile_bounds(self, d: str, number: int) -> tuple[int, int]:
        return number * self.tile[d], min((number + 1) * self.tile[d], self.sizes[d])

    def cut(self, d: str, bounds: dict, first: int, n_blocks: int) -> tuple[int, int]:
        """Return the range of `n_blocks` blocks of VPEs of a tile, from `first` on."""
        begin, end = bounds[d]
        low = begin + first * self.block[d]
        return low, min(low + n_blocks * self.block[d], end)

    def digits_of(self, v: int) -> tuple[dict | None, dict | None]:
        row, column = divmod(v, self.columns)
        return digits(row, self.row_parts), digits(column, self.column_parts)

    def is_used(self, v: int) -> bool:
        return None not in self.digits_of(v)

    def vpe_ranges(self, this: Round, v: int) -> dict:
        a, b = self.digits_of(v)
        found = {}
        for d in DIMS:
            p = b[d] * self.row_parts[d] + a[d]
            found[d] = self.cut(d, this.bounds, this.block[d] * self.parts[d] + p, 1)
        return found

    def column_ranges(self, this: Round, column: int) -> dict:
        b = digits(column, self.column_parts)
        found = {}
        for d in DIMS:
            first = this.block[d] * self.parts[d] + b[d] * self.row_parts[d]
            found[d] = self.cut(d, this.bounds, first, self.row_parts[d])
        return found

    def is_short(self, ranges: dict) -> bool:
        sizes = sizes_of(ranges)
        return any(sizes[d] < min(self.block[d], self.sizes[d]) for d in DIMS)

    def holds_results(self, v: int) -> bool:
        """Return whether the reduction digits of a VPE are 0."""
        a, b = self.digits_of(v)
        return not any(a[d] or b[d] for d in REDUCTION)
