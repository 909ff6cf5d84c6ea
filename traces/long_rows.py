"""Members of lists whose rows are too long to be told entry by entry: spans and masks."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import pairs, spans
from .decode import Segment
from .errors import DamageError
from .members import BLOCK, Ints, Member, Words
from .schema import ACCESS, MASK_KINDS
from .shapes import Shapes

MOST_ACCESSES = 1 << 61


class LongRows(Member):
    """Rows that are expanded bit by bit, so that blocks may end within them."""

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the accesses of the rows in their order, in blocks."""
        state, left = np.zeros(3, np.int64), self.total
        while left > 0:
            block = np.empty((min(left, BLOCK + self.most), 3), np.uint64)
            n = self.fill(state, block)
            if not n:
                raise DamageError(f"list {self.number} holds fewer accesses than its rows tell")
            left -= n
            yield block[:n].view(ACCESS)[:, 0]

    @property
    def most(self) -> int:
        """Accesses that are not parted, at most."""
        raise NotImplementedError

    def fill(self, state: Ints, out: Words) -> int:
        """Expand rows from where ``state`` tells; return how many accesses they are."""
        raise NotImplementedError


class SpanRows(LongRows):
    """Rows of spans."""

    def __init__(
        self, segment: Segment, number: int, member: int, shapes: Shapes, layer: int
    ) -> None:
        super().__init__(segment, number, member, shapes, layer)
        self._span, self._entries = segment.span(number)

    @cached_property
    def counts(self) -> Ints:
        """int64[rows]: accesses of each row."""
        return self._shapes.accesses[self._pattern] * self._entries

    @property
    def most(self) -> int:
        """Accesses of an entry, at most."""
        return int(self._shapes.accesses.max(initial=0))

    def _of(self, rows: slice) -> Any:
        """Return what all kernels of spans take, of rows."""
        (start, shift), tables, shapes = self._start, self.segment.tables, self._shapes
        return (
            start[rows], shift, self._address[rows], self._offset, self._pattern[rows],
            self._span[rows], self._entries[rows], tables.period, tables.size, shapes.first,
            shapes.item, self._word, self._modulo,
        )  # fmt: skip

    def fill(self, state: Ints, out: Words) -> int:
        """Expand rows from where ``state`` tells; return how many accesses they are."""
        arguments = *self._of(slice(None)), state, out
        return spans.fill(*arguments)

    def span(self, low: int, high: int) -> slice | None:
        """Return rows that may have accesses in cycles ``low`` to ``high``; None for none."""
        first, end = self.rows(low, high)
        return slice(first, end) if first < end else None

    def count(self, part: slice, low: int, high: int, total: Ints, change: Ints) -> None:
        """Count the accesses of rows, see `Member.count`."""
        (start, shift), shapes = self._start, self._shapes
        spans.count(
            start[part], shift, self._pattern[part], self._entries[part],
            self.segment.tables.period, shapes.beat_first, shapes.beat, low, high, total,
        )  # fmt: skip

    def place(self, part: slice, low: int, high: int, cursor: Ints, out: Words) -> None:
        """Expand rows to the places that the cursors of their cycles tell."""
        arguments = *self._of(part), low, high, cursor, out
        spans.place(*arguments)


class MaskRows(LongRows):
    """Rows of masks. In the order of cycles each row keeps the window that it has reached."""

    def __init__(
        self, segment: Segment, number: int, member: int, shapes: Shapes, layer: int
    ) -> None:
        super().__init__(segment, number, member, shapes, layer)
        self._windows = segment.windows(number)
        self._a, self._b, self._lanes = segment.masks(number)
        self._empty = int(segment.index.lists["empty"][number])
        self._first, self._low = 0, 0
        self._reached = self._spent = np.zeros(0, np.int64)

    @cached_property
    def _of_kind(self) -> Ints:
        """int64[rows, 4]: accesses of an entry of each kind."""
        accesses: Ints = self._shapes.accesses[self._pattern[:, None] + np.arange(MASK_KINDS)]
        return accesses

    @cached_property
    def counts(self) -> Ints:
        """int64[rows]: accesses of each row."""
        times = np.empty((len(self._pattern), MASK_KINDS), np.int64)
        times[:, 0], times[:, 2], times[:, 3] = self.segment.measured(self.number).T
        windows = self.segment.n_entries(self.number, self._member)
        times[:, 1] = windows if self._empty else times[:, 2]
        of_kind = self._of_kind
        most = int(times.max(initial=0)) * int(of_kind.max(initial=0))
        if most * times.size > MOST_ACCESSES:
            raise DamageError(f"list {self.number} holds more accesses than can be")
        counts: Ints = (times * of_kind).sum(axis=1)
        return counts

    @property
    def most(self) -> int:
        """Accesses of a window, at most."""
        pairs_and_cycles = (self._lanes + 1) * len(self._a.within) + 2
        return pairs_and_cycles * int(self._of_kind.max(initial=0))

    def forget(self) -> None:
        """Drop what can be told again."""
        super().forget()
        self.__dict__.pop("_of_kind", None)

    def _of(self, rows: slice) -> Any:
        """Return what kernels that expand masks take, of rows."""
        (start, shift), shapes = self._start, self._shapes
        return (
            start[rows], shift, self._address[rows], self._offset, self._pattern[rows],
            self._windows[rows], *self._a, *self._b, self._lanes, len(self._a.tail), self._empty,
            shapes.first, shapes.item, self._word, self._modulo,
        )  # fmt: skip

    def fill(self, state: Ints, out: Words) -> int:
        """Expand rows from where ``state`` tells; return how many accesses they are."""
        arguments = *self._of(slice(None)), state, out
        return pairs.fill(*arguments)

    @cached_property
    def _item_cycles(self) -> tuple[int, int]:
        """The least and the largest cycle of an item."""
        cycles = self._shapes.beat[:, 0]
        return int(cycles.min(initial=0)), int(cycles.max(initial=0))

    def span(self, low: int, high: int) -> slice | None:
        """Return rows that may have accesses in cycles ``low`` to ``high``; None for none."""
        first, end = self.rows(low, high)
        if low < self._low or first > self._first + len(self._reached):
            self._reached = self._spent = np.zeros(0, np.int64)
            self._first = first
        self._low = low
        over, missing = first - self._first, end - self._first - len(self._reached)
        if over > 0 or missing > 0:
            more = np.zeros(max(0, missing), np.int64)
            self._reached = np.concatenate([self._reached[over:], more])
            self._spent = np.concatenate([self._spent[over:], more])
            self._first = first
        return slice(first, end) if first < end else None

    def _progress(self, part: slice) -> tuple[Ints, Ints]:
        n = part.stop - part.start
        return self._reached[:n], self._spent[:n]

    def count(self, part: slice, low: int, high: int, total: Ints, change: Ints) -> None:
        """Count the accesses of rows, see `Member.count`."""
        (start, shift), shapes, a, b = self._start, self._shapes, self._a, self._b
        pairs.count(
            start[part], shift, self._pattern[part], self._windows[part], a.words, a.jump,
            a.stride, b.words, b.jump, b.stride, self._lanes, len(a.tail), self._empty,
            shapes.beat_first, shapes.beat, *self._item_cycles, low, high, *self._progress(part),
            change,
        )  # fmt: skip

    def place(self, part: slice, low: int, high: int, cursor: Ints, out: Words) -> None:
        """Expand rows to the places that the cursors of their cycles tell."""
        window = *self._item_cycles, low, high
        arguments = *self._of(part), *window, *self._progress(part), cursor, out
        pairs.place(*arguments)
