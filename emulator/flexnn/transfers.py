"""What each round loads and drains: bytes, words, cycles; `docs/flexnn-cycles.md`, section 4."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel
from ..state import Memory
from .descriptor import Cut
from .dims import Dim
from .machine import FlexMachine
from .operands import Operands
from .rounds import Places

Array = NDArray[Any]


class Load(IntEnum):
    """Columns of what a round loads and drains."""

    IF = 0
    """Bytes of the ifmap that SRAM gives; likewise weights and psums."""
    FL = 1
    PSUM = 2
    COLUMN = 3
    """Bytes that the column takes which takes most."""
    CYCLES = 4
    """Of the load."""
    DRAINED = 5
    """Bytes that leave."""
    TREE = 6
    """Cycles of the reduction over VPEs."""
    DRAIN = 7
    """Cycles in all of the drain."""
    POINTS = 8
    """Points that leave."""


class Wires(NamedTuple):
    """Numbers and arrays that tell where bytes go."""

    sizes: Array
    """int64[8]: D_d."""
    block: Array
    row_parts: Array
    column_parts: Array
    geometry: Array
    """int64[8]: strides, dilations, pads, ifmap, each y and x."""
    vpe: Array
    column: Array
    is_used: Array
    is_column_used: Array
    is_head: Array
    is_head_column: Array
    """See `firemesh.emulator.flexnn.rounds.Places`."""
    column_bytes: int
    reduced: int
    """P: VPEs whose psums make one point."""
    depth: int
    """Cycles before the reduction's first point."""


def wires(cut: Cut, machine: FlexMachine, found: Places) -> Wires:
    """Return the wires of a descriptor on a machine."""
    reduced = cut.n_reduced
    is_tree = cut.descriptor.reduction == "tree"
    return Wires(
        np.array(cut.layer.sizes, np.int64),
        np.array(cut.block, np.int64),
        np.array(cut.row_parts, np.int64),
        np.array(cut.column_parts, np.int64),
        cut.layer.geometry(),
        found.vpe,
        found.column,
        found.is_used,
        found.is_column_used,
        found.is_head,
        found.is_head_column,
        machine.sdn.column_bytes,
        reduced,
        (reduced - 1).bit_length() if is_tree else reduced - 1,
    )


@kernel
def _corner(sums: Array, b: int, c: int, d: int, nb: int, nc: int, nd: int, a: int) -> int:
    found: int = sums[((a * nb + b) * nc + c) * nd + d]
    return found


@kernel
def _volume(
    sums: Array, a: int, nb: int, nc: int, nd: int,
    b0: int, b1: int, c0: int, c1: int, d0: int, d1: int,
) -> int:  # fmt: skip
    """Return the bits in a box of three dimensions of a summed-area table."""
    return (
        _corner(sums, b1, c1, d1, nb, nc, nd, a)
        - _corner(sums, b0, c1, d1, nb, nc, nd, a)
        - _corner(sums, b1, c0, d1, nb, nc, nd, a)
        - _corner(sums, b1, c1, d0, nb, nc, nd, a)
        + _corner(sums, b0, c0, d1, nb, nc, nd, a)
        + _corner(sums, b0, c1, d0, nb, nc, nd, a)
        + _corner(sums, b1, c0, d0, nb, nc, nd, a)
        - _corner(sums, b0, c0, d0, nb, nc, nd, a)
    )


@kernel
def if_box(sizes: Array, geometry: Array, x: Operands, box: Array, out: Array) -> None:
    """Tell elements and, where activations are skipped, non-zeros of the IF box of ranges.

    Parameters
    ----------
    sizes, geometry : int64[8]
        See `Wires`.
    x : Operands
    box : int64[2, 8]
        First elements, and those after the last.
    out : int64[2]
        Result.
    """
    out[0] = out[1] = 0
    h, w = geometry[6], geometry[7]
    y0 = box[0, Dim.OY] * geometry[0] + box[0, Dim.FY] * geometry[2] - geometry[4]
    y1 = (box[1, Dim.OY] - 1) * geometry[0] + (box[1, Dim.FY] - 1) * geometry[2] - geometry[4] + 1
    x0 = box[0, Dim.OX] * geometry[1] + box[0, Dim.FX] * geometry[3] - geometry[5]
    x1 = (box[1, Dim.OX] - 1) * geometry[1] + (box[1, Dim.FX] - 1) * geometry[3] - geometry[5] + 1
    y0, y1, x0, x1 = max(y0, 0), min(y1, h), max(x0, 0), min(x1, w)
    if y1 <= y0 or x1 <= x0:
        return
    ic, n_groups = sizes[Dim.IC], box[1, Dim.G] - box[0, Dim.G]
    per_group = box[1, Dim.IC] - box[0, Dim.IC]
    frames = box[1, Dim.N] - box[0, Dim.N]
    out[0] = frames * n_groups * per_group * (y1 - y0) * (x1 - x0)
    if x.skips_if == 0:
        return
    channels = sizes[Dim.G] * ic
    runs, length = (n_groups, per_group) if per_group < ic else (1, n_groups * ic)
    for n in range(box[0, Dim.N], box[1, Dim.N]):
        for i in range(runs):
            c0 = (box[0, Dim.G] + i) * ic + box[0, Dim.IC]
            out[1] += _volume(
                x.act_sums, n, channels + 1, h + 1, w + 1, c0, c0 + length, y0, y1, x0, x1
            )


@kernel
def fl_box(sizes: Array, x: Operands, box: Array, out: Array) -> None:
    """Tell elements and, where weights are skipped, non-zeros of the FL box of ranges."""
    out[0] = out[1] = 0
    oc, ic, fy, fx = sizes[Dim.OC], sizes[Dim.IC], sizes[Dim.FY], sizes[Dim.FX]
    n_groups, per_group = box[1, Dim.G] - box[0, Dim.G], box[1, Dim.OC] - box[0, Dim.OC]
    out[0] = n_groups * per_group
    for dim in (Dim.IC, Dim.FY, Dim.FX):
        out[0] *= box[1, dim] - box[0, dim]
    if x.skips_fl == 0:
        return
    runs, length = (n_groups, per_group) if per_group < oc else (1, n_groups * oc)
    for i in range(runs):
        k0 = (box[0, Dim.G] + i) * oc + box[0, Dim.OC]
        for k, sign in ((k0 + length, 1), (k0, -1)):
            out[1] += sign * _volume(
                x.weight_sums, k, ic + 1, fy + 1, fx + 1, box[0, Dim.IC], box[1, Dim.IC],
                box[0, Dim.FY], box[1, Dim.FY], box[0, Dim.FX], box[1, Dim.FX],
            )  # fmt: skip


@kernel
def _bytes(found: Array, is_compressed: int) -> int:
    size: int = found[1] + (found[0] + 7) // 8 if is_compressed != 0 else found[0]
    return size


@kernel
def _ranges(low: Array, high: Array, place: Array, step: Array, width: Array, box: Array) -> bool:
    """Tell the ranges of a VPE or column; return whether one is empty."""
    is_empty = False
    for d in range(8):
        box[0, d] = low[d] + place[d] * step[d]
        box[1, d] = min(box[0, d] + width[d], high[d])
        if box[1, d] <= box[0, d]:
            is_empty = True
    return is_empty


@kernel
def _points(box: Array) -> int:
    points = 1
    for d in (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.OC):
        points *= max(0, box[1, d] - box[0, d])
    return points


@kernel
def _take(count: Array, size: Array, v: int, memory: int, data: int, word: int) -> None:
    """Count bytes that a VPE takes from a bus and writes, word by word."""
    words = -(-data // word)
    count[v, memory, 1] += words
    size[v, memory, 1] += data
    count[v, Memory.BUS, 0] += words
    size[v, Memory.BUS, 0] += data


@kernel
def _vpe_writes(
    w: Wires, x: Operands, what: Array, box: Array, found: Array, v: int, count: Array,
    size: Array, spans: Array,
) -> None:  # fmt: skip
    """Count what a VPE with work takes from the buses and writes into its register file."""
    for which in range(2):
        if what[which] == 0:
            continue
        skips = x.skips_if if which == 0 else x.skips_fl
        if which == 0:
            if_box(w.sizes, w.geometry, x, box, found)
        else:
            fl_box(w.sizes, x, box, found)
        data = found[1] if skips != 0 else found[0]
        memory = Memory.RF_IF + which
        _take(count, size, v, memory, data, w.column_bytes)
        bits = (found[0] + 7) // 8 if skips != 0 else 0
        _take(count, size, v, Memory.BITMAP_IF + which, bits, w.column_bytes)
        if len(spans) > 0:
            spans[v, 2 * which] = data
            spans[v, 2 * which + 1] = bits
    if what[2] != 0 and w.is_head[v] != 0:
        data = 4 * _points(box)
        _take(count, size, v, Memory.RF_OF, data, w.column_bytes)
        if len(spans) > 0:
            spans[v, 4] = data


@kernel
def _column_bytes(w: Wires, x: Operands, what: Array, box: Array, found: Array, j: int) -> int:
    total = 0
    if what[0] != 0:
        if_box(w.sizes, w.geometry, x, box, found)
        total += _bytes(found, x.skips_if)
    if what[1] != 0:
        fl_box(w.sizes, x, box, found)
        total += _bytes(found, x.skips_fl)
    if what[2] != 0 and w.is_head_column[j] != 0:
        total += 4 * _points(box)
    return total


@outer_kernel
def transfers(
    w: Wires, x: Operands, low: Array, high: Array, what: Array, leaves: Array, drain_word: int,
    box: Array, width: Array, step: Array, found: Array, count: Array, size: Array, out: Array,
    spans: Array,
) -> None:  # fmt: skip
    """Tell what each round loads and drains; count what VPEs write and give back.

    Parameters
    ----------
    w : Wires
    x : Operands
    low, high : int64[n, 8]
        The array's ranges.
    what : uint8[n, 3]
        Whether IF, FL and psums are loaded.
    leaves : uint8[n]
        0; bytes of a point that leaves: 1 or 4.
    drain_word : int
        Bytes of a word in which psums are read.
    box, width, step, found : int64[2, 8], int64[8], int64[8], int64[2]
        Room to work in.
    count, size : int64[v, memories, 2]
        Accesses and bytes of each VPE; changed.
    out : int64[n, len(Load)]
        Result, but for cycles.
    spans : int32[n, v, 6] or [0, 0, 0]
        Bytes that each VPE writes (IF, its bitmap, FL, its bitmap, psums) and gives back.
    """
    for r in range(len(low)):
        is_loaded = what[r, 0] != 0 or what[r, 1] != 0 or what[r, 2] != 0
        for d in range(8):
            box[0, d], box[1, d] = low[r, d], high[r, d]
        if what[r, 0] != 0:
            if_box(w.sizes, w.geometry, x, box, found)
            out[r, Load.IF] = _bytes(found, x.skips_if)
        if what[r, 1] != 0:
            fl_box(w.sizes, x, box, found)
            out[r, Load.FL] = _bytes(found, x.skips_fl)
        points = _points(box)
        if what[r, 2] != 0:
            out[r, Load.PSUM] = 4 * points
        out[r, Load.DRAINED] = leaves[r] * points
        out[r, Load.POINTS] = points if leaves[r] != 0 else 0
        if is_loaded:
            for d in range(8):
                step[d] = width[d] = w.block[d] * w.row_parts[d]
            for j in range(len(w.column)):
                if w.is_column_used[j] == 0:
                    continue
                if not _ranges(low[r], high[r], w.column[j], step, width, box):
                    entering = _column_bytes(w, x, what[r], box, found, j)
                    out[r, Load.COLUMN] = max(out[r, Load.COLUMN], entering)
        for v in range(len(w.vpe)):
            if w.is_used[v] == 0 or (not is_loaded and leaves[r] == 0):
                continue
            has_work = not _ranges(low[r], high[r], w.vpe[v], w.block, w.block, box)
            if leaves[r] != 0:
                data = 4 * _points(box)
                count[v, Memory.RF_OF, 0] += -(-data // drain_word)
                size[v, Memory.RF_OF, 0] += data
                if w.is_head[v] == 0:
                    count[v, Memory.BUS, 1] += -(-data // drain_word)
                    size[v, Memory.BUS, 1] += data
                if len(spans) > 0:
                    spans[r, v, 5] = data
            if is_loaded and has_work:
                of_vpe = spans[r] if len(spans) > 0 else spans[:0, 0]
                _vpe_writes(w, x, what[r], box, found, v, count, size, of_vpe)
