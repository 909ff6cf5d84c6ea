"""Whole networks in mode flexnn against ONNX Runtime and the integer reference."""

import numpy as np
import onnx
import onnx_graphs
import onnx_writer
import pytest

import firemesh
from firemesh.emulator.check import differences
from firemesh.emulator.flexnn.emulation import FlexEmulation
from firemesh.emulator.flexnn.plan import Search
from firemesh.emulator.machine import machine
from firemesh.models import zoo
from firemesh.models.onnx_writer import write_onnx

exact = pytest.mark.skipif(
    not onnx_writer.has_exact_kernels(),
    reason="ONNX Runtime's u8 x s8 kernels saturate on this CPU (x86 without VNNI)",
)
QUICK = Search(keep=0)


@exact
@pytest.mark.parametrize("name", ["digits", "digits-pruned"])
def test_all_360_images_of_digits_equal_onnx_runtime(name):
    images, labels = firemesh.images(name)
    result = firemesh.run(name, images, mode="flexnn", search=QUICK)
    assert result.frames == 360 and result.machine.name == "flexnn-edge"
    session = onnx_graphs.session(onnx.load(zoo.DATA / zoo.ZOO[name].file))
    (wanted,) = session.run(None, {"image": images})
    assert np.array_equal(result.outputs, wanted)
    accuracy = (result.outputs.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(zoo.ZOO[name].accuracy_int8, abs=5e-5)


@exact
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_a_synthetic_network_equals_onnx_runtime(name, tmp_path):
    network, (images, _) = firemesh.load(name), firemesh.images(name)
    result = firemesh.run(network, images, mode="flexnn", search=QUICK)
    path = tmp_path / "network.onnx"
    write_onnx(network, path)
    session = onnx_writer.session(str(path))
    (wanted,) = session.run(None, {network.inputs[0]: images})
    assert np.array_equal(result.outputs, wanted)


@pytest.mark.parametrize(
    ("name", "layers"),
    [("mobilenetv2", "block15_expand,block15_add"), ("resnet18", "conv5_2a,add5_2"),
     ("lenet5", None), ("googlenet", "inception_5b_1x1,inception_5b")],
)  # fmt: skip
@pytest.mark.parametrize("dataflow", [None, "row"])
def test_every_tensor_of_a_part_equals_the_reference(name, layers, dataflow):
    network = firemesh.load(name, layers=layers)
    images, _ = zoo.images(name, layers=layers)
    emulation = FlexEmulation(
        network, machine("flexnn-edge"), search=Search(dataflow=dataflow, keep=0)
    )
    for frame in emulation.frames(images):
        n, wrong = differences(network, frame, images[frame.number], lambda layer: 0)
        assert n > 2 and wrong == []
