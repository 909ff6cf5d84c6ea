"""Lanes: accesses of one memory of one unit in the same cycle lie side by side."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MOST_LANES = 1 << 30
"""Of a unit, memory and op: more than a block has accesses."""


class Lane(NamedTuple):
    """A place for one access a cycle.

    Parameters
    ----------
    unit, memory, op : int
    number : int
        From 0, among those of the same unit, memory and op.
    """

    unit: int
    memory: int
    op: int
    number: int


class Lanes:
    """The lanes of what went by so far.

    Attributes
    ----------
    found : list of Lane
        In the order in which they were first used.
    """

    def __init__(self) -> None:
        self.found: list[Lane] = []
        self._number: dict[int, int] = {}

    def of(self, cycle: Any, unit: Any, memory: Any, op: Any) -> Ints:
        """Return int64[n]: the lane of each access, a number of ``found``.

        Parameters
        ----------
        cycle, unit : array[n]
            In order of cycles; with an access of a cycle come all others.
        memory, op : array[n] or int
        """
        key = np.asarray(unit, np.int64) << 9 | np.asarray(memory, np.int64) << 1
        key |= np.asarray(op, np.int64)
        order, n = np.lexsort((key, cycle)), len(cycle)
        begins = np.ones(n, bool)
        for column in (cycle, key):
            begins[1:] &= column[order[1:]] == column[order[:-1]]
        begins[1:] = ~begins[1:]
        first, rank = np.flatnonzero(begins), np.empty(n, np.int64)
        rank[order] = np.arange(n) - np.repeat(first, np.diff(first, append=n))
        named, where = np.unique(key * MOST_LANES + rank, return_inverse=True)
        return np.array([self._lane(one) for one in named.tolist()], np.int64)[where]

    def _lane(self, key: int) -> int:
        if key not in self._number:
            self._number[key] = len(self.found)
            rest, number = divmod(key, MOST_LANES)
            self.found.append(Lane(rest >> 9, rest >> 1 & 0xFF, rest & 1, number))
        return self._number[key]
