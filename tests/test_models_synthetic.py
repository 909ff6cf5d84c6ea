"""The synthetic networks: densities, arithmetic, options."""

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import helper

from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.mapping import row_cycles, with_tile
from firemesh.emulator.shape import conv_shape
from firemesh.models import noise, reference, synthetic, zoo
from firemesh.models.architectures import ARCHITECTURES
from firemesh.models.calibration import calibrate, density, thresholds
from firemesh.models.densities import PRESETS
from firemesh.models.layers import Conv, Linear, MaxPool, ModelError
from firemesh.models.onnx_reader import read_onnx
from firemesh.models.onnx_writer import to_onnx, write_onnx
from firemesh.models.prune import weight_rows
from firemesh.models.recipe import Recipe, WeightRows

EXACT = pytest.mark.skipif(
    not onnx_graphs.has_exact_kernels(),
    reason="without VNNI, ONNX Runtime's x86 kernels may saturate with 8-bit weights",
)
WEIGHT_BYTES = 691_200


def weighted(network):
    return [layer for layer in network.layers if isinstance(layer, Conv | Linear)]


def spec_of(name, layer):
    return next(spec for spec in ARCHITECTURES[name].layers if spec.name == layer.name)


def rows_of(name, layer):
    """Return rows and whether each is alive."""
    tile = spec_of(name, layer).tile
    more = (layer.strides, layer.dilations, layer.groups) if isinstance(layer, Conv) else ()
    rows = weight_rows(layer.weight.shape, 27 // (tile[0] * tile[1]), tile, 11, *more)
    kept = np.bincount(rows.row.reshape(-1), layer.weight.reshape(-1) != 0, rows.pe.size)
    return rows, kept


def reached(network, frames):
    """Return the density behind every weighted layer and its pool."""
    values = reference.forward(network, frames)
    found = {}
    for layer in weighted(network):
        readers = network.consumers(layer.output)
        is_pooled = readers and isinstance(readers[0], MaxPool)
        found[layer.name] = density(values[readers[0].output if is_pooled else layer.output])
    return found


@pytest.mark.paper
def test_shapes_give_the_published_numbers_of_operations():
    """Source: data/densities of the literature, mac_counts: grouped AlexNet, VGG-16."""
    macs = {}
    for name in ("vgg16", "alexnet"):
        network = zoo.load(name)
        macs[name] = sum(network.macs(layer) for layer in network.layers)
    assert macs == {"vgg16": 15_346_630_656, "alexnet": 665_784_864}


@pytest.mark.parametrize(
    ("name", "conv", "linear"),
    [("vgg16", 15_346_630_656, 123_633_664), ("alexnet", 665_784_864, 58_621_952)],
)
def test_the_table_of_layers_holds_the_fully_connected_ones_too(name, conv, linear):
    architecture = ARCHITECTURES[name]
    side, channels = architecture.shape[1], architecture.shape[0]
    macs = {True: 0, False: 0}
    size = None
    for spec in architecture.layers:
        is_conv = spec in architecture.convolutions
        if is_conv:
            side = (side + 2 * spec.pad - spec.kernel) // spec.stride + 1
            taps = channels // spec.groups * spec.kernel**2
            macs[True] += spec.filters * side * side * taps
            if spec.pool:
                side = (side - spec.pool.kernel) // spec.pool.stride + 1
            channels, size = spec.filters, spec.filters * side * side
        else:
            macs[False] += spec.filters * size
            size = spec.filters
    assert macs == {True: conv, False: linear}


@pytest.mark.parametrize(
    "name", ["alexnet", "lenet5", "resnet18", "resnet50", "mobilenetv2", "googlenet"]
)
def test_tiles_are_those_with_the_fewest_row_cycles_on_the_machine_of_the_paper(name):
    network = zoo.load(name)
    paper = machine("mnf-22nm")
    assert (WeightRows().pes, WeightRows().multipliers) == (paper.n_pes, paper.pe.multipliers)
    for layer in weighted(network):
        x, y = (network.tensors[name] for name in (layer.inputs[0], layer.output))
        shape = conv_shape(layer, x, y)
        options = [with_tile(shape, tile, paper.pe, paper.n_pes) for tile in paper.pe.tiles]
        best = min(options, key=lambda m: (row_cycles(m), -m.tile[0] * m.tile[1]))
        assert spec_of(name, layer).tile == best.tile, layer.name


@pytest.mark.parametrize("preset", ["S1", "S2", "S3"])
def test_alexnet_reaches_the_densities_of_the_preset(preset):
    """Activations: to one value and 1e-4 (windows that overlap have equal maxima); weights: 1 %."""
    network = zoo.load("alexnet", preset)
    images, labels = zoo.images("alexnet", preset=preset)
    assert labels is None and images.dtype == np.uint8
    targets = PRESETS["alexnet"][preset]
    for layer, wanted in zip(weighted(network), targets.weights, strict=False):
        assert density(layer.weight) == pytest.approx(wanted, rel=0.01), layer.name
    found = reached(network, images)
    for (name, got), wanted in zip(found.items(), targets.inputs, strict=False):
        readers = network.consumers(f"{name}_out")
        size = network.tensors[readers[0].output if readers else f"{name}_out"].size
        assert abs(got - wanted) <= 1e-4 + 1 / size, name


def test_vgg16_s1_fires_as_many_events_as_the_densities_say_and_fits_the_weight_sram():
    """8,931,328 inputs of all layers but the first, of which 0.233 are 2.081 M."""
    network = zoo.load("vgg16")
    values = reference.forward(network, zoo.images("vgg16")[0])
    inputs = [values[layer.inputs[0]] for layer in weighted(network)[1:]]
    assert sum(x.size for x in inputs) == 8_931_328
    assert sum(np.count_nonzero(x) for x in inputs) == pytest.approx(2_080_999, abs=12)
    held = np.zeros(WeightRows().pes)
    for layer in weighted(network):
        rows, kept = rows_of("vgg16", layer)
        held += np.bincount(rows.pe, kept > 0, WeightRows().pes)
        assert density(layer.weight) == pytest.approx(0.501, rel=0.03), layer.name
    assert held.max() <= WEIGHT_BYTES // WeightRows().multipliers


@pytest.mark.parametrize("name", ["alexnet", "lenet5", "resnet18", "mobilenetv2"])
def test_whole_rows_are_kept_as_many_in_each_pe_as_the_density_says(name):
    network = zoo.load(name, weights="rows:0.5")
    for layer in weighted(network):
        if spec_of(name, layer).is_depthwise:
            assert layer.weight.all()
            continue
        rows, kept = rows_of(name, layer)
        sizes = np.bincount(rows.row.reshape(-1), minlength=rows.pe.size)
        assert ((kept == 0) | (kept == sizes)).all()
        for pe in range(WeightRows().pes):
            mine = rows.pe == pe
            assert (kept[mine] > 0).sum() == int(mine.sum()) // 2, (layer.name, pe)
        assert layer.weight.min() >= -127 and not layer.weight_zero_point.any()


def test_random_rows_are_whole_too_but_not_balanced():
    layer = weighted(zoo.load("lenet5", weights="random:0.5"))[2]
    rows, kept = rows_of("lenet5", layer)
    assert (kept > 0).sum() == rows.pe.size // 2
    assert len(set(np.bincount(rows.pe, kept > 0)[:5])) > 1


def test_dense_weights_are_uniform_without_zero():
    weight = np.concatenate(
        [layer.weight.reshape(-1) for layer in weighted(zoo.load("lenet5", weights="dense"))]
    )
    counts = np.bincount(weight.astype(int) + 127, minlength=255)
    assert counts[127] == 0 and (np.delete(counts, 127) > 0.6 * weight.size / 254).all()
    assert counts.max() < 1.4 * weight.size / 254


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 1.0])
def test_a_density_of_activations_may_be_given(share):
    network = zoo.load("lenet5", activations=share)
    found = reached(network, zoo.images("lenet5", activations=share)[0])
    sizes = [6 * 14 * 14, 16 * 5 * 5, 120, 84]
    for got, size in zip(found.values(), sizes, strict=False):
        assert abs(got - share) * size <= 1.001


@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_code_127_is_the_peak_of_the_positive_sums(name):
    """Of the sums that round to at least 1, among which it lies somewhat higher."""
    network = zoo.load(name, layers="conv")
    values = reference.forward(network, zoo.images(name)[0])
    for layer in weighted(network):
        point = network.tensors[layer.inputs[0]].zero_point
        size = network.tensors[layer.output].shape[1:]
        sums = reference.conv_sums(layer, values[layer.inputs[0]], point, size)
        peak = np.sort(sums[sums > 0])[int(0.999 * (sums > 0).sum())]
        assert peak * float(layer.multiplier[0]) == pytest.approx(127, abs=0.5), layer.name


def test_the_same_recipe_gives_the_same_network_and_any_other_another():
    digests = set()
    options = [
        {},
        {"seed": 1},
        {"preset": "S2"},
        {"weights": "rows:0.7"},
        {"weights": "random:0.5"},
        {"weights": "dense"},
        {"activations": 0.3},
        {"layers": "conv"},
    ]
    for option in options:
        first = zoo.load("lenet5", **option).digest
        synthetic._upto.cache_clear()
        assert zoo.load("lenet5", **option).digest == first
        digests.add(first)
    assert len(digests) == len(options)
    assert zoo.load("lenet5", preset="S1", seed=0, layers="all").digest in digests


def test_weights_of_a_layer_do_not_depend_on_the_others_nor_the_activations():
    one = weighted(zoo.load("lenet5", layers="conv2"))[0]
    other = weighted(zoo.load("lenet5", activations=0.4))[1]
    assert one.name == other.name == "conv2" and (one.weight == other.weight).all()


def test_images_differ_by_seed_and_frame_and_the_first_ones_do_not_change():
    few, many = zoo.images("lenet5", 2)[0], zoo.images("lenet5", 3)[0]
    assert (few == many[:2]).all() and (many[1] != many[2]).any()
    assert (zoo.images("lenet5", seed=1)[0][0] != few[0]).any()


def test_images_are_correlated_in_space_and_between_channels():
    x = noise.image((3, 224, 224), 0, 0).astype(float)
    assert abs(x.mean() - noise.MEAN) < 3 and abs(x.std() - noise.DEVIATION) < 5
    assert np.corrcoef(x[:, :, 1:].ravel(), x[:, :, :-1].ravel())[0, 1] > 0.85
    assert np.corrcoef(x[0].ravel(), x[2].ravel())[0, 1] > 0.7
    assert 0.95 < density(x) < 1


def test_thresholds_share_the_density_among_channels_that_can_fire():
    rng = np.random.default_rng(0)
    values = rng.integers(-9, 9, (20, 50)).astype(np.int32)
    values[[3, 7]] = 4
    levels = thresholds(values, 0.3)
    fired = (values > levels[:, None]).sum(axis=1)
    assert fired.sum() <= 300 and fired.sum() > 285 and not fired[[3, 7]].any()
    assert (values > thresholds(values, 1.0)[:, None]).all()


def test_a_layer_without_any_contrast_is_refused_in_one_sentence():
    sums = np.zeros((4, 3, 3), np.int32)
    with pytest.raises(ModelError, match="layer c: no output can be above the others; use a"):
        calibrate("c", sums, sums, 0.05)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"preset": "S4"}, "preset: must be one of S1, S2, S3 for vgg16, got 'S4'"),
        ("lenet5", {"preset": "S3"}, "preset: must be one of S1, S2 for lenet5, got 'S3'"),
        ("vgg16", {"seed": -1}, "seed: must be an integer in 0..2^63 - 1, got -1"),
        ("vgg16", {"seed": 0.5}, "seed: must be an integer in 0..2^63 - 1, got 0.5"),
        ("vgg16", {"weights": "rows:2"}, "weights: must be rows:D or random:D with a density D"),
        ("vgg16", {"weights": "rows:0"}, "weights: must be rows:D or random:D with a density D"),
        ("vgg16", {"weights": "half"}, "weights: must be rows:D or random:D with a density D"),
        ("vgg16", {"activations": 0}, "activations: must be a density above 0, at most 1, got 0"),
        ("vgg16", {"activations": "x"}, "activations: must be a density above 0, at most 1"),
        ("vgg16", {"layers": "conv9"}, "layers: must be all, conv or layers of vgg16 with commas"),
        ("vgg16", {"layers": ""}, "layers: must be all, conv or layers of vgg16 with commas"),
        ("digits", {"seed": 0}, "seed: is for synthetic networks (lenet5, alexnet, vgg16, "),
        ("digits", {"preset": "S1"}, "preset: is for synthetic networks"),
        ("digits", {"weights": "dense"}, "weights: is for synthetic networks"),
        ("digits", {"activations": 0.3}, "activations: is for synthetic networks"),
        ("vgg16", {"layers": ["conv1_1"]}, "layers: must be all, conv or layers of vgg16 with"),
        ("digits", {"layers": ""}, "layers: must be all, conv or layers of network digits"),
        ("digits", {"layers": "conv9"}, "layers: must be all, conv or layers of network digits"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(name, options, message):
    for make in (zoo.load, zoo.images):
        with pytest.raises(ModelError) as caught:
            make(name, **options)
        assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("frames", [0, -1, 1001])
def test_images_refuses_a_count_it_does_not_make(frames):
    with pytest.raises(ModelError, match=rf"images.frames: must be 1..1000, got {frames}"):
        zoo.images("lenet5", frames)


def test_a_recipe_of_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ModelError, match="must be one of lenet5, alexnet, vgg16, resnet18, .*, got 'lenet'"
    ):
        Recipe("lenet")


@EXACT
@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_every_tensor_equals_onnxruntime(name, tmp_path):
    network = zoo.load(name)
    frames, _ = zoo.images(name, 2)
    model = to_onnx(network)
    names = [layer.output for layer in network.layers]
    for tensor in names[:-1]:
        model.graph.output.append(helper.make_tensor_value_info(tensor, 2, None))
    session = onnx_graphs.session(model, tmp_path / "optimised.onnx")
    ops = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert not {"Conv", "Gemm", "MatMul", "DequantizeLinear"} & ops
    wanted = reference.forward(network, frames)
    found = session.run(names, {"image": frames})
    for tensor, got in zip(names, found, strict=True):
        assert got.dtype == wanted[tensor].dtype and (got == wanted[tensor]).all(), tensor


@pytest.mark.parametrize(
    ("name", "layers"), [("lenet5", "all"), ("alexnet", "conv"), ("alexnet", "conv3,conv5")]
)
def test_a_written_network_is_read_back_the_same(name, layers, tmp_path):
    network = zoo.load(name, layers=layers)
    write_onnx(network, tmp_path / "network.onnx")
    assert read_onnx(tmp_path / "network.onnx").digest == network.digest
