"""Where things lie in register files, SRAM and DRAM; `docs/flexnn-cycles.md`, section 10."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptor import Cut, product
from .dims import FL_DIMS, OF_DIMS, Dim, Sizes
from .machine import FlexMachine
from .operands import Operands
from .rules import compressed, skippable

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FileLayout:
    """A VPE's register files, in bytes; tensors that change within the layer have two halves.

    Parameters
    ----------
    slot : int
        Of a lane's channels of a pixel, or kernel position.
    lane : int
        From lane to lane.
    if_half, fl_half : int
        Of a lane.
    of_half : int
    pitch : (int, int)
        Height and width of an IF block.
    """

    slot: int
    lane: int
    if_half: int
    fl_half: int
    of_half: int
    pitch: tuple[int, int]


def file_bytes(machine: FlexMachine) -> int:
    """Return the bytes of a register file, as many as its lanes divide."""
    lanes = machine.array.lanes
    return -(-machine.rf.banks * machine.rf.bank_bytes // lanes) * lanes


def file_layout(cut: Cut, machine: FlexMachine) -> FileLayout:
    """Return how a VPE's register files are laid out."""
    block, lanes = cut.block, machine.array.lanes
    (sy, sx), (dy, dx) = cut.layer.strides, cut.layer.dilations
    pitch = (
        (block[Dim.OY] - 1) * sy + (block[Dim.FY] - 1) * dy + 1,
        (block[Dim.OX] - 1) * sx + (block[Dim.FX] - 1) * dx + 1,
    )
    is_mxm = cut.descriptor.lanes == "mxm"
    slot = block[Dim.IC] if is_mxm else block[Dim.IC] // lanes
    rows = block[Dim.OC] // lanes if is_mxm else block[Dim.OC]
    return FileLayout(
        slot,
        file_bytes(machine) // lanes,
        block[Dim.N] * block[Dim.G] * pitch[0] * pitch[1] * slot,
        block[Dim.G] * rows * block[Dim.FY] * block[Dim.FX] * slot,
        4 * product(block, OF_DIMS),
        pitch,
    )


@dataclass(frozen=True)
class SramLayout:
    """Regions of a tile in SRAM; with more than one tile each has two halves.

    Parameters
    ----------
    sizes : (int, int, int)
        Bytes of IF, FL, OF.
    """

    sizes: tuple[int, int, int]

    def base(self, which: int, half: Any) -> Any:
        """Return the first byte of a tensor's half: 0 IF, 1 FL, 2 OF."""
        return sum(self.sizes[:which]) + half * sum(self.sizes)

    def place(self, which: int, half: Any, offset: Any, size: Any) -> Any:
        """Return where bytes lie whose first element is at an offset: whole inside the region."""
        return self.base(which, half) + np.maximum(np.minimum(offset, self.sizes[which] - size), 0)


def sram_layout(cut: Cut) -> SramLayout:
    """Return the regions of a layer's tiles."""
    skips_if, skips_fl = skippable(cut.descriptor)
    tile: Sizes = cut.tile
    return SramLayout(
        (
            compressed(cut.ifmap_box(tile, is_clipped=True), skips_if),
            compressed(product(tile, FL_DIMS), skips_fl),
            product(tile, OF_DIMS) * (4 if cut.spills else 1),
        )
    )


def _corner(cut: Cut, low: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the first ifmap row, column and channel of ranges."""
    layer = cut.layer
    y = low[..., Dim.OY] * layer.strides[0] + low[..., Dim.FY] * layer.dilations[0] - layer.pads[0]
    x = low[..., Dim.OX] * layer.strides[1] + low[..., Dim.FX] * layer.dilations[1] - layer.pads[1]
    c = low[..., Dim.G] * layer.sizes[Dim.IC] + low[..., Dim.IC]
    return np.maximum(y, 0), np.maximum(x, 0), c


def if_offset(cut: Cut, low: Ints, tile_low: Ints) -> Ints:
    """Return int64[n]: bytes from a tile's first pixel to that of ranges, by (n, y, x, c)."""
    tile = cut.tile
    here, there = _corner(cut, low), _corner(cut, tile_low)
    y, x, c = (a - b for a, b in zip(here, there, strict=True))
    (sy, sx), (dy, dx) = cut.layer.strides, cut.layer.dilations
    height = (tile[Dim.OY] - 1) * sy + (tile[Dim.FY] - 1) * dy + 1
    width = (tile[Dim.OX] - 1) * sx + (tile[Dim.FX] - 1) * dx + 1
    height, width = min(height, cut.layer.ifmap[0]), min(width, cut.layer.ifmap[1])
    channels = tile[Dim.G] * tile[Dim.IC]
    n = low[..., Dim.N] - tile_low[..., Dim.N]
    offset: Ints = ((n * height + y) * width + x) * channels + c
    return np.maximum(offset, 0)


def _offset(lengths: Sizes, low: Ints, order: tuple[Dim, ...]) -> Ints:
    offset = np.zeros(low.shape[:-1], np.int64)
    for dim in order:
        offset = offset * lengths[dim] + low[..., dim]
    return offset


def fl_offset(cut: Cut, low: Ints, tile_low: Ints) -> Ints:
    """Return int64[n]: bytes from a tile's first weight to that of ranges, by (k, fy, fx, ic)."""
    order = (Dim.G, Dim.OC, Dim.FY, Dim.FX, Dim.IC)
    return _offset(cut.tile, low - tile_low, order)


def of_offset(cut: Cut, lengths: Sizes, low: Ints) -> Ints:
    """Return int64[n]: points from the first to that of ranges, in the drain layout."""
    if cut.descriptor.drain == "yxc":
        order = (Dim.N, Dim.OY, Dim.OX, Dim.G, Dim.OC)
    else:
        order = (Dim.N, Dim.G, Dim.OC, Dim.OY, Dim.OX)
    return _offset(lengths, low, order)


def weight_bytes(x: Operands) -> int:
    """Return the bytes that a layer's weights take in DRAM at most."""
    return int(x.weight.size + -(-x.weight.size // 8))
