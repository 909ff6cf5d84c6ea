"""Scales with two decimals make ties and near-ties common: every formula's order shows."""

import numpy as np
import onnx_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from firemesh.models import reference
from firemesh.models.onnx_reader import read_onnx

SEEDS = st.integers(0, 10**6)


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
