"""The columns of a segment's lists: what is stored, and what is inherited."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DamageError, check_range
from .index import Index, Tables
from .mask_sets import MaskSet
from .schema import COLUMNS, INHERITED, MASK_KINDS, OWN

Array = NDArray[Any]
Ints = NDArray[np.int64]
AT_ONCE = 1 << 16
"""Rows of a column up to which all of a segment are read together."""
SHARED = ("masks", "mask")
"""What is kept by the number of a mask set."""
MOST_WINDOWS = 1 << 32
"""Windows that the rows of a list may go through; more cannot be true."""


def ranks(queue: Ints) -> Ints:
    """Return int64[n]: how many rows before each one are of the same queue."""
    order = np.argsort(queue, kind="stable")
    ordered = queue[order]
    rank = np.empty(len(queue), np.int64)
    rank[order] = np.arange(len(queue)) - np.searchsorted(ordered, ordered)
    return rank


class Columns:
    """The columns of a segment's lists.

    Parameters
    ----------
    index : Index
    tables : Tables
    columns : mapping
        Name -> dataset or array of each column, and ``stalls``.
    first, end : int
        The segment's lists.
    """

    def __init__(self, index: Index, tables: Tables, columns: Any, first: int, end: int) -> None:
        self.index, self.tables, self._columns = index, tables, columns
        self.first, self.end = first, end
        self._cache: dict[tuple[Any, ...], Ints] = {}
        self._long: dict[tuple[Any, ...], Any] = {}
        self._sound: set[tuple[int, int]] = set()
        self._small: dict[str, Array | None] = {}
        self._begins: dict[str, int] = {}
        self._full: dict[int, Ints] = {}

    @cached_property
    def numbers(self) -> range:
        """Numbers of the segment's lists."""
        return range(self.first, self.end)

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
            return self._checked(name, number, self._constant(-2 - reference, n))
        default = COLUMNS[name].default
        if default is None:
            return np.arange(n)
        if leader < 0:
            return self._constant(default, n)
        inherited = self.column(name, leader)
        if self.index.lists["of"][number] == INHERITED:
            return inherited[:n]
        return inherited[self.column("of", number)]

    def _constant(self, value: int, n: int) -> Ints:
        """Return int64[n]: a number for every row; lists share it."""
        if value not in self._full or len(self._full[value]) < n:
            self._full[value] = np.full(n, value, np.int64)
        return self._full[value][:n]

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

    def span(self, number: int) -> tuple[Ints, Ints]:
        """Return int64[rows] twice: bytes of each row of spans, and its entries."""
        key = "spans", number
        if key not in self._long:
            span, size = self.column("span", number), self.tables.size[self.pattern(number)]
            check_range("columns/span", span, 0, (1 << 31) - 1)
            if (size[span > 0] < 1).any():
                raise DamageError("patterns of spans have items of other sizes or counts")
            self._long[key] = span, -(-span // np.maximum(size, 1))
        found: tuple[Ints, Ints] = self._long[key]
        return found

    def masks(self, number: int) -> tuple[MaskSet, MaskSet, int]:
        """Return mask sets A and B of a list, and its lanes."""
        both = tuple(int(self.index.lists[name][number]) for name in ("mask_a", "mask_b"))
        key = "masks", *both
        if key not in self._long:
            lanes = int(self.index.masks.sets["lanes"][list(both)].max())
            a, b = (self._mask(one).beside(lanes) for one in both)
            self._long[key] = a, b, lanes
        found: tuple[MaskSet, MaskSet, int] = self._long[key]
        return found

    def _mask(self, which: int) -> MaskSet:
        key = "mask", which
        if key not in self._long:
            self._long[key] = self.index.masks.read(which)
        found: MaskSet = self._long[key]
        return found

    def windows(self, number: int) -> NDArray[np.int32]:
        """Return int32[rows, 4]: windows of each row of masks; first and number of A's and B's."""
        key = "windows", number
        if key not in self._long:
            names = ("window_a", "windows_a", "window_b", "windows_b")
            a, n_a, b, n_b = (self._read(name, number) for name in names)
            for letter, first, n in (("a", a, n_a), ("b", b, n_b)):
                which = int(self.index.lists[f"mask_{letter}"][number])
                most = int(self.index.masks.sets["windows"][which])
                check_range(f"columns/window_{letter}", first, 0, most)
                check_range(f"columns/windows_{letter}", n, 0, most)
                check_range(f"columns/window_{letter} and windows_{letter}", first + n, 0, most)
            if float(n_a.astype(np.float64) @ n_b) > MOST_WINDOWS:
                raise DamageError(f"list {number} goes through more windows than can be")
            block = self.pattern(number)
            check_range("patterns of masks", block, 0, len(self.tables.period) - MASK_KINDS)
            if not self.tables.is_single[block[:, None] + np.arange(MASK_KINDS)].all():
                raise DamageError("patterns of masks have items with another count than 1")
            self._long[key] = np.stack([a, n_a, b, n_b], axis=1).astype(np.int32)
        found: NDArray[np.int32] = self._long[key]
        return found

    def forget(self, numbers: set[int]) -> None:
        """Drop what was read of lists of spans or masks, which others rarely want."""
        for cache in (self._cache, self._long):
            for key in [key for key in cache if key[1] in numbers and key[0] not in SHARED]:
                del cache[key]
