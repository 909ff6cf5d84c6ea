"""A layer on a machine, and a candidate of its descriptor, in arrays as kernels take them."""

from enum import IntEnum
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import I64x1, I64x2, I64x3

F64x1 = Annotated[NDArray[Any], np.float64, 1]
F64x2 = Annotated[NDArray[Any], np.float64, 2]
F64x3 = Annotated[NDArray[Any], np.float64, 3]
F64x4 = Annotated[NDArray[Any], np.float64, 4]


class Kind(IntEnum):
    """Dimensions by the tensor that does not depend on them, and stays while they are looped."""

    POINT = 0
    """N, OY, OX: the weights stay."""
    FILTER = 1
    """OC: the ifmap stays."""
    REDUCED = 2
    """IC, FY, FX: the ofmap stays."""
    GROUP = 3
    """G: none stays."""
    NONE = 4


class Share(IntEnum):
    """Columns of `Problem.shares`; of an element: bytes, bytes of data, bytes of a bitmap."""

    IF_BYTES = 0
    FL_BYTES = 1
    OF_BYTES = 2
    IF_DATA = 3
    FL_DATA = 4
    IF_BITS = 5
    FL_BITS = 6
    PAIRS = 7
    """Pairs of a multiply-accumulate."""


class Price(IntEnum):
    """Columns of `Problem.pj`: energy in pJ of a byte, a pair, a byte's hop, a VPE's idle cycle."""

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


class Problem(NamedTuple):
    """A layer on a machine."""

    sizes: I64x1
    """[8]: D, by `Dim` as all that has 8."""
    geometry: I64x1
    """[8]: of `LayerDims.geometry`."""
    kinds: I64x1
    """[8]: `Kind`."""
    least_dram: F64x2
    """[4, 3]: bytes of IF, FL and OF that DRAM moves at least, by sparsity."""
    least_moved: F64x1
    """[4]: their sums."""
    orders: I64x2
    """[3, 8]: dimensions, outermost first, by the `Kind` that is innermost."""
    tile_orders: I64x2
    """[2, 8]: the same of tiles, points or filters innermost but for the reduced."""
    is_tiled: I64x1
    """[8]: whether a search cuts tiles of it."""
    shares: F64x2
    """[4, 8]: by sparsity; columns are those of `Share`."""
    window_row: I64x3
    """[2, 4, lanes + 1]: rows of ``windows``, by lane mode, sparsity, lanes with positions."""
    windows: F64x3
    """[rows, 3, positions + 1]: tables of `expectations.slowest`."""
    maxima: F64x1
    """[VPEs + 1]: of `expectations.expected_maxima`."""
    pj: F64x1
    """[11]: columns are those of `Price`."""
    lanes: int
    banks: int
    bank_bytes: int
    sram_bytes: int
    read_bytes: int
    write_bytes: int
    column_bytes: int
    drain_bytes: int
    reduced_per_cycle: int
    overhead: int
    dram_bytes: int
    is_shared: int
    """Whether the SRAM's ports are shared."""
    barrier: int
    """0: VPE, 1: column, 2: array."""
    n_vpes: int
    flit_bytes: int
    """0 with buses."""
    mesh_hops: int
    """From storage to the farthest VPE and into it."""
    is_unicast: int
    """Whether each VPE is sent its own copy."""
    storage_ports: int


class Fact(IntEnum):
    """Entries of `Trial.facts`."""

    ROUNDS = 0
    COMPUTE = 1
    """Cycles of a round, those of a barrier included."""
    BUSY = 2
    """Cycles of a round without them."""
    PAIRS_PJ = 3
    """Energy of all windows."""
    IF_BYTES = 4
    """Bytes of a load."""
    FL_BYTES = 5
    IF_WORDS = 6
    """SRAM words of a load."""
    FL_WORDS = 7
    IF_COLUMN = 8
    """Bytes of a load for the fullest column; over a mesh flits that storage sends."""
    FL_COLUMN = 9
    OF_COLUMN = 10
    """Points that such a column reloads; over a mesh a quarter of the flits of all psums."""
    POINTS = 11
    """Points of the array's block."""
    N_BLOCKS = 12
    """Blocks of the ofmap."""
    TREE = 13
    """Cycles of a reduction over VPEs."""
    REDUCED = 14
    """VPEs that make a point."""
    IF_TAKEN = 15
    """Energy of all ifmap blocks on their way into one VPE each."""
    FL_TAKEN = 16
    """The same of all weight blocks."""
    VPES = 17
    """VPEs in use."""
    ROUND_CYCLES = 18
    """Cycles of all rounds, without the first load and the last drain."""
    FIRST_LOAD = 19
    PART_LOAD = 20
    """Cycles of a load without the tensor that stays."""
    LAST_DRAIN = 21
    ROUNDS_PJ = 22
    """Energy of all rounds' windows, loads and drains."""
    SRAM_READ = 23
    """Bytes that rounds read."""
    SRAM_WRITTEN = 24
    DRAM_READ = 25
    DRAM_WRITTEN = 26
    CYCLES = 27
    ENERGY = 28
    LEAST_CYCLES = 29
    """What no orders and tiles of these blocks are below."""
    LEAST_ENERGY = 30
    LEAST_ROUNDS = 31
    """Cycles of all rounds in the best order, without tiles."""
    LEAST_LOAD = 32
    """Cycles of the least load of a tile."""
    OUT_FLITS = 33
    """Flits of the results of a block over a mesh."""


class Trial(NamedTuple):
    """A candidate. Arrays are int64[8] or float64[8], by dimension, where nothing else is said."""

    block: I64x1
    rows: I64x1
    columns: I64x1
    tile: I64x1
    order: I64x1
    tile_order: I64x1
    units: I64x1
    """Elements that the lanes take at once: 1, or the lanes."""
    choice: I64x1
    """[3]: lane mode (0 vxv, 1 mxm), sparsity (0 dense, 1 activation, 2 weight, 3 both), chain."""
    n_blocks: I64x1
    """Blocks over all tiles."""
    n_tiles: I64x1
    inner: I64x1
    """Blocks in a whole tile."""
    outer: I64x1
    """When a tensor that stays is loaded: 2 for each block, 1 for each tile, 0 once."""
    first: F64x1
    """Elements of the first VPE over all blocks, in units of the lanes, rounded up."""
    column: F64x1
    """Elements of the first column's range over all blocks."""
    vpes: F64x1
    """VPEs with elements, over all blocks."""
    spans: F64x2
    """[2, 3]: ifmap rows, and columns, over all blocks: of the array, of a column, of VPEs."""
    facts: F64x1
    """[34]: entries are those of `Fact`."""
