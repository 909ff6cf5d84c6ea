"""Storage regions, tiles that fit, and what a plan refuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firemesh
from firemesh.emulator.machine import machine
from firemesh.emulator.mnf import run as mnf
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.mnf.mapping import MappingError
from firemesh.emulator.mnf.plan import make_plan
from firemesh.models.network import (
    Add,
    Conv,
    Dequantize,
    ModelError,
    Network,
    Quantize,
    Reshape,
    Tensor,
)
from firemesh.models.reference import forward


def conv(name, source, target, filters=2, channels=2, kernel=1, pads=(0, 0, 0, 0), seed=0):
    rng = np.random.default_rng(seed)
    return Conv(
        name=name,
        inputs=(source,),
        output=target,
        weight=rng.integers(-127, 128, (filters, channels, kernel, kernel)).astype(np.int8),
        weight_zero_point=np.zeros(filters, np.int32),
        multiplier=np.full(filters, 0.004, np.float32),
        bias=np.zeros(filters, np.int32),
        low=-128,
        high=127,
        pads=pads,
    )


def tensors(*names, shape=(2, 3, 3), dtype="int8"):
    return {name: Tensor(name, shape, dtype) for name in names}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_tensors_that_are_needed_at_the_same_time_share_no_storage(backs):
    """A chain of layers, each reading also a tensor from up to three steps back."""
    layers, names = [conv("c0", "x", "t0")], ["x", "t0"]
    for i, back in enumerate(backs, 1):
        other = names[max(0, len(names) - 2 - back)]
        layers.append(conv(f"c{i}", names[-1], f"u{i}"))
        layers.append(Add(f"a{i}", (f"u{i}", other), f"t{i}"))
        names += [f"t{i}"]
    every = [*names, *(f"u{i}" for i in range(1, len(backs) + 1))]
    network = Network("chain", tuple(layers), tensors(*every), ("x",), (names[-1],))
    plan = make_plan(network, machine("mnf-tiny"))
    size = 8 * 18
    for i, layer in enumerate(network.layers):
        later = {name for after in network.layers[i:] for name in after.inputs} | {names[-1]}
        earlier = {"x", *(before.output for before in network.layers[: i + 1])}
        alive = (later & earlier) | {layer.output}
        places = sorted(plan.regions[name] for name in alive)
        assert all(b - a >= size for a, b in zip(places, places[1:], strict=False))
        assert all(place + size <= plan.storage_bytes for place in places)


def test_an_output_that_is_made_early_keeps_its_storage_to_the_end():
    layers = (
        conv("c1", "x", "y"),
        Dequantize("d", ("y",), "out"),
        conv("c2", "y", "z"),
        conv("c3", "z", "w"),
        conv("c4", "w", "v"),
    )
    every = tensors("x", "y", "z", "w", "v") | tensors("out", dtype="float32")
    network = Network("early", layers, every, ("x",), ("out",))
    regions = make_plan(network, machine("mnf-tiny")).regions
    assert all(regions["y"] != regions[name] for name in ("z", "w", "v"))


def test_a_new_shape_lies_where_the_old_one_does():
    every = tensors("x", "y", "z") | tensors("flat", shape=(18,))
    layers = (conv("c1", "x", "y"), Reshape("r", ("y",), "flat"), conv("c2", "y", "z"))
    network = Network("shape", layers, every, ("x",), ("flat",))
    regions = make_plan(network, machine("mnf-tiny")).regions
    assert regions["flat"] == regions["y"] != regions["z"]


def test_auto_takes_the_cheapest_tile_of_which_a_row_fits():
    layer = replace(
        conv("c", "x", "y", 6, 1), weight=np.ones((6, 1, 3, 1), np.int8), pads=(1, 0, 1, 0)
    )
    every = tensors("x", shape=(1, 10, 10)) | tensors("y", shape=(6, 10, 10))
    network = Network("wide", (layer,), every, ("x",), ("y",))
    small = machine("mnf-tiny").replace(pe__psum_bank_bytes=8 * 10)
    assert make_plan(network, small).steps[0].mapping.tile == (3, 1)
    less = small.replace(pe__psum_bank_bytes=8 * 9)
    assert make_plan(network, less).steps[0].mapping.tile == (1, 3)
    with pytest.raises(MappingError, match="need 10 words in a psum bank, which holds 9; .* 80$"):
        make_plan(network, less.replace(pe__tile="3x1"))


def test_a_layer_with_more_psums_than_the_banks_runs_in_waves_and_on_more_pes_in_one():
    every = tensors("x", shape=(1, 20, 20)) | tensors("y", shape=(40, 20, 20))
    network = Network("wide", (conv("c", "x", "y", 40, 1),), every, ("x",), ("y",))
    small = machine("mnf-tiny").replace(pe__psum_bank_bytes=8 * 400)
    (step,) = make_plan(network, small).steps
    assert step.mapping.bank_words > 400
    assert len(step.waves) > 1
    assert all(wave.mapping.bank_words <= 400 for wave in step.waves)
    (step,) = make_plan(network, small.replace(mesh__width=8, mesh__height=1)).steps
    assert len(step.waves) == 1


def test_a_quantize_inside_the_network_reads_its_own_input():
    every = tensors("x", "y", "z", "w") | tensors("f", "g", dtype="float32")
    layers = (
        Quantize("q1", ("f",), "x"),
        conv("c1", "x", "y"),
        Dequantize("d", ("y",), "g"),
        Quantize("q2", ("g",), "z"),
        conv("c2", "z", "w", seed=1),
    )
    network = Network("twice", layers, every, ("f",), ("w",))
    x = np.random.default_rng(0).integers(-9, 9, (1, 2, 3, 3)).astype(np.float32)
    result = firemesh.run(network, x, machine="mnf-tiny")
    assert np.array_equal(result.outputs, forward(network, x)["w"])


def test_a_network_gives_all_its_outputs():
    layers = (conv("c1", "x", "y"), conv("c2", "y", "z", seed=1), Dequantize("d", ("z",), "real"))
    every = tensors("x", "y", "z") | tensors("real", dtype="float32")
    network = Network("three", layers, every, ("x",), ("z", "y", "real"))
    x = np.random.default_rng(0).integers(-9, 9, (2, 2, 3, 3)).astype(np.int8)
    result = firemesh.run(network, x, machine="mnf-tiny")
    wanted = forward(network, x)
    assert list(result.all_outputs) == ["z", "y", "real"]
    for name, found in result.all_outputs.items():
        assert np.array_equal(found, wanted[name]) and found.dtype == wanted[name].dtype
    assert result.outputs is result.all_outputs["z"]


def test_an_output_that_no_layer_writes_is_refused():
    with pytest.raises(ModelError, match="must be written by a layer"):
        Network("none", (conv("c1", "x", "y"),), tensors("x", "y"), ("x",), ("x",))


def test_an_emulation_that_was_ended_inside_a_frame_says_so():
    class EndedError(Exception):
        pass

    def end(frame, layer):
        if layer == "conv2":
            raise EndedError

    emulation = MnfEmulation(firemesh.load("digits"), machine("mnf-22nm"))
    images = firemesh.images("digits", 2)[0]
    with pytest.raises(EndedError):
        list(emulation.frames(images, end))
    with pytest.raises(mnf.EngineError, match="make a new Emulation"):
        list(emulation.frames(images))


@pytest.mark.parametrize("field, value", [("low", 0.5), ("groups", 2.0), ("strides", (1.0, 1))])
def test_a_layer_takes_integers_only(field, value):
    layer = conv("c", "x", "y")
    with pytest.raises(ModelError, match=rf"Conv\.{field}: must be"):
        replace(layer, **{field: value})
    assert replace(layer, strides=(np.int64(1), 1)).strides == (1, 1)
