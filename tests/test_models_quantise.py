import builtins
import sys

import numpy as np
import onnx
import onnx_floats
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from firemesh.models import reference, zoo
from firemesh.models.layers import ModelError
from firemesh.models.onnx_reader import read_onnx
from firemesh.models.quantise import quantise


def float_model(folder, batch="n", seed=0, last="Softmax"):
    """Write a small network with BatchNormalization, branches and means; return its path."""
    rng = np.random.default_rng(seed)
    constants = {
        "w1": rng.normal(0, 0.3, (6, 3, 3, 3)),
        "b1": rng.normal(0, 0.1, 6),
        "gamma": rng.uniform(0.5, 2, 6),
        "beta": rng.normal(0, 0.3, 6),
        "mean": rng.normal(0, 0.3, 6),
        "var": rng.uniform(0.5, 2, 6),
        "w2": rng.normal(0, 0.3, (6, 1, 3, 3)),
        "half": rng.uniform(0.2, 1, (6, 1, 1)),
        "w3": rng.normal(0, 0.3, (5, 12)),
        "b3": rng.normal(0, 0.3, 5),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"], "norm1"),
        node("Relu", ["n1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2"], ["c2"], "depthwise", group=6, auto_pad="SAME_UPPER"),
        node("Add", ["c2", "r1"], ["sum"], "sum"),
        node("Relu", ["sum"], ["r2"], "relu2"),
        node("Mul", ["r2", "half"], ["product"], "product"),
        node("AveragePool", ["product"], ["p1"], "mean", kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxPool", ["r1"], ["p2"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["p1", "p2"], ["joined"], "joined", axis=1),
        node("GlobalAveragePool", ["joined"], ["g"], "global"),
        node("Flatten", ["g"], ["flat"], "flat"),
        node("Gemm", ["flat", "w3", "b3"], ["logits"], "fc", transB=1),
        node(last, ["logits"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "float.onnx"
    onnx.save(model, path)
    return path


def frames(n, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (n, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", ["int8", "uint8"])
def test_a_quantised_file_equals_onnxruntime_and_folds_batch_normalization(
    tmp_path, form, per_channel, activation
):
    path = float_model(tmp_path, last="Relu")
    out = quantise(path, frames(40), form=form, per_channel=per_channel, activation=activation)
    assert out == tmp_path / "float-int8.onnx"
    network = read_onnx(out)
    ops = [layer.op for layer in network.layers]
    assert "BatchNormalization" not in [node.op_type for node in onnx.load(out).graph.node]
    assert {"Conv", "Add", "Mul", "Concat", "AveragePool", "Linear"} <= set(ops)
    x = frames(16, seed=2)
    wanted = onnx_graphs.session(str(out)).run(None, {"image": x})[0]
    assert (reference.forward(network, x)[network.outputs[0]] == wanted).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(onnx_floats.OPS), max_size=4),
    st.sampled_from(["qdq", "qoperator"]),
    st.sampled_from(["int8", "uint8"]),
    st.booleans(),
    st.sampled_from(["n", 4]),
)
def test_random_float_graphs_once_quantised_equal_onnxruntime_bit_for_bit(
    tmp_path_factory, seed, steps, form, activation, per_channel, batch
):
    path = tmp_path_factory.getbasetemp() / "floats.onnx"
    onnx.save(onnx_floats.float_graph(seed, steps, batch), path)
    options = dict(form=form, activation=activation, per_channel=per_channel)
    out = quantise(path, frames(16), **options)
    x = frames(4, seed=2)
    network = read_onnx(out)
    wanted = onnx_graphs.session(str(out)).run(None, {"image": x})[0]
    assert (reference.forward(network, x)[network.outputs[0]] == wanted).all()


def test_a_quantised_network_is_close_to_the_float_one(tmp_path):
    path = float_model(tmp_path)
    x = frames(64, seed=2)
    network = zoo.load(path, calibration=frames(256))
    assert network.name == "float"
    got = reference.forward(network, x)[network.outputs[0]]
    wanted = onnx_graphs.session(str(path)).run(None, {"image": x})[0]
    assert np.abs(got - wanted).max() < 0.05


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_the_same_frames_give_the_same_network(tmp_path, method):
    path = float_model(tmp_path)
    outs = [tmp_path / f"{i}.onnx" for i in range(2)]
    networks = [read_onnx(quantise(path, frames(40), out, method=method)) for out in outs]
    assert networks[0].digest == networks[1].digest
    other = read_onnx(quantise(path, frames(40, seed=9), outs[0], method=method))
    assert other.digest != networks[0].digest


@pytest.mark.parametrize("batch", [1, 4])
def test_a_file_of_fixed_batch_is_calibrated_and_run_by_frames(tmp_path, batch):
    path = float_model(tmp_path, batch=batch)
    out = quantise(path, frames(8))
    x = frames(batch, seed=2)
    network = read_onnx(out)
    wanted = onnx_graphs.session(str(out)).run(None, {"image": x})[0]
    got = reference.forward(network, x)[network.outputs[0]]
    assert got.shape == wanted.shape and (got == wanted).all()
    (tmp_path / "n").mkdir()
    symbolic = quantise(float_model(tmp_path / "n"), frames(8))
    assert (reference.forward(read_onnx(symbolic), x)[network.outputs[0]] == got).all()


def test_a_float_file_without_calibration_says_both_ways_out(tmp_path):
    message = r"quantize_static, or give typical frames: firemesh.load\(path, calibration=frames\)"
    with pytest.raises(ModelError, match=message):
        zoo.load(float_model(tmp_path))


@pytest.mark.parametrize(
    ("calibration", "options", "message"),
    [
        (
            frames(4)[:, :2],
            {},
            "calibration: must have shape frames x 3 x 8 x 8, got 4 x 2 x 8 x 8",
        ),
        (frames(0), {}, "calibration: must have shape frames x 3 x 8 x 8, got 0 x 3 x 8 x 8"),
        (1.0, {}, "got a single value"),
        ([[1.0], [2.0, 3.0]], {}, "one array of numbers"),
        (frames(4) * np.float32(np.inf), {}, "must be finite"),
        (frames(4), dict(form="int4"), "quantise.form: must be one of qdq, qoperator, got 'int4'"),
        (frames(4), dict(activation="int4"), "quantise.activation: must be one of int8, uint8"),
        (frames(4), dict(method="guess"), "quantise.method: must be one of minmax, entropy"),
        (frames(4), dict(out="/nowhere/at/all.onnx"), "/nowhere/at/all.onnx: must be writable"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_with_the_remedy(
    tmp_path, calibration, options, message
):
    with pytest.raises(ModelError, match=message) as caught:
        quantise(float_model(tmp_path), calibration, **options)
    assert "\n" not in str(caught.value)


def test_frames_must_fill_a_fixed_batch(tmp_path):
    with pytest.raises(ModelError, match="a multiple of 4 frames, .*, got 6; leave the last 2 out"):
        quantise(float_model(tmp_path, batch=4), frames(6))


def test_a_quantised_file_and_a_network_of_the_zoo_take_no_calibration(tmp_path):
    out = quantise(float_model(tmp_path), frames(8))
    with pytest.raises(ModelError, match="must be a float model, got a quantised one"):
        zoo.load(out, calibration=frames(8))
    with pytest.raises(ModelError, match="must be left out for digits, which is quantised"):
        zoo.load("digits", calibration=frames(8))


def test_an_operator_of_the_float_file_that_is_not_supported_is_named(tmp_path):
    path = float_model(tmp_path, last="Elu")
    with pytest.raises(ModelError, match=r"\(Elu\): this operator is not supported") as caught:
        zoo.load(path, calibration=frames(8))
    assert str(caught.value).startswith(f"{path} (quantised): ")


def test_a_float_file_that_onnxruntime_cannot_run_is_one_sentence(tmp_path):
    path = float_model(tmp_path)
    model = onnx.load(path)
    model.graph.node[0].attribute[0].ints[:] = [1, 1]
    onnx.save(model, path)
    with pytest.raises(ModelError, match="that onnxruntime.quantization accepts") as caught:
        quantise(path, frames(8))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_without_onnxruntime_one_sentence_names_the_extra(tmp_path, monkeypatch):
    path = float_model(tmp_path)
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="onnxruntime")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in [name for name in sys.modules if name.startswith("onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModelError, match=r"^quantise: needs onnxruntime, .*'firemesh\[quantise\]'"):
        quantise(path, frames(8))
