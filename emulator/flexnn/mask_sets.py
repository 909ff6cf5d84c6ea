"""The mask sets of a layer in a trace: which operands of each window are there."""

from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.masks import Masks
from .addresses import FileLayout
from .descriptor import Cut
from .dims import Dim
from .engine import LayerRun, shape_of
from .files import files
from .fills import store_fl, store_if

Ints = NDArray[np.int64]
Range = tuple[int, int]


@dataclass(frozen=True)
class MaskSet:
    """Two sets: windows of IF and of FL of reduction blocks of the same shape.

    Parameters
    ----------
    a, b : int
        Numbers in the trace.
    sections, bits : int
        Kernel positions, and channels of a lane.
    """

    a: int
    b: int
    sections: int
    bits: int

    @property
    def positions(self) -> int:
        """W: positions of a lane."""
        return self.sections * self.bits


def _ranges(size: int, block: int) -> list[Range]:
    return [(low, min(low + block, size)) for low in range(0, size, block)]


def reduction_shapes(cut: Cut, lanes: int) -> tuple[list[Any], Ints, Ints]:
    """Return reduction blocks by shape, and int64[ic, fy, fx]: which shape, which number in it."""
    sides = [_ranges(cut.layer.sizes[d], cut.block[d]) for d in (Dim.IC, Dim.FY, Dim.FX)]
    grid = tuple(len(side) for side in sides)
    key, place = np.zeros((2, *grid), np.int64)
    groups: dict[tuple[int, int, int], list[Any]] = {}
    for at in combinations(*(range(n) for n in grid)):
        ic, fy, fx = (side[i] for side, i in zip(sides, at, strict=True))
        n_ic = ic[1] - ic[0]
        bits = n_ic if cut.descriptor.lanes == "mxm" else -(-n_ic // lanes)
        shape = (fy[1] - fy[0], fx[1] - fx[0], bits)
        blocks = groups.setdefault(shape, [])
        key[at] = list(groups).index(shape)
        place[at] = len(blocks)
        blocks.append((ic, fy, fx))
    return list(groups.items()), key, place


def _boxes(sides: list[list[Range]], dims: list[Dim], rest: dict[Dim, Range]) -> Ints:
    """Return int64[n, 2, 8]: boxes of nested ranges."""
    found = np.zeros((int(np.prod([len(side) for side in sides])), 2, len(Dim)), np.int64)
    found[:, 1] = 1
    for dim, (low, high) in rest.items():
        found[:, 0, dim], found[:, 1, dim] = low, high
    for n, at in enumerate(combinations(*sides)):
        for dim, (low, high) in zip(dims, at, strict=True):
            found[n, 0, dim], found[n, 1, dim] = low, high
    return found


def add_sets(run: LayerRun, layout: FileLayout, masks: Masks) -> tuple[list[MaskSet], Ints, Ints]:
    """Add the mask sets of a layer; return them, and `reduction_shapes`' arrays."""
    cut, machine, x = run.layer.cut, run.layer.machine, run.layer.x
    lanes, sizes, block = machine.array.lanes, cut.layer.sizes, cut.block
    is_mxm = cut.descriptor.lanes == "mxm"
    shapes, key, place = reduction_shapes(cut, lanes)
    shape, held = shape_of(run.layer, run.domain), files(cut, machine, run.layer.places, x)
    groups = [(g, g + 1) for g in range(sizes[Dim.G])]
    points = [_ranges(sizes[d], block[d]) for d in (Dim.N, Dim.OY, Dim.OX)]
    a_dims, b_dims = [Dim.G, Dim.N, Dim.OY, Dim.OX], [Dim.G, Dim.OC]
    filters = [_ranges(sizes[Dim.OC], block[Dim.OC])]
    n_points = sizes[Dim.N] * sizes[Dim.OY] * sizes[Dim.OX]
    found = []
    for (n_fy, n_fx, bits), blocks in shapes:
        words = -(-n_fy * n_fx * bits // 64)
        n_a = len(blocks) * sizes[Dim.G] * n_points
        n_b = len(blocks) * sizes[Dim.G] * sizes[Dim.OC]
        a = np.zeros((n_a, 1 if is_mxm else lanes, words), np.int64)
        b = np.zeros((n_b, 1 if is_mxm else lanes, words), np.int64)
        at_a = at_b = 0
        for ic, fy, fx in blocks:
            rest = {Dim.IC: ic, Dim.FY: fy, Dim.FX: fx, Dim.OC: (0, 1), Dim.N: (0, 1)}
            rest |= {Dim.OY: (0, 1), Dim.OX: (0, 1)}
            boxes = _boxes([groups, *points], a_dims, rest)
            at_a += store_if(shape, x, held, boxes, words, a[at_a:])
            boxes = _boxes([groups, *filters], b_dims, rest)
            at_b += store_fl(shape, x, held, boxes, words, b[at_b:])
        if is_mxm:
            b = _as_lanes(b, len(blocks) * sizes[Dim.G], sizes[Dim.OC], lanes)
        section_a = _taps(n_fy, n_fx, cut.layer.dilations, layout.pitch[1]) * layout.slot
        section_b = _taps(n_fy, n_fx, (1, 1), block[Dim.FX]) * layout.slot
        addresses = _if_addresses(cut, layout, groups, points), _fl_addresses(cut, layout, lanes)
        found.append(
            MaskSet(
                masks.add(
                    a.view(np.uint64), n_fy * n_fx, bits, np.tile(addresses[0], len(blocks)),
                    section_a,
                ),
                masks.add(
                    b.view(np.uint64), n_fy * n_fx, bits, np.tile(addresses[1], len(blocks)),
                    section_b,
                ),
                n_fy * n_fx,
                bits,
            )
        )  # fmt: skip
    return found, key, place


def _as_lanes(words: Ints, groups: int, filters: int, lanes: int) -> Ints:
    """Return windows of one filter each, [groups * filters, 1, w], as runs of lanes."""
    runs = -(-filters // lanes)
    whole = np.zeros((groups, runs * lanes, words.shape[2]), np.int64)
    whole[:, :filters] = words.reshape(groups, filters, -1)
    return whole.reshape(groups * runs, lanes, -1)


def _taps(n_fy: int, n_fx: int, dilations: tuple[int, int], width: int) -> Ints:
    """Return int64[fy * fx]: pixels from the first kernel position to each."""
    fy, fx = np.indices((n_fy, n_fx))
    taps: Ints = (fy * dilations[0] * width + fx * dilations[1]).reshape(-1)
    return taps


def _if_addresses(
    cut: Cut, layout: FileLayout, groups: list[Range], points: list[list[Range]]
) -> Ints:
    """Return int64[windows]: where each point's first pixel lies in a lane of its VPE's file."""
    (sy, sx), block = cut.layer.strides, cut.block
    height, width = layout.pitch
    found = []
    for frames, rows, columns in combinations(*points):
        n, y, x = np.meshgrid(*(np.arange(*r) for r in (frames, rows, columns)), indexing="ij")
        n, y, x = n % block[Dim.N], y % block[Dim.OY] * sy, x % block[Dim.OX] * sx
        found.append((((n * block[Dim.G] * height) + y) * width + x).reshape(-1))
    one = np.concatenate(found)
    of_group = np.arange(len(groups)) % block[Dim.G] * height * width
    pixels: Ints = (of_group[:, None] + one).reshape(-1)
    return pixels * layout.slot


def _fl_addresses(cut: Cut, layout: FileLayout, lanes: int) -> Ints:
    """Return int64[windows]: where each filter's, or run's, first weight lies in a lane."""
    block, sizes = cut.block, cut.layer.sizes
    is_mxm = cut.descriptor.lanes == "mxm"
    rows = block[Dim.OC] // lanes if is_mxm else block[Dim.OC]
    n = -(-sizes[Dim.OC] // lanes) if is_mxm else sizes[Dim.OC]
    local = np.arange(n) % rows
    of_group = np.arange(sizes[Dim.G]) % block[Dim.G] * rows
    number: Ints = (of_group[:, None] + local).reshape(-1)
    return number * block[Dim.FY] * block[Dim.FX] * layout.slot
