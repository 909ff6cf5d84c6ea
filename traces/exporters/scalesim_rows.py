"""Rows of SCALE-Sim's traces: ``cycle,element,element,...``, filled up with -1."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel
from .scalesim_operands import Elements, Ints

Array = NDArray[Any]
COMMA, MINUS, ONE, NEWLINE, ZERO = (ord(c) for c in ",-1\n0")
MOST_CYCLE, MOST_ELEMENT = 20, 9
"""Bytes of a row's cycle and newline, and of an element with its comma."""
TEXT_BYTES = 1 << 22


@kernel
def put_number(number: int, text: Array, at: int) -> int:
    """Write a number in decimal; return where it ends."""
    digits, left = 1, number // 10
    while left > 0:
        digits += 1
        left //= 10
    for place in range(at + digits - 1, at - 1, -1):
        text[place] = ZERO + number % 10
        number //= 10
    return at + digits


@kernel
def put_rows(
    cycle: Array, first: Array, count: Array, end: int, is_every: bool, width: int, state: Array,
    text: Array,
) -> int:  # fmt: skip
    """Write rows as long as there is room; return how many bytes.

    Parameters
    ----------
    cycle, first, count : int64[n]
        Elements, in order of cycles.
    end : int
        The cycle before which rows are written.
    is_every : bool
        Whether cycles without elements have a row.
    width : int
        Elements of a row.
    state : int64[2]
        The next element, and the next row's cycle; changed.
    text : uint8[n_bytes]
        Result.
    """
    at, i, row = 0, state[0], state[1]
    room = MOST_CYCLE + 1 + MOST_ELEMENT * width
    while row < end and at + room <= len(text):
        if not is_every:
            if i >= len(cycle):
                break
            row = cycle[i]
        at = put_number(row, text, at)
        left = width
        while i < len(cycle) and cycle[i] == row:
            for k in range(min(count[i], left)):
                text[at] = COMMA
                at = put_number(first[i] + k, text, at + 1)
            left -= count[i]
            i += 1
        for _ in range(left):
            text[at], text[at + 1], text[at + 2] = COMMA, MINUS, ONE
            at += 3
        text[at] = NEWLINE
        at += 1
        row += 1
    state[0], state[1] = i, row
    return at


def whole_cycles(parts: Iterable[Elements]) -> Iterator[Elements]:
    """Yield elements so that those of a cycle are in one part."""
    kept = Elements(*(np.empty(0, np.int64) for _ in Elements._fields))
    for part in parts:
        part = Elements(*(np.concatenate(both) for both in zip(kept, part, strict=True)))
        at = int(np.searchsorted(part.cycle, part.cycle[-1]))
        kept = Elements(*(column[at:].copy() for column in part))
        if at:
            yield Elements(*(column[:at] for column in part))
    if len(kept.cycle):
        yield kept


def most_at_once(part: Elements) -> int:
    """Return the most elements of a cycle."""
    begin: Ints = np.flatnonzero(np.diff(part.cycle, prepend=-1))
    return int(np.add.reduceat(part.n, begin).max())


def write_rows(
    file: IO[bytes], parts: Iterable[Elements], low: int, high: int, width: int, is_every: bool
) -> None:
    """Write rows of the cycles from ``low`` to ``high``.

    Parameters
    ----------
    file : file
    parts : iterable
        All elements of a cycle are in one of them.
    low, high : int
    width : int
        At least `most_at_once`.
    is_every : bool
    """
    text = np.empty(max(TEXT_BYTES, MOST_CYCLE + 1 + MOST_ELEMENT * width), np.uint8)
    state = np.array([0, low], np.int64)

    def put(part: Elements, end: int) -> None:
        state[0] = 0
        while n := put_rows(*part, end, is_every, width, state, text):
            file.write(text[:n].data)

    for part in parts:
        put(part, int(part.cycle[-1]) + 1)
    if is_every:
        put(Elements(*(np.empty(0, np.int64) for _ in Elements._fields)), high)
