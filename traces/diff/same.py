"""Whether segments of two traces are stored alike, so that their accesses need not be told."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..file import UNREADABLE
from ..reader import Trace
from ..schema import COLUMNS
from .sides import Side

PART = 1 << 20
"""Rows of a table that are read at once."""
SHARED = ("patterns/first", "patterns/period", "patterns/items", "runs/first", "runs/kind",
          "runs/a", "runs/b")  # fmt: skip
MASKS = ("masks/sets", "masks/words", "masks/address", "masks/section")


class Stored:
    """Compares what is stored of segments of two traces.

    A segment's accesses and packets follow from its first and last cycle, its rows in the tables
    ``lists``, ``members``, ``stalls`` and ``columns/...``, and the patterns, runs and masks that
    these name by number. The latter tables only grow: a list names none behind the end of its
    trace's tables. So where all of the former are equal, and the latter are equal as far as the
    shorter ones reach, accesses and packets are equal. The reverse does not hold.

    Parameters
    ----------
    a, b : Side
    """

    def __init__(self, a: Side, b: Side) -> None:
        self._a, self._b = a, b
        self._known: dict[tuple[int, int], bool] = {}

    @cached_property
    def _are_alike(self) -> bool:
        """Whether numbers in lists mean the same in both: units, patterns, runs."""
        a, b = self._a.trace, self._b.trace
        kinds = [trace.table("kinds")["name"].tolist() for trace in (a, b)]
        if a.units != b.units or a.memories != b.memories or kinds[0] != kinds[1]:
            return False
        return all(_is_prefix(a, b, name) for name in SHARED)

    @cached_property
    def _have_like_masks(self) -> bool:
        return all(_is_prefix(self._a.trace, self._b.trace, name) for name in MASKS)

    def is_same(self, i: int, k: int) -> bool:
        """Tell whether segment ``i`` of A and ``k`` of B, by place on their side, are alike."""
        if (i, k) not in self._known:
            self._known[i, k] = self._compare(i, k)
        return self._known[i, k]

    def _compare(self, i: int, k: int) -> bool:
        a, b = self._a, self._b
        of_a, of_b = int(a.segments[i]), int(b.segments[k])
        first, second = a.trace.segments[of_a], b.trace.segments[of_b]
        same = all(
            int(first[name]) + int(a.shift[i]) == int(second[name]) + int(b.shift[k])
            for name in ("cycle0", "cycle1")
        )
        same = same and a.trace.layers[first["layer"]] == b.trace.layers[second["layer"]]
        return same and self._are_alike and self._have_like_rows(of_a, of_b)

    def _have_like_rows(self, of_a: int, of_b: int) -> bool:
        a, b = _lists(self._a.trace, of_a), _lists(self._b.trace, of_b)
        if len(a) != len(b):
            return False
        for name in a.dtype.names or ():
            if name != "segment" and not np.array_equal(a[name], b[name]):
                return False
        if ((a["mask_a"] >= 0) | (a["mask_b"] >= 0)).any() and not self._have_like_masks:
            return False
        parts = zip(_rows(self._a.trace, of_a), _rows(self._b.trace, of_b), strict=True)
        return all(_are_equal(one, other) for one, other in parts)


def _lists(trace: Trace, number: int) -> NDArray[Any]:
    """Return the lists of a segment, leaders counted from the first of them."""
    first, end = trace._guard(lambda: trace._lists_of)[number : number + 2].tolist()
    lists: NDArray[Any] = trace._index.lists[first:end].copy()
    lists["leader"][lists["leader"] >= 0] -= first
    return lists


def _rows(trace: Trace, number: int) -> list["Part"]:
    """Return the parts of tables that hold a segment's members, stalls and columns."""
    index = trace._index
    first, end = trace._lists_of[number : number + 2].tolist()
    members = index.member[[first, end]]
    found = [
        Part(trace, "members", index.members, *members.tolist()),
        Part(trace, "stalls", trace._columns["stalls"], *index.stall[members].tolist()),
    ]
    for name in COLUMNS:
        edges = index.column[name][[first, end]].tolist()
        found.append(Part(trace, f"columns/{name}", trace._columns[name], *edges))
    return found


class Part(NamedTuple):
    """Rows ``first`` to ``end`` of a table, an array or dataset."""

    trace: Trace
    name: str
    table: Any
    first: int
    end: int

    def read(self, at: int) -> NDArray[Any]:
        """Return at most `PART` rows from the part's row ``at`` on."""
        low = self.first + at
        try:
            rows: NDArray[Any] = self.table[low : min(low + PART, self.end)]
        except UNREADABLE as error:
            raise self.trace.damaged(self.name, error) from None
        return rows


def _are_equal(a: Part, b: Part) -> bool:
    """Tell whether two parts of tables are equal, reading a little at a time."""
    n = a.end - a.first
    return n == b.end - b.first and all(
        np.array_equal(a.read(at), b.read(at)) for at in range(0, n, PART)
    )


def _is_prefix(a: Trace, b: Trace, name: str) -> bool:
    """Tell whether one trace's table begins with the other's."""
    of_a, of_b = a._file[name], b._file[name]
    n = min(len(of_a), len(of_b))
    return _are_equal(Part(a, name, of_a, 0, n), Part(b, name, of_b, 0, n))
