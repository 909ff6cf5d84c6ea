"""What register files hold: bits of windows, gathered block by block; `docs/flexnn-cycles.md`, 5.

A *slot* of `firemesh.emulator.flexnn.files.Files` is filled when a round loads its block.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import first_class, kernel, outer_kernel, signature
from ..arrays import example
from .dims import Dim
from .files import ALL, Files, Held, Shape
from .operands import Operands

Array = NDArray[Any]
_ROW = np.zeros(8, np.int64)
SIGNATURE = signature(
    example(Shape), example(Files), _ROW, _ROW, _ROW, _ROW, np.zeros(3, np.uint8), _ROW[None]
)
"""Of `load`, for the kernel that takes it."""


@kernel
def _gather_word(
    words: Array, base: int, step_y: int, step_x: int, n_y: int, n_x: int, shift: int, n: int,
    per_lane: int, out: Array, row: int, at: int,
) -> None:  # fmt: skip
    """Gather a lane of at most 64 bits, of which those of a position lie in one word."""
    word = 0
    if n > 0:
        mask = ALL if n == 64 else (1 << n) - 1
        to = 0
        for fy in range(n_y):
            first = base + fy * step_y
            for fx in range(n_x):
                # unsigned: an index that cannot count from the end
                word |= ((words[np.uint64(first + fx * step_x)] >> shift) & mask) << to
                to += per_lane
    out[row, at] = word


@kernel
def _gather(
    words: Array, base: int, step_y: int, step_x: int, n_y: int, n_x: int, channel: int, n: int,
    per_lane: int, out: Array, row: int, at: int,
) -> None:  # fmt: skip
    """Put the bits of a lane of a window into words, one below the other.

    At each of ``n_y * n_x`` kernel positions the lane takes ``per_lane`` channels, of which ``n``
    exist.
    """
    shift = channel & 63
    if n_y * n_x * per_lane <= 64 and shift + n <= 64:
        _gather_word(
            words, base + (channel >> 6), step_y, step_x, n_y, n_x, shift, n, per_lane, out, row, at
        )
        return
    word = to = 0
    for fy in range(n_y):
        for fx in range(n_x):
            done = 0
            while done < per_lane:
                part = min(64, per_lane - done)
                exist = max(0, min(part, n - done))
                bits = 0
                if exist > 0:
                    first = base + fy * step_y + fx * step_x + ((channel + done) >> 6)
                    shift = (channel + done) & 63
                    bits = words[first] >> shift
                    if shift + exist > 64:
                        bits &= (1 << (64 - shift)) - 1
                        bits |= words[first + 1] << (64 - shift)
                    if exist < 64:
                        bits &= (1 << exist) - 1
                word |= bits << to
                to += part
                if to >= 64:
                    out[row, at] = word
                    row += 1
                    to -= 64
                    word = (bits >> (part - to)) & ((1 << to) - 1) if to > 0 else 0
                done += part
    if to > 0:
        out[row, at] = word


@kernel
def _spread(word: int, n: int, per_lane: int, lanes: int, out: Array, at: int) -> None:
    """Deal the channels of a single position, at most 64, out to the lanes of a window."""
    for lane in range(lanes):
        done = lane * per_lane
        exist = max(0, min(per_lane, n - done))
        mask = ALL if exist == 64 else (1 << exist) - 1
        out[lane, at] = (word >> min(done, 63)) & mask


@kernel
def _fill_if(s: Shape, bits: Array, f: Files, box: Array, slot: int) -> int:
    """Fill a slot with the ifmap block of ranges; return its windows."""
    row_words = (s.sizes[Dim.G] * s.sizes[Dim.IC] + 63) >> 6
    n_y, n_x = box[1, Dim.FY] - box[0, Dim.FY], box[1, Dim.FX] - box[0, Dim.FX]
    n_ic = box[1, Dim.IC] - box[0, Dim.IC]
    lanes = 1 if s.is_mxm != 0 else s.lanes
    per_lane = (n_ic + lanes - 1) // lanes
    words = (n_y * n_x * per_lane + 63) >> 6
    step_y = s.geometry[2] * s.width * row_words
    step_x = s.geometry[3] * row_words
    at = 0
    for g in range(box[1, Dim.G] - box[0, Dim.G]):
        out = f.act[slot, g]
        channel = (box[0, Dim.G] + g) * s.sizes[Dim.IC] + box[0, Dim.IC]
        is_single = n_y * n_x == 1 and (channel & 63) + n_ic <= 64
        at = 0
        for frame in range(box[0, Dim.N], box[1, Dim.N]):
            for oy in range(box[0, Dim.OY], box[1, Dim.OY]):
                y = oy * s.geometry[0] + box[0, Dim.FY] * s.geometry[2]
                for ox in range(box[0, Dim.OX], box[1, Dim.OX]):
                    column = ox * s.geometry[1] + box[0, Dim.FX] * s.geometry[3]
                    base = ((frame * s.height + y) * s.width + column) * row_words
                    if is_single:
                        word = bits[base + (channel >> 6)] >> (channel & 63)
                        _spread(word, n_ic, per_lane, lanes, out, at)
                        at += 1
                        continue
                    for lane in range(lanes):
                        skip = lane * per_lane
                        _gather(
                            bits, base, step_y, step_x, n_y, n_x, channel + skip,
                            min(per_lane, n_ic - skip), per_lane, out, lane * words, at,
                        )  # fmt: skip
                    at += 1
    filled: int = at * (box[1, Dim.G] - box[0, Dim.G])
    return filled


@kernel
def _fill_fl(s: Shape, bits: Array, f: Files, box: Array, slot: int) -> int:
    """Fill a slot with the weight block of ranges; return its output channels."""
    n_y, n_x = box[1, Dim.FY] - box[0, Dim.FY], box[1, Dim.FX] - box[0, Dim.FX]
    n_ic, n_oc = box[1, Dim.IC] - box[0, Dim.IC], box[1, Dim.OC] - box[0, Dim.OC]
    row_words = (s.sizes[Dim.IC] + 63) >> 6
    per_lane = n_ic if s.is_mxm != 0 else (n_ic + s.lanes - 1) // s.lanes
    windows = (n_oc + s.lanes - 1) // s.lanes if s.is_mxm != 0 else n_oc
    words = (n_y * n_x * per_lane + 63) >> 6
    step_y = s.sizes[Dim.FX] * row_words
    tap = box[0, Dim.FY] * s.sizes[Dim.FX] + box[0, Dim.FX]
    is_single = s.is_mxm == 0 and n_y * n_x == 1 and (box[0, Dim.IC] & 63) + n_ic <= 64
    for g in range(box[1, Dim.G] - box[0, Dim.G]):
        first = (box[0, Dim.G] + g) * s.sizes[Dim.OC] + box[0, Dim.OC]
        out = f.weight[slot, g]
        for at in range(windows):
            if is_single:
                base = (first + at) * s.sizes[Dim.FY] * step_y + tap * row_words
                word = bits[base + (box[0, Dim.IC] >> 6)] >> (box[0, Dim.IC] & 63)
                _spread(word, n_ic, per_lane, s.lanes, out, at)
                continue
            for lane in range(s.lanes):
                skip = 0 if s.is_mxm != 0 else lane * per_lane
                k = at * s.lanes + lane if s.is_mxm != 0 else at
                n = min(per_lane, n_ic - skip) if k < n_oc else 0
                base = (first + k) * s.sizes[Dim.FY] * step_y + tap * row_words
                _gather(
                    bits, base, step_y, row_words, n_y, n_x, box[0, Dim.IC] + skip, n, per_lane,
                    out, lane * words, at,
                )  # fmt: skip
    filled: int = n_oc * (box[1, Dim.G] - box[0, Dim.G])
    return filled


@kernel
def _hold(
    s: Shape, low: Array, high: Array, place: Array, is_weight: bool, box: Array, held: Array
) -> None:
    """Tell the ranges of a slot's block, and what is known of it."""
    empty = short = 0
    for d in range(8):
        box[0, d] = low[d] + place[d] * s.block[d]
        box[1, d] = min(box[0, d] + s.block[d], high[d])
        is_other = d == Dim.N or d == Dim.OY or d == Dim.OX if is_weight else d == Dim.OC
        if not is_other:
            length = box[1, d] - box[0, d]
            empty = 1 if length <= 0 else empty
            short = 1 if length < min(s.block[d], s.sizes[d]) else short
    held[Held.IS_EMPTY], held[Held.IS_SHORT] = empty, short
    n_ic, taps = box[1, Dim.IC] - box[0, Dim.IC], box[1, Dim.FY] - box[0, Dim.FY]
    taps *= box[1, Dim.FX] - box[0, Dim.FX]
    held[Held.GROUPS] = box[1, Dim.G] - box[0, Dim.G]
    held[Held.WINDOWS] = 1
    for d in (Dim.N, Dim.OY, Dim.OX):
        held[Held.WINDOWS] *= box[1, d] - box[0, d]
    held[Held.OUTPUTS] = box[1, Dim.OC] - box[0, Dim.OC]
    if is_weight:
        held[Held.WINDOWS] = held[Held.OUTPUTS]
    per_lane, held[Held.LANES], held[Held.MISSING] = n_ic, s.lanes, 0
    if s.is_mxm == 0:
        per_lane, held[Held.LANES] = 1, n_ic
        if n_ic > s.lanes:  # few channels are common, and divisions slow
            per_lane = (n_ic + s.lanes - 1) // s.lanes
            held[Held.LANES] = (n_ic + per_lane - 1) // per_lane
    elif is_weight:
        held[Held.WINDOWS] = (held[Held.OUTPUTS] + s.lanes - 1) // s.lanes
        held[Held.MISSING] = held[Held.WINDOWS] * s.lanes - held[Held.OUTPUTS]
    held[Held.ELEMENTS], held[Held.POSITIONS] = taps * n_ic, taps * per_lane
    held[Held.WORDS] = (taps * per_lane + 63) >> 6


@first_class(SIGNATURE)
def load(
    s: Shape, f: Files, act_bits: Array, weight_bits: Array, low: Array, high: Array, what: Array,
    box: Array,
) -> int:  # fmt: skip
    """Fill the slots of the tensors that a round loads; return how many.

    Parameters
    ----------
    s : Shape
    f : Files
        Changed.
    act_bits, weight_bits : int64[words]
        See `firemesh.emulator.flexnn.operands.Operands`.
    low, high : int64[8]
        The array's ranges.
    what : uint8[3]
        Whether IF, FL and psums are loaded.
    box : int64[2, 8]
        Room to work in.
    """
    filled = 0
    if what[0] != 0:
        for slot in range(len(f.owner_if)):
            _hold(s, low, high, s.vpe[f.owner_if[slot]], False, box, f.held_if[slot])
            if f.held_if[slot, Held.IS_EMPTY] == 0:
                _fill_if(s, act_bits, f, box, slot)
        filled += len(f.owner_if)
    if what[1] != 0:
        for slot in range(len(f.owner_fl)):
            _hold(s, low, high, s.vpe[f.owner_fl[slot]], True, box, f.held_fl[slot])
            if f.held_fl[slot, Held.IS_EMPTY] == 0:
                _fill_fl(s, weight_bits, f, box, slot)
        filled += len(f.owner_fl)
    return filled


@kernel
def _append(
    s: Shape, f: Files, box: Array, held: Array, n: int, run: int, is_all: bool, words: int,
    out: Array, first: int,
) -> None:  # fmt: skip
    """Append the bits of a slot's windows, lane by lane.

    Parameters
    ----------
    s : Shape
    f : Files
    box : int64[2, 8]
        The block's ranges.
    held : int64[groups, rows, windows]
        The slot; changed where all bits are used.
    n : int
        Windows.
    run : int
        Windows that lie side by side in ``held``, as the lanes of one.
    is_all : bool
        Whether all bits are used.
    words : int
        Words of a lane of ``out``.
    out : int64[windows, lanes, words]
        Result.
    first : int
        The first window's number.
    """
    lanes = out.shape[1]
    n_ic, groups = box[1, Dim.IC] - box[0, Dim.IC], box[1, Dim.G] - box[0, Dim.G]
    n_y, n_x = box[1, Dim.FY] - box[0, Dim.FY], box[1, Dim.FX] - box[0, Dim.FX]
    per_lane = (n_ic + lanes - 1) // lanes
    of_lane = (n_y * n_x * per_lane + 63) >> 6
    if is_all:
        for lane in range(lanes):
            exist = min(per_lane, n_ic - lane * per_lane)
            row = lane * of_lane
            _gather(f.ones[:, 0], 0, 0, 0, n_y, n_x, 0, exist, per_lane, held[0], row, 0)
    for i in range(n):
        g, at = i // (n // groups), i % (n // groups)
        if is_all:
            g = at = 0
        for lane in range(lanes):
            for word in range(min(words, of_lane)):
                row = (lane + at % run) * of_lane + word
                out[first + i, lane, word] = held[g, row, at // run]


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
        n = _fill_if(s, x.act_bits, f, boxes[i], 0)
        _append(s, f, boxes[i], f.act[0], n, 1, x.skips_if == 0, words, out, at)
        at += n
    return at


@outer_kernel
def store_fl(s: Shape, x: Operands, f: Files, boxes: Array, words: int, out: Array) -> int:
    """Tell which weights of the windows of weight blocks may be in pairs; return the windows.

    Parameters and result as for `store_if`; a window is an output channel, in mxm of one lane.
    """
    at = 0
    for i in range(len(boxes)):
        n = _fill_fl(s, x.weight_bits, f, boxes[i], 0)
        run = s.lanes if s.is_mxm != 0 else 1
        _append(s, f, boxes[i], f.weight[0], n, run, x.skips_fl == 0, words, out, at)
        at += n
    return at
