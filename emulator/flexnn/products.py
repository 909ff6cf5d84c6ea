"""Psums of rounds: products of activations and weights; `docs/flexnn-cycles.md`, section 5.

The array's ranges are those of its VPEs side by side, and sums of int32 that wrap do not depend on
their order. So a round's products are taken for all VPEs together: activation by activation, for
all output channels at once. Zeros add nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel
from .descriptor import Cut
from .dims import Dim
from .files import Shape
from .operands import Operands

Array = NDArray[Any]
AT_ONCE = 4
"""Activations that a kernel takes at a time."""
FEW = 8
"""Output channels below which it takes one after another."""
FEW_POINTS = 16
"""Points below which it does not pay to lay weights out by output channels."""


class Products(NamedTuple):
    """Weights and psums as products take and make them."""

    weight: Array
    """int16, flat [g, fy, fx, ic, oc]; of few points [g, oc, fy, fx, ic]."""
    step_ic: int
    """Weights from an input channel to the next, and from an output channel."""
    step_oc: int
    psum: Array
    """int32[points, k]: points by (n, oy, ox), filters in the schedule's order; wrapping."""
    value: Array
    """int32[reduction + AT_ONCE]: room for a point's activations that are not zero."""
    line: Array
    """int64: where the weights of each begin."""


def products(cut: Cut, x: Operands) -> Products:
    """Return psums of a layer, all 0."""
    sizes = cut.layer.sizes
    groups, oc, reduced = sizes[Dim.G], sizes[Dim.OC], sizes[Dim.IC] * sizes[Dim.FY] * sizes[Dim.FX]
    points = sizes[Dim.N] * sizes[Dim.OY] * sizes[Dim.OX]
    weight, step_ic, step_oc = x.weight, 1, reduced
    if points >= FEW_POINTS:
        by_oc = x.weight.reshape(groups, oc, reduced).transpose(0, 2, 1)
        weight, step_ic, step_oc = np.ascontiguousarray(by_oc).reshape(-1), oc, 1
    return Products(
        weight,
        step_ic,
        step_oc,
        np.zeros((points, groups * oc), np.int32),
        np.zeros(reduced + AT_ONCE, np.int32),
        np.zeros(reduced + AT_ONCE, np.int64),
    )


def psums(cut: Cut, x: Operands, made: Products) -> Array:
    """Return int32[n, k, oy, ox]: psums by the layer's filters."""
    sizes = cut.layer.sizes
    whole = made.psum.reshape(sizes[Dim.N], sizes[Dim.OY], sizes[Dim.OX], -1)
    found = np.empty((sizes[Dim.N], whole.shape[3], *whole.shape[1:3]), np.int32)
    found[:, x.filter] = whole.transpose(0, 3, 1, 2)
    return found


@kernel
def _list(s: Shape, x: Operands, p: Products, low: Array, high: Array, g: int, base: int) -> int:
    """List the activations of a point that are not zero; return how many, rounded up."""
    channels = s.sizes[Dim.G] * s.sizes[Dim.IC]
    first, n = g * s.sizes[Dim.IC] + low[Dim.IC], high[Dim.IC] - low[Dim.IC]
    of_group = g * s.sizes[Dim.OC] * s.sizes[Dim.IC] * s.sizes[Dim.FY] * s.sizes[Dim.FX]
    found = 0
    for fy in range(low[Dim.FY], high[Dim.FY]):
        for fx in range(low[Dim.FX], high[Dim.FX]):
            pixel = base + fy * s.geometry[2] * s.width + fx * s.geometry[3]
            tap = fy * s.sizes[Dim.FX] + fx
            row = x.act[pixel * channels + first : pixel * channels + first + n]
            line = of_group + (tap * s.sizes[Dim.IC] + low[Dim.IC]) * p.step_ic
            for c in range(n):  # without a branch, which random zeros would make slow
                p.value[found] = row[c]
                p.line[found] = line + c * p.step_ic
                found += 1 if row[c] != 0 else 0
    for i in range(found, found + AT_ONCE):
        p.value[i] = 0
        p.line[i] = 0
    return (found + AT_ONCE - 1) // AT_ONCE * AT_ONCE


@kernel
def _add(p: Products, n: int, first: int, psum: Array) -> None:
    """Add the products of a point's activations with a run of output channels."""
    k = len(psum)
    if k < FEW or p.step_oc != 1:
        for i in range(k):
            total, at = 0, (first + i) * p.step_oc
            for e in range(n):
                total += np.int64(p.value[e]) * p.weight[p.line[e] + at]
            psum[i] += total
        return
    for e in range(0, n, AT_ONCE):
        v0, v1, v2, v3 = p.value[e], p.value[e + 1], p.value[e + 2], p.value[e + 3]
        at0, at1 = p.line[e] + first, p.line[e + 1] + first
        at2, at3 = p.line[e + 2] + first, p.line[e + 3] + first
        w0, w1 = p.weight[at0 : at0 + k], p.weight[at1 : at1 + k]
        w2, w3 = p.weight[at2 : at2 + k], p.weight[at3 : at3 + k]
        for i in range(k):
            psum[i] += v0 * w0[i] + v1 * w1[i] + v2 * w2[i] + v3 * w3[i]


@outer_kernel
def multiply(s: Shape, x: Operands, p: Products, low: Array, high: Array) -> None:
    """Add the products of rounds.

    Parameters
    ----------
    s : Shape
    x : Operands
    p : Products
        Changed.
    low, high : int64[n, 8]
        The array's ranges.
    """
    n_oc, height, width = s.sizes[Dim.OC], s.sizes[Dim.OY], s.sizes[Dim.OX]
    for r in range(len(low)):
        k0, k1 = low[r, Dim.OC], high[r, Dim.OC]
        for g in range(low[r, Dim.G], high[r, Dim.G]):
            for frame in range(low[r, Dim.N], high[r, Dim.N]):
                for oy in range(low[r, Dim.OY], high[r, Dim.OY]):
                    for ox in range(low[r, Dim.OX], high[r, Dim.OX]):
                        base = (frame * s.height + oy * s.geometry[0]) * s.width
                        base += ox * s.geometry[1]
                        n = _list(s, x, p, low[r], high[r], g, base)
                        point = (frame * height + oy) * width + ox
                        psum = p.psum[point, g * n_oc + k0 : g * n_oc + k1]
                        _add(p, n, k0, psum)
