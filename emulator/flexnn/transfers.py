"""What each round loads and drains: bytes, words, cycles; `docs/flexnn-cycles.md`, section 4."""

from typing import Any

from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel, popcount
from ..kinds import Memory
from .dims import Dim
from .files import ALL
from .operands import Operands
from .wires import Box, Load, Part, Taken, Wires

Array = NDArray[Any]


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
def _if_box(w: Wires, x: Operands, ranges: Array, box: Array) -> None:
    """Tell elements and, where activations are skipped, non-zeros of the IF box of ranges."""
    box[Box.ELEMENTS] = box[Box.NONZERO] = 0
    geometry = w.geometry
    h, width = geometry[6], geometry[7]
    y0 = ranges[0, Dim.OY] * geometry[0] + ranges[0, Dim.FY] * geometry[2]
    y1 = (ranges[1, Dim.OY] - 1) * geometry[0] + (ranges[1, Dim.FY] - 1) * geometry[2] + 1
    x0 = ranges[0, Dim.OX] * geometry[1] + ranges[0, Dim.FX] * geometry[3]
    x1 = (ranges[1, Dim.OX] - 1) * geometry[1] + (ranges[1, Dim.FX] - 1) * geometry[3] + 1
    y0, y1 = max(y0 - geometry[4], 0), min(y1 - geometry[4], h)
    x0, x1 = max(x0 - geometry[5], 0), min(x1 - geometry[5], width)
    if y1 <= y0 or x1 <= x0:
        return
    ic, n_groups = w.sizes[Dim.IC], ranges[1, Dim.G] - ranges[0, Dim.G]
    per_group = ranges[1, Dim.IC] - ranges[0, Dim.IC]
    frames = ranges[1, Dim.N] - ranges[0, Dim.N]
    box[Box.ELEMENTS] = frames * n_groups * per_group * (y1 - y0) * (x1 - x0)
    if x.skips_if == 0:
        return
    channels = w.sizes[Dim.G] * ic
    runs, length = (n_groups, per_group) if per_group < ic else (1, n_groups * ic)
    for n in range(ranges[0, Dim.N], ranges[1, Dim.N]):
        for i in range(runs):
            c0 = (ranges[0, Dim.G] + i) * ic + ranges[0, Dim.IC]
            box[Box.NONZERO] += _volume(
                x.act_sums, n, channels + 1, h + 1, width + 1, c0, c0 + length, y0, y1, x0, x1
            )


@kernel
def _bits(words: Array, first: int, begin: int, end: int) -> int:
    """Return how many bits of a range, not empty, of a row of words are set."""
    low, high = first + (begin >> 6), first + ((end - 1) >> 6)
    above = ALL << (begin & 63)
    below = ALL if end & 63 == 0 else (1 << (end & 63)) - 1
    if low == high:
        return popcount(words[low] & above & below)
    total = popcount(words[low] & above) + popcount(words[high] & below)
    for at in range(low + 1, high):
        total += popcount(words[at])
    return total


@kernel
def _fl_box(w: Wires, x: Operands, ranges: Array, box: Array) -> None:
    """Tell elements and, where weights are skipped, non-zeros of the FL box of ranges."""
    n_groups, per_group = ranges[1, Dim.G] - ranges[0, Dim.G], ranges[1, Dim.OC] - ranges[0, Dim.OC]
    box[Box.ELEMENTS], box[Box.NONZERO] = n_groups * per_group, 0
    for dim in (Dim.IC, Dim.FY, Dim.FX):
        box[Box.ELEMENTS] *= ranges[1, dim] - ranges[0, dim]
    if x.skips_fl == 0:
        return
    row_words = (w.sizes[Dim.IC] + 63) >> 6
    for g in range(ranges[0, Dim.G], ranges[1, Dim.G]):
        for k in range(ranges[0, Dim.OC], ranges[1, Dim.OC]):
            for fy in range(ranges[0, Dim.FY], ranges[1, Dim.FY]):
                row = ((g * w.sizes[Dim.OC] + k) * w.sizes[Dim.FY] + fy) * w.sizes[Dim.FX]
                for fx in range(ranges[0, Dim.FX], ranges[1, Dim.FX]):
                    box[Box.NONZERO] += _bits(
                        x.weight_bits, (row + fx) * row_words, ranges[0, Dim.IC], ranges[1, Dim.IC]
                    )


@kernel
def _is_of(d: int, which: int) -> bool:
    """Return whether IF (0) or FL (1) depends on a dimension."""
    return d != Dim.OC if which == 0 else not (d == Dim.N or d == Dim.OY or d == Dim.OX)


@kernel
def _words(size: int, word: int) -> int:
    """Return the words that bytes take; one is common, and divisions are slow."""
    return min(size, 1) if size <= word else -(-size // word)


@kernel
def _measure(
    w: Wires, x: Operands, which: int, low: Array, high: Array, place: Array, step: Array,
    is_loaded: bool, box: Array,
) -> None:  # fmt: skip
    """Tell the box of a part; its bytes only where the tensor is loaded."""
    ranges = w.ranges
    is_empty, points = 0, 1
    for d in range(8):
        ranges[0, d] = low[d] + place[d] * step[d]
        ranges[1, d] = min(ranges[0, d] + step[d], high[d])
        length = max(0, ranges[1, d] - ranges[0, d])
        if _is_of(d, which):
            is_empty = 1 if length == 0 else is_empty
            if d == Dim.OC or (which == 0 and d <= Dim.OX):
                points *= length
    for i in range(len(box)):
        box[i] = 0
    box[Box.IS_EMPTY], box[Box.POINTS] = is_empty, points
    if is_empty != 0 or not is_loaded:
        return
    if which == 0:
        _if_box(w, x, ranges, box)
    else:
        _fl_box(w, x, ranges, box)
    is_compressed = x.skips_if != 0 if which == 0 else x.skips_fl != 0
    box[Box.DATA] = box[Box.NONZERO] if is_compressed else box[Box.ELEMENTS]
    box[Box.BITS] = (box[Box.ELEMENTS] + 7) >> 3 if is_compressed else 0
    box[Box.DATA_WORDS] = _words(box[Box.DATA], w.column_bytes)
    box[Box.BITS_WORDS] = _words(box[Box.BITS], w.column_bytes)


@kernel
def _measure_all(
    w: Wires, x: Operands, which: int, low: Array, high: Array, is_loaded: bool
) -> None:
    """Tell the boxes of all parts of a tensor, each slot's once."""
    for part in range(3):
        owner, box = w.owner[2 * part + which], w.box[2 * part + which]
        for slot in range(len(owner)):
            place = w.place[part][owner[slot]]
            _measure(w, x, which, low, high, place, w.step[part], is_loaded, box[slot])


@kernel
def _array(w: Wires, what: Array, leaves: int, out: Array) -> None:
    """Tell the bytes that SRAM gives and takes."""
    of_if, of_fl = w.box[2 * Part.ARRAY][0], w.box[2 * Part.ARRAY + 1][0]
    points = of_if[Box.POINTS] * of_fl[Box.POINTS]
    if what[0] != 0:
        out[Load.IF] = of_if[Box.DATA] + of_if[Box.BITS]
    if what[1] != 0:
        out[Load.FL] = of_fl[Box.DATA] + of_fl[Box.BITS]
    if what[2] != 0:
        out[Load.PSUM] = 4 * points
    out[Load.DRAINED] = leaves * points
    out[Load.POINTS] = points if leaves != 0 else 0


@kernel
def _fullest(w: Wires, what: Array) -> int:
    """Return the bytes that the column takes which takes most."""
    most = 0
    of_if, of_fl = 2 * Part.COLUMN, 2 * Part.COLUMN + 1
    for j in range(len(w.is_column_used)):
        box_if, box_fl = w.box[of_if][w.slot[of_if][j]], w.box[of_fl][w.slot[of_fl][j]]
        if not w.is_column_used[j] or box_if[Box.IS_EMPTY] != 0 or box_fl[Box.IS_EMPTY] != 0:
            continue
        total = 0
        if what[0] != 0:
            total += box_if[Box.DATA] + box_if[Box.BITS]
        if what[1] != 0:
            total += box_fl[Box.DATA] + box_fl[Box.BITS]
        if what[2] != 0 and w.is_head_column[j]:
            total += 4 * box_if[Box.POINTS] * box_fl[Box.POINTS]
        most = max(most, total)
    return most


@kernel
def _take(box: Array, column: int, taken: Array) -> None:
    """Count the words and bytes of a box that a VPE takes."""
    taken[0, column] += box[Box.DATA_WORDS]
    taken[1, column] += box[Box.DATA]
    taken[0, column + 1] += box[Box.BITS_WORDS]
    taken[1, column + 1] += box[Box.BITS]


@kernel
def _vpes(w: Wires, what: Array, leaves: int, drain_word: int, spans: Array) -> None:
    """Count what VPEs take and give back; ``spans`` are a round's of `transfers`, or none."""
    is_loaded = what[0] != 0 or what[1] != 0 or what[2] != 0
    for v in range(len(w.vpe)):
        if not w.is_used[v]:
            continue
        box_if, box_fl, taken = w.box[0][w.slot[0][v]], w.box[1][w.slot[1][v]], w.taken[v]
        psums = 4 * box_if[Box.POINTS] * box_fl[Box.POINTS]
        if leaves != 0:
            taken[0, Taken.OUT] += _words(psums, drain_word)
            taken[1, Taken.OUT] += psums
        has_work = box_if[Box.IS_EMPTY] == 0 and box_fl[Box.IS_EMPTY] == 0
        if is_loaded and has_work:
            if what[0] != 0:
                _take(box_if, Taken.IF, taken)
            if what[1] != 0:
                _take(box_fl, Taken.FL, taken)
            if what[2] != 0 and w.is_head[v]:
                taken[0, Taken.OF] += _words(psums, w.column_bytes)
                taken[1, Taken.OF] += psums
        if len(spans) > 0:
            spans[v, Taken.OUT] = psums if leaves != 0 else 0
            if is_loaded and has_work:
                spans[v, Taken.IF] = box_if[Box.DATA] if what[0] != 0 else 0
                spans[v, Taken.IF + 1] = box_if[Box.BITS] if what[0] != 0 else 0
                spans[v, Taken.FL] = box_fl[Box.DATA] if what[1] != 0 else 0
                spans[v, Taken.FL + 1] = box_fl[Box.BITS] if what[1] != 0 else 0
                spans[v, Taken.OF] = psums if what[2] != 0 and w.is_head[v] else 0


@kernel
def _settle(w: Wires, count: Array, size: Array) -> None:
    """Count accesses from what VPEs took and gave."""
    for v in range(len(w.vpe)):
        for side in range(2):
            into, taken = count[v] if side == 0 else size[v], w.taken[v, side]
            into[Memory.RF_IF, 1] += taken[Taken.IF]
            into[Memory.BITMAP_IF, 1] += taken[Taken.IF + 1]
            into[Memory.RF_FL, 1] += taken[Taken.FL]
            into[Memory.BITMAP_FL, 1] += taken[Taken.FL + 1]
            into[Memory.RF_OF, 1] += taken[Taken.OF]
            into[Memory.RF_OF, 0] += taken[Taken.OUT]
            for column in range(Taken.OUT):
                into[Memory.BUS, 0] += taken[column]
            if not w.is_head[v]:
                into[Memory.BUS, 1] += taken[Taken.OUT]


@outer_kernel
def transfers(
    w: Wires, x: Operands, low: Array, high: Array, what: Array, leaves: Array, drain_word: int,
    count: Array, size: Array, out: Array, spans: Array,
) -> None:  # fmt: skip
    """Tell what each round loads and drains; count what VPEs write and give back.

    Parameters
    ----------
    w : Wires
        Its room is overwritten.
    x : Operands
    low, high : int64[n, 8]
        The array's ranges.
    what : uint8[n, 3]
        Whether IF, FL and psums are loaded.
    leaves : uint8[n]
        0; bytes of a point that leaves: 1 or 4.
    drain_word : int
        Bytes of a word in which psums are read.
    count, size : int64[v, memories, 2]
        Accesses and bytes of each VPE; changed.
    out : int64[n, len(Load)]
        Result, but for cycles.
    spans : int32[n, v, 6] or [0, 1, 6]
        Bytes that each VPE takes and gives back, 0 before; columns of `Taken`.
    """
    w.taken[:] = 0
    for r in range(len(low)):
        for which in range(2):
            # ranges change with what is loaded, or with an earlier call
            if what[r, which] != 0 or r == 0:
                _measure_all(w, x, which, low[r], high[r], what[r, which] != 0)
        _array(w, what[r], leaves[r], out[r])
        is_loaded = what[r, 0] != 0 or what[r, 1] != 0 or what[r, 2] != 0
        if is_loaded:
            out[r, Load.COLUMN] = _fullest(w, what[r])
        if is_loaded or leaves[r] != 0:
            of_round = spans[r] if len(spans) > 0 else spans[:0, 0]
            _vpes(w, what[r], leaves[r], drain_word, of_round)
    _settle(w, count, size)
