from fractions import Fraction

import numpy as np
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from test_models_requantise import to_float32

from firemesh.models import operators
from firemesh.models.network import MaxPool, Tensor

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
