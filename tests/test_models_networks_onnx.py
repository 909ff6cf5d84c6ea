"""What groups of the QDQ form, batches and float ends become, and which are refused."""

import numpy as np
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from firemesh.models import reference
from firemesh.models.network import Add, Concat, ModelError, Mul, Softmax, Transpose
from firemesh.models.onnx_reader import read_onnx

KINDS = st.sampled_from(["int8", "uint8"])


def save(model, folder):
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def model_of(nodes, constants, inputs, rank=4, kind="int8", opset=17):
    """Return a model of nodes (op, inputs, output, attributes); inputs by name and shape."""
    proto = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    last = nodes[-1]
    is_real = last[0] not in ("QuantizeLinear", "Concat") and not last[0].startswith("QLinear")
    graph = helper.make_graph(
        [
            helper.make_node(
                op,
                names,
                [output],
                f"/{output}/{op}",
                domain="com.microsoft" if op.startswith("QLinear") else None,
                **attributes,
            )
            for op, names, output, attributes in nodes
        ],
        "small",
        [helper.make_tensor_value_info(name, proto, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(
                last[2], TensorProto.FLOAT if is_real else proto, [None] * rank
            )
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


def joined(op, kind, constants, behind=()):
    """Return DQ(x) op DQ(constant), what stands behind it, and QuantizeLinear."""
    nodes = [
        ("DequantizeLinear", ["x", "sx", "zx"], "a", {}),
        ("DequantizeLinear", ["c", "sc", "zc"], "b", {}),
        (op, ["a", "b"], "r0", {}),
    ]
    for i, (name, *bounds) in enumerate(behind):
        nodes.append((name, [f"r{i}", *bounds], f"r{i + 1}", {}))
    nodes.append(("QuantizeLinear", [nodes[-1][2], "sy", "zy"], "y", {}))
    return model_of(nodes, constants, {"x": ["n", 256, 256]}, 3, kind)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), KINDS, st.sampled_from(["Add", "Mul"]), st.sampled_from(range(4)))
def test_a_relu_or_clip_behind_a_join_equals_onnxruntime_at_every_pair_of_codes(
    tmp_path_factory, seed, kind, op, case
):
    """The code range covers cases 0 and 1, so that ONNX Runtime drops them, and 2 and 3 not."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    every = np.arange(info.min, info.max + 1).astype(kind)
    dtype = np.dtype(kind).type
    points = [dtype(v) for v in rng.integers(info.min, info.max + 1, 3)]
    sx, sc = (np.float32(v / 100) for v in rng.integers(1, 30, 2))
    sy = np.float32(rng.integers(1, 30) / (25 if op == "Add" else 4))
    zero = dtype(info.min) if case < 2 else points[2]
    high = np.float32(sy * 255 if case == 1 else sy * rng.integers(20, 90))
    constants = {
        "sx": sx, "zx": points[0], "c": every[:, None], "sc": sc, "zc": points[1],
        "sy": sy, "zy": zero, "low": np.float32(0), "high": high,
    }  # fmt: skip
    behind = [("Relu",)] if case in (0, 2) else [("Clip", "low", "high")]
    model = joined(op, kind, constants, behind)
    folder = tmp_path_factory.getbasetemp()
    network = read_onnx(save(model, folder))
    assert network.layers[0].is_clipped is (case == 3 or (case == 2 and int(zero) != info.min))
    codes = np.broadcast_to(every, (1, 256, 256)).copy()
    wanted = onnx_graphs.session(model, folder / "optimised.onnx").run(None, {"x": codes})[0]
    assert (reference.forward(network, codes)["y"] == wanted).all()


def chain(op, inputs=("x",), shape=("n", 2, 4, 4), quantised=True, opset=17, **attributes):
    """Return DequantizeLinear of x, one operator and QuantizeLinear."""
    constants = {
        "s": np.float32(0.1), "z": np.int8(3), "sy": np.float32(0.05), "zy": np.int8(-128),
        "f": np.float32([1, 1]), "axes": np.int64([1]), "zero": np.int64([0]),
        "ratio": np.float32(0.5), "c": np.zeros((2, 2, 4, 4), np.int8), "low": np.float32(1),
        "r": np.int64([2, -1]), "up": np.float32(3), "flag": np.array(True),
    }  # fmt: skip
    nodes = [("DequantizeLinear", ["x", "s", "z"], "real", {})]
    nodes.append(("DequantizeLinear", ["c", "s", "z"], "constant", {}))
    names = ["real" if name == "x" else name for name in inputs]
    nodes.append((op, names, "made", attributes))
    if quantised:
        nodes.append(("QuantizeLinear", ["made", "sy", "zy"], "y", {}))
    return model_of(nodes, constants, {"x": shape}, opset=opset)


def test_concat_transpose_and_softmax_become_layers_with_axes_behind_the_batch_axis(tmp_path):
    concat = read_onnx(save(chain("Concat", ["x", "x"], axis=-3), tmp_path)).layers[0]
    assert isinstance(concat, Concat) and concat.axis == 0 and concat.inputs == ("x", "x")
    assert concat.name == "made"
    network = read_onnx(save(chain("Transpose", perm=[0, 3, 1, 2]), tmp_path))
    assert isinstance(network.layers[0], Transpose)
    assert network.layers[0].permutation == (2, 0, 1)
    assert network.tensors[network.layers[0].output].shape == (4, 2, 4)
    softmax = read_onnx(save(chain("Softmax", axis=2), tmp_path)).layers[0]
    assert isinstance(softmax, Softmax) and softmax.axis == 1


def test_a_softmax_at_the_end_reads_codes_and_writes_float32(tmp_path):
    model = chain("Softmax", quantised=False, axis=-1)
    network = read_onnx(save(model, tmp_path))
    assert [layer.op for layer in network.layers] == ["Softmax"]
    assert network.tensors[network.outputs[0]].dtype == "float32"
    codes = np.random.default_rng(0).integers(-128, 128, (3, 2, 4, 4)).astype(np.int8)
    wanted = onnx_graphs.session(model).run(None, {"x": codes})[0]
    assert np.abs(reference.forward(network, codes)["made"] - wanted).max() <= 1e-6


def test_a_float_output_behind_a_move_of_codes_is_dequantised(tmp_path):
    model = chain("Transpose", quantised=False, perm=[0, 2, 1, 3])
    network = read_onnx(save(model, tmp_path))
    assert [layer.op for layer in network.layers] == ["Transpose", "Dequantize"]
    codes = np.random.default_rng(0).integers(-128, 128, (3, 2, 4, 4)).astype(np.int8)
    wanted = onnx_graphs.session(model).run(None, {"x": codes})[0]
    got = reference.forward(network, codes)["made"]
    assert got.dtype == np.float32 and (got == wanted).all()


@pytest.mark.parametrize("op", ["Identity", "Dropout"])
def test_identity_and_dropout_are_another_name(tmp_path, op):
    network = read_onnx(save(chain(op), tmp_path))
    assert [layer.op for layer in network.layers] == ["Rescale"]


def test_codes_of_one_scale_are_concatenated_as_they_are(tmp_path):
    nodes = [
        ("Concat", ["x", "x"], "y", dict(axis=2)),
        ("QLinearMul", ["y", "s", "z", "y", "s", "z", "s", "z"], "p", {}),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(3)}
    model = model_of(nodes, constants, {"x": [2, 3, 4]}, 3)
    codes = np.random.default_rng(0).integers(-128, 128, (2, 3, 4)).astype(np.int8)
    network = read_onnx(save(model, tmp_path))
    assert [type(layer) for layer in network.layers] == [Concat, Mul]
    assert network.tensors["x"].scale == np.float32(0.1)
    wanted = onnx_graphs.session(model).run(None, {"x": codes})[0]
    assert (reference.forward(network, codes)["p"] == wanted).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (chain("Concat", ["x", "x"], axis=0), r"axis must lie behind the batch axis \(1..3\)"),
        (chain("Concat", ["x", "constant"], axis=1), "activations alone, got a constant"),
        (chain("Transpose"), r"perm must keep the batch axis first .*\[3, 2, 1, 0\]"),
        (chain("Transpose", perm=[1, 0, 2, 3]), "export with the batch axis first"),
        (chain("Softmax", axis=0), "must run along one axis behind the batch axis"),
        (chain("Softmax", axis=1, opset=12), "in opset 12; export with opset 13 or later"),
        (chain("Softmax", ["constant"]), "input 0 must be an activation, got a constant"),
        (chain("Mul", ["constant", "constant"]), "got two constants; fold them"),
        (chain("Mul", ["x", "constant"]), "must have one scale and no batch axis"),
        (chain("Mul", ["x", "f"]), "float constant 'f'; quantise the model"),
        (
            chain("BatchNormalization", ["x", "f", "f", "f", "f"]),
            "must be folded into the Conv before it, .*quant_pre_process",
        ),
        (
            chain("AveragePool", kernel_shape=[2, 2], dilations=[2, 1], opset=19),
            r"dilations must be 1 and channels_last 0, got \(2, 1\)",
        ),
        (chain("AveragePool", kernel_shape=[2]), "two-dimensional kernel"),
        (chain("AveragePool", kernel_shape=[9, 2]), "kernel: must fit"),
        (chain("AveragePool", kernel_shape=[2, 2], pads=[2, 0, 0, 0]), "pads: must be smaller"),
        (chain("Dropout", ["x", "ratio", "flag"]), "export the model for inference"),
        (chain("Reshape", ["x", "r"], shape=(4, 2, 4, 4)), r"must keep the batch axis \(4\) first"),
        (chain("Squeeze", ["x", "axes"]), "must keep the batch axis .1. first and all values"),
        (chain("Squeeze", ["x", "zero"], shape=(1, 1, 4)), "to another first axis; export with"),
        (chain("Unsqueeze", ["x", "zero"]), "to another first axis; export with"),
        (chain("Flatten", axis=0), "to another first axis; export with"),
        (chain("Flatten", axis=2), r"got \[1, 2, 4, 4\] to \[2, 16\]"),
    ],
)
def test_a_node_that_cannot_be_used_is_refused_with_its_name_and_the_remedy(
    tmp_path, model, message
):
    path = save(model, tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_relu_behind_a_mean_must_be_covered_by_the_code_range(tmp_path):
    model = chain("GlobalAveragePool")
    model.graph.node.insert(3, helper.make_node("Clip", ["made", "low", "up"], ["clipped"]))
    model.graph.node[4].input[0] = "clipped"
    with pytest.raises(ModelError, match="'/made/GlobalAveragePool'.*must be covered by the code"):
        read_onnx(save(model, tmp_path))


def test_inputs_of_different_batches_are_refused(tmp_path):
    nodes = [("QLinearAdd", ["a", "s", "z", "b", "s", "z", "s", "z"], "y", {})]
    constants = {"s": np.float32(0.1), "z": np.int8(3)}
    model = model_of(nodes, constants, {"a": [2, 3], "b": [1, 3]})
    with pytest.raises(ModelError, match=r"inputs must have one batch size, got \[1, 2\]"):
        read_onnx(save(model, tmp_path))
    both = read_onnx(save(model_of(nodes, constants, {"a": [2, 3], "b": ["n", 3]}), tmp_path))
    assert isinstance(both.layers[0], Add)


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "wanted"),
    [
        ("Flatten", (2, 3, 4), {}, (24,)),
        ("Flatten", (2, 3, 4), dict(axis=-3), (24,)),
        ("Flatten", (6,), dict(axis=1), (6,)),
        ("Squeeze", (2, 1, 4), dict(axes=[-2]), (2, 4)),
        ("Squeeze", (1, 5, 1), {}, (5,)),
        ("Unsqueeze", (2, 4), dict(axes=[1, 4]), (1, 2, 4, 1)),
        ("Unsqueeze", (2, 4), dict(axes=[-1]), (2, 4, 1)),
    ],
)
def test_a_new_shape_of_codes_is_onnxruntime_s(tmp_path, op, shape, attributes, wanted):
    """Opset 11: the axes are an attribute."""
    nodes = [
        (op, ["x"], "moved", attributes),
        ("DequantizeLinear", ["moved", "s", "z"], "y", {}),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(3)}
    model = model_of(nodes, constants, {"x": [2, *shape]}, len(wanted) + 1, opset=11)
    codes = np.random.default_rng(0).integers(-128, 128, (2, *shape)).astype(np.int8)
    network = read_onnx(save(model, tmp_path))
    assert network.tensors["moved"].shape == wanted
    got = reference.forward(network, codes)["y"]
    expected = onnx_graphs.session(model).run(None, {"x": codes})[0]
    assert got.shape == expected.shape and (got == expected).all()


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("target", [(None, -1), (-1, 32), (0, 32), (None, 32)])
def test_a_fixed_batch_is_the_frame_axis_of_every_reshape(tmp_path, batch, target):
    constants = {
        "s": np.float32(0.1), "z": np.int8(3), "sy": np.float32(0.07),
        "to": np.int64([batch if size is None else size for size in target]),
    }  # fmt: skip
    nodes = [
        ("Reshape", ["x", "to"], "flat", {}),
        ("QLinearMul", ["flat", "s", "z", "flat", "s", "z", "sy", "z"], "y", {}),
    ]
    model = model_of(nodes, constants, {"x": [batch, 2, 4, 4]}, 2)
    codes = np.random.default_rng(0).integers(-128, 128, (batch, 2, 4, 4)).astype(np.int8)
    network = read_onnx(save(model, tmp_path))
    assert network.tensors["flat"].shape == (32,)
    wanted = onnx_graphs.session(model).run(None, {"x": codes})[0]
    assert (reference.forward(network, codes)["y"] == wanted).all()
