"""Windows of VPEs are the operands' bits, taken box by box."""

from itertools import product

import numpy as np
import pytest
from test_flexnn_engine import case, described, dims_of, parsed, wide_case

from firemesh.emulator.flexnn.descriptor import Cut
from firemesh.emulator.flexnn.dims import Dim
from firemesh.emulator.flexnn.engine import prepare, shape_of
from firemesh.emulator.flexnn.files import files
from firemesh.emulator.flexnn.fills import store_fl, store_if


def ranges(box, *dims):
    return [range(box[0, d], box[1, d]) for d in dims]


def split(bits, n_lanes, words):
    """Return int64[lanes, words] of a window's bits [fy, fx, channel], by lanes of channels."""
    per_lane = -(-bits.shape[2] // n_lanes)
    found = np.zeros((n_lanes, words * 64), bool)
    for lane in range(n_lanes):
        part = bits[:, :, lane * per_lane : (lane + 1) * per_lane]
        whole = np.zeros((*bits.shape[:2], per_lane), bool)
        whole[:, :, : part.shape[2]] = part
        found[lane, : whole.size] = whole.reshape(-1)
    return np.packbits(found, axis=1, bitorder="little").view("<i8")


def padded(cut, is_used):
    """Return bool[n, c, h, w] with zeros around it; ones everywhere where all are used."""
    (py, px), sizes = cut.layer.pads, cut.layer.sizes
    if is_used is None:
        return np.ones((sizes[Dim.N], sizes[Dim.G] * sizes[Dim.IC], 64, 64), bool)
    return np.pad(is_used, ((0, 0), (0, 0), (py, 64), (px, 64)))


def if_windows(cut, is_used, box, n_lanes, words):
    """Return the windows of an IF box; bool[n, c, padded h, padded w]."""
    (sy, sx), (dy, dx), n_ic = cut.layer.strides, cut.layer.dilations, cut.layer.sizes[Dim.IC]
    for g, n, oy, ox in product(*ranges(box, Dim.G, Dim.N, Dim.OY, Dim.OX)):
        fy, fx, ic = np.ix_(*ranges(box, Dim.FY, Dim.FX, Dim.IC))
        bits = is_used[n, g * n_ic + ic, oy * sy + fy * dy, ox * sx + fx * dx]
        yield split(bits, n_lanes, words)


def fl_windows(cut, is_used, box, n_lanes, words):
    """Return the windows of an FL box; bool[k, ic, fy, fx] in the schedule's order."""
    for g, k in product(*ranges(box, Dim.G, Dim.OC)):
        fy, fx, ic = np.ix_(*ranges(box, Dim.FY, Dim.FX, Dim.IC))
        yield split(is_used[g * cut.layer.sizes[Dim.OC] + k, ic, fy, fx], n_lanes, words)


def random_boxes(rng, cut):
    boxes = np.zeros((4, 2, 8), np.int64)
    for box, d in product(boxes, Dim):
        size = cut.layer.sizes[d]
        length = int(rng.integers(1, min(cut.block[d], size) + 1))
        box[0, d] = rng.integers(0, size - length + 1)
        box[1, d] = box[0, d] + length
    return boxes


@pytest.mark.parametrize("draw", (case, wide_case))
@pytest.mark.parametrize("seed", range(60))
def test_stored_windows_are_those_of_the_operands(seed, draw):
    x, w, shape, of, descriptor, machine, _ = draw(seed)
    flex = described(machine)
    cut = Cut(parsed(descriptor), dims_of(x, shape, of))
    layer = prepare(cut, flex, x.astype(np.int16), w.astype(np.int16))
    s = shape_of(layer, np.zeros(flex.array.n_vpes, np.int64))
    held = files(cut, flex, layer.places, layer.x)
    is_mxm = cut.descriptor.lanes == "mxm"
    n_lanes = 1 if is_mxm else flex.array.lanes
    slice_ = cut.block[Dim.IC] if is_mxm else -(-cut.block[Dim.IC] // n_lanes)
    words = -(-cut.block[Dim.FY] * cut.block[Dim.FX] * slice_ // 64)
    boxes = random_boxes(np.random.default_rng(seed), cut)
    used_if = padded(cut, x != 0 if layer.x.skips_if else None)
    used_fl = w[layer.x.filter] != 0 if layer.x.skips_fl else np.ones(w.shape, bool)
    for store, windows, used in ((store_if, if_windows, used_if), (store_fl, fl_windows, used_fl)):
        want = [bits for box in boxes for bits in windows(cut, used, box, n_lanes, words)]
        got = np.zeros((len(want) + 1, n_lanes, words), np.int64)
        assert store(s, layer.x, held, boxes, words, got) == len(want)
        assert np.array_equal(got[:-1], want)
        assert not got[-1].any()
