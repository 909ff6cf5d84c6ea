"""A layer's operands as the kernels take them: values, bitmaps, and sums of bits over boxes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...encoders.zvc import WORD_BITS, pack
from .descriptor import Cut
from .dims import Dim
from .machine import FlexMachine
from .rules import skippable

Array = NDArray[Any]
WORD = WORD_BITS


class Operands(NamedTuple):
    """Values, bitmaps and sums of a layer's ifmap (IF) and weights (FL).

    Bit words are int64, little bit order. Sums are those of a summed-area table: how many
    non-zeros lie before a corner in every dimension.
    """

    act: Array
    """int16, flat [n, padded h, padded w, c]: activations less their zero point."""
    act_bits: Array
    """int64, flat [n, padded h, padded w, words of c]: which of them are not zero."""
    act_sums: Array
    """int64, flat [n, c + 1, h + 1, w + 1]."""
    weight: Array
    """int16, flat [k, fy, fx, ic]: weights less their zero points, in the schedule's order."""
    weight_bits: Array
    """int64, flat [k, fy, fx, words of ic]."""
    filter: Array
    """int64[k]: the layer's filter that is at each place of the schedule's order."""
    padded: tuple[int, int]
    """Height and width of the padded ifmap."""
    skips_if: int
    """Whether activations are skipped, and so compressed."""
    skips_fl: int


def summed(is_set: Array, axes: tuple[int, ...]) -> Array:
    """Return int64 sums of bits before each corner along some axes, flat."""
    sums: Array = is_set.astype(np.int64)
    for axis in axes:
        sums = np.cumsum(sums, axis=axis)
    padding = [(1, 0) if axis in axes else (0, 0) for axis in range(is_set.ndim)]
    return np.ascontiguousarray(np.pad(sums, padding)).reshape(-1)


def filter_order(weight: Array, groups: int, is_balanced: bool) -> Array:
    """Return int64[k]: filters in the order in which the schedule takes them.

    Parameters
    ----------
    weight : int array [k, c, r, s]
        Less zero points.
    groups : int
    is_balanced : bool
        By falling number of non-zero weights within each group, ties by number.
    """
    k = len(weight)
    if not is_balanced:
        return np.arange(k)
    nonzero = np.count_nonzero(weight.reshape(k, -1), axis=1)
    of_group = np.arange(k) // (k // groups)
    order: Array = np.lexsort((np.arange(k), -nonzero, of_group))
    return order


def operands(cut: Cut, machine: FlexMachine, x: Array, weight: Array) -> Operands:
    """Return the operands of a layer.

    Parameters
    ----------
    cut : Cut
        A legal descriptor on the layer.
    machine : FlexMachine
    x : int16[n, c, h, w]
        Activations less their zero point.
    weight : int16[k, c of a group, r, s]
        Weights less their zero points.
    """
    layer = cut.layer
    sizes, (height, width) = layer.sizes, layer.ifmap
    top, left = layer.pads
    (sy, sx), (dy, dx) = layer.strides, layer.dilations
    padded = (
        max(top + height, (sizes[Dim.OY] - 1) * sy + (sizes[Dim.FY] - 1) * dy + 1),
        max(left + width, (sizes[Dim.OX] - 1) * sx + (sizes[Dim.FX] - 1) * dx + 1),
    )
    act = np.zeros((len(x), *padded, x.shape[1]), np.int16)
    act[:, top : top + height, left : left + width] = x.transpose(0, 2, 3, 1)
    order = filter_order(weight, sizes[Dim.G], cut.descriptor.balance)
    taken = weight[order]
    share_if = np.count_nonzero(x) / x.size
    share_fl = np.count_nonzero(weight) / weight.size
    may_if, may_fl = skippable(cut.descriptor)
    pays = machine.sparsity.pays_below
    last = np.ascontiguousarray(taken.transpose(0, 2, 3, 1))
    return Operands(
        act.reshape(-1),
        pack(act != 0).reshape(-1),
        summed(x != 0, (1, 2, 3)),
        last.reshape(-1),
        pack(last != 0).reshape(-1),
        order,
        padded,
        int(may_if and share_if < pays),
        int(may_fl and share_fl < pays),
    )
