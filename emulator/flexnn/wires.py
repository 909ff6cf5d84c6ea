"""Where bytes of loads and drains go: what the kernel of transfers knows, finds and works in."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .descriptor import Cut
from .dims import FL_DIMS, IF_DIMS
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
    """Columns of what is known of a slot's box: ranges of a VPE or column of one tensor."""

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
    column_block: Array
    """int64[8]: B_d times P_d of the rows."""
    geometry: Array
    """int64[8]: strides, dilations, pads, ifmap, each y and x."""
    vpe: Array
    column: Array
    is_used: Array
    is_column_used: Array
    is_head: Array
    is_head_column: Array
    """See `firemesh.emulator.flexnn.rounds.Places`."""
    slot: Array
    """int64[2, v]: each VPE's slot of IF and FL, and of each column."""
    column_slot: Array
    owner_if: Array
    """int64[slots]: a VPE that has it, and a column."""
    owner_fl: Array
    column_owner_if: Array
    column_owner_fl: Array
    column_bytes: int
    reduced: int
    """P: VPEs whose psums make one point."""
    depth: int
    """Cycles before the reduction's first point."""
    box: Array
    """int64[2, 8]: room for ranges."""
    whole: Array
    """int64[len(Box)]: room for the array's box."""
    box_if: Array
    """int64[slots, len(Box)]: room for the boxes of VPEs, and of columns."""
    box_fl: Array
    column_box_if: Array
    column_box_fl: Array
    taken: Array
    """int64[v, 2, 6]: room for words and bytes, columns of `Taken`."""


def wires(cut: Cut, machine: FlexMachine, found: Places) -> Wires:
    """Return the wires of a descriptor on a machine."""
    reduced = cut.n_reduced
    is_tree = cut.descriptor.reduction == "tree"
    slot_if, owner_if = slots(found.vpe, found.is_used, IF_DIMS)
    slot_fl, owner_fl = slots(found.vpe, found.is_used, FL_DIMS)
    column_if, column_owner_if = slots(found.column, found.is_column_used, IF_DIMS)
    column_fl, column_owner_fl = slots(found.column, found.is_column_used, FL_DIMS)
    return Wires(
        np.array(cut.layer.sizes, np.int64),
        np.array(cut.block, np.int64),
        np.array(cut.block, np.int64) * np.array(cut.row_parts, np.int64),
        cut.layer.geometry(),
        found.vpe,
        found.column,
        found.is_used,
        found.is_column_used,
        found.is_head,
        found.is_head_column,
        np.stack([slot_if, slot_fl]),
        np.stack([column_if, column_fl]),
        owner_if,
        owner_fl,
        column_owner_if,
        column_owner_fl,
        machine.sdn.column_bytes,
        reduced,
        (reduced - 1).bit_length() if is_tree else reduced - 1,
        np.zeros((2, 8), np.int64),
        np.zeros(len(Box), np.int64),
        np.zeros((len(owner_if), len(Box)), np.int64),
        np.zeros((len(owner_fl), len(Box)), np.int64),
        np.zeros((len(column_owner_if), len(Box)), np.int64),
        np.zeros((len(column_owner_fl), len(Box)), np.int64),
        np.zeros((len(found.vpe), 2, 6), np.int64),
    )
