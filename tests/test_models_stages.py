"""Synthetic networks with branches: densities, scales, arithmetic, parts."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import helper

from firemesh.models import reference, synthetic, zoo
from firemesh.models.architectures import ARCHITECTURES
from firemesh.models.calibration import density
from firemesh.models.layers import Add, Concat, Conv, Linear, MaxPool, ModelError
from firemesh.models.onnx_reader import read_onnx
from firemesh.models.onnx_writer import to_onnx, write_onnx
from firemesh.models.recipe import Recipe

BRANCHED = ("resnet18", "resnet50", "mobilenetv2", "googlenet")
BLOCKS = (
    ("resnet18", "conv5_2a,add5_2"),
    ("resnet18", "conv5_1p,add5_1"),
    ("resnet50", "conv5_3a,add5_3"),
    ("mobilenetv2", "block16_expand,block16_add"),
    ("googlenet", "inception_5b_1x1,inception_5b"),
)
EXACT = pytest.mark.skipif(
    not onnx_graphs.has_exact_kernels(),
    reason="without VNNI, ONNX Runtime's x86 kernels may saturate with 8-bit weights",
)
DIGESTS = {
    "lenet5": "1dc9fc10b70fafce",
    "alexnet": "afbf9b7c8b8de7e3",
    "vgg16": "ed2f83093032de19",
    "resnet18": "bbe57388a12731bc",
    "resnet50": "ed32a2c7b2b15453",
    "mobilenetv2": "1ad403f2b375b5ec",
    "googlenet": "75958f32c4855185",
}


@cache
def whole(name):
    """Return a network and all its values on its image."""
    network = zoo.load(name)
    return network, reference.forward(network, zoo.images(name)[0])


def weighted(network):
    return [layer for layer in network.layers if isinstance(layer, Conv | Linear)]


def behind(network, layer):
    """Return the tensor whose density a layer with ReLU is calibrated to, and channels of it."""
    tensor, channels = layer.output, slice(None)
    while True:
        readers = network.consumers(tensor)
        only = readers[0] if len(readers) == 1 else None
        is_branch = isinstance(only, Add) and only.inputs[0] == layer.output
        if isinstance(only, Concat):
            sizes = [network.tensors[name].shape[0] for name in only.inputs]
            first = sum(sizes[: only.inputs.index(tensor)])
            channels = slice(first, first + network.tensors[tensor].shape[0])
        elif not isinstance(only, MaxPool) and not is_branch:
            return tensor, channels
        tensor = only.output


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in BRANCHED),
        ("resnet18", {"preset": "S3"}),
        ("resnet18", {"activations": 1.0}),
        ("resnet18", {"activations": 0.05, "weights": "rows:0.2"}),
        ("mobilenetv2", {"seed": 1, "weights": "rows:0.2"}),
        ("googlenet", {"preset": "S2", "seed": 2}),
        *(
            pytest.param(name, options, marks=pytest.mark.slow)
            for name in BRANCHED
            for options in (
                {"preset": "S2", "seed": 1},
                {"preset": "S3", "seed": 2},
                {"weights": "random:0.3"},
                {"weights": "dense", "activations": 0.9},
            )
        ),
    ],
)
def test_every_relu_fires_at_the_target_density_behind_addition_and_pool(name, options):
    """To one value, and 1e-4 where values are equal; a layer without ReLU has no target."""
    network, recipe = zoo.load(name, **options), Recipe(name, **options)
    values = reference.forward(network, zoo.images(name, **options)[0])
    checked = 0
    for index, layer in enumerate(weighted(network)):
        wanted = recipe.output_density(index)
        tensor, channels = behind(network, layer)
        if wanted is None:
            assert network.tensors[tensor].zero_point == 128, layer.name
            continue
        codes = values[tensor][:, channels]
        assert network.tensors[tensor].zero_point == 0
        assert abs(density(codes) - wanted) <= 1e-4 + 1 / codes.size, layer.name
        checked += 1
    n_plain = {"resnet18": 4, "resnet50": 5, "mobilenetv2": 18, "googlenet": 1}[name]
    assert checked == len(weighted(network)) - n_plain


@pytest.mark.parametrize("name", BRANCHED)
def test_rows_are_pruned_to_the_preset_but_of_depthwise_layers(name):
    network, kept = whole(name)[0], 0
    for layer in weighted(network):
        if isinstance(layer, Conv) and layer.groups > 1:
            assert layer.groups == layer.weight.shape[0] and layer.weight.all()
        else:
            kept += layer.weight.size
            assert density(layer.weight) == pytest.approx(0.501, rel=0.07), layer.name
    assert kept > 0.9 * sum(layer.weight.size for layer in weighted(network))


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2"])
def test_layers_without_relu_have_channels_of_mean_zero_in_the_middle_of_the_codes(name):
    """But the branch of an addition with ReLU, whose bias makes the target share fire."""
    network, values = whole(name)
    seen = 0
    for layer in weighted(network)[:-1]:
        y, x = network.tensors[layer.output], network.tensors[layer.inputs[0]]
        if y.zero_point == 128 and network.tensors[behind(network, layer)[0]].zero_point == 128:
            sums = reference.conv_sums(layer, values[x.name], x.zero_point, y.shape[1:])
            means = sums.mean(axis=(2, 3))
            assert means.min() >= 0 and means.max() < 1, layer.name
            codes = abs(values[layer.output].astype(int) - 128)
            assert 120 <= np.sort(codes, axis=None)[int(0.999 * codes.size)] <= 128, layer.name
            seen += 1
    assert seen == {"resnet50": 4, "mobilenetv2": 17}[name]


def test_relu6_is_code_255_and_clips_a_thousandth_of_what_fires():
    """Of the sums that round to at least 1, among which it is somewhat more."""
    network, values = whole("mobilenetv2")
    clipped = [layer for layer in weighted(network) if layer.high == 255 and layer.low == 0]
    for layer in clipped:
        y = network.tensors[layer.output]
        if y.zero_point == 0:
            assert y.scale == float(np.float32(6 / 255))
            codes = values[layer.output]
            share = (codes == 255).sum() / (codes > 0).sum()
            assert 0.0005 < share < 0.003, layer.name


def test_a_branch_is_as_large_as_its_shortcut_and_a_concatenation_copies():
    for layer in whole("mobilenetv2")[0].layers:
        if isinstance(layer, Add):
            a, b = (whole("mobilenetv2")[0].tensors[name] for name in layer.inputs)
            assert a.scale == pytest.approx(b.scale, rel=1e-5)
    network, values = whole("googlenet")
    joins = [layer for layer in network.layers if isinstance(layer, Concat)]
    assert len(joins) == 9
    for layer in joins:
        parts = [network.tensors[name] for name in (*layer.inputs, layer.output)]
        assert len({(part.scale, part.zero_point) for part in parts}) == 1
        joined = np.concatenate([values[name] for name in layer.inputs], axis=1)
        assert (values[layer.output] == joined).all()


def check_against_onnxruntime(network, frames, folder):
    """Compare every tensor, and see that ONNX Runtime computes all of them with integers."""
    model = to_onnx(network)
    names = [layer.output for layer in network.layers]
    for tensor in set(names) - set(network.outputs):
        model.graph.output.append(helper.make_tensor_value_info(tensor, 2, None))
    session = onnx_graphs.session(model, folder / "optimised.onnx")
    ops = {node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node}
    floats = {"Conv", "Gemm", "MatMul", "Add", "Concat", "GlobalAveragePool", "DequantizeLinear"}
    assert not floats & ops
    wanted = reference.forward(network, frames)
    found = session.run(names, {network.inputs[0]: frames})
    for tensor, got in zip(names, found, strict=True):
        assert got.dtype == wanted[tensor].dtype and (got == wanted[tensor]).all(), tensor


@EXACT
@pytest.mark.parametrize("name", BRANCHED)
def test_every_tensor_equals_onnxruntime(name, tmp_path):
    check_against_onnxruntime(whole(name)[0], zoo.images(name, 2)[0], tmp_path)


@EXACT
@pytest.mark.slow
@pytest.mark.parametrize("name", BRANCHED)
@pytest.mark.parametrize("options", [{"preset": "S2", "seed": 1}, {"preset": "S3", "seed": 2}])
def test_every_tensor_of_other_presets_and_seeds_equals_onnxruntime(name, options, tmp_path):
    frames = zoo.images(name, 2, **options)[0]
    check_against_onnxruntime(zoo.load(name, **options), frames, tmp_path)


@EXACT
@pytest.mark.parametrize(("name", "layers"), BLOCKS)
def test_every_tensor_of_a_block_equals_onnxruntime(name, layers, tmp_path):
    frames = zoo.images(name, 3, layers=layers)[0]
    check_against_onnxruntime(zoo.load(name, layers=layers), frames, tmp_path)


@pytest.mark.parametrize(("name", "layers"), BLOCKS)
def test_a_block_is_cut_out_of_the_whole_network_with_what_it_reads(name, layers):
    part, wanted = zoo.load(name, layers=layers), whole(name)[1]
    first, last = layers.split(",")
    assert part.layers[0].name == first and part.layers[-1].name == last
    got = reference.forward(part, zoo.images(name, layers=layers)[0])
    assert all((got[tensor] == wanted[tensor]).all() for tensor in part.tensors)


@pytest.mark.parametrize(
    ("name", "last"),
    [("resnet18", "conv5_2b"), ("mobilenetv2", "conv18"), ("googlenet", "inception_5b")],
)
def test_conv_holds_all_convolutions_and_no_more(name, last):
    part = zoo.load(name, layers="conv")
    assert part.layers[-1].name == last
    names = {layer.name for layer in part.layers}
    assert {spec.name for spec in ARCHITECTURES[name].convolutions} <= names
    assert not names & {"pool5", "pool18", "fc6", "fc19"}


@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet18", "add5_2"), ("resnet50", "conv4_1p,conv4_1b"), ("googlenet", "inception_5b")],
)
def test_a_part_that_needs_two_tensors_is_refused(name, layers):
    for make in (zoo.load, zoo.images):
        with pytest.raises(ModelError, match="must depend on one tensor, the first layer's input"):
            make(name, layers=layers)


def test_an_unknown_layer_lists_the_additions_too():
    with pytest.raises(ModelError, match=r"conv5_2b, add5_2, pool5, fc6\), got 'conv9'"):
        zoo.load("resnet18", layers="conv9")


@pytest.mark.parametrize("name", BRANCHED)
def test_a_written_network_is_read_back_the_same(name, tmp_path):
    network = whole(name)[0]
    write_onnx(network, tmp_path / "network.onnx")
    assert read_onnx(tmp_path / "network.onnx").digest == network.digest


@pytest.mark.parametrize("name", DIGESTS)
def test_a_recipe_gives_the_network_that_it_always_gave(name):
    """Whatever changes one of these is told under Numbers in the changelog."""
    network = whole(name)[0] if name in BRANCHED else zoo.load(name)
    assert network.digest.startswith(DIGESTS[name])


@pytest.mark.parametrize("name", BRANCHED)
def test_the_same_recipe_gives_the_same_network(name):
    first = whole(name)[0].digest
    synthetic._upto.cache_clear()
    assert zoo.load(name).digest == first


def test_weights_depend_on_the_layers_name_and_not_on_the_others():
    every = {layer.name: layer for layer in weighted(whole("resnet18")[0])}
    other = weighted(zoo.load("resnet18", activations=0.5, layers="conv3_1p,add3_1"))
    assert [layer.name for layer in other] == ["conv3_1p", "conv3_1a", "conv3_1b"]
    assert all((layer.weight == every[layer.name].weight).all() for layer in other)
    a, b = every["conv2_1a"].weight, every["conv2_1b"].weight
    assert (a != b).mean() > 0.5


@EXACT
@pytest.mark.parametrize("name", BRANCHED)
def test_an_architecture_of_ones_own_may_have_branches(name, tmp_path):
    """The same layers on an image of 64 x 64."""
    own = replace(ARCHITECTURES[name], shape=(3, 64, 64))
    recipe = Recipe(name, weights="rows:0.6", activations=0.4, own=own)
    network, frames = synthetic.network(recipe), synthetic.images(recipe, 2)
    assert network.tensors["image"].shape == (3, 64, 64)
    check_against_onnxruntime(network, frames, tmp_path)
