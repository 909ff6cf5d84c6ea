"""Kernel that cuts accesses into records of a format: bursts, base addresses, another clock.

Words are those of `firemesh.traces.schema.ACCESS`: cycle, address, and unit, layer, size, memory
and op in 16, 16, 16, 8 and 8 bits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

Array = NDArray[Any]
MOST_PER = 1 << 32
"""Of ``per``, so that no product of two remainders goes beyond 64 bits."""
SIZE, MEMORY = np.uint64(32), np.uint64(48)
"""Places of size and memory in the word."""
MASK, BYTE, ZERO, ONE = np.uint64(0xFFFF), np.uint64(0xFF), np.uint64(0), np.uint64(1)
OTHERS = np.uint64(0xFFFF0000FFFFFFFF)
"""Bits of the word without the size's."""


@kernel
def cut(
    access: Array, base: Array, zero: int, times: int, per: int, burst: int, aligns: bool,
    merges: bool, n: int, out: Array,
) -> int:  # fmt: skip
    """Cut accesses into records; return how many there are in ``out``.

    All is reckoned in 64 bits without a sign; a cycle times ``times / per`` is exact where it is
    below 2**64, as products are of quotients and remainders.

    Parameters
    ----------
    access : uint64[n, 3]
    base : uint64[n_memories, n_units]
        Added to addresses.
    zero : int
        Cycle that becomes 0; none is before it.
    times, per : int
        A cycle is ``times / per`` of the consumer's, rounded down; ``per`` up to `MOST_PER`.
    burst : int
        Accesses are cut at its multiples; a power of two, or 0 for nowhere.
    aligns : bool
        Whether records are whole bursts.
    merges : bool
        Whether an access to the burst of the record before, of its unit, layer, memory and op,
        joins it: of whole bursts always, else where it goes on behind it.
    n : int
        Records that ``out`` holds already, 0 or 1.
    out : uint64[n_records, 3]
        Result; of each access at most ``size // burst + 2``, or 1 without cuts.
    """
    start, up, down = np.uint64(zero), np.uint64(times), np.uint64(per)
    whole, rest = up // down, up % down
    width = np.uint64(burst)
    inner = width - ONE if burst > 0 else ZERO
    since = tick = ZERO
    for i in range(len(access)):
        if i == 0 or access[i, 0] - start != since:
            since = access[i, 0] - start
            part = since % down
            tick = since // down * up + part * whole + part * rest // down
        word = access[i, 2]
        left = (word >> SIZE) & MASK
        at = access[i, 1] + base[np.int64((word >> MEMORY) & BYTE), np.int64(word & MASK)]
        head = word & OTHERS
        while left > ZERO:
            size, first, length = left, at, left
            if burst > 0:
                size = min(left, width - (at & inner))
                length = size
                if aligns:
                    first, length = at - (at & inner), width
            joins = False
            if merges and n > 0 and out[n - 1, 2] & OTHERS == head:
                before = out[n - 1, 1]
                if aligns:
                    joins = before == first
                else:
                    had = (out[n - 1, 2] >> SIZE) & MASK
                    joins = before + had == at and (before ^ at) <= inner
                    if joins:
                        out[n - 1, 2] = head | (had + size) << SIZE
            if not joins:
                out[n, 0] = tick
                out[n, 1] = first
                out[n, 2] = head | length << SIZE
                n += 1
            at += size
            left -= size
    return n
