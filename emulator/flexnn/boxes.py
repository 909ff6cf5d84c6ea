"""Boxes of a round that several VPEs want: what multicasts carry; `docs/flexnn-cycles.md`, 8."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel
from ..kinds import Memory
from .dims import Dim
from .transfers import transfers
from .wires import Load, Wires

if TYPE_CHECKING:
    from .moves import Layer, Moves

Array = NDArray[Any]
Ints = NDArray[np.int64]
TENSORS = ("IF", "FL", "psums")
"""In the order in which a round loads them."""


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
def _if_key(geometry: Array, box: Array, key: Array) -> None:
    """Tell frames, groups, channels, rows and columns of the IF box of ranges."""
    for side in range(2):
        key[side] = box[side, Dim.N]
        key[2 + side] = box[side, Dim.G]
        key[4 + side] = box[side, Dim.IC]
    for axis in range(2):
        o, f = Dim.OY + axis, Dim.FY + axis
        stride, dilation = geometry[axis], geometry[2 + axis]
        pad, size = geometry[4 + axis], geometry[6 + axis]
        first = box[0, o] * stride + box[0, f] * dilation - pad
        end = (box[1, o] - 1) * stride + (box[1, f] - 1) * dilation - pad + 1
        key[6 + 2 * axis] = max(first, 0)
        key[7 + 2 * axis] = min(end, size)


@kernel
def _fl_key(box: Array, key: Array) -> None:
    """Tell the ranges of the FL box."""
    for side in range(2):
        key[side] = box[side, Dim.G]
        key[2 + side] = box[side, Dim.OC]
        key[4 + side] = box[side, Dim.IC]
        key[6 + side] = box[side, Dim.FY]
        key[8 + side] = box[side, Dim.FX]


@kernel
def _first_with(keys: Array, owner: Array, v: int) -> int:
    """Return the first VPE that wants the box which VPE ``v`` wants, maybe itself."""
    for u in range(v):
        if owner[u] != u:
            continue
        is_same = True
        for i in range(keys.shape[1]):
            if keys[u, i] != keys[v, i]:
                is_same = False
                break
        if is_same:
            return u
    return v


@outer_kernel
def share(
    w: Wires, low: Array, high: Array, what: Array, box: Array, keys: Array, owner: Array
) -> None:
    """Tell which VPEs want the same box.

    Parameters
    ----------
    w : Wires
    low, high : int64[n, 8]
        The array's ranges.
    what : uint8[n, 3]
        Whether IF, FL and psums are loaded.
    box, keys : int64[2, 8], int64[v, 10]
        Room to work in.
    owner : int32[n, 3, v]
        Result, -1 before: the first VPE that wants the VPE's box of IF, FL and psums; -1 where it
        wants none.
    """
    for r in range(len(low)):
        for which in range(3):
            if what[r, which] == 0:
                continue
            for v in range(len(w.vpe)):
                if w.is_used[v] == 0 or (which == 2 and w.is_head[v] == 0):
                    continue
                if _ranges(low[r], high[r], w.vpe[v], w.block, box):
                    continue
                if which == 2:
                    owner[r, which, v] = v
                    continue
                if which == 0:
                    _if_key(w.geometry, box, keys[v])
                else:
                    _fl_key(box, keys[v])
                owner[r, which, v] = _first_with(keys, owner[r, which], v)


def boxes(layer: "Layer", what: "Moves") -> tuple[NDArray[np.int32], Ints, Ints]:
    """Return what each VPE takes and gives in some rounds.

    Parameters
    ----------
    layer : Layer
    what : Moves

    Returns
    -------
    owner : int32[n, 3, v]
        See `share`.
    taken : int64[n, 3, v]
        Bytes of the VPE's box of IF, FL and psums, 0 where it takes none.
    given : int64[n, v]
        Bytes that it sends to storage.
    """
    n, n_vpes, rounds = len(what.rounds), len(layer.wires.vpe), what.rounds
    count, size = np.zeros((2, n_vpes, len(Memory), 2), np.int64)
    spans = np.zeros((n, n_vpes, 6), np.int32)
    transfers(
        layer.wires, layer.x, rounds.low, rounds.high, what.what, what.leaves, 1, count, size,
        np.zeros((n, len(Load)), np.int64), spans,
    )  # fmt: skip
    owner = np.full((n, 3, n_vpes), -1, np.int32)
    box, keys = np.zeros((2, 8), np.int64), np.zeros((n_vpes, 10), np.int64)
    share(layer.wires, rounds.low, rounds.high, what.what, box, keys, owner)
    held = spans.astype(np.int64)
    taken = np.stack([held[..., 0] + held[..., 1], held[..., 2] + held[..., 3], held[..., 4]], 1)
    given: Ints = held[..., 5] // 4 * what.leaves[:, None] * layer.places.is_head
    return owner, taken, given
