"""Blocks of accesses of a segment, in the order of storage or of cycles."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decode import Segment, add_entries
from .errors import DamageError
from .expand import Entries, count_cycles, fill, place, walk
from .index import Tables
from .schema import ACCESS

BLOCK = 1 << 18
"""Accesses of a block, about."""
MOST_WINDOW = 1 << 20
"""Cycles of a block at most."""
LEAST_WINDOW = 16
FEW_MEMBERS = 32
"""Members up to which counts of rows are kept for the expansion."""
MOST_GROWTH = 64.0

Ints = NDArray[np.int64]


class Shapes(NamedTuple):
    """Patterns, with the wanted items only.

    Parameters
    ----------
    first : int64[n_patterns + 1]
        Items of each pattern.
    item : int64[n_items, 8]
        Columns as in `firemesh.traces.expand`.
    beat_first : int64[n_patterns + 1]
    beat : int64[n_beats, 2]
        In which cycles of an entry there are accesses, and how many.
    accesses : int64[n_patterns]
        Of an entry.
    """

    first: Ints
    item: Ints
    beat_first: Ints
    beat: Ints
    accesses: Ints


def shapes_of(tables: Tables, is_wanted: NDArray[np.bool_]) -> Shapes:
    """Return patterns with the wanted items, bool[n_items]."""
    kept = np.flatnonzero(is_wanted)
    items = tables.items[kept]
    first = np.searchsorted(kept, tables.first)
    item = np.zeros((len(kept), 8), np.int64)
    names = ("cycle", "address", "a_step", "b_step", "count", "cycle_step", "address_step")
    for column, name in enumerate(names):
        item[:, column] = items[name]
    head = items["size"].astype(np.int64) << 32 | items["memory"].astype(np.int64) << 48
    item[:, 7] = head | items["op"].astype(np.int64) << 56
    accesses = np.concatenate([[0], np.cumsum(item[:, 4])])[first]
    return Shapes(first, item, *_beats(item, first), np.diff(accesses))


def _beats(item: Ints, first: Ints) -> tuple[Ints, Ints]:
    """Return in which cycles of each pattern there are accesses, and how many."""
    n = item[:, 4]
    which = np.repeat(np.arange(len(item)), n)
    step = np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)
    pattern = np.repeat(np.arange(len(first) - 1), np.diff(first))[which]
    cycle = item[which, 0] + step * item[which, 5]
    keys, counts = np.unique(np.stack([pattern, cycle]), axis=1, return_counts=True)
    beat_first = np.searchsorted(keys[0], np.arange(len(first)))
    return beat_first, np.stack([keys[1], counts], axis=1).astype(np.int64)


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
        self._run: Ints | None
        self._run, self._run_offset = segment.runs(number, member) if record["walks"] else (None, 0)

    @cached_property
    def _start(self) -> tuple[Ints, int]:
        start, shift = self.segment.starts(self.number, self._member)
        return start[: len(self._pattern)], shift

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

    @cached_property
    def total(self) -> int:
        """Accesses of all rows."""
        return int(self.counts.sum())

    def forget(self) -> None:
        """Drop what can be told again."""
        self.__dict__.pop("counts", None)

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

    def fill(self, first: int, end: int, out: NDArray[np.uint64]) -> int:
        """Expand rows in their order; return how many accesses they are."""
        shapes = self._shapes
        entries = self.entries(first, end)
        return fill(*entries, shapes.first, shapes.item, self._word, self._modulo, out)

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

    def span(self, low: int, high: int) -> Entries | None:
        """Return entries that may have accesses in cycles ``low`` to ``high``; None for none."""
        (start, shift), (before, after) = self._start, self.reach
        first = int(np.searchsorted(start, low - shift - after, "left"))
        end = int(np.searchsorted(start, high - shift - before, "left"))
        return self.entries(first, end) if first < end else None

    def place(
        self, entries: Entries, low: int, high: int, cursor: Ints, out: NDArray[np.uint64]
    ) -> None:
        """Expand entries to the places that the cursors of their cycles tell."""
        shapes = self._shapes
        place(*entries, shapes.first, shapes.item, self._word, self._modulo, low, high, cursor, out)


def members(
    segment: Segment, shapes: Shapes, layer: int, units: set[int] | None = None
) -> list[Member]:
    """Return the rows of wanted units that hold wanted accesses, by unit and list."""
    index = segment.index
    found = []
    for number in segment.numbers:
        for member in segment.members(number):
            unit = int(index.members["unit"][member])
            if units is None or unit in units:
                found.append((unit, number, member))
    kept = []
    for _, number, member in sorted(found):
        if segment.rows(number):
            one = Member(segment, number, member, shapes, layer)
            if one.total:
                kept.append(one)
            if len(found) > FEW_MEMBERS:
                one.forget()
    return kept


def in_storage_order(found: list[Member]) -> Iterator[NDArray[Any]]:
    """Yield blocks of accesses by unit, list and row."""
    for member in found:
        for first, end, n in member.spans():
            block = np.empty((n, 3), np.uint64)
            member.fill(first, end, block)
            if n:
                yield block.view(ACCESS)[:, 0]


def in_cycle_order(found: list[Member], low: int, high: int) -> Iterator[NDArray[Any]]:
    """Yield blocks of accesses in cycles ``low`` to ``high``, by cycle, unit, list and row."""
    if not found:
        return
    segment = found[0].segment
    is_all = low <= segment.begin and high >= segment.finish
    low = max(low, segment.begin, min(member.window[0] for member in found))
    high = min(high, segment.finish, max(member.window[1] for member in found))
    width, seen = LEAST_WINDOW, 0
    while low < high:
        end = min(high, low + width)
        count = np.zeros(end - low, np.int64)
        spans = [(member, member.span(low, end)) for member in found]
        for member, entries in spans:
            if entries is not None:
                shapes = member._shapes
                count_cycles(
                    entries.cycle, entries.pattern, shapes.beat_first, shapes.beat, low, end, count
                )
        edges = np.concatenate([[0], np.cumsum(count)])
        n = int(edges[-1])
        if n > 4 * BLOCK and width > LEAST_WINDOW:
            width = max(LEAST_WINDOW, int(np.searchsorted(edges, BLOCK)))
            continue
        block = np.empty((n, 3), np.uint64)
        cursor = edges[:-1].copy()
        for member, entries in spans:
            if entries is not None:
                member.place(entries, low, end, cursor, block)
        low = end
        width = int(width * min(MOST_GROWTH, BLOCK / max(1, n)))
        width = min(MOST_WINDOW, max(LEAST_WINDOW, width))
        seen += n
        if n:
            yield block.view(ACCESS)[:, 0]
    outside = sum(member.total for member in found) - seen
    if is_all and outside:
        raise DamageError(f"{outside} accesses lie outside the segment's cycles")
