import numpy as np
import onnx
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from firemesh.models import reference, zoo
from firemesh.models.network import Conv, Linear, ModelError, Rescale
from firemesh.models.onnx_reader import read_onnx

STEPS = st.lists(st.sampled_from(sorted(set(onnx_graphs.OPS))), min_size=1, max_size=4)
KINDS = st.sampled_from(["int8", "uint8"])


def save(model, folder):
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


def assert_equal_to_onnxruntime(model, frames, folder):
    session = onnx_graphs.session(model)
    network = read_onnx(save(model, folder))
    values = reference.forward(network, frames)
    wanted = session.run(None, {network.inputs[0]: frames})
    for name, expected in zip(network.outputs, wanted, strict=True):
        assert values[name].shape == expected.shape and values[name].dtype == expected.dtype
        if network.producer(name).op == "Softmax" and expected.dtype == np.float32:
            assert np.abs(values[name] - expected).max() <= 1e-6
        else:
            assert (values[name] == expected).all(), name
    return network


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), KINDS, STEPS)
def test_random_qdq_graphs_equal_onnxruntime_bit_for_bit(folder, seed, kind, steps):
    model, frames = onnx_graphs.random_graph(seed, True, kind, steps, True)
    assert_equal_to_onnxruntime(model, frames, folder)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), KINDS, STEPS)
def test_every_tensor_of_random_qoperator_graphs_equals_onnxruntime(folder, seed, kind, steps):
    model, frames = onnx_graphs.random_graph(seed, False, kind, steps, True)
    assert_equal_to_onnxruntime(model, frames, folder)


def float_pair(writer, x, n, k, bias, is_bias_first, is_gemm):
    """Write Gemm, or MatMul and Add, with a float bias or one of int32 codes."""
    rng = writer.rng
    codes = rng.integers(-60, 61, (n, k)).astype(np.int8)
    scale = np.float32(rng.uniform(0.01, 0.02, k if rng.random() < 0.5 else None))
    factor = np.float32(x.scale) * scale
    zeros = np.zeros(scale.shape, np.int8)
    weight, product, result = (writer.name("real") for _ in range(3))
    w = [writer.constant(codes), writer.constant(scale), writer.constant(zeros)]
    writer.node("DequantizeLinear", w, [weight], axis=1)
    sums = rng.normal(0, 9000, k)
    if bias == "float32":
        name = writer.constant((np.float32(sums) * factor).astype(np.float32))
    else:
        name = writer.name("real")
        b = [writer.constant(v) for v in (sums.astype(np.int32), factor, zeros.astype(np.int32))]
        writer.node("DequantizeLinear", b, [name], axis=0)
    if is_gemm:
        writer.node("Gemm", [writer.real(x), weight, name], [result])
    else:
        writer.node("MatMul", [writer.real(x), weight], [product])
        operands = [name, product] if is_bias_first else [product, name]
        writer.node("Add", operands, [result])
    y = writer.value((k,), float(np.mean(factor)) * 400)
    return writer.quantised(result, y)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    KINDS,
    st.sampled_from(["float32", "int32"]),
    st.booleans(),
    st.booleans(),
)
def test_matmul_and_add_is_one_layer_and_a_float_bias_rounds_as_in_onnxruntime(
    folder, seed, kind, bias, is_bias_first, is_gemm
):
    writer = onnx_graphs.Writer(np.random.default_rng(seed), True, kind)
    x = writer.quantised("image", writer.value((20,), 2.0 / 128))
    y = float_pair(writer, x, 20, 6, bias, is_bias_first, is_gemm)
    real = writer.real(y)
    output = [helper.make_tensor_value_info(real, TensorProto.FLOAT, [None, None])]
    image = onnx_graphs.Value("image", (20,), np.float32(1), np.float32(0))
    frames = writer.rng.normal(0, 1, (8, 20)).astype(np.float32)
    network = assert_equal_to_onnxruntime(writer.model(image, output), frames, folder)
    assert [layer.op for layer in network.layers] == ["Quantize", "Linear", "Dequantize"]


def conv_model(zero=5, low=None, high=None, attributes=None, shape=("n", 2, 5, 5), drop=(), op=""):
    """Return Conv with Clip in QDQ form; arguments break or bend it."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(3),
        "w": np.arange(-18, 18, dtype=np.int8).reshape(2, 2, 3, 3),
        "ws": np.float32(0.5),
        "wz": np.int8(0),
        "ys": np.float32(2.0),
        "yz": np.int8(zero),
        "low": np.float32(0 if low is None else low),
        "high": np.float32(1e9 if high is None else high),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"], "/in/QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"]),
        helper.make_node("Conv", ["x", "wr"], ["c"], "/features/conv1/Conv", **(attributes or {})),
        helper.make_node("Clip", ["c", "low", "high"], ["r"], "/features/act/Clip"),
        helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["yq"]),
        helper.make_node(op or "DequantizeLinear", ["yq", "ys", "yz"][: 1 if op else 3], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items() if n not in drop],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_a_fused_clip_becomes_a_code_range_and_an_open_side_stays_open(folder):
    network = read_onnx(save(conv_model(zero=5, low=-7.0, high=11.0), folder))
    layer = network.layers[1]
    assert (layer.low, layer.high) == (5 - 4, 5 + 6)  # -3.5 and 5.5 round to even
    assert not network.has_relu(layer)
    relu = read_onnx(save(conv_model(zero=5), folder))
    assert (relu.layers[1].low, relu.layers[1].high) == (5, 127)
    assert relu.has_relu(relu.layers[1])


def test_a_chain_of_clips_is_their_composition(folder):
    model = conv_model(zero=5, low=-7.0, high=11.0)
    second = helper.make_node("Clip", ["r", "low2", "high2"], ["rr"])
    model.graph.node.insert(5, second)
    model.graph.node[6].input[0] = "rr"
    for name, value in (("low2", -3.0), ("high2", 90.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    layer = read_onnx(save(model, folder)).layers[1]
    assert (layer.low, layer.high) == (5 - 2, 5 + 6)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (0, 1), (1, 0)])
def test_ceil_mode_drops_a_window_that_starts_behind_the_input_like_onnxruntime(
    folder, stride, pads
):
    for size in range(3, 9):
        shape = [("n", 1, size, size), [None] * 4]
        infos = [
            helper.make_tensor_value_info(name, TensorProto.INT8, dims)
            for name, dims in zip("xy", shape, strict=True)
        ]
        attributes = dict(kernel_shape=[2, 2], strides=[stride] * 2, ceil_mode=1)
        attributes["pads"] = [pads[0], pads[0], pads[1], pads[1]]
        pool = helper.make_node("MaxPool", ["x"], ["y"], **attributes)
        graph = helper.make_graph([pool], "pool", infos[:1], infos[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        codes = np.random.default_rng(size).integers(-128, 128, (2, 1, size, size))
        assert_equal_to_onnxruntime(model, codes.astype(np.int8), folder)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_auto_pad_gives_onnxruntime_s_result(folder, mode, stride):
    attributes = dict(auto_pad=mode, strides=[stride, stride])
    model = conv_model(zero=-128, attributes=attributes, shape=("n", 2, 6, 5))
    frames = np.random.default_rng(0).normal(0, 5, (3, 2, 6, 5)).astype(np.float32)
    assert_equal_to_onnxruntime(model, frames, folder)


def test_layer_names_are_short_and_unique(folder):
    network = read_onnx(save(conv_model(), folder))
    assert [layer.name for layer in network.layers] == [
        "quantize",
        "features.conv1",
        "dequantize",
    ]


def test_a_relu_of_its_own_becomes_a_rescale_with_its_bounds(folder):
    writer = onnx_graphs.Writer(np.random.default_rng(0), True, "int8")
    x = writer.quantised("image", writer.value((4,), 0.02))
    y = writer.activation(x)
    real = writer.real(y)
    output = [helper.make_tensor_value_info(real, TensorProto.FLOAT, [None, None])]
    image = onnx_graphs.Value("image", (4,), np.float32(1), np.float32(0))
    network = read_onnx(save(writer.model(image, output), folder))
    rescale = network.layers[1]
    assert isinstance(rescale, Rescale) and (rescale.low, rescale.high) == (0.0, float("inf"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), KINDS, st.booleans())
def test_a_float_relu_before_pooling_equals_onnxruntime(folder, seed, kind, is_flattened):
    writer = onnx_graphs.Writer(np.random.default_rng(seed), True, kind)
    x = writer.quantised("image", writer.value((2, 5, 5), 0.02))
    pooled, flat = writer.name("real"), writer.name("real")
    attributes = dict(kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 0, 0])
    writer.node("MaxPool", [writer.relu(writer.real(x))], [pooled], **attributes)
    writer.node("Flatten", [pooled], [flat])
    shape = (2 * 3 * 2,) if is_flattened else (2, 3, 2)
    y = writer.quantised(flat if is_flattened else pooled, writer.value(shape, 0.02))
    dims = [None] * (len(shape) + 1)
    output = [helper.make_tensor_value_info(writer.real(y), TensorProto.FLOAT, dims)]
    image = onnx_graphs.Value("image", (2, 5, 5), np.float32(1), np.float32(0))
    frames = writer.rng.normal(0, 1, (4, 2, 5, 5)).astype(np.float32)
    assert_equal_to_onnxruntime(writer.model(image, output), frames, folder)


def integer_input_model(kind):
    constants = {
        "s": np.float32(0.1),
        "z": np.dtype(kind).type(3),
        "w": np.arange(12, dtype=np.int8).reshape(4, 3),
        "ws": np.float32([0.5, 0.25, 0.125]),
        "wz": np.zeros(3, np.int8),
        "ys": np.float32(1.5),
        "yz": np.dtype(kind).type(9),
    }
    proto = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    inputs = ["flat", "s", "z", "w", "ws", "wz", "ys", "yz"]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["codes"], ["flat"], "flatten"),
            helper.make_node("QLinearMatMul", inputs, ["y"], "fc_quant"),
        ],
        "codes",
        [helper.make_tensor_value_info("codes", proto, ["n", 2, 2])],
        [helper.make_tensor_value_info("y", proto, [None, None])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_an_integer_input_takes_its_scale_from_its_first_use(folder, kind):
    info = np.iinfo(kind)
    codes = np.random.default_rng(0).integers(info.min, info.max + 1, (9, 2, 2)).astype(kind)
    network = assert_equal_to_onnxruntime(integer_input_model(kind), codes, folder)
    assert network.tensors["codes"].zero_point == 3
    assert isinstance(network.layers[1], Linear) and network.layers[1].name == "fc"


def test_shared_weights_and_a_branch_keep_topological_order(folder):
    model, _ = onnx_graphs.random_graph(5, True, "int8", ["residual", "conv", "residual"])
    network = read_onnx(save(model, folder))
    order = {layer: index for index, layer in enumerate(network.layers)}
    assert all(order[a] < order[b] for a, b in network.graph.edges)
    assert any(isinstance(layer, Conv) for layer in network.layers)


def float_model():
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "relu")],
        "float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def float_weight_model():
    model = conv_model()
    model.graph.node[3].input[1] = "float_w"
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((2, 2, 3, 3), np.float32), "float_w")
    )
    return model


def cut_model():
    """Return a model whose output is the convolution's float sum."""
    model = conv_model()
    model.graph.output[0].name = "r"
    del model.graph.node[5:]
    return model


def rescaled_input_model():
    """Return a model that reads codes with another scale than it wrote them with."""
    model = conv_model()
    model.graph.node[1].input[1] = "ys"
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (float_model(), "quantise it first with onnxruntime.quantization"),
        (float_weight_model(), "'/features/conv1/Conv'.*float constant 'float_w'"),
        (cut_model(), "'/features/conv1/Conv'.*must pass QuantizeLinear first"),
        (rescaled_input_model(), "scale and zero point of 'q' must be those"),
        (conv_model(drop=("ws",)), "onnx.checker refuses"),
        (conv_model(shape=("n", 2, "h", "w")), "must have a known shape"),
        (conv_model(shape=(0, 2, 5, 5)), "symbolic or positive"),
        (conv_model(shape=(1, 2, 5)), "two-dimensional convolution"),
        (conv_model(shape=(1, 3, 5, 5)), r"Conv.inputs: must have shape \[2, h, w\]"),
        (conv_model(shape=(1, 2, 2, 5)), "kernel: must fit"),
        (conv_model(attributes=dict(group=3)), "Conv.groups: must be a divisor"),
        (conv_model(attributes=dict(strides=[0, 1])), "two positive strides"),
        (conv_model(attributes=dict(auto_pad="SOME")), "auto_pad must be"),
        (conv_model(low=2.0, high=1.0), "min must be at most max"),
        (conv_model(op="Sigmoid"), r"\(Sigmoid\): this operator is not supported; supported are"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_file_place_and_remedy(folder, model, message):
    path = save(model, folder)
    with pytest.raises(ModelError, match=message) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    empty, text = tmp_path / "empty.onnx", tmp_path / "text.onnx"
    empty.write_bytes(b"")
    text.write_text("not a model, just words\n")
    cases = {
        tmp_path: "got a folder",
        tmp_path / "missing.onnx": "there is no such file",
        empty: "got an empty file",
        text: "must be an? (valid )?ONNX",
    }
    for path, message in cases.items():
        with pytest.raises(ModelError, match=message) as caught:
            read_onnx(path)
        assert str(caught.value).startswith(f"{path}: ")


def read_or_refuse(content, folder):
    """Read damaged bytes: a valid network or ModelError, and nothing else."""
    path = save(bytes(content), folder)
    try:
        network = read_onnx(path)
    except ModelError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return False
    assert len(network.digest) == 64 and len(network.graph) == len(network.layers)
    return True


def test_truncated_files_are_refused_at_every_offset_tried(folder):
    content = (zoo.DATA / zoo.ZOO["digits"].file).read_bytes()
    assert read_or_refuse(content, folder)
    for offset in [*range(0, 200, 7), *range(200, len(content) - 1, 251)]:
        assert not read_or_refuse(content[:offset], folder), offset


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 3))
def test_flipped_bytes_give_a_network_or_a_model_error(folder, seed, form, flips):
    model, _ = onnx_graphs.random_graph(
        form,
        form % 2 == 0,
        ("int8", "uint8")[form // 2],
        ["conv", "mean", "residual", "product", "concat", "softmax"],
    )
    rng = np.random.default_rng(seed)
    content = bytearray(model.SerializeToString())
    for _ in range(flips):
        content[rng.integers(len(content))] = rng.integers(256)
    read_or_refuse(content, folder)


def test_the_shipped_files_pass_onnx_checker():
    for entry in [entry for entry in zoo.ZOO.values() if entry.file]:
        onnx.checker.check_model(onnx.load(zoo.DATA / entry.file))
