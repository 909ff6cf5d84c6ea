import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.models import reference
from firemesh.models.network import Conv, Linear, ModelError, Network, Quantize, Tensor
from firemesh.models.shapes import conv_shape


def conv_layer(rng, groups, kernel, strides, dilations, pads, dtype):
    info = np.iinfo(dtype)
    k = groups * int(rng.integers(1, 3))
    shape = (k, int(rng.integers(1, 4)), *kernel)
    return Conv(
        name="conv",
        inputs=("x",),
        output="y",
        weight=rng.integers(info.min, info.max + 1, shape).astype(dtype),
        weight_zero_point=rng.integers(info.min, info.max + 1, k).astype(np.int32),
        multiplier=np.ones(k, np.float32),
        bias=rng.integers(-(2**31), 2**31, k).astype(np.int32),
        low=-128,
        high=127,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
    )


def plain_sum(layer, codes, zero_point, k, oy, ox):
    """Return one sum in Python integers, wrapped into int32."""
    c_group = layer.weight.shape[1]
    first = k // (layer.weight.shape[0] // layer.groups) * c_group
    total = int(layer.bias[k])
    for c in range(c_group):
        for ky in range(layer.kernel[0]):
            for kx in range(layer.kernel[1]):
                y = oy * layer.strides[0] - layer.pads[0] + ky * layer.dilations[0]
                x = ox * layer.strides[1] - layer.pads[1] + kx * layer.dilations[1]
                if 0 <= y < codes.shape[1] and 0 <= x < codes.shape[2]:
                    weight = int(layer.weight[k, c, ky, kx]) - int(layer.weight_zero_point[k])
                    total += weight * (int(codes[first + c, y, x]) - zero_point)
    return (total + 2**31) % 2**32 - 2**31


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None)
@given(
    st.integers(1, 3),
    PAIRS,
    PAIRS,
    PAIRS,
    st.tuples(*[st.integers(0, 2)] * 4),
    st.sampled_from(["int8", "uint8"]),
    st.integers(0, 10**6),
)
def test_convolution_sums_equal_plain_loops_wrapped_to_32_bits(
    groups, kernel, strides, dilations, pads, dtype, seed
):
    rng = np.random.default_rng(seed)
    layer = conv_layer(rng, groups, kernel, strides, dilations, pads, dtype)
    size = rng.integers(1, 7, 2) + np.array(dilations) * (np.array(kernel) - 1)
    codes = rng.integers(-128, 128, (1, groups * layer.weight.shape[1], *size)).astype(np.int8)
    zero_point = int(rng.integers(-128, 128))
    shape = conv_shape(layer, codes.shape[1:])
    sums = reference.conv_sums(layer, codes, zero_point, shape[1:])
    assert sums.shape == (1, *shape)
    for k, oy, ox in np.ndindex(shape):
        assert sums[0, k, oy, ox] == plain_sum(layer, codes[0], zero_point, k, oy, ox)


def linear_network(low=-128, zero_point=-128):
    layer = Linear(
        "fc",
        ("x",),
        "y",
        np.array([[1, 2], [-1, 1], [3, 3]], np.int8),
        np.zeros(3, np.int32),
        np.full(3, 0.5, np.float32),
        np.array([0, 0, 2], np.int32),
        low,
        127,
    )
    tensors = {
        "image": Tensor("image", (2,), "float32"),
        "x": Tensor("x", (2,), "int8", 1.0, 0),
        "y": Tensor("y", (3,), "int8", 2.0, zero_point),
    }
    layers = (Quantize("quantize", ("image",), "x"), layer)
    return Network("net", layers, tensors, ("image",), ("y",))


def test_forward_returns_every_tensor_with_a_batch_axis():
    values = reference.forward(linear_network(), np.array([[2.0, 3.0], [0.0, 1.0]]))
    assert {name: value.shape for name, value in values.items()} == {
        "image": (2, 2),
        "x": (2, 2),
        "y": (2, 3),
    }
    # sums 8, 1, 17 and 2, 1, 5; halves round to even
    assert values["y"].tolist() == [[-124, -128, -120], [-127, -128, -126]]


def test_threshold_acts_on_layers_with_relu_only():
    x = np.array([[2.0, 3.0]])
    relu = reference.forward(linear_network(), x, threshold=4)
    assert relu["y"].tolist() == [[-128, -128, -120]]
    signed = reference.forward(linear_network(zero_point=0), x, threshold=4)
    assert signed["y"].tolist() == [[4, 0, 8]]


def test_a_fused_lower_bound_cuts_codes():
    values = reference.forward(linear_network(low=3, zero_point=1), np.array([[2.0, 3.0]]))
    assert values["y"].tolist() == [[5, 3, 9]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 3)), "must have shape frames x 2 .*, got 1 x 3"),
        (np.zeros(3), "must have shape frames x 2 .*, got 3"),
        (np.zeros((0, 2)), "must have shape frames x 2 .*, got 0 x 2"),
        (np.array([[np.nan, 0.0]]), "must be finite"),
        (np.array([[1e300, 0.0]]), "must be finite in float32"),
        (np.array([["a", "b"]]), "must hold numbers"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(x, message):
    with pytest.raises(ModelError, match=message):
        reference.forward(linear_network(), x)
