"""Products of rounds add up to the convolution, whatever the schedule."""

import numpy as np
import pytest
from small_descriptors import dimension_sizes, random_descriptor, random_machine
from test_flexnn_engine import described, dims_of, parsed

from firemesh.emulator.flexnn.descriptor import Cut
from firemesh.emulator.flexnn.engine import prepare, shape_of
from firemesh.emulator.flexnn.products import AT_ONCE, FEW, FEW_POINTS, multiply, products, psums


def convolution(x, w, groups, stride):
    """Return int32[n, k, oy, ox], wrapping."""
    kernel = w.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    n, _, oy, ox = windows.shape[:4]
    parts = windows.reshape(n, groups, -1, oy, ox, *kernel)
    filters = w.reshape(groups, -1, *w.shape[1:])
    found = np.einsum("ngcyxrs,gkcrs->ngkyx", parts, filters)
    return found.reshape(n, -1, oy, ox).astype(np.int32)


@pytest.mark.parametrize("groups", (1, 2))
@pytest.mark.parametrize("filters", (1, FEW - 1, FEW, 37))
@pytest.mark.parametrize("side", (1, 3, 4, 7))
@pytest.mark.parametrize("seed", range(3))
def test_products_are_the_convolution(seed, side, filters, groups):
    rng = np.random.default_rng(seed)
    kernel, stride = (1 if side == 1 else int(rng.integers(1, 4))), int(rng.integers(1, 3))
    channels = int(rng.integers(1, 3 * AT_ONCE))
    size = (side - 1) * stride + kernel
    x = rng.integers(-(2**15), 2**15, (1, groups * channels, size, size))
    x *= rng.random(x.shape) < 0.5
    w = rng.integers(-(2**15), 2**15, (groups * filters, channels, kernel, kernel))
    shape = {
        "strides": (stride, stride),
        "dilations": (1, 1),
        "pads": (0, 0),
        "groups": groups,
        "ofmap": (side, side),
    }
    of, machine = dimension_sizes(x, w, shape), random_machine(rng)
    flex = described(machine)
    cut = Cut(parsed(random_descriptor(rng, of, machine)), dims_of(x, shape, of))
    layer = prepare(cut, flex, x.astype(np.int16), w.astype(np.int16))
    made = products(cut, layer.x)
    if channels * kernel > 1:
        assert (made.step_oc == 1) == (side * side >= FEW_POINTS)
    for rounds in layer.loops.rounds():
        s = shape_of(layer, np.zeros(flex.array.n_vpes, np.int64))
        multiply(s, layer.x, made, rounds.low, rounds.high)
    assert np.array_equal(psums(cut, layer.x, made), convolution(x, w, groups, stride))
