"""What VPEs do in rounds: windows of pairs of non-zeros; `docs/flexnn-cycles.md`, section 5.

A pair is a bit that both operands of a window have; `firemesh.emulator.flexnn.fills` gathers them.
What pairs add up to is no matter of windows; `firemesh.emulator.flexnn.products` tells it.
"""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel, popcount
from ..kinds import Memory
from ..slots import Cause
from .files import Files, Held, Room, Shape, Tally
from .operands import Operands

Array = NDArray[Any]


@kernel
def _side_by_side(
    outer: Array, a: int, inner: Array, b: int, end: int, n: int, found: Array
) -> None:
    """Count cycles and pairs where there are eight lanes of a word each; see `_lane_by_lane`.

    All lanes in one loop without an array to write: so it runs in vectors of windows.
    """
    ticks = full = pairs = 0
    i0, i1, i2, i3 = inner[0], inner[b], inner[2 * b], inner[3 * b]
    i4, i5, i6, i7 = inner[4 * b], inner[5 * b], inner[6 * b], inner[7 * b]
    for o in range(end):
        o0, o1, o2, o3 = outer[0, o], outer[a, o], outer[2 * a, o], outer[3 * a, o]
        o4, o5, o6, o7 = outer[4 * a, o], outer[5 * a, o], outer[6 * a, o], outer[7 * a, o]
        for i in range(n):
            n0, n1 = popcount(i0[i] & o0), popcount(i1[i] & o1)
            n2, n3 = popcount(i2[i] & o2), popcount(i3[i] & o3)
            n4, n5 = popcount(i4[i] & o4), popcount(i5[i] & o5)
            n6, n7 = popcount(i6[i] & o6), popcount(i7[i] & o7)
            longest = max(max(max(n0, n1), max(n2, n3)), max(max(n4, n5), max(n6, n7)))
            ticks += longest
            full += 1 if longest > 0 else 0
            pairs += (n0 + n1) + (n2 + n3) + (n4 + n5) + (n6 + n7)
    found[0], found[1], found[2] = ticks, full, pairs


@kernel
def _lane_by_lane(
    outer: Array, a: int, inner: Array, b: int, first: int, end: int, n: int, lanes: int,
    words: int, room: Room,
) -> None:  # fmt: skip
    """Count cycles and pairs of windows into ``room.found``.

    Parameters
    ----------
    outer, inner : int64[rows, windows]
        Bits of the windows of two blocks; each window of the one meets each of the other.
    a, b : int
        Rows from a lane to the next one.
    first, end : int
        Windows of ``outer``.
    n : int
        Windows of ``inner``.
    lanes, words : int
        Lanes, and words of each.
    room : Room
    """
    longest, count = room.longest, room.lane
    ticks = full = pairs = 0
    for o in range(first, end):
        for i in range(n):
            longest[i] = 0
        for lane in range(lanes):
            for i in range(n):
                count[i] = 0
            for word in range(words):
                bits, row = outer[lane * a + word, o], inner[lane * b + word]
                for i in range(n):
                    count[i] += popcount(row[i] & bits)
            for i in range(n):
                pairs += count[i]
                longest[i] = max(longest[i], count[i])
        for i in range(n):
            ticks += longest[i]
            full += 1 if longest[i] > 0 else 0
    room.found[0], room.found[1], room.found[2] = ticks, full, pairs


@kernel
def _meet(
    f: Files, act: Array, step: int, weight: Array, n_points: int, runs: int, lanes: int,
    words: int, room: Room,
) -> None:  # fmt: skip
    """Count cycles and pairs of all windows of a group; the longer side goes into vectors."""
    if n_points >= runs:
        outer, a, end, inner, b, n = weight, words, runs, act, step, n_points
    else:
        outer, a, end, inner, b, n = act, step, n_points, weight, words, runs
    if f.is_narrow != 0:
        _side_by_side(outer, a, inner, b, end, n, room.found)
    else:
        _lane_by_lane(outer, a, inner, b, 0, end, n, lanes, words, room)


@kernel
def _group(
    s: Shape, x: Operands, f: Files, act: Array, weight: Array, at_if: Array, at_fl: Array,
    room: Room, tally: Array,
) -> None:  # fmt: skip
    """Count the windows of a group of a VPE's block.

    Windows that differ only in operands that are not skipped take the same time: of those only one
    is looked at, but for its pairs of non-zeros.
    """
    is_mxm, found = s.is_mxm != 0, room.found
    n_points, runs, n_oc = at_if[Held.WINDOWS], at_fl[Held.WINDOWS], at_fl[Held.OUTPUTS]
    positions, words, lanes = at_if[Held.POSITIONS], at_if[Held.WORDS], at_if[Held.LANES]
    missing, step = at_fl[Held.MISSING], 0 if is_mxm else words
    _meet(f, act, step, weight, n_points, runs, lanes, words, room)
    tally[Tally.EXECUTED] += found[2]
    ticks, full, pairs = found[0], found[1], found[2]
    short, short_full = 0, 0  # of the last run, where lanes are missing
    if x.skips_fl == 0:
        short, short_full = positions * n_points, n_points
        pairs = at_if[Held.ELEMENTS] * n_points
        if x.skips_if != 0:
            _lane_by_lane(
                f.ones, words, act, step, 0, 1, n_points, 1 if is_mxm else lanes, words, room
            )
            short, short_full, pairs = found[0], found[1], found[2]
        ticks, full, pairs = short * runs, short_full * runs, pairs * n_oc
    else:
        inner, b, n, times = act, step, n_points, 1
        if x.skips_if == 0:
            inner, b, n, times = f.ones, words, 1, n_points
            _lane_by_lane(weight, words, inner, b, 0, runs, n, lanes, words, room)
            ticks, full, pairs = found[0] * times, found[1] * times, found[2] * times
        if missing > 0:
            _lane_by_lane(weight, words, inner, b, runs - 1, runs, n, lanes, words, room)
            short, short_full = found[0] * times, found[1] * times
    windows = n_points * runs
    tally[Tally.PAIRS] += pairs
    tally[Tally.TICKS] += ticks
    tally[Tally.WIDE] += ticks * lanes - short * missing
    tally[Tally.IDLE] += (windows - full) * s.empty
    tally[Tally.FULL] += full
    tally[Tally.POINTS] += full * s.lanes - short_full * missing if is_mxm else full
    taken = windows if s.empty != 0 else full
    tally[Tally.TAKEN] += taken
    tally[Tally.IF_BYTES] += taken * ((positions * (1 if is_mxm else s.lanes) + 7) >> 3)
    tally[Tally.FL_BYTES] += taken * ((positions * s.lanes + 7) >> 3)


@kernel
def _settle(s: Shape, x: Operands, all_of: Array, slots: Array, count: Array, size: Array) -> None:
    """Count slots and accesses from what VPEs did."""
    for v in range(len(all_of)):
        tally = all_of[v]
        ticks, pairs, wide = tally[Tally.TICKS], tally[Tally.PAIRS], tally[Tally.WIDE]
        slots[v, Cause.EXECUTED] += tally[Tally.EXECUTED]
        slots[v, Cause.INEFFECTUAL] += pairs - tally[Tally.EXECUTED]
        slots[v, Cause.IMBALANCE] += wide - pairs
        slots[v, Cause.ROUNDING] += ticks * s.lanes - wide + tally[Tally.SHORT_WAIT] * s.lanes
        slots[v, Cause.EMPTY] += tally[Tally.IDLE] * s.lanes
        slots[v, Cause.BARRIER] += tally[Tally.WAIT] * s.lanes
        reads = ticks if s.is_mxm != 0 else pairs
        count[v, Memory.RF_IF, 0] += reads
        size[v, Memory.RF_IF, 0] += reads
        count[v, Memory.RF_FL, 0] += pairs
        size[v, Memory.RF_FL, 0] += pairs
        count[v, Memory.ACC, 1] += pairs
        size[v, Memory.ACC, 1] += 4 * pairs
        count[v, Memory.RF_OF, 1] += tally[Tally.FULL]
        size[v, Memory.RF_OF, 1] += 4 * tally[Tally.POINTS]
        if x.skips_if != 0:
            count[v, Memory.BITMAP_IF, 0] += tally[Tally.TAKEN]
            size[v, Memory.BITMAP_IF, 0] += tally[Tally.IF_BYTES]
        if x.skips_fl != 0:
            count[v, Memory.BITMAP_FL, 0] += tally[Tally.TAKEN]
            size[v, Memory.BITMAP_FL, 0] += tally[Tally.FL_BYTES]


@outer_kernel
def compute(
    load: Callable[..., int], s: Shape, x: Operands, f: Files, room: Room, low: Array, high: Array,
    what: Array, slots: Array, count: Array, size: Array, taken: Array, each: Array,
) -> None:  # fmt: skip
    """Work through rounds.

    Parameters
    ----------
    load : callable
        `firemesh.emulator.flexnn.fills.load`.
    s : Shape
    x : Operands
    f : Files
        Changed.
    room : Room
    low, high : int64[n, 8]
        The array's ranges.
    what : uint8[n, 3]
        Whether IF, FL and psums are loaded.
    slots : int64[v, causes]
        Changed, but for waits between domains.
    count, size : int64[v, memories, 2]
        Accesses and bytes of each VPE; changed.
    taken : int32[n, domains]
        Result: cycles of each domain.
    each : int32[n, v] or [0, 0]
        Result: cycles of each VPE.
    """
    own, tally = room.own, room.tally
    tally[:] = 0
    for r in range(len(low)):
        if what[r, 0] != 0 or what[r, 1] != 0:
            load(s, f, x.act_bits, x.weight_bits, low[r], high[r], what[r], room.box)
        for v in range(len(s.vpe)):
            if s.is_used[v] == 0:
                continue
            i, j = f.slot_if[v], f.slot_fl[v]
            at_if, at_fl = f.held_if[i], f.held_fl[j]
            own[v, 0] = own[v, 1] = 0
            if at_if[Held.IS_EMPTY] == 0 and at_fl[Held.IS_EMPTY] == 0:
                before = tally[v, Tally.TICKS] + tally[v, Tally.IDLE]
                for g in range(at_if[Held.GROUPS]):
                    _group(s, x, f, f.act[i, g], f.weight[j, g], at_if, at_fl, room, tally[v])
                own[v, 0] = tally[v, Tally.TICKS] + tally[v, Tally.IDLE] - before
                own[v, 1] = 1 - max(at_if[Held.IS_SHORT], at_fl[Held.IS_SHORT])
            taken[r, s.domain[v]] = max(taken[r, s.domain[v]], own[v, 0])
            if len(each) > 0:
                each[r, v] = own[v, 0]
        for v in range(len(s.vpe)):
            if s.is_used[v] != 0:
                wait = taken[r, s.domain[v]] - own[v, 0]
                tally[v, Tally.WAIT if own[v, 1] != 0 else Tally.SHORT_WAIT] += wait
    _settle(s, x, tally, slots, count, size)
