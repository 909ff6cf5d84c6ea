"""From the rows of lists to their starts: columns, leaders, lengths."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .index import Index, Tables, check_range
from .kernel import kernel
from .schema import COLUMNS, INHERITED, OWN

Array = NDArray[Any]
Ints = NDArray[np.int64]
AT_ONCE = 1 << 16
"""Rows of a column up to which all of a segment are read together."""


def ranks(queue: Ints) -> Ints:
    """Return int64[n]: how many rows before each one are of the same queue."""
    order = np.argsort(queue, kind="stable")
    ordered = queue[order]
    rank = np.empty(len(queue), np.int64)
    rank[order] = np.arange(len(queue)) - np.searchsorted(ordered, ordered)
    return rank


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


class Segment:
    """The rows of a segment's lists.

    Parameters
    ----------
    index : Index
    tables : Tables
    columns : mapping
        Name -> dataset or array of each column, and ``stalls``.
    first, end : int
        The segment's lists.
    begin, finish : int
        Its first cycle, and the one after its last.
    """

    def __init__(
        self, index: Index, tables: Tables, columns: Any, first: int, end: int,
        begin: int, finish: int,
    ) -> None:  # fmt: skip
        self.index, self.tables, self._columns = index, tables, columns
        self.first, self.end = first, end
        self.begin, self.finish = begin, finish
        self._cache: dict[tuple[Any, ...], Ints] = {}
        self._sound: set[tuple[int, int]] = set()
        self._small: dict[str, Array | None] = {}
        self._begins: dict[str, int] = {}

    def rows(self, number: int) -> int:
        """Return the number of rows of a list."""
        return int(self.index.lists["rows"][number])

    def members(self, number: int) -> range:
        """Return the numbers of a list's members."""
        return range(int(self.index.member[number]), int(self.index.member[number + 1]))

    def column(self, name: str, number: int) -> Ints:
        """Return int64[rows]: a column of a list, of its own or inherited."""
        key = name, number
        if key not in self._cache:
            self._cache[key] = self._read(name, number)
        return self._cache[key]

    def _read(self, name: str, number: int) -> Ints:
        reference, n = int(self.index.lists[name][number]), self.rows(number)
        leader = int(self.index.lists["leader"][number])
        if reference == OWN:
            at = int(self.index.column[name][number])
            values: Ints = self._slice(name, at, at + n).astype(np.int64)
            return self._checked(
                name, number, np.cumsum(values) if COLUMNS[name].is_delta else values
            )
        if reference < INHERITED:
            return self._checked(name, number, np.full(n, -2 - reference, np.int64))
        default = COLUMNS[name].default
        if default is None:
            return np.arange(n)
        if leader < 0:
            return np.full(n, default, np.int64)
        inherited = self.column(name, leader)
        if self.index.lists["of"][number] == INHERITED:
            return inherited[:n]
        return inherited[self.column("of", number)]

    def _checked(self, name: str, number: int, values: Ints) -> Ints:
        leader = int(self.index.lists["leader"][number])
        if name == "of" and leader >= 0:
            check_range("columns/of", values, 0, self.rows(leader) - 1)
        return values

    def pattern(self, number: int) -> Ints:
        """Return int64[rows]: the pattern of an entry of kind 0."""
        key = "of pattern", number
        if key not in self._cache:
            offset = int(self.index.lists["pattern_offset"][number])
            pattern = self.column("pattern", number) + offset
            check_range("columns/pattern", pattern, 0, len(self.tables.period) - 1)
            self._cache[key] = pattern
        return self._cache[key]

    def runs(self, number: int, member: int) -> tuple[Ints, int]:
        """Return int64[rows] and a number to add: runs that a member walks, below 0 for none."""
        run, offset = self.column("run", number), int(self.index.members["run_offset"][member])
        if (number, offset) not in self._sound:
            self._check_runs(number, run, offset)
            self._sound.add((number, offset))
        return run, offset

    def _check_runs(self, number: int, run: Ints, offset: int) -> None:
        walked = run[run >= 0] if len(run) and run.min() < 0 else run
        last_run = len(self.tables.run_first) - 2
        check_range("columns/run", run, -1, last_run)
        check_range("members run_offset, and columns/run,", walked + offset, 0, last_run)
        pattern = self.pattern(number)
        of_walked = pattern[run >= 0] if len(walked) < len(run) else pattern
        last = of_walked + self.tables.most_kind[walked + offset]
        check_range("patterns of entries", last, 0, len(self.tables.period) - 1)

    def address(self, number: int) -> Ints:
        """Return int64[rows]: address of each row, without its member's offset."""
        key = "address", number
        if key not in self._cache:
            record = self.index.lists[number]
            address = self.column("base", number)
            if record["queue"] != INHERITED:
                queue = self.column("queue", number)
                address = address + int(record["queue_step"]) * queue
                address += int(record["step"]) * ranks(queue)
            elif record["step"]:
                address = address + int(record["step"]) * self.column("of", number)
            if record["run_step"]:
                address = address + int(record["run_step"]) * self.column("run", number)
            self._cache[key] = address
        return self._cache[key]

    def stalls(self, member: int) -> Array:
        """Return a member's stalls."""
        return self._slice("stalls", *self.index.stall[member : member + 2].tolist())

    def _slice(self, name: str, first: int, end: int) -> Array:
        """Return rows of a table; where the segment has few of them all are read at once."""
        if name not in self._small:
            edges = self._edges(name)
            is_small = edges[1] - edges[0] <= AT_ONCE
            self._small[name] = self._columns[name][edges[0] : edges[1]] if is_small else None
            self._begins[name] = edges[0]
        small = self._small[name]
        if small is None:
            rows: Array = self._columns[name][first:end]
            return rows
        begin = self._begins[name]
        return small[first - begin : end - begin]

    def _edges(self, name: str) -> list[int]:
        """Return the segment's first row in a table of rows, and the one after its last."""
        if name == "stalls":
            edges = self.index.stall[self.index.member[[self.first, self.end]]]
        else:
            edges = self.index.column[name][[self.first, self.end]]
        return [int(edge) for edge in edges]

    def _in_time(self, number: int, member: int, start: Ints, shift: int = 0) -> Ints:
        """Check that the rows of a member that have entries begin in the segment."""
        least, most = self.begin - shift, self.finish - shift
        if ((start < least) | (start > most)).any():
            has_entries = self.n_entries(number, member) > 0
            check_range("start of rows", start[has_entries], least, most)
        return start

    def slack(self, number: int, member: int) -> Ints:
        """Return int64[rows]: a member's slack."""
        n, which = self.rows(number), int(self.index.members["slack"][member])
        if which < 0:
            return np.zeros(n, np.int64)
        key = "slack", number, which
        if key not in self._cache:
            at = int(self.index.column["slack"][number]) + which * n
            self._cache[key] = self._slice("slack", at, at + n).astype(np.int64)
        return self._cache[key]

    def n_entries(self, number: int, member: int) -> Ints:
        """Return int64[rows]: entries of each row."""
        if not self.index.lists["walks"][number]:
            return np.ones(self.rows(number), np.int64)
        run, offset = self.runs(number, member)
        count = np.append(np.diff(self.tables.run_first), 0)
        return count[np.where(run < 0, -1, run + offset)]

    def lengths(self, number: int, member: int) -> Ints:
        """Return int64[rows]: cycles that a row's entries and the stalls between them take."""
        pattern, tables = self.pattern(number), self.tables
        if not self.index.lists["walks"][number]:
            return tables.period[pattern]
        length = np.zeros(self.rows(number), np.int64)
        run, offset = self.runs(number, member)
        add_entries(run, offset, pattern, tables.run_first, tables.kind, tables.period, length)
        stalls = self.stalls(member)
        check_range("stalls row", stalls["row"], 0, len(length) - 1)
        np.add.at(length, stalls["row"].astype(np.int64), stalls["cycles"].astype(np.int64))
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

    @cached_property
    def numbers(self) -> range:
        """Numbers of the segment's lists."""
        return range(self.first, self.end)
