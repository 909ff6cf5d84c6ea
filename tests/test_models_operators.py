from fractions import Fraction

import numpy as np
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from test_models_requantise import to_float32

from firemesh.models import operators, pooling, softmax
from firemesh.models.network import (
    Add,
    AveragePool,
    Concat,
    MaxPool,
    Mul,
    Network,
    Softmax,
    Tensor,
    Transpose,
)

FLOATS = st.floats(-(2.0**40), 2.0**40, width=32, allow_subnormal=False)


@settings(max_examples=400)
@given(FLOATS, FLOATS, FLOATS)
def test_fma_rounds_the_exact_sum_once(a, b, c):
    got = operators.fma(*(np.array([v], np.float32) for v in (a, b, c)))[0]
    assert got == to_float32(Fraction(a) * Fraction(b) + Fraction(c))


@settings(max_examples=300)
@given(
    st.integers(2**23, 2**24 - 1),
    st.sampled_from([-1, 1]),
    st.integers(-60, -25),
    st.integers(1, 2**12 - 1),
    st.integers(1, 2**12 - 1),
)
def test_fma_rounds_once_next_to_ties_of_float32(mantissa, sign, exponent, a, b):
    """A half unit plus a little: the float64 sum alone would land on the tie."""
    half = Fraction(1, 2) * sign
    c = np.float32(mantissa)
    for left in (Fraction(1, 2) + Fraction(a * b, 2**60), Fraction(a, 2**12)):
        x, y = np.float32(1 + a * 2.0**-23), np.float32(float(half) * (1 - b * 2.0**-23))
        got = operators.fma(np.array([x]), np.array([y]), np.array([c]))[0]
        assert got == to_float32(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(c)))
        z = np.float32(float(left) * 2.0**exponent)
        got = operators.fma(np.array([z]), np.array([np.float32(sign)]), np.array([c]))[0]
        assert got == to_float32(Fraction(float(z)) * sign + Fraction(float(c)))


def test_fma_rounds_down_just_below_a_tie_where_rounding_twice_rounds_up():
    a, b = np.float32((1 - 2.0**-23) * 2.0**-24), np.float32(1 + 2.0**-23)
    c = np.float32(1 + 2.0**-23)
    twice = np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    once = operators.fma(np.array([a]), np.array([b]), np.array([c]))[0]
    assert once == c and twice == np.float32(1 + 2.0**-22)


def sum_session(scales, points):
    names = ["sa", "za", "sb", "zb", "sy", "zy"]
    values = [v for s, z in zip(scales, points, strict=True) for v in (np.float32(s), np.int8(z))]
    inputs = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    node = helper.make_node("QLinearAdd", inputs, ["y"], domain="com.microsoft")
    shape = [None, None, None]
    graph = helper.make_graph(
        [node],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.INT8, shape) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.INT8, shape)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, values, strict=True)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return onnx_graphs.session(model)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_add_equals_onnxruntime_for_all_code_pairs_and_broadcasts_at_scales_rich_in_ties(seed):
    rng = np.random.default_rng(seed)
    scales = [*rng.integers(1, 30, 2) / 100, rng.integers(1, 30) / 25]
    points = rng.integers(-128, 128, 3).tolist()
    runtime = sum_session(scales, points)
    y = Tensor("y", (1,), "int8", scales[2], points[2])
    codes = np.arange(-128, 128).astype(np.int8)
    a, b = (grid[None] for grid in np.meshgrid(codes, rng.permutation(codes), indexing="ij"))
    row, column = a[:, :1, ::-1].copy(), b[:, :, :1].copy()
    single = a[:, 3:4, :1].copy()
    for first, second in [
        (a, b),
        (a, row),
        (row, a),
        (a, column),
        (column, a),
        (a, single),
        (single, a),
        *((a[:, i : i + 1, :1], b[:, :1, j : j + 1]) for i, j in rng.integers(0, 256, (200, 2))),
    ]:
        wanted = runtime.run(None, {"a": first, "b": second})[0]
        params = [(scales[i], points[i]) for i in (0, 1)]
        assert (operators.add(first, second, *params, y) == wanted).all()


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.data(),
)
def test_max_pool_is_the_largest_code_of_every_window(h, w, kernel, strides, dilations, data):
    pads = tuple(data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4))
    room = [
        size + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1
        for i, size in enumerate((h, w))
    ]
    if min(room) < 0:
        return
    extra = data.draw(st.booleans())
    size = tuple(
        r // s + int(extra and r % s > 0 and (r // s + 1) * s < length + pad) + 1
        for r, s, length, pad in zip(room, strides, (h, w), pads[:2], strict=True)
    )
    codes = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 255, (2, 1, h, w))
    layer = MaxPool("p", ("x",), "y", kernel, strides, pads, dilations)
    got = operators.max_pool(codes.astype(np.uint8), layer, size)
    for oy in range(size[0]):
        for ox in range(size[1]):
            ys = [oy * strides[0] - pads[0] + i * dilations[0] for i in range(kernel[0])]
            xs = [ox * strides[1] - pads[1] + i * dilations[1] for i in range(kernel[1])]
            inside = [(y, x) for y in ys for x in xs if 0 <= y < h and 0 <= x < w]
            for n in range(2):
                wanted = max((int(codes[n, 0, y, x]) for y, x in inside), default=0)
                assert got[n, 0, oy, ox] == wanted


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_of_dequantize_is_the_identity_on_codes(dtype):
    for scale in (0.1, 1 / 3, 0.0627451, 2.0**-7, 3e-5):
        info = np.iinfo(dtype)
        for zero_point in (info.min, 3, info.max):
            tensor = Tensor("t", (256,), dtype, scale, zero_point)
            codes = np.arange(info.min, info.max + 1).astype(dtype)[None]
            assert (operators.quantize(operators.dequantize(codes, tensor), tensor) == codes).all()


def test_quantize_saturates_values_of_any_size():
    tensor = Tensor("t", (4,), "int8", 1e-3, 100)
    real = np.float32([[3e38, -3e38, np.inf, -np.inf]])
    assert operators.quantize(real, tensor).tolist() == [[127, -128, 127, -128]]


@pytest.mark.parametrize("counts_padding", [False, True])
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.data(),
)
def test_an_average_is_the_exact_mean_of_every_window_within_half_a_code(
    counts_padding, h, w, kernel, strides, data
):
    pads = tuple(data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4))
    room = [size + pads[i] + pads[i + 2] - kernel[i] for i, size in enumerate((h, w))]
    if min(room) < 0:
        return
    size = tuple(r // s + 1 for r, s in zip(room, strides, strict=True))
    x, y = Tensor("x", (1, h, w), "uint8", 0.25, 3), Tensor("y", (1, *size), "int8", 0.3, -100)
    codes = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, (2, 1, h, w))
    layer = AveragePool("p", ("x",), "y", kernel, strides, pads, counts_padding)
    got = pooling.average_pool(codes.astype(np.uint8), layer, x, y, size)
    for oy, ox in np.ndindex(*size):
        ys = [oy * strides[0] - pads[0] + i for i in range(kernel[0])]
        xs = [ox * strides[1] - pads[1] + i for i in range(kernel[1])]
        inside = [(i, j) for i in ys for j in xs if 0 <= i < h and 0 <= j < w]
        count = kernel[0] * kernel[1] if counts_padding else len(inside)
        for n in range(2):
            real = sum(0.25 * (int(codes[n, 0, i, j]) - 3) for i, j in inside) / count
            wanted = np.clip(real / 0.3 - 100, -128, 127)
            assert abs(got[n, 0, oy, ox] - wanted) <= 0.5 + 1e-4


def test_a_product_rounds_the_scaled_product_and_the_sum_with_the_zero_point():
    y = Tensor("y", (1,), "int8", 0.5, 1)
    codes = [np.int8([[v]]) for v in (7, -3)]
    got = operators.multiply(*codes, (0.5, 2), (0.25, -4), y)
    assert got.tolist() == [[round(5 * 0.5 * 1 * 0.25 / 0.5 + 1)]] and got.dtype == np.int8
    # 5950 * (0.01 * 0.01 / 0.07) is 8.5 after one rounding: a tie with the zero point added,
    # where a fused multiply-add sees less than 1.5 and gives 1
    odd = Tensor("y", (1,), "int8", 0.07, -7)
    a, b = np.int8([[-119]]), np.int8([[-50]])
    assert operators.multiply(a, b, (0.01, 0), (0.01, 0), odd).tolist() == [[2]]


def small_network(make, shapes, output, **fields):
    """Return a network of one layer on uint8 codes of scale 0.1 and zero points 1, 2, ..."""
    names = [f"x{i}" for i in range(len(shapes))]
    tensors = [
        Tensor(name, shape, "uint8", 0.1, i + 1)
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
    ]
    layer = make("layer", tuple(names), output.name, **fields)
    every = {tensor.name: tensor for tensor in [*tensors, output]}
    return Network("n", (layer,), every, tuple(names), (output.name,)), layer


@pytest.mark.parametrize("make", [Add, Mul])
def test_a_clipped_join_is_dequantise_compute_clip_and_quantise(make):
    y = Tensor("y", (256,), "int8", 0.07, 5)
    net, layer = small_network(make, [(256,), (1,)], y, low=-0.5, high=3.0)
    codes = np.arange(256, dtype=np.uint8)[None]
    other = np.uint8([[77]])
    got = operators.apply(net, layer, codes, other)
    a, b = (codes - np.float32(1)) * np.float32(0.1), (other - np.float32(2)) * np.float32(0.1)
    real = np.clip(a + b if make is Add else a * b, np.float32(-0.5), np.float32(3))
    wanted = np.clip(np.rint(real / np.float32(0.07)) + 5, -128, 127)
    assert (got == wanted).all() and got.dtype == np.int8


def test_a_concatenation_copies_equal_scales_and_requantises_others():
    y = Tensor("y", (4, 2), "uint8", 0.1, 1)
    net, layer = small_network(Concat, [(3, 2), (1, 2)], y, axis=0)
    a, b = np.arange(6, dtype=np.uint8).reshape(1, 3, 2), np.uint8([[[9, 0]]])
    got = operators.apply(net, layer, a, b)
    assert (got[:, :3] == a).all() and got[0, 3].tolist() == [8, 0]


def test_a_transpose_moves_axes_behind_the_batch_axis():
    y = Tensor("y", (4, 2, 3), "uint8", 0.1, 1)
    net, layer = small_network(Transpose, [(2, 3, 4)], y, permutation=(2, 0, 1))
    codes = np.arange(48, dtype=np.uint8).reshape(2, 2, 3, 4)
    got = operators.apply(net, layer, codes)
    assert got.shape == (2, 4, 2, 3) and got.flags.c_contiguous
    assert all(got[n, i, j, k] == codes[n, j, k, i] for n, i, j, k in np.ndindex(got.shape))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@given(st.integers(1, 40), st.sampled_from([0.01, 0.1, 2.0, 2.0**-20, 40.0]), st.integers(0, 99))
def test_a_softmax_is_that_of_the_real_values_within_a_code(kind, n, scale, seed):
    codes = np.random.default_rng(seed).integers(0, 256, (3, n, 2)).astype(np.uint8)
    x = Tensor("x", (n, 2), "uint8", scale, 9)
    y = Tensor("y", (n, 2), kind, *((1 / 200, 10) if kind == "uint8" else ()))
    net = Network("n", (Softmax("s", ("x",), "y", axis=0),), {"x": x, "y": y}, ("x",), ("y",))
    got = operators.apply(net, net.layers[0], codes)
    real = (codes.astype(np.float64) - 9) * np.float32(scale)
    terms = np.exp(real - real.max(axis=1, keepdims=True))
    wanted = terms / terms.sum(axis=1, keepdims=True)
    if kind == "float32":
        assert got.dtype == np.float32 and np.abs(got - wanted).max() <= 1e-6
    else:
        assert np.abs(got - (wanted * 200 + 10)).max() <= 0.501


def test_a_softmax_saturates_also_where_its_product_overflows():
    x, y = Tensor("x", (2,), "int8", 1.0, 0), Tensor("y", (2,), "int8", 1 / 256, -128)
    assert softmax.softmax(np.int8([[127, -128]]), 1, x, y).tolist() == [[127, -128]]
    one = Tensor("y", (1,), "int8", 1 / 200, -128)
    assert softmax.softmax(np.int8([[5]]), 1, x, one).tolist() == [[200 - 128]]
