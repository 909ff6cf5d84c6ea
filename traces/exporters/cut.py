"""Kernel that cuts accesses into records of a format: bursts, base addresses, another clock.

Words are those of `firemesh.traces.schema.ACCESS`: cycle, address, and unit, layer, size, memory
and op in 16, 16, 16, 8 and 8 bits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

Array = NDArray[Any]
SIZE, MEMORY = np.uint64(32), np.uint64(48)
"""Places of size and memory in the word."""
MASK, BYTE, ZERO = np.uint64(0xFFFF), np.uint64(0xFF), np.uint64(0)
OTHERS = np.uint64(0xFFFF0000FFFFFFFF)
"""Bits of the word without the size's."""


@kernel
def cut(
    access: Array, base: Array, zero: int, times: int, per: int, burst: int, aligns: bool,
    merges: bool, n: int, out: Array,
) -> int:  # fmt: skip
    """Cut accesses into records; return how many there are in ``out``.

    Parameters
    ----------
    access : uint64[n, 3]
    base : uint64[n_memories, n_units]
        Added to addresses.
    zero : int
        Cycle that becomes 0.
    times, per : int
        A cycle is ``times / per`` of the consumer's, rounded down.
    burst : int
        Accesses are cut at its multiples; 0 for nowhere.
    aligns : bool
        Whether records are whole bursts.
    merges : bool
        Whether an access to the burst of the record before, of its unit, memory and op, joins it:
        of whole bursts always, else where it goes on behind it.
    n : int
        Records that ``out`` holds already, 0 or 1.
    out : uint64[n_records, 3]
        Result.
    """
    for i in range(len(access)):
        word = access[i, 2]
        left = np.int64((word >> SIZE) & MASK)
        at = np.int64(access[i, 1] + base[(word >> MEMORY) & BYTE, word & MASK])
        tick = (np.int64(access[i, 0]) - zero) * times // per
        head = word & OTHERS
        while left > 0:
            size = left
            first = at
            if burst > 0:
                size = min(left, burst - at % burst)
                if aligns:
                    first = at - at % burst
            whole = burst if aligns else size
            joins = False
            if merges and n > 0 and out[n - 1, 2] & OTHERS == head:
                before = np.int64(out[n - 1, 1])
                length = np.int64((out[n - 1, 2] >> SIZE) & MASK)
                if aligns:
                    joins = before == first
                else:
                    joins = before + length == at and before // burst == at // burst
                    if joins:
                        out[n - 1, 2] = head | (np.uint64(length + size) << SIZE)
            if not joins:
                out[n, 0] = np.uint64(tick)
                out[n, 1] = np.uint64(first)
                out[n, 2] = head | (np.uint64(whole) << SIZE)
                n += 1
            at += size
            left -= size
    return n
