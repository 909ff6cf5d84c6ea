"""Kernel that writes accesses as changes of signals, in VCD's text.

A port has three signals: ``valid``, ``address``, ``size``. In a cycle with an access it is valid;
in the next without one it is not, and address and size are ``z``, no one's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

Array = NDArray[Any]
ADDRESS_BITS, SIZE_BITS = 64, 16
TIME, CYCLE, OPEN = range(3)
"""Of the state: the time that was written last, the cycle of the last access, ports that are valid
in it."""
MOST_DIGITS = 20
MOST_ID = 5
"""Letters of a signal's name, at most."""
MOST_BYTES = (MOST_DIGITS + 2) * 2 + (MOST_ID + 2) * 2 + (MOST_ID + 4) * 2 + ADDRESS_BITS
MOST_BYTES += SIZE_BITS + (MOST_ID + 4) * 2
"""Of an access: times and all its signals, there and back."""


@kernel
def put_changes(
    cycle: Array, address: Array, size: Array, port: Array, first: Array, letter: Array,
    bits: Array, seen: Array, value: Array, valid: Array, state: Array, end: int, text: Array,
) -> int:  # fmt: skip
    """Write the changes of accesses; return how many bytes.

    Parameters
    ----------
    cycle, address, size, port : int64[n]
        Accesses by cycle, all of a cycle; a port has one in a cycle at most.
    first : int64[3 * n_ports + 1]
        Where names of signals begin in ``letter``: valid, address and size of each port.
    letter : uint8[n_letters]
    bits : int64[n_ports]
        Of an address.
    seen : int64[n_ports]
        Cycle of the last access, -1 for none; changed.
    value : int64[n_ports, 2]
        Its address and size; changed.
    valid : int64[n_ports]
        Ports that are valid, the first of them; changed.
    state : int64[3]
        See `TIME`; changed.
    end : int
        Time up to which all is known: what is valid and no longer so at it is written; -1: not yet.
    text : uint8[n_bytes]
        Result; `MOST_BYTES` for each access and for each port.
    """
    at, i, n = 0, 0, len(cycle)
    while i < n or (end >= 0 and state[2] > 0 and end > state[1]):
        after = state[1] + 1
        now = after if i >= n or (state[2] > 0 and cycle[i] > after) else cycle[i]
        last = i
        while last < n and cycle[last] == now:
            seen[port[last]] = now
            last += 1
        kept = 0
        changes = last > i
        for k in range(state[2]):
            changes = changes or seen[valid[k]] != now
        if changes and state[0] != now:
            at = put_time(now, text, at)
            state[0] = now
        for k in range(state[2]):
            one = valid[k]
            if seen[one] == now:
                valid[kept] = one
                kept += 1
                continue
            text[at] = 48
            at = put_name(first, letter, 3 * one, text, at + 1)
            for signal in range(1, 3):
                text[at], text[at + 1], text[at + 2] = 98, 122, 32
                at = put_name(first, letter, 3 * one + signal, text, at + 3)
            value[one, 0] = value[one, 1] = -1
        for access in range(i, last):
            one = port[access]
            if value[one, 0] < 0:
                text[at] = 49
                at = put_name(first, letter, 3 * one, text, at + 1)
                valid[kept] = one
                kept += 1
            if value[one, 0] != address[access]:
                value[one, 0] = address[access]
                at = put_bits(address[access], bits[one], text, at)
                at = put_name(first, letter, 3 * one + 1, text, at)
            if value[one, 1] != size[access]:
                value[one, 1] = size[access]
                at = put_bits(size[access], 16, text, at)
                at = put_name(first, letter, 3 * one + 2, text, at)
        state[1], state[2], i = now, kept, last
    return at


@kernel
def put_time(time: int, text: Array, at: int) -> int:
    """Write a time; return where the text goes on."""
    text[at] = 35
    digits, left = 1, time // 10
    while left > 0:
        digits += 1
        left //= 10
    for place in range(at + digits, at, -1):
        text[place] = 48 + time % 10
        time //= 10
    text[at + digits + 1] = 10
    return at + digits + 2


@kernel
def put_name(first: Array, letter: Array, signal: int, text: Array, at: int) -> int:
    """Write a signal's name and the end of the line; return where the text goes on."""
    for k in range(first[signal], first[signal + 1]):
        text[at] = letter[k]
        at += 1
    text[at] = 10
    return at + 1


@kernel
def put_bits(number: int, bits: int, text: Array, at: int) -> int:
    """Write a number in binary and a space; return where the text goes on."""
    text[at] = 98
    at += 1
    for k in range(bits - 1, -1, -1):
        text[at] = 48 + (number >> k & 1)
        at += 1
    text[at] = 32
    return at + 1


class Changes:
    """The state of all ports, and the text of what changes.

    Parameters
    ----------
    names : list of bytes
        Of the signals valid, address and size of each port.
    bits : int64[n_ports]
        Of an address.
    """

    def __init__(self, names: list[bytes], bits: NDArray[np.int64]) -> None:
        n = len(bits)
        self._first = np.concatenate([[0], np.cumsum([len(name) for name in names])])
        self._letter = np.frombuffer(b"".join(names), np.uint8)
        self._bits, self._seen = bits, np.full(n, -1, np.int64)
        self._value, self._valid = np.full((n, 2), -1, np.int64), np.zeros(n, np.int64)
        self._state = np.array([-1, -1, 0], np.int64)

    def text(self, columns: tuple[Array, Array, Array, Array], end: int = -1) -> NDArray[np.uint8]:
        """Return the text of accesses: cycle, address, size, port; see `put_changes`."""
        columns = tuple(np.ascontiguousarray(one, np.int64) for one in columns)  # type: ignore
        text = np.empty(MOST_BYTES * (len(columns[0]) + len(self._bits)), np.uint8)
        n = put_changes(
            *columns, self._first, self._letter, self._bits, self._seen, self._value, self._valid,
            self._state, end, text,
        )  # fmt: skip
        return text[:n]

    def time(self, time: int) -> str:
        """Return a line that tells a time if it was not told last; what was before is told."""
        if self._state[TIME] == time:
            return ""
        self._state[TIME] = time
        return f"#{time}\n"
