"""What comes from and goes to DRAM, tile by tile; `docs/flexnn-cycles.md`, section 6."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dims import FL_DIMS, IF_DIMS, REDUCTION, Dim
from .machine import FlexMachine
from .operands import Operands
from .rounds import Loops
from .rules import skippable

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Jobs:
    """DRAM jobs, one for each tile and a last one.

    Parameters
    ----------
    read : int64[t + 1, 2]
        Bytes of IF and of FL.
    written : list of int64[n]
        Bytes of each OF tile that the job writes.
    tiles : list of int64[n]
        Which tiles these are.
    cycles : int64[t + 1]
    """

    read: Ints
    written: list[Ints]
    tiles: list[Ints]
    cycles: Ints


def _changed(tiles: Ints, dims: tuple[Dim, ...]) -> NDArray[np.bool_]:
    """Return bool[t]: whether a tile's ranges of some dimensions differ from the one's before."""
    part = tiles[:, :, list(dims)].reshape(len(tiles), -1)
    changed = np.ones(len(tiles), bool)
    changed[1:] = (part[1:] != part[:-1]).any(axis=1)
    return changed


def _ifmap_bytes(loops: Loops, x: Operands, tiles: Ints) -> Ints:
    """Return int64[t]: bytes of each tile's IF box."""
    layer = loops.cut.layer
    height, width = layer.ifmap
    channels = layer.sizes[Dim.G] * layer.sizes[Dim.IC]
    sums = x.act_sums.reshape(-1, channels + 1, height + 1, width + 1)
    found = []
    for low, high in tiles:
        sides = []
        for axis, (o, f) in enumerate(((Dim.OY, Dim.FY), (Dim.OX, Dim.FX))):
            s, d, pad = layer.strides[axis], layer.dilations[axis], layer.pads[axis]
            first = low[o] * s + low[f] * d - pad
            end = (high[o] - 1) * s + (high[f] - 1) * d - pad + 1
            sides.append((max(first, 0), min(end, layer.ifmap[axis])))
        (y0, y1), (x0, x1) = sides
        if y1 <= y0 or x1 <= x0:
            found.append(0)
            continue
        g = np.arange(low[Dim.G], high[Dim.G])[:, None] * layer.sizes[Dim.IC]
        c0, c1 = (g + low[Dim.IC]).reshape(-1), (g + high[Dim.IC]).reshape(-1)
        part = sums[low[Dim.N] : high[Dim.N]]
        area = part[:, :, y1, x1] - part[:, :, y0, x1] - part[:, :, y1, x0] + part[:, :, y0, x0]
        nonzero = int((area[:, c1] - area[:, c0]).sum())
        elements = int(len(part) * (c1 - c0).sum() * (y1 - y0) * (x1 - x0))
        found.append(nonzero + -(-elements // 8) if x.skips_if else elements)
    return np.array(found, np.int64)


def _weight_bytes(loops: Loops, x: Operands, nonzero: NDArray[np.bool_], tiles: Ints) -> Ints:
    """Return int64[t]: bytes of each tile's FL box; bool[g, oc, ic, fy, fx] in schedule order."""
    found = []
    for low, high in tiles:
        part = nonzero[tuple(slice(low[dim], high[dim]) for dim in FL_DIMS)]
        size = part.size
        found.append(int(np.count_nonzero(part)) + -(-size // 8) if x.skips_fl else size)
    return np.array(found, np.int64)


def _ofmap_bytes(
    loops: Loops, x: Operands, machine: FlexMachine, y: NDArray[np.bool_], tiles: Ints
) -> Ints:
    """Return int64[t]: bytes of each OF tile; y bool[n, k, oy, ox], not zero."""
    sizes = loops.cut.layer.sizes
    share = np.count_nonzero(y) / y.size
    is_small = skippable(loops.cut.descriptor)[0] and share < machine.sparsity.pays_below
    ordered = y[:, x.filter].reshape(
        sizes[Dim.N], sizes[Dim.G], sizes[Dim.OC], sizes[Dim.OY], sizes[Dim.OX]
    )
    found = []
    for low, high in tiles:
        order = (Dim.N, Dim.G, Dim.OC, Dim.OY, Dim.OX)
        part = ordered[tuple(slice(low[dim], high[dim]) for dim in order)]
        size = part.size
        found.append(int(np.count_nonzero(part)) + -(-size // 8) if is_small else size)
    return np.array(found, np.int64)


def jobs(loops: Loops, machine: FlexMachine, x: Operands, y: NDArray[np.bool_]) -> Jobs:
    """Return the DRAM jobs of a layer.

    Parameters
    ----------
    loops : Loops
    machine : FlexMachine
    x : Operands
    y : bool[n, k, oy, ox]
        Outputs that are not zero.
    """
    cut, tiles = loops.cut, loops.tiles
    n = len(tiles)
    sizes = cut.layer.sizes
    read = np.zeros((n + 1, 2), np.int64)
    weight = x.weight.reshape(
        sizes[Dim.G], sizes[Dim.OC], sizes[Dim.FY], sizes[Dim.FX], sizes[Dim.IC]
    )
    nonzero = (weight != 0).transpose(0, 1, 4, 2, 3)
    at = np.flatnonzero(_changed(tiles, IF_DIMS))
    read[at, 0] = _ifmap_bytes(loops, x, tiles[at])
    at = np.flatnonzero(_changed(tiles, FL_DIMS))
    read[at, 1] = _weight_bytes(loops, x, nonzero, tiles[at])
    reduced = list(REDUCTION)
    last = np.array(cut.tiles)[reduced] - 1
    complete = np.flatnonzero((loops.tile_digits[:, reduced] == last).all(axis=1))
    size = _ofmap_bytes(loops, x, machine, y, tiles[complete])
    # an OF tile leaves with the job of the second tile after it, or with the last job
    job = np.where(complete + 2 < n, complete + 2, n)
    written = [size[job == t] for t in range(n + 1)]
    left = [complete[job == t] for t in range(n + 1)]
    width = machine.dram.bytes_per_cycle
    cycles = (-(-read // width)).sum(axis=1)
    cycles += np.array([int((-(-part // width)).sum()) for part in written])
    return Jobs(read, written, left, cycles)
