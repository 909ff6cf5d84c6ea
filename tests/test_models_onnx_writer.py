"""Networks as ONNX files."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.models import zoo
from firemesh.models.layers import MaxPool, ModelError
from firemesh.models.network import Network, Tensor
from firemesh.models.onnx_reader import read_onnx
from firemesh.models.onnx_writer import to_onnx, weight_scales, write_onnx


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from(["int8", "uint8"]),
    st.lists(st.sampled_from(onnx_graphs.OPS), min_size=1, max_size=6),
)
def test_writing_and_reading_gives_the_same_digest(tmp_path_factory, seed, is_qdq, kind, steps):
    path = tmp_path_factory.mktemp("networks") / "network.onnx"
    onnx.save(onnx_graphs.random_graph(seed, is_qdq, kind, steps, True)[0], path)
    network = read_onnx(path)
    write_onnx(network, path)
    assert read_onnx(path).digest == network.digest


@pytest.mark.parametrize("name", ["digits", "digits-pruned"])
def test_a_trained_network_is_read_back_the_same(name, tmp_path):
    write_onnx(zoo.load(name), tmp_path / "network.onnx")
    assert read_onnx(tmp_path / "network.onnx").digest == zoo.load(name).digest


def test_weight_scales_give_the_multiplier_or_are_refused():
    """Not every float32 is a quotient of these scales: rounding skips some."""
    network = zoo.load("digits")
    layer = next(layer for layer in network.layers if layer.name == "conv2")
    x, y = (network.tensors[name] for name in (layer.inputs[0], layer.output))
    refused = 0
    for _ in range(200):
        layer = replace(layer, multiplier=np.nextafter(layer.multiplier, np.float32(1)))
        try:
            scale = weight_scales(layer, x, y)
        except ModelError as error:
            assert "layer 'conv2' must have a multiplier that follows from scales" in str(error)
            refused += 1
        else:
            product = np.float32(x.scale) * scale
            assert (product / np.float32(y.scale) == layer.multiplier).all()
    assert 0 < refused


def test_a_pool_that_rounds_its_axes_differently_is_refused():
    tensors = [Tensor("x", (1, 4, 4), "uint8"), Tensor("y", (1, 1, 2), "uint8")]
    pool = MaxPool("p", ("x",), "y", (3, 3), (2, 2))
    network = Network("n", (pool,), {t.name: t for t in tensors}, ("x",), ("y",))
    with pytest.raises(ModelError, match="layer 'p' must round its height and width alike"):
        to_onnx(network)


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ModelError, match="cannot be written"):
        write_onnx(zoo.load("digits"), tmp_path / "missing" / "network.onnx")
