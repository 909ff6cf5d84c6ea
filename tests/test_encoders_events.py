"""Events against brute force: a walk is every product that its activation takes part in."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_windows import layers, pixels

from firemesh.encoders.events import (
    Window,
    axis_reach,
    conv_events,
    fully_connected_walk,
    raster,
    walk,
)


def brute_force(window, y, x, rows, pitch):
    """Return every (neuron, weight) pair of the pixel (y, x), neurons of a band of rows."""
    pairs = []
    for oy, ox in product(rows, range(window.ofmap[1])):
        for ky, kx in product(*map(range, window.kernel)):
            at = [
                window.strides[axis] * o + window.dilations[axis] * k - window.pads[axis]
                for axis, o, k in ((0, oy, ky), (1, ox, kx))
            ]
            if at == [y, x]:
                pairs.append(((oy - rows[0]) * pitch + ox, ky * window.kernel[1] + kx))
    return sorted(pairs)


def walks(size, window, band=None, pitch=None):
    """Return the walk of each pixel as a list of pairs, empty where there is no event."""
    y, x = pixels(size)
    events = conv_events(np.zeros_like(y), y, x, window, band, pitch)
    found = [[] for _ in y]
    for event, source in enumerate(events.source):
        found[source] = list(walk(events, event, window, pitch))
        assert found[source], "an event without products"
    return found


@settings(deadline=None)
@given(layer=layers(), extra=st.integers(0, 3))
def test_a_walk_meets_every_product_of_its_activation_exactly_once(layer, extra):
    size, window = layer
    pitch = window.ofmap[1] + extra
    for y, x, pairs in zip(*pixels(size), walks(size, window, None, pitch), strict=True):
        assert sorted(pairs) == brute_force(window, y, x, range(window.ofmap[0]), pitch)


@settings(deadline=None)
@given(layer=layers())
def test_a_walk_visits_neurons_in_ascending_order(layer):
    size, window = layer
    for pairs in walks(size, window):
        neurons = [neuron for neuron, _ in pairs]
        assert neurons == sorted(neurons)


@settings(deadline=None)
@given(layer=layers())
def test_without_a_pitch_neurons_are_numbered_through_the_rows_of_the_ofmap(layer):
    size, window = layer
    assert walks(size, window) == walks(size, window, None, window.ofmap[1])
    assert walks(size, window) == walks(size, window, (0, window.ofmap[0]))


@settings(deadline=None)
@given(layer=layers(), data=st.data())
def test_bands_of_rows_share_the_products_between_them(layer, data):
    size, window = layer
    rows, pitch = window.ofmap
    cuts = sorted(data.draw(st.sets(st.integers(1, rows)), label="cuts") | {0, rows})
    together = [[] for _ in walks(size, window)]
    for band in zip(cuts, cuts[1:], strict=False):
        parts = walks(size, window, band)
        for y, x, pairs, all_pairs in zip(*pixels(size), parts, together, strict=True):
            assert sorted(pairs) == brute_force(window, y, x, range(*band), pitch)
            all_pairs += [(neuron + band[0] * pitch, weight) for neuron, weight in pairs]
    assert [sorted(pairs) for pairs in together] == [sorted(p) for p in walks(size, window)]


@settings(deadline=None)
@given(layer=layers(), seed=st.integers(0, 2**32 - 1))
def test_events_keep_the_order_and_the_channels_of_their_activations(layer, seed):
    size, window = layer
    rng = np.random.default_rng(seed)
    y, x = (at[order] for order in [rng.permutation(size[0] * size[1])] for at in pixels(size))
    channel = rng.integers(0, 100, len(y))
    events = conv_events(channel, y, x, window)
    assert events.source.tolist() == sorted(set(events.source.tolist()))
    assert np.array_equal(events.channel, channel[events.source])
    rows = range(window.ofmap[0])
    reached = [bool(brute_force(window, *at, rows, 1)) for at in zip(y, x, strict=True)]
    assert np.flatnonzero(reached).tolist() == events.source.tolist()


@settings(deadline=None)
@given(layer=layers())
def test_the_walk_multiplies_into_the_convolution(layer):
    size, window = layer
    rng = np.random.default_rng(size[0] * size[1])
    ifmap = rng.integers(-9, 9, size)
    weight = rng.integers(-9, 9, window.kernel)
    psum = np.zeros(window.ofmap, int)
    for pixel, pairs in zip(ifmap.ravel(), walks(size, window), strict=True):
        for neuron, number in pairs:
            psum.ravel()[neuron] += pixel * weight.ravel()[number]
    reach = [
        window.strides[a] * (window.ofmap[a] - 1) + window.dilations[a] * (window.kernel[a] - 1) + 1
        for a in (0, 1)
    ]
    padded = np.zeros([reach[a] + window.pads[a] + size[a] for a in (0, 1)], int)
    padded[window.pads[0] :, window.pads[1] :][: size[0], : size[1]] = ifmap
    for oy, ox in product(*map(range, window.ofmap)):
        top, left = oy * window.strides[0], ox * window.strides[1]
        cut = padded[top :: window.dilations[0], left :: window.dilations[1]]
        assert psum[oy, ox] == (cut[: window.kernel[0], : window.kernel[1]] * weight).sum()


@settings(deadline=None)
@given(layer=layers(), axis=st.integers(0, 1))
def test_along_an_axis_positions_without_products_have_reach_zero(layer, axis):
    size, window = layer
    reach = axis_reach(np.arange(size[axis]), window, axis)
    for field in (reach.low, reach.jump, reach.kernel):
        assert not field[~reach.is_event].any()


@pytest.mark.paper
def test_the_papers_convolution_event_with_pixels_counted_from_one_and_one_pixel_of_padding():
    """MNF, section 4.1.1 and Fig. 3, corrected.

    As printed (4x4 ifmap, 3x3 kernel, pixel (1, 1), counted from 0, no padding) the walk would
    have nine neurons in an ofmap of 2 x 2. The printed fields hold for a layer with one pixel of
    padding, hence an ofmap of 4 columns, whose pixels are counted from 1.
    """
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (4, 4))
    pixel = np.array([1]) - 1
    events = conv_events(np.array([0]), pixel, pixel, window)
    assert {name: array.tolist() for name, array in events._asdict().items()} == {
        "source": [0],
        "channel": [0],
        "start_weight": [4],
        "start_neuron": [0],
        "x_jump": [1],
        "y_jump": [1],
    }
    assert list(walk(events, 0, window)) == [(0, 4), (1, 3), (4, 1), (5, 0)]


@pytest.mark.paper
def test_the_papers_fully_connected_events_meet_every_neuron_with_the_weights_of_their_input():
    """MNF, section 4.1.2, Algorithm 2 and Fig. 4: 5 inputs, 4 outputs, inputs 1 and 3 fire."""
    assert list(fully_connected_walk(1, 4)) == [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert list(fully_connected_walk(3, 4)) == [(0, 12), (1, 13), (2, 14), (3, 15)]
    rng = np.random.default_rng(0)
    weight, inputs = rng.integers(-9, 9, (5, 4)), np.array([0, 100, 0, 7, 0])
    psum = np.zeros(4, int)
    for index in np.flatnonzero(inputs):
        for neuron, number in fully_connected_walk(int(index), 4):
            psum[neuron] += inputs[index] * weight.ravel()[number]
    assert np.array_equal(psum, inputs @ weight)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from((np.int8, np.uint8)),
    data=st.data(),
)
def test_raster_lists_what_differs_from_the_zero_point_by_row_column_and_channel(
    shape, dtype, data
):
    limits = np.iinfo(dtype)
    zero = data.draw(st.sampled_from((limits.min, 0, limits.max, 5)), label="zero point")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    codes[rng.random(shape) < 0.5] = zero
    expected = [
        (c, y, x)
        for y in range(shape[1])
        for x in range(shape[2])
        for c in range(shape[0])
        if int(codes[c, y, x]) != zero
    ]
    assert list(zip(*(a.tolist() for a in raster(codes, zero)), strict=True)) == expected
