from fractions import Fraction

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import TensorProto, helper

from firemesh.models import reference, zoo
from firemesh.models.network import Conv, Linear, ModelError
from firemesh.models.prune import weight_rows

NAMES = [name for name, entry in zoo.ZOO.items() if not entry.is_synthetic]
SUFFIX = "_QuantizeLinear_Output"


@pytest.mark.skipif(
    not onnx_graphs.has_exact_kernels(),
    reason="without VNNI, ONNX Runtime's x86 kernels may saturate with 8-bit weights",
)
@pytest.mark.parametrize("name", NAMES)
def test_every_integer_tensor_equals_onnxruntime_on_all_held_back_images(name, tmp_path):
    """The code tensors become outputs; the operators show that ONNX Runtime still fuses."""
    model = onnx.load(zoo.DATA / zoo.ZOO[name].file)
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear":
            info = helper.make_tensor_value_info(node.output[0], TensorProto.INT8, None)
            model.graph.output.append(info)
    session = onnx_graphs.session(model, tmp_path / "optimised.onnx")
    ops = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert ops.count("QLinearConv") == 2 and ops.count("QGemm") == 2
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(ops)
    x, _ = zoo.images(name)
    got = reference.forward(zoo.load(name), x)
    seen = set()
    outputs = [output.name for output in session.get_outputs()]
    for output, wanted in zip(outputs, session.run(None, {"image": x}), strict=True):
        tensor = output if output in got else output.removesuffix(SUFFIX)
        seen.add(tensor)
        assert got[tensor].dtype == wanted.dtype
        assert (got[tensor] == wanted).all(), output
    assert seen == set(zoo.load(name).tensors) - {"image"}


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_int8_accuracy_is_what_the_shipped_file_gives(name):
    x, labels = zoo.images(name)
    assert len(labels) == 360 and set(labels) == set(range(10))
    network = zoo.load(name)
    logits = reference.forward(network, x)[network.outputs[0]]
    accuracy = (logits.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(zoo.ZOO[name].accuracy_int8, abs=5e-5)
    assert accuracy >= 0.97
    assert (zoo.DATA / zoo.ZOO[name].file).stat().st_size < 200_000


def test_the_pruned_network_keeps_whole_rows_balanced_over_eleven_pes():
    layers = {layer.name: layer for layer in zoo.load("digits-pruned").layers}
    for name, tile in {"conv2": (3, 3), "fc1": (1, 1), "fc2": (1, 1)}.items():
        weight = layers[name].weight
        rows = weight_rows(weight.shape, 27 // (tile[0] * tile[1]), tile, 11)
        alive = np.bincount(rows.row.reshape(-1), weight.reshape(-1) != 0) > 0
        for pe in range(11):
            held = rows.pe == pe
            assert alive[held].sum() == int(Fraction(1, 2) * int(held.sum())), (name, pe)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_symmetric_int8_and_hidden_layers_have_relu(name):
    network = zoo.load(name)
    weighted = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    assert [layer.name for layer in weighted] == ["conv1", "conv2", "fc1", "fc2"]
    assert all(layer.weight.dtype == np.int8 for layer in weighted)
    assert not any(layer.weight_zero_point.any() for layer in weighted)
    assert [network.has_relu(layer) for layer in weighted] == [True, True, True, False]
    assert sum(network.macs(layer) for layer in network.layers) == 9216 + 73728 + 8192 + 640


def test_images_are_the_first_of_the_held_back_ones():
    x, labels = zoo.images("digits", 5)
    every, all_labels = zoo.images("digits")
    assert x.shape == (5, 1, 8, 8) and x.dtype == np.float32
    assert (x == every[:5]).all() and (labels == all_labels[:5]).all()
    assert every.min() == 0 and every.max() == 16


def test_load_reads_a_path_and_gives_the_same_network():
    path = zoo.DATA / zoo.ZOO["digits"].file
    assert zoo.load(path).digest == zoo.load(str(path)).digest == zoo.load("digits").digest
    assert zoo.load("digits").digest != zoo.load("digits-pruned").digest


@pytest.mark.parametrize("frames", [0, 361, -1])
def test_images_refuses_a_count_it_does_not_have(frames):
    with pytest.raises(ModelError, match=rf"images.frames: must be 1..360, got {frames}"):
        zoo.images("digits", frames)


def test_an_unknown_name_lists_the_known_ones_and_the_other_way():
    with pytest.raises(
        ModelError,
        match="digits-pruned, lenet5, alexnet, vgg16, .*, googlenet; or give the path of an ONNX",
    ):
        zoo.load("lenet")
    with pytest.raises(ModelError, match="must be one of digits, .*, googlenet, got 'lenet'"):
        zoo.images("lenet")
