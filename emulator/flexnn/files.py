"""Register files of the VPEs, as the kernels hold them, and the room that these work in."""

from enum import IntEnum
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import I64x1, I64x2
from .descriptor import Cut
from .dims import FL_DIMS, IF_DIMS, Dim
from .machine import FlexMachine
from .operands import WORD, Operands
from .rounds import Places

Array = NDArray[Any]
I64x4 = Annotated[NDArray[Any], np.int64, 4]
Boolx1 = Annotated[NDArray[Any], np.bool_, 1]
ALL = -1
"""A word with every bit set."""
SIDE_BY_SIDE = 8
"""Lanes of one word each that a kernel takes at a time."""


class Held(IntEnum):
    """Columns of what is known of the block in a slot."""

    IS_EMPTY = 0
    """Whether one of its ranges is empty; then nothing else holds."""
    IS_SHORT = 1
    GROUPS = 2
    WINDOWS = 3
    """Of a group: points of an ifmap block; of a weight block output channels, in mxm runs."""
    OUTPUTS = 4
    """Of a weight block: output channels of a group."""
    MISSING = 5
    """The same, in mxm: lanes that the last window has no output channel for."""
    ELEMENTS = 6
    """Positions of a window that exist, in vxv of all lanes."""
    POSITIONS = 7
    """Of a lane: W, with those that do not exist."""
    WORDS = 8
    """Of a lane."""
    LANES = 9
    """Lanes that have positions."""


class Tally(IntEnum):
    """Columns of what a VPE did, over its rounds."""

    EXECUTED = 0
    """Pairs of two non-zeros."""
    PAIRS = 1
    TICKS = 2
    """Cycles of windows with pairs."""
    WIDE = 3
    """These, times lanes that have positions."""
    IDLE = 4
    """Cycles of windows without pairs."""
    FULL = 5
    """Windows with pairs."""
    POINTS = 6
    """Their points: one, or in mxm one of each lane that exists."""
    TAKEN = 7
    """Windows that take cycles."""
    IF_BYTES = 8
    """Bytes of ifmap bitmaps that are read, and of weight bitmaps."""
    FL_BYTES = 9
    WAIT = 10
    """Cycles of waiting for the domain's slowest VPE with a full block, and without one."""
    SHORT_WAIT = 11


class Files(NamedTuple):
    """What the VPEs hold: the bits of windows, and where.

    Words of lane l are rows ``l * words`` and on, where ``words`` are those that the block's lanes
    need. One window in mxm has one lane of ifmap bits, shared by all.
    """

    act: I64x4
    """int64[slots, groups, rows, points]: non-zero activations."""
    weight: I64x4
    """int64[slots, groups, rows, windows]: non-zero weights; a window is an output channel, in mxm
    a run of them."""
    ones: I64x2
    """int64[rows, 1]: all bits, instead of operands that are not skipped."""
    slot_if: I64x1
    """int64[v]: slot of each VPE's ifmap block, and of its weight block."""
    slot_fl: I64x1
    owner_if: I64x1
    """int64[slots]: a VPE that has it."""
    owner_fl: I64x1
    held_if: I64x2
    """int64[slots, len(Held)]"""
    held_fl: I64x2
    is_narrow: int
    """Whether there are at most `SIDE_BY_SIDE` lanes, of one word each; then rows are as many."""


class Room(NamedTuple):
    """Room for kernels to work in."""

    box: Array
    """int64[2, 8]: ranges."""
    own: Array
    """int64[v, 2]: cycles of each VPE, and whether it has a whole block."""
    tally: Array
    """int64[v, len(Tally)]"""
    longest: Array
    """int64[windows]: pairs of each window's longest lane, and of a lane."""
    lane: Array
    found: Array
    """int64[3]: cycles of windows, those with pairs, pairs."""


class Shape(NamedTuple):
    """Numbers of a layer and its descriptor."""

    sizes: I64x1
    """[8]: D_d, and B_d."""
    block: I64x1
    geometry: I64x1
    """[8]: strides, dilations, pads, ifmap, each y and x."""
    vpe: I64x2
    """[v, 8]: p_d."""
    is_used: Boolx1
    domain: I64x1
    """[v]: number of the VPE's domain."""
    lanes: int
    is_mxm: int
    height: int
    """Of the padded ifmap."""
    width: int
    empty: int
    """Cycles of a window without pairs."""


def slots(digits: Array, is_used: Array, dims: tuple[Dim, ...]) -> tuple[Array, Array]:
    """Return each place's slot, and a place of each slot, for blocks of some dimensions.

    Parameters
    ----------
    digits : int64[places, 8]
        Of the places of VPEs or columns.
    is_used : bool[places]
    dims : tuple of Dim
    """
    of_dims = np.where(is_used[:, None], digits, 0)[:, list(dims)]
    _, owner, slot = np.unique(of_dims, axis=0, return_index=True, return_inverse=True)
    return slot.reshape(-1).astype(np.int64), owner.astype(np.int64)


def files(cut: Cut, machine: FlexMachine, found: Places, x: Operands) -> Files:
    """Return empty register files."""
    block, lanes = cut.block, machine.array.lanes
    is_mxm = cut.descriptor.lanes == "mxm"
    slice_ = block[Dim.IC] if is_mxm else -(-block[Dim.IC] // lanes)
    words = -(-block[Dim.FY] * block[Dim.FX] * slice_ // WORD)
    is_narrow = words == 1 and lanes <= SIDE_BY_SIDE
    rows = SIDE_BY_SIDE if is_narrow else lanes * words  # lanes that do not exist have no bits
    points = block[Dim.N] * block[Dim.OY] * block[Dim.OX]
    windows = block[Dim.OC] // lanes if is_mxm else block[Dim.OC]
    slot_if, owner_if = slots(found.vpe, found.is_used, IF_DIMS)
    slot_fl, owner_fl = slots(found.vpe, found.is_used, FL_DIMS)
    groups = block[Dim.G]
    return Files(
        np.zeros((len(owner_if), groups, words if is_mxm else rows, points), np.int64),
        np.zeros((len(owner_fl), groups, rows, windows), np.int64),
        np.full((rows, 1), ALL, np.int64),
        slot_if,
        slot_fl,
        owner_if,
        owner_fl,
        np.zeros((len(owner_if), len(Held)), np.int64),
        np.zeros((len(owner_fl), len(Held)), np.int64),
        int(is_narrow),
    )


def room(held: Files) -> Room:
    """Return room for kernels that work with register files."""
    n, most = len(held.slot_if), max(held.act.shape[3], held.weight.shape[3])
    return Room(
        np.zeros((2, 8), np.int64),
        np.zeros((n, 2), np.int64),
        np.zeros((n, len(Tally)), np.int64),
        np.zeros(most, np.int64),
        np.zeros(most, np.int64),
        np.zeros(3, np.int64),
    )
