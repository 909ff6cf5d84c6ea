"""Kernels that expand rows of masks into accesses: windows to pairs, pairs to accesses.

Masks of two sets go in pairs. ``words_a`` is uint64[n], ``jump_a`` and ``stride_a`` are the words
from window to window and from lane to lane (0 where all lanes see one), ``size`` the words of a
lane; likewise of B. A row's windows are int32[4]: first and number of A's, then of B's.

The place of a pair in a set is the address of the window, that of the section and the rank in the
section. ``within`` (uint64) and ``offset`` (int64) tell for each position which bits of its word
count for the rank, and the section's address; ``carry`` (int64[size, 2]) tells for each word up to
which position the section goes on that began before it, and whether that covers the whole word;
``tail`` (uint64[size]) which of its bits belong to the section that goes on behind it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .expand import A_STEP, ADDRESS, ADDRESS_STEP, B_STEP, CYCLE, WORD
from .kernel import kernel, lowest_bit, popcount

Array = NDArray[Any]
NONE, ONE = np.uint64(0), np.uint64(1)
PAIRS, FILLED, CYCLES = range(3)
"""What `measure` tells of a row: pairs, windows that have some, cycles of these windows."""
ROW, WINDOW, SPENT = range(3)
"""How far a row is gone through: the row, its window, cycles of the windows before."""


@kernel
def measure_window(
    words_a: Array, at_a: int, stride_a: int, words_b: Array, at_b: int, stride_b: int,
    lanes: int, size: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Return the most pairs of a lane, the first lane that has so many, and all pairs."""
    most, longest, pairs = 0, 0, 0
    for lane in range(lanes):
        n = 0
        for k in range(size):
            n += popcount(words_a[at_a + k] & words_b[at_b + k])
        if n > most:
            most, longest = n, lane
        pairs += n
        at_a += stride_a
        at_b += stride_b
    return most, longest, pairs


@kernel
def measure(
    windows: Array, words_a: Array, jump_a: int, stride_a: int, words_b: Array, jump_b: int,
    stride_b: int, lanes: int, size: int, found: Array,
) -> None:  # fmt: skip
    """Measure rows.

    Parameters
    ----------
    windows : int32[rows, 4]
    found : int64[rows, 3]
        Result; columns `PAIRS`, `FILLED`, `CYCLES`.
    """
    for i in range(len(windows)):
        n_pairs, n_filled, cycles = 0, 0, 0
        for b in range(windows[i, 3]):
            for a in range(windows[i, 1]):
                most, _, pairs = measure_window(
                    words_a, (windows[i, 0] + a) * jump_a, stride_a,
                    words_b, (windows[i, 2] + b) * jump_b, stride_b, lanes, size,
                )  # fmt: skip
                n_pairs += pairs
                n_filled += most > 0
                cycles += most
        found[i, PAIRS], found[i, FILLED], found[i, CYCLES] = n_pairs, n_filled, cycles


@kernel
def fill_lanes(
    words_a: Array, at_a: int, stride_a: int, within_a: Array, offset_a: Array, carry_a: Array,
    tail_a: Array, ra: int, words_b: Array, at_b: int, stride_b: int, within_b: Array,
    offset_b: Array, carry_b: Array, tail_b: Array, rb: int, size: int, lane: int, last: int,
    first: int, end: int, item: Array, cycle: int, address: int, word: int, modulo: int, n: int,
    out: Array,
) -> int:  # fmt: skip
    """Expand the pairs of lanes ``lane`` to ``last``; return the number of accesses in ``out``.

    Parameters
    ----------
    at_a, at_b : int
        First words of the window.
    ra, rb : int
        Addresses of the windows.
    first, end : int
        Items of each pair.
    cycle, address : int
        Of the window and the row.
    n : int
        Accesses that are in ``out`` already.
    """
    for of in range(lane, last):
        from_a, from_b, at = at_a + of * stride_a, at_b + of * stride_b, cycle
        held_a, held_b = 0, 0
        for k in range(size):
            a, b = words_a[from_a + k], words_b[from_b + k]
            both = a & b
            while both:
                bit = 64 * k + lowest_bit(both)
                both &= both - ONE
                to_a = ra + offset_a[bit] + popcount(a & within_a[bit])
                to_b = rb + offset_b[bit] + popcount(b & within_b[bit])
                if bit < carry_a[k, 0]:
                    to_a += held_a
                if bit < carry_b[k, 0]:
                    to_b += held_b
                for i in range(first, end):
                    byte = address + item[i, ADDRESS] + of * item[i, ADDRESS_STEP]
                    byte += to_a * item[i, A_STEP] + to_b * item[i, B_STEP]
                    out[n, 0] = at + item[i, CYCLE]
                    out[n, 1] = byte % modulo if modulo > 0 else byte
                    out[n, 2] = item[i, WORD] + word
                    n += 1
                at += 1
            held_a = held_a * carry_a[k, 1] + popcount(a & tail_a[k])
            held_b = held_b * carry_b[k, 1] + popcount(b & tail_b[k])
    return n


@kernel
def fill_once(
    a: int, b: int, first: int, end: int, item: Array, cycle: int, address: int, word: int,
    modulo: int, n: int, out: Array,
) -> int:  # fmt: skip
    """Expand the items of a window; parameters as for `fill_lane`."""
    for i in range(first, end):
        byte = address + item[i, ADDRESS] + a * item[i, A_STEP] + b * item[i, B_STEP]
        out[n, 0] = cycle + item[i, CYCLE]
        out[n, 1] = byte % modulo if modulo > 0 else byte
        out[n, 2] = item[i, WORD] + word
        n += 1
    return n


@kernel
def fill(
    start: Array, shift: int, address: Array, offset: int, pattern: Array, windows: Array,
    words_a: Array, jump_a: int, stride_a: int, address_a: Array, within_a: Array,
    offset_a: Array, carry_a: Array, tail_a: Array, words_b: Array, jump_b: int, stride_b: int,
    address_b: Array, within_b: Array, offset_b: Array, carry_b: Array, tail_b: Array, lanes: int,
    size: int, empty: int, first: Array, item: Array, word: int, modulo: int, state: Array,
    out: Array,
) -> int:  # fmt: skip
    """Expand rows in their order into uint64[n, 3]; return how many accesses there are in it.

    It stops before the window that has no room, and goes on there the next time.

    Parameters
    ----------
    start, address, pattern : int64[rows]
    shift, offset : int
        Added to start and address.
    windows : int32[rows, 4]
    empty : int
        Cycles of a window without pairs.
    first, item
        Items of patterns.
    word, modulo : int
        See `firemesh.traces.expand.place`.
    state : int64[3]
        `ROW`, `WINDOW`, `SPENT`; changed.
    """
    n, row, window, spent = 0, state[ROW], state[WINDOW], state[SPENT]
    while row < len(start):
        of = pattern[row]
        p, q, r, s, t = first[of], first[of + 1], first[of + 2], first[of + 3], first[of + 4]
        base, many = address[row] + offset, windows[row, 1]
        while window < many * windows[row, 3]:
            a, b = windows[row, 0] + window % many, windows[row, 2] + window // many
            at_a, at_b = a * jump_a, b * jump_b
            most, longest, pairs = measure_window(
                words_a, at_a, stride_a, words_b, at_b, stride_b, lanes, size
            )
            takes = most if most > 0 else empty
            room = pairs * (q - p) + most * (t - s)
            if takes > 0:
                room += r - q
            if most > 0:
                room += s - r
            if n + room > len(out):
                state[ROW], state[WINDOW], state[SPENT] = row, window, spent
                return n
            cycle = start[row] + shift + spent
            ia, ib = window % many, window // many
            if takes > 0:
                n = fill_once(ia, ib, q, r, item, cycle, base, word, modulo, n, out)
            if most > 0:
                n = fill_lanes(
                    words_a, at_a, stride_a, within_a, offset_a, carry_a, tail_a, address_a[a],
                    words_b, at_b, stride_b, within_b, offset_b, carry_b, tail_b, address_b[b],
                    size, 0, lanes, p, q, item, cycle, base, word, modulo, n, out,
                )  # fmt: skip
                if t > s:
                    n = fill_lanes(
                        words_a, at_a, stride_a, within_a, offset_a, carry_a, tail_a, address_a[a],
                        words_b, at_b, stride_b, within_b, offset_b, carry_b, tail_b, address_b[b],
                        size, longest, longest + 1, s, t, item, cycle, base, word, modulo, n, out,
                    )  # fmt: skip
                n = fill_once(ia, ib, r, s, item, cycle + most - 1, base, word, modulo, n, out)
            spent += takes
            window += 1
        row, window, spent = row + 1, 0, 0
    state[ROW], state[WINDOW], state[SPENT] = row, window, spent
    return n


@kernel
def add_cycles(
    cycle: int, n: int, first: int, end: int, beat: Array, low: int, high: int, change: Array
) -> None:
    """Add the accesses of ``n`` cycles from ``cycle`` on, each with beats ``first`` to ``end``."""
    for k in range(first, end):
        begin, stop = max(cycle + beat[k, 0], low), min(cycle + n + beat[k, 0], high)
        if begin < stop:
            change[begin - low] += beat[k, 1]
            change[stop - low] -= beat[k, 1]


@kernel
def count(
    start: Array, shift: int, pattern: Array, windows: Array, words_a: Array, jump_a: int,
    stride_a: int, words_b: Array, jump_b: int, stride_b: int, lanes: int, size: int, empty: int,
    beat_first: Array, beat: Array, before: int, after: int, low: int, high: int,
    reached: Array, spent: Array, change: Array,
) -> None:  # fmt: skip
    """Tell how many accesses there are in each cycle from ``low`` to ``high``.

    Parameters
    ----------
    beat_first : int64[n_patterns + 1]
    beat : int64[n_beats, 2]
        In which cycles of an entry there are accesses, and how many.
    before, after : int
        The least and the largest cycle of an item.
    reached, spent : int64[rows]
        Windows of each row that are over before ``low``, and their cycles; moved on.
    change : int64[high - low + 1]
        Changed: how many more accesses there are in each cycle than in the one before.
    """
    for i in range(len(start)):
        p = pattern[i]
        is_over = True
        cycle, window, many = start[i] + shift + spent[i], reached[i], windows[i, 1]
        while window < many * windows[i, 3] and cycle + before < high:
            at_a = (windows[i, 0] + window % many) * jump_a
            at_b = (windows[i, 2] + window // many) * jump_b
            most, _, _ = measure_window(
                words_a, at_a, stride_a, words_b, at_b, stride_b, lanes, size
            )
            takes = most if most > 0 else empty
            window += 1
            is_over = is_over and cycle + takes + after <= low
            if is_over:
                reached[i] = window
                spent[i] += takes
            elif takes > 0:
                add_cycles(cycle, 1, beat_first[p + 1], beat_first[p + 2], beat, low, high, change)
            if not is_over and most > 0:
                for lane in range(lanes):
                    n = 0
                    for k in range(size):
                        n += popcount(
                            words_a[at_a + lane * stride_a + k]
                            & words_b[at_b + lane * stride_b + k]
                        )
                    add_cycles(cycle, n, beat_first[p], beat_first[p + 1], beat, low, high, change)
                add_cycles(
                    cycle + most - 1, 1, beat_first[p + 2], beat_first[p + 3], beat, low, high,
                    change,
                )  # fmt: skip
                add_cycles(
                    cycle, most, beat_first[p + 3], beat_first[p + 4], beat, low, high, change
                )
            cycle += takes


@kernel
def place_lanes(
    words_a: Array, at_a: int, stride_a: int, within_a: Array, offset_a: Array, carry_a: Array,
    tail_a: Array, ra: int, words_b: Array, at_b: int, stride_b: int, within_b: Array,
    offset_b: Array, carry_b: Array, tail_b: Array, rb: int, size: int, lane: int, last: int,
    first: int, end: int, item: Array, cycle: int, address: int, word: int, modulo: int,
    before: int, after: int, low: int, high: int, cursor: Array, out: Array,
) -> None:  # fmt: skip
    """Expand the pairs of lanes to the places that the cursors of their cycles tell.

    Parameters as for `fill_lanes`, `count` and `firemesh.traces.expand.place`.
    """
    for of in range(lane, last):
        from_a, from_b, at = at_a + of * stride_a, at_b + of * stride_b, cycle
        held_a, held_b = 0, 0
        for k in range(size):
            if at + before >= high:
                break
            a, b = words_a[from_a + k], words_b[from_b + k]
            both = a & b
            n = popcount(both)
            if at + n + after <= low:
                at += n
                both = NONE
            while both:
                bit = 64 * k + lowest_bit(both)
                both &= both - ONE
                to_a = ra + offset_a[bit] + popcount(a & within_a[bit])
                to_b = rb + offset_b[bit] + popcount(b & within_b[bit])
                if bit < carry_a[k, 0]:
                    to_a += held_a
                if bit < carry_b[k, 0]:
                    to_b += held_b
                for i in range(first, end):
                    when = at + item[i, CYCLE]
                    if low <= when < high:
                        byte = address + item[i, ADDRESS] + of * item[i, ADDRESS_STEP]
                        byte += to_a * item[i, A_STEP] + to_b * item[i, B_STEP]
                        n = cursor[when - low]
                        cursor[when - low] = n + 1
                        out[n, 0] = when
                        out[n, 1] = byte % modulo if modulo > 0 else byte
                        out[n, 2] = item[i, WORD] + word
                at += 1
            held_a = held_a * carry_a[k, 1] + popcount(a & tail_a[k])
            held_b = held_b * carry_b[k, 1] + popcount(b & tail_b[k])


@kernel
def place_once(
    a: int, b: int, first: int, end: int, item: Array, cycle: int, address: int, word: int,
    modulo: int, low: int, high: int, cursor: Array, out: Array,
) -> None:  # fmt: skip
    """Expand the items of a window; parameters as for `place_lanes`."""
    for i in range(first, end):
        when = cycle + item[i, CYCLE]
        if low <= when < high:
            byte = address + item[i, ADDRESS] + a * item[i, A_STEP] + b * item[i, B_STEP]
            n = cursor[when - low]
            cursor[when - low] = n + 1
            out[n, 0] = when
            out[n, 1] = byte % modulo if modulo > 0 else byte
            out[n, 2] = item[i, WORD] + word


@kernel
def place(
    start: Array, shift: int, address: Array, offset: int, pattern: Array, windows: Array,
    words_a: Array, jump_a: int, stride_a: int, address_a: Array, within_a: Array,
    offset_a: Array, carry_a: Array, tail_a: Array, words_b: Array, jump_b: int, stride_b: int,
    address_b: Array, within_b: Array, offset_b: Array, carry_b: Array, tail_b: Array, lanes: int,
    size: int, empty: int, first: Array, item: Array, word: int, modulo: int, before: int,
    after: int, low: int, high: int, reached: Array, spent: Array, cursor: Array, out: Array,
) -> None:  # fmt: skip
    """Expand rows to the places that the cursors of their cycles tell.

    Parameters as for `fill`, `count` and `firemesh.traces.expand.place`; ``reached`` and ``spent``
    stay.
    """
    for i in range(len(start)):
        of = pattern[i]
        p, q, r, s, t = first[of], first[of + 1], first[of + 2], first[of + 3], first[of + 4]
        base, window, many = address[i] + offset, reached[i], windows[i, 1]
        cycle = start[i] + shift + spent[i]
        while window < many * windows[i, 3] and cycle + before < high:
            ia, ib = window % many, window // many
            a, b = windows[i, 0] + ia, windows[i, 2] + ib
            at_a, at_b = a * jump_a, b * jump_b
            most, longest, _ = measure_window(
                words_a, at_a, stride_a, words_b, at_b, stride_b, lanes, size
            )
            takes = most if most > 0 else empty
            if takes > 0:
                place_once(ia, ib, q, r, item, cycle, base, word, modulo, low, high, cursor, out)
            if most > 0:
                place_lanes(
                    words_a, at_a, stride_a, within_a, offset_a, carry_a, tail_a, address_a[a],
                    words_b, at_b, stride_b, within_b, offset_b, carry_b, tail_b, address_b[b],
                    size, 0, lanes, p, q, item, cycle, base, word, modulo, before, after, low,
                    high, cursor, out,
                )  # fmt: skip
                if t > s:
                    place_lanes(
                        words_a, at_a, stride_a, within_a, offset_a, carry_a, tail_a, address_a[a],
                        words_b, at_b, stride_b, within_b, offset_b, carry_b, tail_b, address_b[b],
                        size, longest, longest + 1, s, t, item, cycle, base, word, modulo, before,
                        after, low, high, cursor, out,
                    )  # fmt: skip
                place_once(
                    ia, ib, r, s, item, cycle + most - 1, base, word, modulo, low, high, cursor, out
                )
            cycle += takes
            window += 1
