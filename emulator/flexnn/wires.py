"""Where bytes of loads and drains go: what the kernel of transfers knows, finds and works in."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .descriptor import Cut
from .dims import FL_DIMS, IF_DIMS, Dim
from .files import slots
from .machine import FlexMachine
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


class Box(IntEnum):
    """Columns of what is known of a slot's box: the ranges that one tensor depends on."""

    IS_EMPTY = 0
    """Whether one of the ranges is empty."""
    POINTS = 1
    """The tensor's part of the points of the ofmap: the product of its ranges of OF's dimensions,
    of weights without G."""
    ELEMENTS = 2
    NONZERO = 3
    """Of compressed tensors."""
    DATA = 4
    """Bytes of values, and of the bitmap; both 0 of an empty box."""
    BITS = 5
    DATA_WORDS = 6
    """In words of a column's bus."""
    BITS_WORDS = 7


class Part(IntEnum):
    """What has ranges of its own."""

    VPE = 0
    COLUMN = 1
    ARRAY = 2


class Taken(IntEnum):
    """Columns of what a VPE takes and gives back, over some rounds."""

    IF = 0
    """Bytes of values; the bitmap's follow, then those of weights alike."""
    FL = 2
    OF = 4
    """Bytes of psums that come back."""
    OUT = 5
    """Bytes of psums that leave."""


class Wires(NamedTuple):
    """Numbers and arrays that tell where bytes go, and room for the kernel."""

    sizes: Array
    """int64[8]: D_d."""
    block: Array
    geometry: Array
    """int64[8]: strides, dilations, pads, ifmap, each y and x."""
    vpe: Array
    is_used: Array
    is_column_used: Array
    is_head: Array
    is_head_column: Array
    """See `firemesh.emulator.flexnn.rounds.Places`."""
    step: tuple[Array, Array, Array]
    """int64[8], by `Part`: elements of each dimension."""
    place: tuple[Array, Array, Array]
    """int64[parts, 8], by `Part`: digits of each VPE, each column, the array."""
    slot: tuple[Array, Array, Array, Array, Array, Array]
    """int64[parts], as the two that follow 2 * `Part` + tensor (IF 0, FL 1): slot of each VPE,
    column, the array."""
    owner: tuple[Array, Array, Array, Array, Array, Array]
    """int64[slots]: one of those that have it."""
    box: tuple[Array, Array, Array, Array, Array, Array]
    """int64[slots, len(Box)]: room for what is known of it."""
    ranges: Array
    """int64[2, 8]: room."""
    taken: Array
    """int64[v, 2, 6]: room for words and bytes, columns of `Taken`."""
    column_bytes: int
    reduced: int
    """P: VPEs whose psums make one point."""
    depth: int
    """Cycles before the reduction's first point."""


def wires(cut: Cut, machine: FlexMachine, found: Places) -> Wires:
    """Return the wires of a descriptor on a machine."""
    reduced = cut.n_reduced
    is_tree = cut.descriptor.reduction == "tree"
    block, rows = np.array(cut.block, np.int64), np.array(cut.row_parts, np.int64)
    one = np.zeros((1, len(Dim)), np.int64)
    vpe_if = slots(found.vpe, found.is_used, IF_DIMS)
    vpe_fl = slots(found.vpe, found.is_used, FL_DIMS)
    column_if = slots(found.column, found.is_column_used, IF_DIMS)
    column_fl = slots(found.column, found.is_column_used, FL_DIMS)
    array = slots(one, np.ones(1, bool), IF_DIMS)

    def room(of: tuple[Array, Array]) -> Array:
        return np.zeros((len(of[1]), len(Box)), np.int64)

    return Wires(
        np.array(cut.layer.sizes, np.int64),
        block,
        cut.layer.geometry(),
        found.vpe,
        found.is_used,
        found.is_column_used,
        found.is_head,
        found.is_head_column,
        (block, block * rows, np.array(cut.steps, np.int64)),
        (found.vpe, found.column, one),
        (vpe_if[0], vpe_fl[0], column_if[0], column_fl[0], array[0], array[0]),
        (vpe_if[1], vpe_fl[1], column_if[1], column_fl[1], array[1], array[1]),
        (room(vpe_if), room(vpe_fl), room(column_if), room(column_fl), room(array), room(array)),
        np.zeros((2, 8), np.int64),
        np.zeros((len(found.vpe), 2, 6), np.int64),
        machine.sdn.column_bytes,
        reduced,
        (reduced - 1).bit_length() if is_tree else reduced - 1,
    )
