"""Two streams of rows, side by side, up to the first row that differs."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .rows import Rows, What, first_difference
from .same import Stored
from .sides import Side

CONTEXT = 4
"""Rows that are told before the first difference, and from it on."""
CYCLE = 0
FEW_CYCLES = 64


@dataclass(frozen=True)
class Divergence:
    """The first row, in order of cycles, that is in one trace and not in the other.

    Rows are dicts by names, as the command prints them. Rows of a cycle are in the order of their
    fields, however they are stored.

    Parameters
    ----------
    cycle : int
        Of the first row that differs.
    side : {"a", "b"}
        Which trace has it; the other has not.
    row : dict
    before : list of dict
        The last rows before it, which are alike in both.
    a, b : list of dict
        The next rows of each, from the first difference on; none where the stream has ended.
    """

    cycle: int
    side: str
    row: dict[str, Any]
    before: list[dict[str, Any]]
    a: list[dict[str, Any]]
    b: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


class Stream:
    """Rows of one side, segment by segment.

    Attributes
    ----------
    next : int
        Place of the segment that is opened next.
    rest : uint64[n, k]
        Rows that were read and not yet compared.
    is_open : bool
        Whether the segment before ``next`` may hold more.
    """

    def __init__(self, side: Side, what: What) -> None:
        self.side, self._what = side, what
        self.next, self.is_open = 0, False
        self.rest: Rows = np.empty((0, what.width), np.uint64)
        self._blocks: Iterator[Rows] = iter(())

    @property
    def has_more(self) -> bool:
        """Whether there may be rows behind ``rest``."""
        return self.is_open or self.next < len(self.side.segments)

    def load(self) -> bool:
        """Read a block of the open segment; return whether there was one."""
        block = next(self._blocks, None) if self.is_open else None
        self.is_open = block is not None
        if block is not None:
            self.rest = block if not len(self.rest) else np.concatenate([self.rest, block])
        return self.is_open

    def open(self) -> None:
        """Begin with the next segment."""
        self._blocks = self._what.rows(self.side, self.next)
        self.next, self.is_open = self.next + 1, True

    def before(self, cycle: int) -> int:
        """Return how many rows lie before a cycle."""
        return int(np.searchsorted(self.rest[:, CYCLE], np.uint64(cycle)))

    def sort(self, n: int) -> Rows:
        """Bring the first ``n`` rows, whole cycles, in their own order and return them."""
        self.rest[:n] = self.rest[:n][self._what.order(self.rest[:n])]
        return self.rest[:n]

    def head(self) -> Rows:
        """Return the first rows, in their own order."""
        while self.has_more and not (
            len(self.rest) and self.before(int(self.rest[-1, CYCLE])) >= CONTEXT
        ):
            self.load_beyond(int(self.rest[-1, CYCLE]) if len(self.rest) else 0)
        n = self.before(int(self.rest[-1, CYCLE])) if self.has_more else len(self.rest)
        return self.sort(n)[:CONTEXT]

    def load_beyond(self, cycle: int) -> None:
        """Read until there is a row behind a cycle, or nothing more."""
        while self.has_more and not (len(self.rest) and self.rest[-1, CYCLE] > cycle):
            if not self.load() and self.next < len(self.side.segments):
                self.open()


class Pair:
    """The streams of both sides.

    Parameters
    ----------
    a, b : Side
    what : What
    stored : Stored
        Tells which segments need not be read.
    progress : callable
        Called with the segments of A that are done.
    """

    def __init__(
        self, a: Side, b: Side, what: What, stored: Stored, progress: Callable[[int], None]
    ) -> None:
        self._a, self._b, self._what, self._stored = Stream(a, what), Stream(b, what), what, stored
        self._tail: Rows = np.empty((0, what.width), np.uint64)
        self._progress = progress
        self.skipped, self._passed = 0, -1

    def divergence(self) -> Divergence | None:
        """Return the first row that differs, None where all are alike."""
        a, b = self._a, self._b
        while self._advance():
            n = min(len(a.rest), len(b.rest))
            same = first_difference(a.rest[:n], b.rest[:n])
            self._drop(same)
            if same < n or not n:
                found = self._settle()
                if found:
                    return found
        return None

    def _advance(self) -> bool:
        """Read until both have rows, or one has none to come; return whether there are any."""
        a, b = self._a, self._b
        while True:
            for one in (a, b):
                while not len(one.rest) and one.is_open:
                    one.load()
            empty = [one for one in (a, b) if not len(one.rest)]
            if not empty:
                return True
            if len(empty) == 2 and self._skip():
                continue
            coming = [one for one in empty if one.has_more]
            if not coming:
                return len(empty) < 2
            for one in coming:
                one.open()
            self._progress(a.next)

    def _skip(self) -> bool:
        """Pass over the next segments where they are stored alike."""
        a, b = self._a, self._b
        if a.next == len(a.side.segments) or b.next == len(b.side.segments):
            return False
        if not self._stored.is_same(a.next, b.next):
            return False
        self._passed, self._tail = a.next, self._tail[:0]
        a.next, b.next, self.skipped = a.next + 1, b.next + 1, self.skipped + 1
        self._progress(a.next)
        return True

    def _drop(self, n: int) -> None:
        """Leave rows behind that are alike; the last whole cycles of them are kept to be told."""
        if n:
            gone, start = self._a.rest[:n], _start_of_tail(self._a.rest[:n])
            tail = gone[start:] if start else np.concatenate([self._tail, gone])
            self._tail = tail[_start_of_tail(tail) :].copy()
            self._a.rest, self._b.rest = self._a.rest[n:], self._b.rest[n:]

    def _settle(self) -> Divergence | None:
        """Compare the rows of whole cycles, in their own order, from the first that seem to differ.

        Returns
        -------
        Divergence or None
            None where only the order within cycles differs.
        """
        streams = self._a, self._b
        cycle = min(int(one.rest[0, CYCLE]) for one in streams if len(one.rest))
        begun = int(np.searchsorted(self._tail[:, CYCLE], np.uint64(cycle)))
        for one in streams:
            one.load_beyond(cycle)
            if begun < len(self._tail):
                one.rest = np.concatenate([self._tail[begun:], one.rest])
        self._tail = self._tail[:begun]
        ends = [int(one.rest[-1, CYCLE]) for one in streams if one.has_more]
        first, second = (
            one.sort(one.before(min(ends)) if ends else len(one.rest)) for one in streams
        )
        n = min(len(first), len(second))
        same = first_difference(first[:n], second[:n])
        is_same = len(first) == len(second) == same
        self._drop(same)
        return None if is_same else self._tell()

    def _tell(self) -> Divergence:
        tell = self._what.tell
        a, b = self._a.head(), self._b.head()
        rows = [(side, one[:1]) for side, one in (("a", a), ("b", b)) if len(one)]
        order = self._what.order(np.concatenate([one for _, one in rows]))
        side, first = rows[int(order[0])]
        tail = self._tail[self._what.order(self._tail)][-CONTEXT:]
        before = np.concatenate([self._last(CONTEXT - len(tail)), tail])
        row = tell(first[0])
        return Divergence(
            row["cycle"], side, row, [tell(one) for one in before],
            [tell(one) for one in a], [tell(one) for one in b],
        )  # fmt: skip

    def _last(self, n: int) -> Rows:
        """Return the last ``n`` rows of the segments up to the one that was passed over last."""
        found: Rows = np.empty((0, self._what.width), np.uint64)
        i, side = self._passed, self._a.side
        while n > len(found) and i >= 0:
            low, high = (int(side.trace.segments[side.segments[i]][f"cycle{k}"]) for k in (0, 1))
            cycles, last = FEW_CYCLES, found[:0]
            while len(last) < n and cycles < FEW_CYCLES * (high - low):
                part = replace(side, low=max(side.low, high - cycles))
                blocks = [block[-n:] for block in self._what.rows(part, i)]
                last = np.concatenate([last[:0], *blocks])
                cycles *= FEW_CYCLES
            last = last[self._what.order(last)]
            found = np.concatenate([last, found])[-n:]
            i -= 1
        return found


def _start_of_tail(rows: Rows) -> int:
    """Return where the cycle begins that holds the nth row before those of the last cycle."""
    cycles = rows[:, CYCLE]
    last = int(np.searchsorted(cycles, cycles[-1]))
    return int(np.searchsorted(cycles, cycles[max(0, last - CONTEXT)]))
