"""A layer on a machine, and a candidate of its descriptor, in arrays, as the scheduler's kernels take them."""

from enum import IntEnum
from typing import NamedTuple

from ..state import I64x1, I64x3
from .expectations import Table


class Kind(IntEnum):
    """Dimensions by the tensors that depend on them; the one that does not stays over them."""

    POINT = 0
    """N, OY, OX: not the weights."""
    FILTER = 1
    """OC: not the ifmap."""
    REDUCED = 2
    """IC, FY, FX: not the ofmap."""
    GROUP = 3
    """G: all depend on it."""


class Fact(IntEnum):
    """What `measure` and `price` find: entries of `Trial.facts`."""

    ROUNDS = 0
    COMPUTE = 1
    """Cycles of a round, those of a barrier included."""
    BUSY = 2
    """Cycles of a round without them."""
    PAIRS_PJ = 3
    """Energy of all pairs and windows."""
    IF_WORDS = 4
    """SRAM words of a load."""
    FL_WORDS = 5
    IF_BYTES = 6
    """Bytes of a load."""
    FL_BYTES = 7
    IF_COLUMN = 8
    """Bytes of a load that enter the first column."""
    FL_COLUMN = 9
    OF_COLUMN = 10
    """Points of a block that the first column reloads."""
    POINTS = 11
    """Points of a block of the array."""
    N_BLOCKS = 12
    """Blocks of the ofmap."""
    TREE = 13
    """Cycles of a reduction over VPEs."""
    REDUCED = 14
    """VPEs that make a point."""
    IF_TAKEN = 15
    """Energy of the ifmap on its way into register files, each VPE of a filter block once."""
    FL_TAKEN = 16
    VPES = 17
    ROUND_CYCLES = 18
    """Cycles of all rounds, without the first load and the last drain."""
    FIRST_LOAD = 19
    LAST_DRAIN = 20
    ROUNDS_PJ = 21
    """Energy of all rounds' windows, loads and drains."""
    LOADS = 22
    """Rounds that load a tensor, or reload it in part."""
    SRAM_READ = 23
    """Bytes that rounds read, and write."""
    SRAM_WRITTEN = 24
    DRAM_READ = 25
    DRAM_WRITTEN = 26
    CYCLES = 27
    ENERGY = 28
    LEAST_DRAM = 29
    """Bytes that DRAM moves at least."""


class Problem(NamedTuple):
    """A layer on a machine, fixed in a search. Columns of ``shares`` are those of `Share`."""

    sizes: I64x1
    geometry: I64x1
    kinds: I64x1
    """[8]: `Kind` of each dimension."""
    reach: I64x1
    """[2]: different ifmap rows, and columns, that are read."""
    shares: Table
    """[4, 8], by sparsity."""
    window_row: I64x3
    """[2, 4, lanes + 1]: row of ``windows`` by lane mode, sparsity, lanes that have positions."""
    windows: Table
    """[rows, 3, positions + 1]"""
    maxima: Table
    """[VPEs + 1]"""
    pj: Table
    """[12]: energies; columns are those of `Price`."""
    machine: I64x1
    """Sizes and widths; columns are those of `Width`."""


class Share(IntEnum):
    """Columns of `Problem.shares`: bytes of an element, non-zeros that are stored, bitmap."""

    IF_BYTES = 0
    FL_BYTES = 1
    OF_BYTES = 2
    IF_DATA = 3
    FL_DATA = 4
    IF_BITS = 5
    """Bytes of the bitmap per element: 1/8 or 0."""
    FL_BITS = 6
    PAIRS = 7
    """Pairs of a position."""


class Price(IntEnum):
    """Columns of `Problem.pj`: energies of a byte by memory; of a pair, a byte's hop, a cycle."""

    STORAGE = 0
    DRAM = 1
    RF_IF = 2
    RF_FL = 3
    RF_OF = 4
    BITMAP_IF = 5
    BITMAP_FL = 6
    ACC = 7
    MAC = 8
    HOP = 9
    IDLE = 10


class Width(IntEnum):
    """Columns of `Problem.machine`."""

    LANES = 0
    BANKS = 1
    BANK_BYTES = 2
    SRAM = 3
    READ = 4
    WRITE = 5
    COLUMN = 6
    DRAIN = 7
    REDUCED = 8
    OVERHEAD = 9
    DRAM = 10
    SHARED = 11
    """Whether the SRAM's ports are shared."""
    BARRIER = 12
    """0 a VPE, 1 a column, 2 the array."""
    VPES = 13
    MESH = 14
    """Cycles from storage to the farthest VPE over the mesh; 0 with buses."""


class Trial(NamedTuple):
    """A candidate. Arrays by dimension where nothing else is said."""

    block: I64x1
    rows: I64x1
    columns: I64x1
    tile: I64x1
    order: I64x1
    tile_order: I64x1
    choice: I64x1
    """[3]: lane mode (0 vxv, 1 mxm), sparsity (0 dense, 1 activation, 2 weight, 3 both), chain."""
    n_blocks: I64x1
    """Blocks over all tiles."""
    first: Table
    """Elements of the first VPE, over all blocks; of the lanes' dimension those of a lane."""
    column: Table
    """Elements of the first column's range, over all blocks."""
    n_vpes: Table
    """VPEs with elements, over all blocks."""
    spans: Table
    """[2, 3]: ifmap rows, and columns, over all blocks: of the array, a column, VPEs."""
    n_tiles: I64x1
    inner: I64x1
    """Blocks in a whole tile."""
    outer: I64x1
    """What a stationary tensor is loaded for: 2 each block, 1 each tile, 0 once."""
    facts: Table
