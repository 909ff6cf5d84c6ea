"""What VPEs compute in a round: windows of pairs of non-zeros; `docs/flexnn-cycles.md`, section 5.

Register files hold the bits of each window's operands, lane by lane: those of an ifmap block in
``Files.act``, of a weight block in ``Files.weight``, a *slot* for each distinct block of the array,
filled when it is loaded. A pair is a bit that both have; its products are added to the point's
psum.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import kernel, lowest_bit, outer_kernel, popcount
from ..slots import Cause
from ..state import Memory
from .descriptor import Cut
from .dims import FL_DIMS, IF_DIMS, Dim
from .machine import FlexMachine
from .operands import WORD, Operands
from .rounds import Places

Array = NDArray[Any]
ALL = -1
"""A word with every bit set."""


class Files(NamedTuple):
    """What the VPEs hold, and where."""

    act: Array
    """int64[slots, windows, lanes, words]: non-zero activations; one lane in mxm."""
    act_used: Array
    """The same of those that are not skipped; one window where all are used."""
    weight: Array
    """int64[slots, output channels, lanes or 1, words]; one lane in vxv is one filter's slice."""
    weight_used: Array
    slot_if: Array
    """int64[v]: slot of each VPE's ifmap block, and of its weight block."""
    slot_fl: Array
    owner_if: Array
    """int64[slots]: a VPE that has it."""
    owner_fl: Array
    place: Array
    """int64[2, positions]: offsets of a lane's positions in the values of IF and FL."""


class Shape(NamedTuple):
    """Numbers of a layer and its descriptor."""

    sizes: Array
    block: Array
    geometry: Array
    vpe: Array
    is_used: Array
    domain: Array
    """int64[v]: number of the VPE's domain."""
    lanes: int
    is_mxm: int
    height: int
    """Of the padded ifmap."""
    width: int
    empty: int
    multiplies: int
    """Whether psums are wanted; 0 to count only."""


def _slots(cut: Cut, found: Places, dims: tuple[Dim, ...]) -> tuple[Array, Array]:
    """Return each VPE's slot, and a VPE of each slot, for blocks of some dimensions."""
    digits = np.where(found.is_used[:, None], found.vpe, 0)[:, list(dims)]
    _, owner, slot = np.unique(digits, axis=0, return_index=True, return_inverse=True)
    return slot.reshape(-1).astype(np.int64), owner.astype(np.int64)


def files(cut: Cut, machine: FlexMachine, found: Places, x: Operands) -> Files:
    """Return empty register files."""
    block, lanes = cut.block, machine.array.lanes
    is_mxm = cut.descriptor.lanes == "mxm"
    slice_ = block[Dim.IC] if is_mxm else -(-block[Dim.IC] // lanes)
    positions = block[Dim.FY] * block[Dim.FX] * slice_
    words = -(-positions // WORD)
    points = block[Dim.N] * block[Dim.OY] * block[Dim.OX]
    slot_if, owner_if = _slots(cut, found, IF_DIMS)
    slot_fl, owner_fl = _slots(cut, found, FL_DIMS)
    act = (len(owner_if), block[Dim.G] * points, 1 if is_mxm else lanes, words)
    weight = (len(owner_fl), block[Dim.G] * block[Dim.OC], 1 if is_mxm else lanes, words)
    none = (1, 1, 1, 1)
    return Files(
        np.zeros(act, np.int64),
        np.zeros(none if x.skips_if else act, np.int64),
        np.zeros(weight, np.int64),
        np.zeros(none if x.skips_fl else weight, np.int64),
        slot_if,
        slot_fl,
        owner_if,
        owner_fl,
        np.zeros((2, positions), np.int64),
    )


@kernel
def _ranges(low: Array, high: Array, place: Array, block: Array, box: Array) -> bool:
    """Tell the ranges of a VPE; return whether one is empty."""
    is_empty = False
    for d in range(8):
        box[0, d] = low[d] + place[d] * block[d]
        box[1, d] = min(box[0, d] + block[d], high[d])
        if box[1, d] <= box[0, d]:
            is_empty = True
    return is_empty


@kernel
def _take(words: Array, first: int, bit: int, n: int) -> int:
    """Return ``n`` bits, at most 64, of a row of words."""
    at = first + (bit >> 6)
    shift = bit & 63
    found: int = words[at]
    if shift > 0:
        found = (found >> shift) & ((1 << (64 - shift)) - 1)
        if shift + n > 64:
            found |= words[at + 1] << (64 - shift)
    return found & ((1 << n) - 1) if n < 64 else found


@kernel
def _put(row: Array, bit: int, value: int, n: int) -> None:
    """Put ``n`` bits, at most 64, into a row of words that are zero there."""
    at, shift = bit >> 6, bit & 63
    row[at] |= value << shift
    if shift + n > 64:
        row[at + 1] |= (value >> (64 - shift)) & ((1 << shift) - 1)


@kernel
def _copy(
    words: Array, first: int, bit: int, n: int, row: Array, used: Array, to: int, is_all: bool
) -> None:
    """Copy ``n`` bits of a row of words into a lane, and to the lane of what is used."""
    done = 0
    while done < n:
        part = min(64, n - done)
        _put(row, to + done, _take(words, first, bit + done, part), part)
        if is_all:
            _put(used, to + done, (1 << part) - 1 if part < 64 else ALL, part)
        done += part


@kernel
def fill_if(s: Shape, x: Operands, f: Files, box: Array, slot: int) -> int:
    """Fill a slot with the ifmap block of ranges; return its windows."""
    channels = s.sizes[Dim.G] * s.sizes[Dim.IC]
    row_words = (channels + 63) >> 6
    n_ic = box[1, Dim.IC] - box[0, Dim.IC]
    lanes = f.act.shape[2]
    per_lane = (n_ic + lanes - 1) // lanes
    is_all = x.skips_if == 0
    at = 0
    for g in range(box[0, Dim.G], box[1, Dim.G]):
        first_channel = g * s.sizes[Dim.IC] + box[0, Dim.IC]
        for n in range(box[0, Dim.N], box[1, Dim.N]):
            for oy in range(box[0, Dim.OY], box[1, Dim.OY]):
                for ox in range(box[0, Dim.OX], box[1, Dim.OX]):
                    window = f.act[slot, at]
                    used = f.act_used[slot, at] if is_all else window
                    window[:] = 0
                    used[:] = 0
                    to = 0
                    for fy in range(box[0, Dim.FY], box[1, Dim.FY]):
                        y = oy * s.geometry[0] + fy * s.geometry[2]
                        for fx in range(box[0, Dim.FX], box[1, Dim.FX]):
                            column = ox * s.geometry[1] + fx * s.geometry[3]
                            first = ((n * s.height + y) * s.width + column) * row_words
                            for lane in range(lanes):
                                bits = min(per_lane, n_ic - lane * per_lane)
                                if bits > 0:
                                    channel = first_channel + lane * per_lane
                                    _copy(
                                        x.act_bits, first, channel, bits, window[lane],
                                        used[lane], to, is_all,
                                    )  # fmt: skip
                            to += per_lane
                    at += 1
    return at


@kernel
def fill_fl(s: Shape, x: Operands, f: Files, box: Array, slot: int) -> int:
    """Fill a slot with the weight block of ranges; return its output channels."""
    n_fy, n_fx = s.sizes[Dim.FY], s.sizes[Dim.FX]
    row_words = (s.sizes[Dim.IC] + 63) >> 6
    n_ic = box[1, Dim.IC] - box[0, Dim.IC]
    lanes = f.weight.shape[2]
    per_lane = (n_ic + lanes - 1) // lanes
    is_all = x.skips_fl == 0
    at = 0
    for g in range(box[0, Dim.G], box[1, Dim.G]):
        for k in range(box[0, Dim.OC], box[1, Dim.OC]):
            window = f.weight[slot, at]
            used = f.weight_used[slot, at] if is_all else window
            window[:] = 0
            used[:] = 0
            to = 0
            for fy in range(box[0, Dim.FY], box[1, Dim.FY]):
                for fx in range(box[0, Dim.FX], box[1, Dim.FX]):
                    row = ((g * s.sizes[Dim.OC] + k) * n_fy + fy) * n_fx + fx
                    for lane in range(lanes):
                        bits = min(per_lane, n_ic - lane * per_lane)
                        if bits > 0:
                            channel = box[0, Dim.IC] + lane * per_lane
                            _copy(
                                x.weight_bits, row * row_words, channel, bits, window[lane],
                                used[lane], to, is_all,
                            )  # fmt: skip
                    to += per_lane
            at += 1
    return at


@kernel
def _append(windows: Array, n: int, words: int, out: Array, first: int) -> None:
    """Append the words of a slot's windows."""
    for i in range(n):
        for lane in range(windows.shape[1]):
            for word in range(words):
                out[first + i, lane, word] = windows[i, lane, word]


@outer_kernel
def store_if(s: Shape, x: Operands, f: Files, boxes: Array, words: int, out: Array) -> int:
    """Tell which activations of the windows of ifmap blocks may be in pairs; return the windows.

    Parameters
    ----------
    s : Shape
    x : Operands
    f : Files
        Slot 0 is overwritten.
    boxes : int64[n, 2, 8]
        Ranges of each block, not empty.
    words : int
        Words of a lane.
    out : int64[windows, lanes or 1, words]
        Result, block after block; position p of a lane is bit p % 64 of word p // 64. One lane in
        mxm.
    """
    at = 0
    for i in range(len(boxes)):
        n = fill_if(s, x, f, boxes[i], 0)
        _append(f.act_used[0] if x.skips_if == 0 else f.act[0], n, words, out, at)
        at += n
    return at


@outer_kernel
def store_fl(s: Shape, x: Operands, f: Files, boxes: Array, words: int, out: Array) -> int:
    """Tell which weights of the windows of weight blocks may be in pairs; return the windows.

    Parameters and result as for `store_if`; a window is an output channel, in mxm of one lane.
    """
    at = 0
    for i in range(len(boxes)):
        n = fill_fl(s, x, f, boxes[i], 0)
        _append(f.weight_used[0] if x.skips_fl == 0 else f.weight[0], n, words, out, at)
        at += n
    return at


@kernel
def _offsets(s: Shape, f: Files, box: Array, per_lane: int) -> None:
    """Tell where the values of a lane's positions lie, from the window's first channel."""
    channels = s.sizes[Dim.G] * s.sizes[Dim.IC]
    at = 0
    for fy in range(box[1, Dim.FY] - box[0, Dim.FY]):
        for fx in range(box[1, Dim.FX] - box[0, Dim.FX]):
            pixel = fy * s.geometry[2] * s.width + fx * s.geometry[3]
            tap = fy * s.sizes[Dim.FX] + fx
            for c in range(per_lane):
                f.place[0, at] = pixel * channels + c
                f.place[1, at] = tap * s.sizes[Dim.IC] + c
                at += 1


@kernel
def _lane(
    x: Operands, f: Files, act: Array, act_used: Array, weight: Array, weight_used: Array,
    words: int, act_at: int, weight_at: int, multiplies: int, out: Array,
) -> int:  # fmt: skip
    """Go through a lane of a window; add pairs and pairs of non-zeros; return the products' sum."""
    total = 0
    is_other = x.skips_if == 0 or x.skips_fl == 0
    pairs = 0
    for i in range(words):
        both = act[i] & weight[i]
        n = popcount(both)
        out[1] += n
        pairs += popcount(act_used[i] & weight_used[i]) if is_other else n
        if multiplies != 0:
            first = i << 6
            while both != 0:
                position = first + lowest_bit(both)
                both &= both - 1
                total += (
                    np.int64(x.act[act_at + f.place[0, position]])
                    * x.weight[weight_at + f.place[1, position]]
                )
    out[0] = pairs
    return total


@kernel
def _block(
    s: Shape, x: Operands, f: Files, v: int, box: Array, out: Array, psum: Array, slots: Array,
    count: Array, size: Array,
) -> int:  # fmt: skip
    """Work through the windows of a VPE's block; return its cycles."""
    n_ic, n_oc = box[1, Dim.IC] - box[0, Dim.IC], box[1, Dim.OC] - box[0, Dim.OC]
    per_lane = n_ic if s.is_mxm != 0 else (n_ic + s.lanes - 1) // s.lanes
    positions = per_lane
    for d in (Dim.FY, Dim.FX):
        positions *= box[1, d] - box[0, d]
    words = (positions + 63) >> 6
    _offsets(s, f, box, per_lane)
    filter_size = s.sizes[Dim.FY] * s.sizes[Dim.FX] * s.sizes[Dim.IC]
    tap = box[0, Dim.FY] * s.sizes[Dim.FX] + box[0, Dim.FX]
    channels, groups = s.sizes[Dim.G] * s.sizes[Dim.IC], box[1, Dim.G] - box[0, Dim.G]
    n_points = 1
    for d in (Dim.N, Dim.OY, Dim.OX):
        n_points *= box[1, d] - box[0, d]
    runs = (n_oc + s.lanes - 1) // s.lanes if s.is_mxm != 0 else n_oc
    slot_if, slot_fl = f.slot_if[v], f.slot_fl[v]
    if_bytes = (positions * (1 if s.is_mxm != 0 else s.lanes) + 7) >> 3
    fl_bytes = (positions * s.lanes + 7) >> 3
    pairs = executed = wide = ticks = full = idle = taken = 0
    n_used = 0
    for g in range(groups):
        group = box[0, Dim.G] + g
        for k in range(runs):
            if s.is_mxm != 0:
                used_lanes = min(s.lanes, n_oc - k * s.lanes)
            else:
                used_lanes = (n_ic + per_lane - 1) // per_lane
            at = g * n_points
            for n in range(box[0, Dim.N], box[1, Dim.N]):
                for oy in range(box[0, Dim.OY], box[1, Dim.OY]):
                    y = oy * s.geometry[0] + box[0, Dim.FY] * s.geometry[2]
                    for ox in range(box[0, Dim.OX], box[1, Dim.OX]):
                        column = ox * s.geometry[1] + box[0, Dim.FX] * s.geometry[3]
                        act_at = ((n * s.height + y) * s.width + column) * channels
                        act_at += group * s.sizes[Dim.IC] + box[0, Dim.IC]
                        longest = in_window = total = 0
                        out[1] = 0
                        for lane in range(used_lanes):
                            if s.is_mxm != 0:
                                of_act, of_weight = 0, 0
                                channel = k * s.lanes + lane
                                skip = 0
                            else:
                                of_act, of_weight = lane, lane
                                channel = k
                                skip = lane * per_lane
                            row = g * n_oc + channel
                            number = group * s.sizes[Dim.OC] + box[0, Dim.OC] + channel
                            weight_at = number * filter_size + tap * s.sizes[Dim.IC]
                            weight_at += box[0, Dim.IC] + skip
                            act = f.act[slot_if, at, of_act]
                            act_used = f.act_used[slot_if, at, of_act] if x.skips_if == 0 else act
                            weight = f.weight[slot_fl, row, of_weight]
                            weight_used = weight
                            if x.skips_fl == 0:
                                weight_used = f.weight_used[slot_fl, row, of_weight]
                            total += _lane(
                                x, f, act, act_used, weight, weight_used, words,
                                act_at + skip, weight_at, s.multiplies, out,
                            )  # fmt: skip
                            in_window += out[0]
                            longest = max(longest, out[0])
                            if s.is_mxm != 0 or lane == used_lanes - 1:
                                if s.multiplies != 0:
                                    psum[n, x.filter[number], oy, ox] += total
                                total = 0
                        executed += out[1]
                        pairs += in_window
                        if longest > 0:
                            ticks += longest
                            wide += longest * used_lanes
                            full += 1
                            n_used += used_lanes
                        else:
                            idle += s.empty
                        taken += 1 if longest > 0 or s.empty != 0 else 0
                        at += 1
    slots[v, Cause.EXECUTED] += executed
    slots[v, Cause.INEFFECTUAL] += pairs - executed
    slots[v, Cause.IMBALANCE] += wide - pairs
    slots[v, Cause.ROUNDING] += ticks * s.lanes - wide
    slots[v, Cause.EMPTY] += idle * s.lanes
    reads = ticks if s.is_mxm != 0 else pairs
    count[v, Memory.RF_IF, 0] += reads
    size[v, Memory.RF_IF, 0] += reads
    count[v, Memory.RF_FL, 0] += pairs
    size[v, Memory.RF_FL, 0] += pairs
    count[v, Memory.ACC, 1] += pairs
    size[v, Memory.ACC, 1] += 4 * pairs
    count[v, Memory.RF_OF, 1] += full
    size[v, Memory.RF_OF, 1] += 4 * (n_used if s.is_mxm != 0 else full)
    if x.skips_if != 0:
        count[v, Memory.BITMAP_IF, 0] += taken
        size[v, Memory.BITMAP_IF, 0] += taken * if_bytes
    if x.skips_fl != 0:
        count[v, Memory.BITMAP_FL, 0] += taken
        size[v, Memory.BITMAP_FL, 0] += taken * fl_bytes
    return ticks + idle


@kernel
def _is_short(s: Shape, box: Array) -> bool:
    for d in range(8):
        if box[1, d] - box[0, d] < min(s.block[d], s.sizes[d]):
            return True
    return False


@outer_kernel
def compute(
    s: Shape, x: Operands, f: Files, low: Array, high: Array, what: Array, box: Array, out: Array,
    own: Array, psum: Array, slots: Array, count: Array, size: Array, taken: Array, each: Array,
) -> None:  # fmt: skip
    """Work through rounds.

    Parameters
    ----------
    s : Shape
    x : Operands
    f : Files
        Changed.
    low, high : int64[n, 8]
        The array's ranges.
    what : uint8[n, 3]
        Whether IF, FL and psums are loaded.
    box, out : int64[2, 8], int64[2]
        Room to work in.
    own : int64[v, 2]
        The same: cycles of each VPE, and whether it has a whole block.
    psum : int32[n, k, oy, ox]
        Changed.
    slots : int64[v, causes]
        Changed, but for waits between domains.
    count, size : int64[v, memories, 2]
        Accesses and bytes of each VPE; changed.
    taken : int32[n, domains]
        Result: cycles of each domain.
    each : int32[n, v] or [0, 0]
        Result: cycles of each VPE.
    """
    for r in range(len(low)):
        if what[r, 0] != 0:
            for slot in range(len(f.owner_if)):
                owner = f.owner_if[slot]
                _ranges(low[r], high[r], s.vpe[owner], s.block, box)
                fill_if(s, x, f, box, slot)
        if what[r, 1] != 0:
            for slot in range(len(f.owner_fl)):
                owner = f.owner_fl[slot]
                _ranges(low[r], high[r], s.vpe[owner], s.block, box)
                fill_fl(s, x, f, box, slot)
        for v in range(len(s.vpe)):
            if s.is_used[v] == 0:
                continue
            own[v, 0] = own[v, 1] = 0
            if not _ranges(low[r], high[r], s.vpe[v], s.block, box):
                own[v, 0] = _block(s, x, f, v, box, out, psum, slots, count, size)
                own[v, 1] = 0 if _is_short(s, box) else 1
            taken[r, s.domain[v]] = max(taken[r, s.domain[v]], own[v, 0])
            if len(each) > 0:
                each[r, v] = own[v, 0]
        for v in range(len(s.vpe)):
            if s.is_used[v] != 0:
                wait = (taken[r, s.domain[v]] - own[v, 0]) * s.lanes
                slots[v, Cause.BARRIER if own[v, 1] != 0 else Cause.ROUNDING] += wait
