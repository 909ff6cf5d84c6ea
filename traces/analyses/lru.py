"""LRU stacks: how many other blocks were touched since a block's last touch, exactly.

Each stack gives its touches numbers, its **stamps**, in order. A stamp is **live** while no later
touch is of the same block; bits tell which are. The distance of a touch is the number of live
stamps behind the block's last one. Bits of the last words are counted one by one; those before
are counted by a Fenwick tree over words. When the stamps are used up, the live ones are numbered
anew, so that a stack takes memory for its blocks and not for its touches.

Source: F. Olken, Efficient methods for calculating the success function of fixed space
replacement policies, 1981 (counting by trees).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel, lowest_bit, popcount

Array = NDArray[Any]
Ints = NDArray[np.int64]
NOW, LIVE, BLOCK0, BLOCKS, STAMP0, STAMPS, BIN, BIN_END, BIN_STAMP = range(9)
"""Of a stack: stamps used and live, its part of ``last``, its part of ``owner``, and the bin of
time that it has reached, with the cycle behind it and the stamp that it began with."""
FIELDS = 9
STATUS, STACK, WANTED, RESUME = range(4)
"""Of a call: what is missing, to which stack, the block that it met, and where to go on."""
DONE, NEEDS_BLOCKS, NEEDS_STAMPS = range(3)
FRESH = 16
"""Words behind those that the tree counts."""
SUB_BITS = 11
EXACT = 2 << SUB_BITS
"""Distances below it have a bin of their own."""
SHIFT, SMALL = 40, 1 << 23
"""An address below 2**23 times ``ceil(2**40 / bytes)`` fits 63 bits, and divided by 2**40 is the
address divided by the bytes, which are at most 2**16."""
SIZE, MEMORY = np.uint64(32), np.uint64(48)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)
ONE, ALL_BITS = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)


class Stacks(NamedTuple):
    """Stacks of all units and memories.

    Parameters
    ----------
    stack : int64[n, 9]
        `NOW` and the next; stack of unit u and memory m is row ``u * n_memories + m``.
    last : int32[...]
        Of a block: its last stamp plus 1, 0 without one.
    owner : int32[...]
        Of a stamp: its block.
    bits : uint64[...]
        Of 64 stamps: which are live.
    tree : int32[...]
        Of words of bits: a Fenwick tree of how many are live.
    """

    stack: Ints
    last: NDArray[np.int32]
    owner: NDArray[np.int32]
    bits: NDArray[np.uint64]
    tree: NDArray[np.int32]


@kernel
def bin_of(distance: int) -> int:
    """Return the bin of a distance: up to 4095 its own, then 2048 for each power of two."""
    shift = 0
    while distance >> shift >= EXACT:
        shift += 1
    return (shift << SUB_BITS) + (distance >> shift)


@kernel
def compact(one: int, stamp0: int, stamps: int, stack: Array, last: Array, owner: Array,
            bits: Array, tree: Array) -> None:  # fmt: skip
    """Renumber the live stamps of a stack from 0, in its own part or a larger one.

    Parameters
    ----------
    one : int
        The stack.
    stamp0, stamps : int
        The part of ``owner`` that it goes to, multiples of 64.
    stack, last, owner, bits, tree
        See `Stacks`; changed.
    """
    block0, old0 = stack[one, BLOCK0], stack[one, STAMP0]
    live, before = 0, 0
    for at in range((stack[one, NOW] + 63) >> 6):
        word = bits[(old0 >> 6) + at]
        while word:
            stamp = 64 * at + lowest_bit(word)
            word &= word - ONE
            block = owner[old0 + stamp]
            owner[stamp0 + live] = block
            live += 1
            last[block0 + block] = live
            if stamp < stack[one, BIN_STAMP]:
                before = live
    word0, words = stamp0 >> 6, stamps >> 6
    counted = max(0, ((live - 1) >> 6) - FRESH)
    for i in range(words):
        left = live - 64 * i
        bits[word0 + i] = ALL_BITS if left >= 64 else (ONE << np.uint64(max(0, left))) - ONE
        low = (i + 1) & -(i + 1)
        tree[word0 + i] = 64 * max(0, min(i + 1, counted) - (i + 1 - low))
    stack[one, NOW], stack[one, STAMP0], stack[one, STAMPS] = live, stamp0, stamps
    stack[one, BIN_STAMP] = before


@kernel
def behind(before: Any, here: int, words: int, word0: int, live: int, bits: Array,
           tree: Array) -> int:  # fmt: skip
    """Return how many live stamps are behind one, which is live no more from now on.

    Parameters
    ----------
    before, here : int
        The stamp, and the word that stamps have come to.
    words, word0, live : int
        Of the stack: words, the first one's place, and live stamps.
    bits, tree
        See `Stacks`; changed.
    """
    there, bit = before >> 6, np.uint64(before & 63)
    at = word0 + there
    word = bits[at]
    bits[at] = word & ~(ONE << bit)
    if there >= here - FRESH:
        distance = popcount(word >> bit) - 1
        for i in range(at + 1, word0 + here + 1):
            distance += popcount(bits[i])
        return distance
    distance = live - popcount(word << (np.uint64(63) - bit))
    i = there
    while i > 0:
        distance -= int(tree[word0 + i - 1])
        i &= i - 1
    i = there + 1
    while i <= words:
        tree[word0 + i - 1] -= 1
        i += i & -i
    return distance


@kernel
def begin_word(here: int, words: int, word0: int, bits: Array, tree: Array) -> None:
    """Have the tree count the word that is no longer one of the last, as word ``here`` begins."""
    i, n = here - FRESH, popcount(bits[word0 + here - FRESH - 1])
    while i <= words:
        tree[word0 + i - 1] += n
        i += i & -i


@kernel
def make_room(one: Any, block: int, call: Array, stack: Array, last: Array, owner: Array,
              bits: Array, tree: Array) -> bool:  # fmt: skip
    """Tell whether a stack has room for a touch, after renumbering; else note what is missing."""
    call[STATUS] = DONE
    if block < 0 or block >= stack[one, BLOCKS]:
        call[STATUS] = NEEDS_BLOCKS
    elif 2 * stack[one, LIVE] >= stack[one, STAMPS]:
        call[STATUS] = NEEDS_STAMPS
    else:
        stamp0, stamps = stack[one, STAMP0], stack[one, STAMPS]
        compact(one, stamp0, stamps, stack, last, owner, bits, tree)
        return True
    call[STACK], call[WANTED], call[RESUME] = one, block, block
    return False


@kernel
def follow(
    access: Array, first: int, n_memories: int, block_bytes: Array, factor: Array, low: int,
    width: int, stack: Array, last: Array, owner: Array, bits: Array, tree: Array, call: Array,
    histogram: Array, total: Array, touched: Array,
) -> int:  # fmt: skip
    """Follow accesses in order of cycles; return the one before which something is missing.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses.
    first : int
        Where to begin.
    n_memories : int
    block_bytes, factor : int64[n_memories]
        At most 65,536 bytes, and ``ceil(2**40 / bytes)``, by which small addresses are divided.
    low, width : int
        First cycle, and cycles of a bin of time.
    stack, last, owner, bits, tree
        See `Stacks`; changed.
    call : int64[4]
        `STATUS` and the next; changed.
    histogram : int64[n_memories, n]
        Distances by `bin_of`; changed.
    total : int64[n_memories]
        Sum of the distances; changed.
    touched : int64[n_memories, n_bins]
        Different blocks of all units in each bin of time; changed.
    """
    for i in range(first, len(access)):
        cycle, address, word = np.int64(access[i, 0]), np.int64(access[i, 1]), access[i, 2]
        m = np.int64((word >> MEMORY) & BYTE)
        one, size = np.int64(word & MASK) * n_memories + m, block_bytes[m]
        is_small = 0 <= address < SMALL
        begin = address * factor[m] >> SHIFT if is_small else address // size
        behind_last = address + np.int64((word >> SIZE) & MASK)
        end = begin if behind_last <= (begin + 1) * size else (behind_last - 1) // size
        if call[RESUME] >= 0:
            begin, call[RESUME] = call[RESUME], -1
        for block in range(begin, end + 1):
            has_place = 0 <= block < stack[one, BLOCKS]
            if not has_place or stack[one, NOW] >= stack[one, STAMPS]:
                if not make_room(one, block, call, stack, last, owner, bits, tree):
                    return i
            now, stamp0 = stack[one, NOW], stack[one, STAMP0]
            if cycle >= stack[one, BIN_END]:
                stack[one, BIN] = (cycle - low) // width
                stack[one, BIN_END] = low + (stack[one, BIN] + 1) * width
                stack[one, BIN_STAMP] = now
            at, bin_stamp = stack[one, BLOCK0] + block, stack[one, BIN_STAMP]
            before = np.int64(last[at]) - 1
            if before == now - 1 and before >= bin_stamp:
                histogram[m, 0] += 1
                continue
            here, word0, words = now >> 6, stamp0 >> 6, stack[one, STAMPS] >> 6
            if now & 63 == 0 and here > FRESH:
                begin_word(here, words, word0, bits, tree)
            if before < bin_stamp:
                touched[m, stack[one, BIN]] += 1
            if before < 0:
                stack[one, LIVE] += 1
            else:
                distance = behind(before, here, words, word0, stack[one, LIVE], bits, tree)
                total[m] += distance
                histogram[m, distance if distance < EXACT else bin_of(distance)] += 1
            bits[word0 + here] |= ONE << np.uint64(now & 63)
            owner[stamp0 + now] = block
            last[at] = now + 1
            stack[one, NOW] = now + 1
    return len(access)
