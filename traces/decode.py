"""From the rows of lists to their starts: entries, lengths, leaders."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import pairs
from .columns import Columns
from .columns import ranks as ranks
from .errors import check_range
from .index import Index, Tables
from .kernel import kernel
from .schema import INHERITED, Walk

Array = NDArray[Any]
Ints = NDArray[np.int64]
MOST_CYCLES = 1 << 61
"""Cycles of all rows of a list."""


@kernel
def add_entries(
    run: Array, offset: int, pattern: Array, first: Array, kind: Array, amount: Array, total: Array
) -> None:
    """Add to int64[n] ``total`` the amounts of each row's entries.

    Parameters
    ----------
    run : int64[n]
        Run of each row less ``offset``, -1 for none.
    offset : int
    pattern : int64[n]
        Pattern of an entry of kind 0.
    first : int64[n_runs + 1]
        Entries of runs.
    kind : int64[n_entries]
    amount : int64[n_patterns]
        Of an entry with each pattern: its period, or its accesses.
    total : int64[n]
        Changed.
    """
    for i in range(len(run)):
        if run[i] >= 0:
            for entry in range(first[run[i] + offset], first[run[i] + offset + 1]):
                total[i] += amount[pattern[i] + kind[entry]]


@kernel
def own_starts(length: Array, slack: Array, least: int, start: Array, begin: int) -> None:
    """Tell starts of a list without a leader; see `firemesh.traces.lists`."""
    cycle = begin
    for i in range(len(start)):
        start[i] = cycle + slack[i]
        cycle = start[i] + max(length[i], least)


@kernel
def queued_starts(
    length: Array, slack: Array, least: int, ready: Array, start: Array, begin: int
) -> None:
    """Tell starts of a list that queues behind its leader, ready when ``ready`` says."""
    cycle = begin
    for i in range(len(start)):
        start[i] = max(cycle, ready[i]) + slack[i]
        cycle = start[i] + max(length[i], least)


class Segment(Columns):
    """The rows of a segment's lists.

    Parameters
    ----------
    index, tables, columns, first, end
        See `firemesh.traces.columns.Columns`.
    begin, finish : int
        The segment's first cycle, and the one after its last.
    """

    def __init__(
        self, index: Index, tables: Tables, columns: Any, first: int, end: int,
        begin: int, finish: int,
    ) -> None:  # fmt: skip
        super().__init__(index, tables, columns, first, end)
        self.begin, self.finish = begin, finish
        self._measured: tuple[int, Ints] | None = None

    def _in_time(self, number: int, member: int, start: Ints, shift: int = 0) -> Ints:
        """Check that the rows of a member that have entries begin in the segment."""
        least, most = self.begin - shift, self.finish - shift
        if ((start < least) | (start > most)).any():
            has_entries = self.n_entries(number, member) > 0
            check_range("start of rows", start[has_entries], least, most)
        return start

    def walk(self, number: int) -> Walk:
        """Return what the rows of a list are."""
        return Walk(int(self.index.lists["walks"][number]))

    def n_entries(self, number: int, member: int) -> Ints:
        """Return int64[rows]: entries of each row; of a row of masks its windows."""
        walk = self.walk(number)
        if walk == Walk.ENTRY:
            return np.ones(self.rows(number), np.int64)
        if walk == Walk.SPAN:
            return self.span(number)[1]
        if walk == Walk.MASKS:
            windows = self.windows(number).astype(np.int64)
            return windows[:, 1] * windows[:, 3]
        run, offset = self.runs(number, member)
        count = np.append(np.diff(self.tables.run_first), 0)
        return count[np.where(run < 0, -1, run + offset)]

    def measured(self, number: int) -> Ints:
        """Return int64[rows, 3]: pairs of rows of masks, see `firemesh.traces.pairs.measure`.

        Those of the list that was asked for last are kept.
        """
        if self._measured is None or self._measured[0] != number:
            windows, (a, b, lanes) = self.windows(number), self.masks(number)
            found = np.empty((len(windows), 3), np.int64)
            pairs.measure(
                windows, a.words, a.jump, a.stride, b.words, b.jump, b.stride, lanes,
                len(a.tail), found,
            )  # fmt: skip
            self._measured = number, found
        return self._measured[1]

    def lengths(self, number: int, member: int) -> Ints:
        """Return int64[rows]: cycles that a row's entries and the stalls between them take."""
        walk = self.walk(number)
        if walk in (Walk.SPAN, Walk.MASKS):
            return self._long_rows(number, member, walk)
        pattern, tables = self.pattern(number), self.tables
        if walk == Walk.ENTRY:
            return tables.period[pattern]
        length = np.zeros(self.rows(number), np.int64)
        run, offset = self.runs(number, member)
        add_entries(run, offset, pattern, tables.run_first, tables.kind, tables.period, length)
        stalls = self.stalls(member)
        check_range("stalls row", stalls["row"], 0, len(length) - 1)
        np.add.at(length, stalls["row"].astype(np.int64), stalls["cycles"].astype(np.int64))
        return length

    def _long_rows(self, number: int, member: int, walk: Walk) -> Ints:
        """Return the lengths of rows of spans or masks, which a file can make too long."""
        if walk == Walk.SPAN:
            length = self.span(number)[1] * self.tables.period[self.pattern(number)]
        else:
            measured, windows = self.measured(number), self.n_entries(number, member)
            empty = int(self.index.lists["empty"][number])
            length = measured[:, pairs.CYCLES] + empty * (windows - measured[:, pairs.FILLED])
        check_range("cycles of rows", length, 0, MOST_CYCLES // max(1, len(length)))
        return length

    def starts(self, number: int, member: int) -> tuple[Ints, int]:
        """Return int64[rows] and a number of cycles to add: when a member's rows begin.

        Arrays are shared between lists that follow each other without slack; do not change them.
        """
        record = self.index.lists[number]
        leader, lag = int(record["leader"]), int(record["lag"])
        key = "start", number, member
        if leader >= 0 and not record["queues"]:
            return self._follow(number, member, leader, lag)
        if key in self._cache:
            return self._cache[key], 0
        length, slack = self.lengths(number, member), self.slack(number, member)
        start = np.empty(self.rows(number), np.int64)
        least = int(record["least"])
        if leader < 0:
            own_starts(length, slack, least, start, self.begin)
        else:
            ready, shift = self._ready(number, member, leader)
            queued_starts(length, slack, least, ready + (shift + lag), start, self.begin)
        self._cache[key] = self._in_time(number, member, start)
        return start, 0

    def _follow(self, number: int, member: int, leader: int, lag: int) -> tuple[Ints, int]:
        key = "start", number, member
        if key not in self._cache:
            ready, shift = self._ready(number, member, leader)
            if self.index.members["slack"][member] < 0:
                return self._in_time(number, member, ready, shift + lag), shift + lag
            start = ready + (self.slack(number, member) + (shift + lag))
            self._cache[key] = self._in_time(number, member, start)
        return self._cache[key], 0

    def _ready(self, number: int, member: int, leader: int) -> tuple[Ints, int]:
        """Return the leader's start that each row follows."""
        unit = self.index.members["unit"][member]
        among = self.members(leader)
        units = self.index.members["unit"][among.start : among.stop]
        same = np.flatnonzero(units == unit)
        start, shift = self.starts(leader, among.start + (int(same[0]) if len(same) else 0))
        ahead = int(self.index.members["ahead"][member])
        n = self.rows(number)
        if self.index.lists["of"][number] == INHERITED:
            if not ahead:
                return start[:n], shift
            if n + ahead <= len(start):
                return start[ahead : n + ahead], shift
        row = np.minimum(self.column("of", number) + ahead, len(start) - 1)
        return start[row], shift
