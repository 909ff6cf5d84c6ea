"""Members of lists, as readers go through their rows: in the order of rows, or of cycles."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decode import Segment, add_entries
from .expand import Entries, count_cycles, fill, place, walk
from .schema import ACCESS, Walk
from .shapes import Shapes

BLOCK = 1 << 18
"""Accesses of a block, about."""

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


class Member:
    """The rows that one unit executes of a list.

    Rows are in the order of their starts; so those that reach into a window are a range.

    Parameters
    ----------
    segment : Segment
    number, member : int
        Of the list, and of the member.
    shapes : Shapes
    layer : int
    """

    def __init__(
        self, segment: Segment, number: int, member: int, shapes: Shapes, layer: int
    ) -> None:
        index = segment.index
        record, own = index.lists[number], index.members[member]
        self.number = number
        self.segment, self._member = segment, member
        self._shapes = shapes
        self._modulo = int(record["modulo"])
        self._word = int(own["unit"]) | layer << 16
        self._offset = int(own["base_offset"])
        self._address, self._pattern = segment.address(number), segment.pattern(number)

    @cached_property
    def _start(self) -> tuple[Ints, int]:
        start, shift = self.segment.starts(self.number, self._member)
        return start[: len(self._pattern)], shift

    @property
    def counts(self) -> Ints:
        """int64[rows]: accesses of each row."""
        raise NotImplementedError

    @cached_property
    def total(self) -> int:
        """Accesses of all rows."""
        return int(self.counts.sum())

    def forget(self) -> None:
        """Drop what can be told again."""
        self.__dict__.pop("counts", None)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the accesses of the rows in their order, in blocks."""
        raise NotImplementedError

    @cached_property
    def reach(self) -> tuple[int, int]:
        """Cycles from a row's start to its first access, at least; beyond its last, at most."""
        length = int(self.segment.lengths(self.number, self._member).max(initial=0))
        cycles = self._shapes.beat[:, 0]
        return int(cycles.min(initial=0)), length + int(cycles.max(initial=0)) + 1

    @cached_property
    def window(self) -> tuple[int, int]:
        """Cycles in which there may be accesses."""
        (start, shift), (before, after) = self._start, self.reach
        return int(start[0]) + shift + before, int(start[-1]) + shift + after

    def rows(self, low: int, high: int) -> tuple[int, int]:
        """Return the rows that may have accesses in cycles ``low`` to ``high``."""
        (start, shift), (before, after) = self._start, self.reach
        first = int(np.searchsorted(start, low - shift - after, "left"))
        return first, int(np.searchsorted(start, high - shift - before, "left"))

    def span(self, low: int, high: int) -> Any:
        """Return what may have accesses in cycles ``low`` to ``high``; None for nothing."""
        raise NotImplementedError

    def count(self, part: Any, low: int, high: int, total: Ints, change: Ints) -> None:
        """Count the accesses of a span in each of its cycles.

        Parameters
        ----------
        part
            What `span` returned.
        low, high : int
        total : int64[high - low]
            What is added to, or
        change : int64[high - low + 1]
            how many more there are than in the cycle before.
        """
        raise NotImplementedError

    def place(self, part: Any, low: int, high: int, cursor: Ints, out: Words) -> None:
        """Expand a span to the places that the cursors of its cycles tell."""
        raise NotImplementedError


class EntryRows(Member):
    """Rows of one entry, or of the entries of a run."""

    def __init__(
        self, segment: Segment, number: int, member: int, shapes: Shapes, layer: int
    ) -> None:
        super().__init__(segment, number, member, shapes, layer)
        self._run: Ints | None
        walks = segment.walk(number) == Walk.RUN
        self._run, self._run_offset = segment.runs(number, member) if walks else (None, 0)

    @cached_property
    def _edges(self) -> Ints:
        """int64[rows + 1]: entries before each row."""
        count = self.segment.n_entries(self.number, self._member)
        return np.concatenate([[0], np.cumsum(count)])

    @cached_property
    def _stalls(self) -> tuple[Ints, Ints, Ints]:
        stalls = self.segment.stalls(self._member)
        row, entry, cycles = (stalls[name].astype(np.int64) for name in ("row", "entry", "cycles"))
        return row, entry, cycles

    def entries(self, first: int, end: int) -> Entries:
        """Return the entries of rows ``first`` to ``end``."""
        (start, shift), rows = self._start, slice(first, end)
        cycle, address, pattern = start[rows], self._address[rows], self._pattern[rows]
        if self._run is None:
            if shift:
                cycle = cycle + shift
            if self._offset:
                address = address + self._offset
            nothing = np.zeros(len(cycle), np.int64)
            return Entries(cycle, address, pattern, nothing, nothing)
        n, tables = int(self._edges[end] - self._edges[first]), self.segment.tables
        found = Entries(*np.empty((5, n), np.int64))
        walk(
            cycle, shift, address, self._offset, pattern, self._run[rows], self._run_offset,
            tables.run_first, tables.kind, tables.a, tables.b, tables.period, *self._stalls, first,
            *found,
        )  # fmt: skip
        return found

    @cached_property
    def counts(self) -> Ints:
        """int64[rows]: accesses of each row."""
        accesses, tables = self._shapes.accesses, self.segment.tables
        if self._run is None:
            return accesses[self._pattern]
        count = np.zeros(len(self._pattern), np.int64)
        if accesses.any():
            add_entries(
                self._run, self._run_offset, self._pattern, tables.run_first, tables.kind,
                accesses, count,
            )  # fmt: skip
        return count

    def n_entries(self, first: int, end: int) -> Ints:
        """Return int64[end - first]: entries of each row."""
        return np.diff(self._edges[first : end + 1])

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Yield ranges of rows that hold about a block of accesses, and how many."""
        edges = np.concatenate([[0], np.cumsum(self.counts)])
        self.forget()
        first, n = 0, len(edges) - 1
        while first < n:
            end = int(np.searchsorted(edges, edges[first] + BLOCK, "right")) - 1
            end = min(max(end, first + 1), n)
            yield first, end, int(edges[end] - edges[first])
            first = end

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the accesses of the rows in their order, in blocks."""
        for first, end, n in self.spans():
            block = np.empty((n, 3), np.uint64)
            self.fill(first, end, block)
            if n:
                yield block.view(ACCESS)[:, 0]

    def fill(self, first: int, end: int, out: NDArray[np.uint64]) -> int:
        """Expand rows in their order; return how many accesses they are."""
        shapes = self._shapes
        entries = self.entries(first, end)
        return fill(*entries, shapes.first, shapes.item, self._word, self._modulo, out)

    def span(self, low: int, high: int) -> Entries | None:
        """Return entries that may have accesses in cycles ``low`` to ``high``; None for none."""
        first, end = self.rows(low, high)
        return self.entries(first, end) if first < end else None

    def count(self, part: Entries, low: int, high: int, total: Ints, change: Ints) -> None:
        """Count the accesses of entries, see `Member.count`."""
        shapes = self._shapes
        count_cycles(part.cycle, part.pattern, shapes.beat_first, shapes.beat, low, high, total)

    def place(self, part: Entries, low: int, high: int, cursor: Ints, out: Words) -> None:
        """Expand entries to the places that the cursors of their cycles tell."""
        shapes = self._shapes
        place(*part, shapes.first, shapes.item, self._word, self._modulo, low, high, cursor, out)
