"""Parts of networks."""

import numpy as np
import pytest

from firemesh.models import reference, zoo
from firemesh.models.cut import cut, frames_at
from firemesh.models.layers import Add, Conv, MaxPool, ModelError, Quantize, Reshape
from firemesh.models.network import Network, Tensor


def pool(name, source, output):
    return MaxPool(name, (source,), output, (1, 1))


def diamond():
    """x -> a -> (b, c) -> sum -> d."""
    tensors = [Tensor(name, (2, 3, 3), "uint8", 0.5) for name in "xabcsd"]
    layers = (
        pool("la", "x", "a"),
        pool("lb", "a", "b"),
        pool("lc", "a", "c"),
        Add("sum", ("b", "c"), "s"),
        pool("ld", "s", "d"),
    )
    return Network("diamond", layers, {t.name: t for t in tensors}, ("x",), ("d",))


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("conv1", ["conv1", "conv1_pool"]),
        ("conv2,conv1", ["conv1", "conv1_pool", "conv2", "conv2_pool"]),
        ("conv2, fc3", ["conv2", "conv2_pool", "flatten", "fc3"]),
        ("fc4", ["fc4"]),
        ("conv1,fc5", None),
        ("all", None),
        ("conv", ["conv1", "conv1_pool", "conv2", "conv2_pool"]),
    ],
)
def test_a_part_runs_from_the_first_to_the_last_named_layer(layers, names):
    whole = zoo.load("lenet5")
    part = zoo.load("lenet5", layers=layers)
    assert [layer.name for layer in part.layers] == (names or [x.name for x in whole.layers])
    assert part.digest == cut(whole, layers).digest
    frames = zoo.images("lenet5", 3, layers=layers)[0]
    wanted = reference.forward(whole, zoo.images("lenet5", 3)[0])
    assert (frames == wanted[part.inputs[0]]).all()
    got = reference.forward(part, frames)
    assert all((got[name] == wanted[name]).all() for name in part.tensors)


@pytest.mark.parametrize(("layers", "has_labels"), [("conv2", False), ("conv2,fc2", False)])
def test_a_part_of_a_trained_network_reads_its_activations(layers, has_labels):
    part = zoo.load("digits", layers=layers)
    frames, labels = zoo.images("digits", 5, layers=layers)
    assert frames.dtype == np.int8 and (labels is not None) == has_labels
    whole = reference.forward(zoo.load("digits"), zoo.images("digits", 5)[0])
    got = reference.forward(part, frames)
    assert (got[part.outputs[0]] == whole[part.outputs[0]]).all()


def test_conv_of_a_trained_network_keeps_its_image():
    part = zoo.load("digits", layers="conv")
    assert isinstance(part.layers[0], Quantize) and isinstance(part.layers[-1], MaxPool)
    frames, labels = zoo.images("digits", 2, layers="conv")
    assert frames.dtype == np.float32 and labels is None
    assert zoo.images("digits", 2, layers="all")[1] is not None


def test_branches_between_the_ends_belong_to_the_part():
    network = diamond()
    assert [layer.name for layer in cut(network, "la,sum").layers] == ["la", "lb", "lc", "sum"]
    assert [layer.name for layer in cut(network, "lb,ld").layers] == ["lb", "lc", "sum", "ld"]
    assert [layer.name for layer in cut(network, "lc").layers] == ["lc"]


@pytest.mark.parametrize("layers", ["sum", "sum,ld", "lb,lc"])
def test_a_part_that_needs_two_tensors_is_refused_in_one_sentence(layers):
    with pytest.raises(ModelError, match="must depend on one tensor, the first layer's input"):
        cut(diamond(), layers)


def conv(name, source, output):
    return Conv(
        name, (source,), output, np.ones((2, 2, 1, 1), np.int8), np.zeros(2, np.int32),
        np.ones(2, np.float32), np.zeros(2, np.int32), 0, 255,
    )  # fmt: skip


def forked(layers, outputs):
    tensors = [Tensor(name, (2, 3, 3), "uint8", 0.5) for name in "xabsd"]
    fork = (conv("la", "x", "a"), conv("lb", "x", "b"))
    return Network("forked", (*fork, *layers), {t.name: t for t in tensors}, ("x",), outputs)


def test_conv_reaches_to_the_first_layer_that_all_convolutions_lead_to():
    network = forked((Add("sum", ("a", "b"), "s"), pool("ld", "s", "d")), ("d",))
    assert [layer.name for layer in cut(network, "conv").layers] == ["la", "lb", "sum"]


def test_conv_ends_at_the_last_convolution_where_they_lead_to_no_layer_in_common():
    network = forked((pool("ld", "a", "d"),), ("b", "d"))
    assert [layer.name for layer in cut(network, "conv").layers] == ["lb"]


def test_a_network_without_convolutions_has_no_conv_part():
    tensors = {"x": Tensor("x", (4,), "uint8"), "y": Tensor("y", (2, 2), "uint8")}
    network = Network("flat", (Reshape("r", ("x",), "y"),), tensors, ("x",), ("y",))
    with pytest.raises(ModelError, match="network flat has no convolution; use all"):
        cut(network, "conv")


def test_frames_at_the_input_are_the_frames():
    network = diamond()
    x = np.arange(18, dtype=np.uint8).reshape(1, 2, 3, 3)
    assert (frames_at(network, "x", x) == x).all()
