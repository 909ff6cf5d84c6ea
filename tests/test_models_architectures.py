"""Architectures: sizes, numbers of operations and of weights, what reads what."""

from dataclasses import replace
from math import ceil

import pytest

from firemesh.models.architecture import Architecture
from firemesh.models.architectures import ARCHITECTURES
from firemesh.models.densities import PRESETS
from firemesh.models.layers import ModelError
from firemesh.models.specs import (
    AddSpec,
    ConcatSpec,
    ConvSpec,
    LinearSpec,
    MaxPoolSpec,
    MeanSpec,
    PoolSpec,
)

BRANCHED = ("resnet18", "resnet50", "mobilenetv2", "googlenet")


def window(side, spec, is_ceiled=False):
    room = (side + 2 * spec.pad - spec.kernel) / spec.stride
    return (ceil(room) if is_ceiled else int(room)) + 1


def walk(architecture):
    """Return output sizes (c, h), MACs and weights by layer, from the specs alone."""
    sizes, macs, weights = {"image": architecture.shape[:2]}, {}, {}
    last = "image"
    for spec in architecture.layers:
        if isinstance(spec, ConcatSpec):
            parts = [sizes[name] for name in spec.parts]
            assert len({side for _, side in parts}) == 1
            c, side = sum(channels for channels, _ in parts), parts[0][1]
        else:
            c, side = sizes[spec.reads or last]
        if isinstance(spec, ConvSpec):
            assert c % spec.groups == 0 == spec.filters % spec.groups
            weights[spec.name] = spec.filters * c // spec.groups * spec.kernel**2
            c, side = spec.filters, window(side, spec)
            macs[spec.name] = weights[spec.name] * side * side
            if spec.add:
                assert sizes[spec.add.shortcut] == (c, side), spec.name
                sizes[spec.add.name] = c, side
        if isinstance(spec, LinearSpec):
            macs[spec.name] = weights[spec.name] = c * side * side * spec.filters
            c, side = spec.filters, 1
        if isinstance(spec, MeanSpec):
            side = 1
        pool = getattr(spec, "pool", None)
        if pool:
            side = window(side, pool, pool.is_ceiled)
        sizes[spec.name], last = (c, side), spec.name
    return sizes, macs, weights


@pytest.mark.paper
@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        ("resnet18", 1_814_073_344, 11_689_512 - 9_600 - 1_000),
        ("resnet50", 4_089_184_256, 25_557_032 - 53_120 - 1_000),
        ("mobilenetv2", 300_774_272, 3_504_872 - 34_112 - 1_000),
        ("googlenet", 1_582_671_872, 6_998_552 - 7_280 - 1_000),
    ],
)
def test_operations_and_weights_are_the_known_numbers(name, macs, weights):
    """Of convolutions and the fully connected layer, without biases and batch normalisation.

    Source: torchvision's parameter counts less those of batch normalisation and biases; of
    GoogLeNet that of Caffe's bvlc_googlenet without auxiliary classifiers, less biases.
    """
    _, found, held = walk(ARCHITECTURES[name])
    assert sum(found.values()) == macs and sum(held.values()) == weights


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet18", {"conv1": (64, 56), "add2_2": (64, 56), "add3_2": (128, 28),
                      "add4_2": (256, 14), "add5_2": (512, 7), "pool5": (512, 1)}),
        ("resnet50", {"conv1": (64, 56), "add2_3": (256, 56), "add3_4": (512, 28),
                      "add4_6": (1024, 14), "add5_3": (2048, 7), "conv3_1a": (128, 56),
                      "conv3_1b": (128, 28), "conv3_1p": (512, 28)}),
        ("mobilenetv2", {"conv1": (32, 112), "block1_project": (16, 112),
                         "block3_add": (24, 56), "block6_add": (32, 28), "block10_add": (64, 14),
                         "block13_add": (96, 14), "block16_add": (160, 7),
                         "block17_project": (320, 7), "conv18": (1280, 7)}),
        ("googlenet", {"conv1": (64, 56), "conv2": (192, 28), "inception_3a": (256, 28),
                       "inception_3b": (480, 14), "inception_4d": (528, 14),
                       "inception_4e": (832, 7), "inception_5b": (1024, 7), "pool5": (1024, 1)}),
    ],
)  # fmt: skip
def test_maps_have_the_sizes_of_the_papers_tables(name, sizes):
    """ResNet: Table 1, with the stride in the 3 x 3 (v1.5); MobileNetV2: 2; GoogLeNet: 1."""
    found = walk(ARCHITECTURES[name])[0]
    assert {key: found[key] for key in sizes} == sizes


def test_numbers_of_layers_are_those_that_the_names_say():
    """A ResNet's number leaves out the projections; GoogLeNet has 22 on a path, 57 convolutions."""
    layers = {name: ARCHITECTURES[name].weighted for name in BRANCHED}
    for name, depth in (("resnet18", 18), ("resnet50", 50)):
        assert sum(not spec.name.endswith("p") for spec in layers[name]) == depth
    assert len(layers["googlenet"]) == 58 and len(layers["mobilenetv2"]) == 53
    convolutions = ARCHITECTURES["mobilenetv2"].convolutions
    assert sum(spec.is_depthwise for spec in convolutions) == 17
    assert sum(spec.add is not None for spec in convolutions) == 10
    assert all((spec.cap == 6) == spec.has_relu for spec in convolutions)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_presets_name_a_density_and_a_source_for_every_layer(name):
    architecture = ARCHITECTURES[name]
    for densities in PRESETS[name].values():
        assert len(densities.weights) == len(densities.inputs) + 1 == len(architecture.weighted)
        assert densities.source
    if name in BRANCHED:
        assert set(PRESETS[name]) == {"S1", "S2", "S3"}
        assert all(densities.source.startswith("chosen") for densities in PRESETS[name].values())


def test_depthwise_layers_stay_dense_and_their_presets_say_so():
    weighted = ARCHITECTURES["mobilenetv2"].weighted
    for densities in PRESETS["mobilenetv2"].values():
        assert "depth-wise layers stay dense, chosen" in densities.source
        for spec, share in zip(weighted, densities.weights, strict=True):
            assert (share == 1) == spec.is_depthwise


CONV = ConvSpec("a", 2, 1)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((CONV, CONV), "must have unique names, got 'a' twice"),
        ((CONV, ConvSpec("b", 2, 1, add=AddSpec("a", "a"))), "must have unique names, got 'a'"),
        ((ConvSpec("image", 2, 1),), "must have unique names, got 'image' twice"),
        ((ConvSpec("b", 2, 1, reads="a"), CONV), "'b' must read a layer before it, got 'a'"),
        ((ConvSpec("b", 2, 1, add=AddSpec("s", "b")),), "'b' must read a layer before it, got 'b'"),
        ((CONV, ConcatSpec("c", ("a", "d"))), "'c' must read a layer before it, got 'd'"),
        (
            (CONV, MaxPoolSpec("m", PoolSpec(1, 1)), ConcatSpec("c", ("a", "m"))),
            "'c' must join convolutions with ReLU and without addition or pool, got 'm'",
        ),
        (
            (replace(CONV, has_relu=False), ConcatSpec("c", ("a",))),
            "'c' must join convolutions with ReLU and without addition or pool, got 'a'",
        ),
    ],
)
def test_an_architecture_that_is_no_graph_is_refused_in_one_sentence(layers, message):
    with pytest.raises(ModelError) as caught:
        Architecture("own", "own", (2, 4, 4), layers, "chosen")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"add": AddSpec("s", "b"), "pool": PoolSpec(2, 2)}, "ConvSpec.add: must stand without"),
        ({"add": AddSpec("s", "b"), "cap": 6.0}, "ConvSpec.add: must stand without"),
        ({"has_relu": False, "cap": 6.0}, "ConvSpec.has_relu: must be True with a pool or cap"),
        ({"has_relu": False, "pool": PoolSpec(2, 2)}, "ConvSpec.has_relu: must be True"),
    ],
)
def test_what_cannot_be_calibrated_behind_a_convolution_is_refused(fields, message):
    with pytest.raises(ModelError, match=message):
        ConvSpec("a", 2, 1, **fields)
