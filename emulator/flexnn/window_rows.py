"""Rows of a trace for the windows of VPEs: which windows of the mask sets, and when."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel
from .dims import Dim

Array = NDArray[Any]


class Grid(NamedTuple):
    """What tells the rows of a layer's VPEs apart."""

    sizes: Array
    """int64[8]: D_d."""
    block: Array
    vpe: Array
    """int64[v, 8]: p_d."""
    domain: Array
    key: Array
    """int64[IC blocks, FY blocks, FX blocks]: which mask sets a reduction block is in."""
    place: Array
    """The same: its number among those of its sets."""
    lanes: int
    is_mxm: int


@kernel
def _first_point(g: Grid, box: Array) -> int:
    """Return the number of a block's first point, block after block."""
    frames = box[1, Dim.N] - box[0, Dim.N]
    rows = box[1, Dim.OY] - box[0, Dim.OY]
    height, width = g.sizes[Dim.OY], g.sizes[Dim.OX]
    before = box[0, Dim.N] * height * width
    found: int = before + frames * (box[0, Dim.OY] * width + rows * box[0, Dim.OX])
    return found


@outer_kernel
def window_rows(
    g: Grid, v: int, key: int, low: Array, high: Array, start: Array, taken: Array,
    version: Array, box: Array, end: Array, out: Array,
) -> int:  # fmt: skip
    """Tell the rows of a VPE; return how many.

    Parameters
    ----------
    g : Grid
    v, key : int
        VPE, and mask sets: rows of other ones are left out.
    low, high : int64[n, 8]
        The array's ranges.
    start : int64[n, domains]
        Cycles, from the layer's first on.
    taken : int32[n, v]
        Cycles of each VPE.
    version : int64[n, 3]
        Which half of IF, FL and OF a round uses.
    box : int64[2, 8]
        Room to work in.
    end : int64[1]
        When the VPE's row before ended; changed.
    out : int64[6, rows]
        Result: slack, first window of A and how many, of B and how many, pattern.
    """
    n = 0
    for r in range(len(low)):
        is_empty = False
        for d in range(8):
            box[0, d] = low[r, d] + g.vpe[v, d] * g.block[d]
            box[1, d] = min(box[0, d] + g.block[d], high[r, d])
            is_empty = is_empty or box[1, d] <= box[0, d]
        if is_empty:
            continue
        i = box[0, Dim.IC] // g.block[Dim.IC]
        j = box[0, Dim.FY] // g.block[Dim.FY]
        k = box[0, Dim.FX] // g.block[Dim.FX]
        if g.key[i, j, k] != key:
            continue
        points = g.sizes[Dim.N] * g.sizes[Dim.OY] * g.sizes[Dim.OX]
        filters, first, n_oc = g.sizes[Dim.OC], box[0, Dim.OC], box[1, Dim.OC] - box[0, Dim.OC]
        short = 0
        if g.is_mxm != 0:
            short = 1 if n_oc % g.lanes != 0 else 0
            filters = (filters + g.lanes - 1) // g.lanes
            first //= g.lanes
            n_oc = n_oc // g.lanes
        n_points = 1
        for d in (Dim.N, Dim.OY, Dim.OX):
            n_points *= box[1, d] - box[0, d]
        cycle = start[r, g.domain[v]]
        slack = cycle - end[0]
        for group in range(box[0, Dim.G], box[1, Dim.G]):
            number = g.place[i, j, k] * g.sizes[Dim.G] + group
            local = group - box[0, Dim.G]
            for part in range(2):
                windows = n_oc if part == 0 else short
                if windows == 0:
                    continue
                out[0, n], slack = slack, 0
                out[1, n] = number * points + _first_point(g, box)
                out[2, n] = n_points
                out[3, n] = number * filters + first + (n_oc if part == 1 else 0)
                out[4, n] = windows
                half = version[r, 0] + 2 * version[r, 1] + 4 * version[r, 2]
                out[5, n] = ((local * 2 + part) * 8 + half) * 4
                n += 1
        end[0] = cycle + taken[r, v]
    return n
