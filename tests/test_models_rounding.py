"""Scales with two decimals make ties and near-ties common: every formula's order shows."""

import numpy as np
import onnx_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from firemesh.models import reference
from firemesh.models.onnx_reader import read_onnx

SEEDS = st.integers(0, 10**6)
KINDS = st.sampled_from(["int8", "uint8"])


def one_node(op, domain, shape, constants, inputs, kind="int8", rank=None, **attributes):
    proto = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    node = helper.make_node(op, inputs, ["y"], op, domain=domain, **attributes)
    output = [None] * (rank or len(shape) + 1)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", proto, ["n", *shape])],
        [helper.make_tensor_value_info("y", proto, output)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


def assert_equal(model, codes, folder):
    path = folder / "one.onnx"
    path.write_bytes(model.SerializeToString())
    network = read_onnx(path)
    wanted = onnx_graphs.session(model).run(None, {"x": codes})[0]
    assert (reference.forward(network, codes)["y"] == wanted).all()


def decimals(rng, low, high, size=None):
    return np.float32(rng.integers(low, high, size) / 100)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_a_matrix_product_equals_onnxruntime_at_every_code(tmp_path_factory, seed, is_per_channel):
    rng = np.random.default_rng(seed)
    weight = np.arange(-60, 61, dtype=np.int8)[None]
    k = weight.size if is_per_channel else None
    constants = {
        "sx": decimals(rng, 1, 40),
        "zx": np.int8(rng.integers(-128, 128)),
        "w": weight,
        "sw": decimals(rng, 1, 40, k),
        "zw": np.zeros(k or (), np.int8),
        "sy": decimals(rng, 100, 2000),
        "zy": np.int8(rng.integers(-128, 128)),
    }
    inputs = ["x", *constants]
    model = one_node("QLinearMatMul", None, (1,), constants, inputs)
    codes = np.arange(-128, 128, dtype=np.int8)[:, None]
    assert_equal(model, codes, tmp_path_factory.getbasetemp())


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_a_convolution_equals_onnxruntime_at_every_code(tmp_path_factory, seed, has_bias):
    rng = np.random.default_rng(seed)
    k = 121
    constants = {
        "sx": decimals(rng, 1, 40),
        "zx": np.int8(rng.integers(-128, 128)),
        "w": np.arange(-60, 61, dtype=np.int8)[:, None, None, None],
        "sw": decimals(rng, 1, 40, k),
        "zw": np.zeros(k, np.int8),
        "sy": decimals(rng, 100, 2000),
        "zy": np.int8(rng.integers(-128, 128)),
    }
    if has_bias:
        constants["b"] = rng.integers(-4000, 4000, k).astype(np.int32)
    model = one_node("QLinearConv", None, (1, 16, 16), constants, ["x", *constants])
    codes = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 16, 16)
    assert_equal(model, codes, tmp_path_factory.getbasetemp())


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["int8", "uint8"]))
def test_a_global_mean_equals_onnxruntime_at_random_codes(tmp_path_factory, seed, h, w, kind):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    constants = {
        "sx": decimals(rng, 1, 60),
        "zx": np.dtype(kind).type(rng.integers(info.min, info.max + 1)),
        "sy": decimals(rng, 1, 60),
        "zy": np.dtype(kind).type(rng.integers(info.min, info.max + 1)),
    }
    op, domain = "QLinearGlobalAveragePool", "com.microsoft"
    model = one_node(op, domain, (1, h, w), constants, ["x", *constants], kind, channels_last=0)
    codes = rng.integers(info.min, info.max + 1, (1500, 1, h, w))
    spread = np.int64(constants["zx"]) + rng.integers(-9, 10, codes.shape)
    mixed = np.where(rng.random(codes.shape[:1])[:, None, None, None] < 0.5, codes, spread)
    codes = np.clip(mixed, info.min, info.max).astype(kind)
    assert_equal(model, codes, tmp_path_factory.getbasetemp())


def points(rng, kind, *names):
    """Return zero points of a type, at random, by name."""
    info = np.iinfo(kind)
    return {name: np.dtype(kind).type(rng.integers(info.min, info.max + 1)) for name in names}


@settings(max_examples=80, deadline=None)
@given(SEEDS, KINDS, st.booleans())
def test_a_product_equals_onnxruntime_at_every_pair_of_codes(
    tmp_path_factory, seed, kind, is_first
):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    zeros = points(rng, kind, "zx", "zc", "zy")
    every = np.arange(info.min, info.max + 1).astype(kind)
    constants = {
        "sx": decimals(rng, 1, 40),
        "zx": zeros["zx"],
        "c": every[:, None],
        "sc": decimals(rng, 1, 40),
        "zc": zeros["zc"],
        "sy": decimals(rng, 100, 3000),
        "zy": zeros["zy"],
    }
    names = list(constants)
    x, c, y = ["x", *names[:2]], names[2:5], names[5:]
    inputs = [*c, *x, *y] if is_first else [*x, *c, *y]
    model = one_node("QLinearMul", "com.microsoft", (256, 256), constants, inputs, kind)
    codes = np.broadcast_to(every, (1, 256, 256)).copy()
    assert_equal(model, codes, tmp_path_factory.getbasetemp())


@settings(max_examples=80, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_a_window_s_mean_equals_onnxruntime_at_random_codes(
    tmp_path_factory, seed, kind, r, s, counts_padding
):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    zeros = points(rng, kind, "zx", "zy")
    scales = [decimals(rng, 1, 60) for _ in range(2)]
    constants = {"sx": scales[0], "zx": zeros["zx"], "sy": scales[1], "zy": zeros["zy"]}
    attributes = dict(kernel_shape=[r, s], strides=[1, 2], pads=[r - 1, 0, r // 2, s - 1])
    attributes["count_include_pad"] = int(counts_padding)
    h, w = (r, s) if rng.random() < 0.3 else (9, 11)
    if h == r and rng.random() < 0.7:
        attributes["pads"] = [0, 0, 0, 0]  # the whole frame: another formula
    op, domain = "QLinearAveragePool", "com.microsoft"
    model = one_node(op, domain, (2, h, w), constants, ["x", *constants], kind, **attributes)
    codes = rng.integers(info.min, info.max + 1, (40, 2, h, w))
    spread = np.int64(constants["zx"]) + rng.integers(-9, 10, codes.shape)
    mixed = np.where(rng.random(codes.shape[:1])[:, None, None, None] < 0.5, codes, spread)
    assert_equal(
        model, np.clip(mixed, info.min, info.max).astype(kind), tmp_path_factory.getbasetemp()
    )


@settings(max_examples=60, deadline=None)
@given(SEEDS, KINDS)
def test_a_concatenation_equals_onnxruntime_at_every_code(tmp_path_factory, seed, kind):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    zeros = points(rng, kind, "zx", "zy")
    scales = [decimals(rng, 1, 60) for _ in range(2)]
    constants = {"sy": scales[0], "zy": zeros["zy"], "sx": scales[1], "zx": zeros["zx"]}
    inputs = ["sy", "zy", "x", "sx", "zx", "x", "sx", "zx"]
    model = one_node("QLinearConcat", "com.microsoft", (16, 16), constants, inputs, kind, axis=2)
    codes = np.arange(info.min, info.max + 1).astype(kind).reshape(1, 16, 16)
    assert_equal(model, codes, tmp_path_factory.getbasetemp())


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS, st.integers(2, 40))
def test_a_softmax_equals_onnxruntime_at_random_codes(tmp_path_factory, seed, kind, n):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    constants = {
        "sx": np.float32(rng.choice([decimals(rng, 1, 60), rng.uniform(1e-3, 0.3)])),
        "zx": points(rng, kind, "zx")["zx"],
        "sy": np.float32(rng.choice([1 / 256, 1 / 255, 0.01, rng.uniform(1 / 290, 0.1)])),
        "zy": points(rng, kind, "zy")["zy"],
    }
    op, domain = "QLinearSoftmax", "com.microsoft"
    attributes = dict(axis=int(rng.choice([1, -1])), opset=13)
    model = one_node(op, domain, (n,), constants, ["x", *constants], kind, **attributes)
    codes = rng.integers(info.min, info.max + 1, (400, n))
    near = codes[:, :1] + rng.integers(-20, 21, codes.shape)
    codes = np.where(rng.random((400, 1)) < 0.7, np.clip(near, info.min, info.max), codes)
    assert_equal(model, codes.astype(kind), tmp_path_factory.getbasetemp())
