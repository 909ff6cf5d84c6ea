"""Kernels that expand rows of spans into accesses: bytes to entries, entries to accesses.

Entry ``k`` of a row begins ``k`` periods after it, with an ``a`` of ``k``; the last one's accesses
are as long as what is left.
"""

from typing import Any

from numpy.typing import NDArray

from .expand import A_STEP, ADDRESS, CYCLE, WORD
from .kernel import kernel

Array = NDArray[Any]
SIZE_SHIFT = 32
"""Place of the size in an item's word."""


@kernel
def fill(
    start: Array, shift: int, address: Array, offset: int, pattern: Array, span: Array,
    entries: Array, period: Array, size: Array, first: Array, item: Array, word: int, modulo: int,
    state: Array, out: Array,
) -> int:  # fmt: skip
    """Expand rows in their order into uint64[n, 3]; return how many accesses there are in it.

    It stops before the entry that has no room, and goes on there the next time.

    Parameters
    ----------
    start, address, pattern : int64[rows]
    shift, offset : int
        Added to start and address.
    span, entries : int64[rows]
        Bytes, and entries.
    period, size : int64[n_patterns]
        Cycles of an entry; bytes of all accesses but those of a row's last entry.
    first, item
        Items of patterns.
    word, modulo : int
        See `firemesh.traces.expand.place`.
    state : int64[2]
        Row and entry that come next; changed.
    """
    n, row, entry = 0, state[0], state[1]
    while row < len(start):
        of = pattern[row]
        begin, end = first[of], first[of + 1]
        if begin == end:
            entry = entries[row]
        while entry < entries[row]:
            if n + end - begin > len(out):
                state[0], state[1] = row, entry
                return n
            less = 0
            if entry == entries[row] - 1:
                less = (entry + 1) * size[of] - span[row] << SIZE_SHIFT
            for i in range(begin, end):
                byte = address[row] + offset + item[i, ADDRESS] + entry * item[i, A_STEP]
                out[n, 0] = start[row] + shift + entry * period[of] + item[i, CYCLE]
                out[n, 1] = byte % modulo if modulo > 0 else byte
                out[n, 2] = item[i, WORD] + word - less
                n += 1
            entry += 1
        row, entry = row + 1, 0
    state[0], state[1] = row, entry
    return n


@kernel
def within(begin: int, period: int, entries: int, low: int, high: int) -> tuple[int, int]:
    """Return which of entries that begin period after period do so in ``low`` to ``high``."""
    if period == 0:
        return 0, entries if low <= begin < high else 0
    return max(0, -((begin - low) // period)), min(entries, -((begin - high) // period))


@kernel
def count(
    start: Array, shift: int, pattern: Array, entries: Array, period: Array, beat_first: Array,
    beat: Array, low: int, high: int, total: Array,
) -> None:  # fmt: skip
    """Add the accesses of rows in each cycle from ``low`` on to int64[high - low] ``total``.

    Parameters as for `fill` and `firemesh.traces.expand.count_cycles`.
    """
    for row in range(len(start)):
        of = pattern[row]
        for k in range(beat_first[of], beat_first[of + 1]):
            begin = start[row] + shift + beat[k, 0]
            entry, end = within(begin, period[of], entries[row], low, high)
            at = begin + entry * period[of] - low
            for _ in range(entry, end):
                total[at] += beat[k, 1]
                at += period[of]


@kernel
def place(
    start: Array, shift: int, address: Array, offset: int, pattern: Array, span: Array,
    entries: Array, period: Array, size: Array, first: Array, item: Array, word: int, modulo: int,
    low: int, high: int, cursor: Array, out: Array,
) -> None:  # fmt: skip
    """Expand rows to the places that the cursors of their cycles tell.

    Parameters as for `fill` and `firemesh.traces.expand.place`.
    """
    for row in range(len(start)):
        of = pattern[row]
        for i in range(first[of], first[of + 1]):
            begin = start[row] + shift + item[i, CYCLE]
            entry, end = within(begin, period[of], entries[row], low, high)
            at = begin + entry * period[of]
            byte = address[row] + offset + item[i, ADDRESS] + entry * item[i, A_STEP]
            for k in range(entry, end):
                n = cursor[at - low]
                cursor[at - low] = n + 1
                out[n, 0] = at
                out[n, 1] = byte % modulo if modulo > 0 else byte
                out[n, 2] = item[i, WORD] + word
                if k == entries[row] - 1:
                    out[n, 2] = (
                        item[i, WORD] + word - ((k + 1) * size[of] - span[row] << SIZE_SHIFT)
                    )
                at += period[of]
                byte += item[i, A_STEP]
