"""Kernel that writes records as messages of protocol buffers, each behind its length."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

Array = NDArray[Any]
MOST_BYTES = 33
"""Of a message and its length: a byte each for five tags, the command and the length, and up to
10, 10, 3 and 3 bytes of a tick, an address, a size and a unit."""
TICK, COMMAND, ADDRESS, SIZE, OWNER = (np.uint8(field << 3) for field in (1, 2, 3, 4, 6))
"""Tags of the fields of gem5's ``Packet``, all of them varints."""
SEVEN, LOW, MORE = np.uint64(7), np.uint64(0x7F), np.uint64(0x80)
SIZE_PLACE, MASK = np.uint64(32), np.uint64(0xFFFF)


@kernel
def put_packets(record: Array, command: Array, out: Array) -> int:
    """Write a message for each record; return how many bytes.

    A varint holds seven bits in a byte, the lowest first; the highest bit says that more follow.

    Parameters
    ----------
    record : uint64[n, 3]
        Words of `firemesh.traces.schema.ACCESS`, cycles in ticks.
    command : uint8[2]
        Below 128: of a read and a write.
    out : uint8[n_bytes]
        Result; `MOST_BYTES` for each record suffice.
    """
    at = 0
    for i in range(len(record)):
        begin = at
        at += 1
        word = record[i, 2]
        for field in range(4):
            if field == 0:
                out[at] = TICK
                rest = record[i, 0]
            elif field == 1:
                out[at] = COMMAND
                out[at + 1] = command[np.int64(word >> np.uint64(56))]
                out[at + 2] = ADDRESS
                at += 2
                rest = record[i, 1]
            elif field == 2:
                out[at] = SIZE
                rest = (word >> SIZE_PLACE) & MASK
            else:
                out[at] = OWNER
                rest = word & MASK
            at += 1
            while rest > LOW:
                out[at] = (rest & LOW) | MORE
                rest >>= SEVEN
                at += 1
            out[at] = rest
            at += 1
        out[begin] = at - begin - 1
    return at
