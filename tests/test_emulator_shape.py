"""Layers as the PEs see them: shapes, weights, and which max-pools the fire phase does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mappings import shapes

from firemesh.emulator.shape import Pool, conv_shape, fused_pool, pool_window, weights
from firemesh.models.network import Conv, Linear, MaxPool, Network, Tensor


def conv(filters=2, output="y"):
    return Conv(
        name="conv",
        inputs=("x",),
        output=output,
        weight=np.arange(filters * 3, dtype=np.int8).reshape(filters, 3, 1, 1),
        weight_zero_point=np.arange(filters, dtype=np.int32),
        multiplier=np.ones(filters, np.float32),
        bias=np.zeros(filters, np.int32),
        low=-128,
        high=127,
    )


def pooled_network(pool, size, after, outputs=("z",), others=()):
    """Return a convolution, a max-pool of its output, and other readers of that output."""
    tensors = [
        Tensor("x", (3, *size), "int8"),
        Tensor("y", (2, *size), "int8"),
        Tensor("z", (2, *after), "int8"),
        Tensor("other", (2, *after), "int8"),
    ]
    return Network("net", (conv(), pool, *others), {t.name: t for t in tensors}, ("x",), outputs)


POOL = MaxPool("pool", ("y",), "z", (2, 2), (2, 2), (0, 0, 0, 0))


@settings(deadline=None)
@given(shape=shapes())
def test_taps_of_all_phases_are_the_kernel(shape):
    for axis in (0, 1):
        taps = shape.taps(axis)
        assert len(taps) == shape.window.strides[axis]
        assert sum(taps) == shape.window.kernel[axis]


def test_weights_are_taken_less_the_zero_point_of_their_filter():
    got = weights(conv())
    assert got.dtype == np.int16
    assert got[:, :, 0, 0].tolist() == [[0, 1, 2], [2, 3, 4]]


@given(code=st.sampled_from((-128, 127)), point=st.sampled_from((-128, 127)))
def test_a_weight_less_its_zero_point_does_not_wrap(code, point):
    layer = Linear(
        name="fc",
        inputs=("x",),
        output="y",
        weight=np.full((1, 2), code, np.int8),
        weight_zero_point=np.array([point], np.int32),
        multiplier=np.ones(1, np.float32),
        bias=np.zeros(1, np.int32),
        low=-128,
        high=127,
    )
    assert weights(layer).tolist() == [[[[code - point]], [[code - point]]]]


def test_a_fully_connected_layer_is_a_convolution_of_one_pixel_with_a_channel_per_input():
    layer = Linear(
        name="fc",
        inputs=("x",),
        output="y",
        weight=np.ones((4, 7), np.int8),
        weight_zero_point=np.zeros(4, np.int32),
        multiplier=np.ones(4, np.float32),
        bias=np.zeros(4, np.int32),
        low=-128,
        high=127,
    )
    shape = conv_shape(layer, Tensor("x", (7,), "int8"), Tensor("y", (4,), "int8"))
    assert (shape.filters, shape.channels, shape.height, shape.width) == (4, 7, 1, 1)
    assert (shape.window.kernel, shape.window.ofmap) == ((1, 1), (1, 1))


def test_a_max_pool_that_alone_reads_the_output_is_fused():
    network = pooled_network(POOL, (4, 4), (2, 2))
    assert fused_pool(network, network.layers[0]) is network.layers[1]


@pytest.mark.parametrize("outputs", [("z", "y"), ("y",)])
def test_a_max_pool_of_a_networks_output_is_not_fused(outputs):
    network = pooled_network(POOL, (4, 4), (2, 2), outputs)
    assert fused_pool(network, network.layers[0]) is None


def test_a_max_pool_beside_another_reader_is_not_fused():
    other = MaxPool("other", ("y",), "other", (2, 2), (2, 2), (0, 0, 0, 0))
    network = pooled_network(POOL, (4, 4), (2, 2), ("z", "other"), (other,))
    assert fused_pool(network, network.layers[0]) is None


def test_a_max_pool_with_a_window_of_padding_only_is_not_fused():
    # dilated by 3, the window meets columns -1 and 2 of an ofmap that has columns 0 and 1
    pool = MaxPool("pool", ("y",), "z", (1, 2), (1, 1), (0, 1, 0, 1), (1, 3))
    network = pooled_network(pool, (4, 2), (4, 1))
    assert pool_window(pool).covered(1, 0, 2) == []
    assert fused_pool(network, network.layers[0]) is None


def test_without_a_max_pool_the_window_is_one_position():
    assert pool_window(None) == Pool((1, 1), (1, 1), (0, 0), (1, 1))
    assert pool_window(POOL) == Pool((2, 2), (2, 2), (0, 0), (1, 1))
