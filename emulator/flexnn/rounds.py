"""Tiles and rounds of a layer: which ranges the array works on, one after another.

`docs/flexnn-cycles.md`, section 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptor import Cut
from .dims import REDUCTION, Dim

Ints = NDArray[np.int64]
N_DIMS = len(Dim)
AT_ONCE = 1 << 13
"""Rounds that are worked on at a time."""


@dataclass(frozen=True)
class Rounds:
    """Some rounds of a layer, in order.

    Parameters
    ----------
    first : int
        Number of the first.
    low, high : int64[n, 8]
        The array's range of each dimension.
    tile : int64[n]
    is_first_reduced, is_last_reduced : bool[n]
        Whether every reduction dimension's block and tile is its first, its last.
    """

    first: int
    low: Ints
    high: Ints
    tile: Ints
    is_first_reduced: NDArray[np.bool_]
    is_last_reduced: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rounds."""
        return len(self.tile)

    def part(self, begin: int, end: int) -> "Rounds":
        """Return the rounds of a half-open range."""
        at = slice(begin, end)
        return Rounds(
            self.first + begin,
            self.low[at],
            self.high[at],
            self.tile[at],
            self.is_first_reduced[at],
            self.is_last_reduced[at],
        )


def _digits(counts: Any, order: tuple[Dim, ...]) -> Ints:
    """Return int64[n, 8]: indices of nested loops, the last dimension of the order fastest."""
    n = int(np.prod(counts))
    found = np.empty((n, N_DIMS), np.int64)
    shape = tuple(int(counts[dim]) for dim in order)
    for dim, digit in zip(order, np.unravel_index(np.arange(n), shape), strict=True):
        found[:, dim] = digit
    return found


class Loops:
    """The loops of a descriptor on a layer.

    Attributes
    ----------
    tiles : int64[n_tiles, 2, 8]
        First element and the one after the last, by tile.
    tile_digits : int64[n_tiles, 8]
    """

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._sizes = np.array(cut.layer.sizes)
        self._step = np.array(cut.steps)
        self.tile_digits = _digits(cut.tiles, cut.tile_order)
        low = self.tile_digits * np.array(cut.tile)
        high = np.minimum(low + np.array(cut.tile), self._sizes)
        self.tiles = np.stack([low, high], axis=1)

    @cached_property
    def first_round(self) -> Ints:
        """int64[n_tiles + 1]: number of each tile's first round, and of all rounds."""
        lengths = self.tiles[:, 1] - self.tiles[:, 0]
        n = np.prod(-(-lengths // self._step), axis=1)
        return np.concatenate([[0], np.cumsum(n)])

    @property
    def n_rounds(self) -> int:
        """Rounds of the layer."""
        return int(self.first_round[-1])

    def rounds(self) -> Iterator[Rounds]:
        """Yield all rounds, at most `AT_ONCE` at a time."""
        waiting: list[Rounds] = []
        held = 0
        for tile in range(len(self.tiles)):
            found = self._of_tile(tile)
            for begin in range(0, len(found), AT_ONCE):
                part = found.part(begin, begin + AT_ONCE)
                if held + len(part) > AT_ONCE:
                    yield _joined(waiting)
                    waiting, held = [], 0
                waiting.append(part)
                held += len(part)
        yield _joined(waiting)

    def _of_tile(self, tile: int) -> Rounds:
        begin, end = self.tiles[tile]
        counts = -(-(end - begin) // self._step)
        digits = _digits(counts, self.cut.order)
        low = begin + digits * self._step
        high = np.minimum(low + self._step, end)
        reduced = list(REDUCTION)
        is_first = (digits[:, reduced] == 0).all(axis=1)
        is_last = (digits[:, reduced] == counts[reduced] - 1).all(axis=1)
        at, last = self.tile_digits[tile, reduced], np.array(self.cut.tiles)[reduced] - 1
        n = len(digits)
        return Rounds(
            int(self.first_round[tile]),
            low,
            high,
            np.full(n, tile),
            is_first & bool((at == 0).all()),
            is_last & bool((at == last).all()),
        )


def _joined(parts: list[Rounds]) -> Rounds:
    if len(parts) == 1:
        return parts[0]
    names = ("low", "high", "tile", "is_first_reduced", "is_last_reduced")
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    return Rounds(parts[0].first, *columns)


@dataclass(frozen=True)
class Places:
    """Where the VPEs of an array sit in a descriptor's partitions.

    Parameters
    ----------
    vpe : int64[v, 8]
        p_d of each VPE.
    column : int64[columns, 8]
        b_d of each column.
    is_used : bool[v]
    is_column_used : bool[columns]
    is_head : bool[v]
        VPEs that psums leave from: their reduction digits are 0.
    is_head_column : bool[columns]
    """

    vpe: Ints
    column: Ints
    is_used: NDArray[np.bool_]
    is_column_used: NDArray[np.bool_]
    is_head: NDArray[np.bool_]
    is_head_column: NDArray[np.bool_]


def _axis(parts: Any, n: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Return int64[n, 8] digits of each place of an axis, and which places are used."""
    used = int(np.prod(parts))
    digits = np.zeros((n, N_DIMS), np.int64)
    if used <= n:
        digits[:used] = _digits(parts, tuple(Dim))
    return digits, np.arange(n) < used


def places(cut: Cut, rows: int, columns: int) -> Places:
    """Return where the VPEs of an array sit."""
    of_row, row_used = _axis(cut.row_parts, rows)
    of_column, column_used = _axis(cut.column_parts, columns)
    row_parts = np.array(cut.row_parts)
    vpe = of_column[None] * row_parts + of_row[:, None]
    reduced = list(REDUCTION)
    return Places(
        vpe.reshape(-1, N_DIMS),
        of_column,
        (row_used[:, None] & column_used[None]).reshape(-1),
        column_used,
        (vpe[..., reduced] == 0).all(axis=2).reshape(-1),
        (of_column[:, reduced] == 0).all(axis=1),
    )
