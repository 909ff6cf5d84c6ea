"""Runs from Python: exact outputs on every machine, cycles, counters, tables, mistakes."""

import json
import sys
from functools import cache
from itertools import groupby, pairwise

import numpy as np
import onnx
import onnx_graphs
import pytest

import firemesh
from firemesh.emulator.check import differences
from firemesh.emulator.host import HostRun
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import MachineError
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.mnf.mapping import MappingError
from firemesh.emulator.mnf.steps import MnfStep
from firemesh.emulator.run import Tally
from firemesh.emulator.slots import BUSY, Cause
from firemesh.models import reference, zoo
from firemesh.models.network import Add, GlobalAveragePool, ModelError, Reshape

NETWORKS = [name for name, entry in zoo.ZOO.items() if not entry.is_synthetic]
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def result():
    """Five frames of digits on the paper's machine."""
    return firemesh.run("digits", firemesh.images("digits", 5)[0])


def run_exactly(network, images, machine):
    """Run frames, compare every tensor with the reference; return the frames and the result."""
    emulation = MnfEmulation(network, machine)
    tally = Tally(emulation, "mnf")
    frames = []
    for frame in emulation.frames(images):
        compared, wrong = differences(network, frame, images[frame.number], machine.threshold)
        assert wrong == []
        assert compared >= sum(tensor.is_code for tensor in network.tensors.values())
        tally.add(frame)
        frames.append(frame)
    return frames, tally.result()


@cache
def cycles(name, machine):
    network = firemesh.load(name)
    return run_exactly(network, firemesh.images(name, 3)[0], machine_with(machine))[1].cycles


def machine_with(changes):
    preset, *fields = changes
    return firemesh.machine(preset).replace(**dict(fields))


# Exactness


@every_network
def test_every_tensor_of_all_images_equals_the_reference_and_outputs_those_of_onnxruntime(name):
    images, labels = zoo.images(name)
    network, entry = firemesh.load(name), zoo.ZOO[name]
    frames, result = run_exactly(network, images, firemesh.machine("mnf-22nm"))
    assert len(frames) == result.frames == 360
    session = onnx_graphs.session(onnx.load(zoo.DATA / entry.file))
    (wanted,) = session.run(None, {"image": images})
    assert result.outputs.dtype == wanted.dtype and result.outputs.shape == wanted.shape
    assert (result.outputs == wanted).all() or not onnx_graphs.has_exact_kernels()
    accuracy = (result.outputs.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(entry.accuracy_int8, abs=5e-5)


BASE = ("mnf-22nm",)
NARROW = ("mnf-22nm", ("noc__flit_bits", 16))
MACHINES = [
    # machine, what its cycles are to those of the other
    (("mnf-22nm", ("noc__multicast", "chain")), ">", BASE),
    (("mnf-22nm", ("noc__multicast", "unicast")), ">", BASE),
    (("mnf-22nm", ("storage__event_order", "channel")), "any", BASE),
    (("mnf-22nm", ("storage__event_order", "raster")), "any", BASE),
    (("mnf-22nm", ("pe__fire_lanes", 3)), "<", BASE),
    (("mnf-22nm", ("pe__fire_lanes", 27)), "<", ("mnf-22nm", ("pe__fire_lanes", 3))),
    (("mnf-22nm", ("pe__weights", "dense")), ">=", BASE),
    (("mnf-22nm", ("pe__weights", "ideal")), "<=", BASE),
    (("mnf-22nm", ("pe__row_layout", "linear")), ">", BASE),
    (("mnf-22nm", ("pe__forwarding", False)), ">", BASE),
    (("mnf-22nm", ("pe__tile", "3x3")), ">", BASE),
    (("mnf-22nm", ("pe__tile", "3x1")), ">", BASE),
    (("mnf-22nm", ("pe__tile", "1x3")), ">", BASE),
    (("mnf-22nm", ("pe__tile", "1x1")), ">", ("mnf-22nm", ("pe__tile", "3x1"))),
    (("mnf-22nm", ("noc__event_format", "compact")), "==", BASE),
    (NARROW, ">", BASE),
    ((*NARROW, ("noc__event_format", "compact")), "<", NARROW),
    (("mnf-22nm", ("pe__weight_latency_cycles", 4)), ">", BASE),
    (("mnf-22nm", ("noc__buffer_flits", 1)), ">", BASE),
    (("mnf-22nm", ("energy", "timeloop-45nm"), ("clock_hz", 1)), "==", BASE),
    (("mnf-tiny",), ">", BASE),
    (("mnf-tiny", ("noc__multicast", "chain"), ("pe__tile", "1x3")), "any", ("mnf-tiny",)),
]
HOLDS = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "any": lambda a, b: a > 0,
}


@every_network
@pytest.mark.parametrize(
    ("machine", "relation", "other"),
    MACHINES,
    ids=[" ".join(map(str, sum([f if isinstance(f, tuple) else (f,) for f in m], ())))
         for m, *_ in MACHINES],
)  # fmt: skip
def test_each_machine_is_exact_and_its_options_cost_cycles(name, machine, relation, other):
    assert HOLDS[relation](cycles(name, machine), cycles(name, other))


@every_network
@pytest.mark.parametrize("machine", ["mnf-22nm", "mnf-tiny"])
def test_a_threshold_is_the_references_and_a_higher_one_sends_fewer_events(name, machine):
    network, images = firemesh.load(name), firemesh.images(name, 4)[0]
    events, outputs = [], []
    for threshold in (0, 3, 20, 255):
        described = firemesh.machine(machine).replace(threshold=threshold)
        found = run_exactly(network, images, described)[1]
        wanted = reference.forward(network, images, threshold)[network.outputs[0]]
        assert (found.outputs == wanted).all()
        events.append([layer.events for layer in found.layers])
        outputs.append(found.outputs)
    first, *others = np.array(events).T
    assert (first == first[0]).all()  # the image is not an output of a ReLU layer
    assert all((np.diff(layer) < 0).all() and layer[-1] == 0 for layer in others)
    assert (outputs[0] != outputs[2]).any()


THRESHOLDS = ({"conv1": 3}, {"conv1": 255}, {"conv2": 20, "fc1": 0}, {"fc1": 9, "conv1": 1})


@every_network
@pytest.mark.parametrize("of_layer", THRESHOLDS, ids=str)
def test_thresholds_of_layers_are_the_references_and_others_have_the_machines(name, of_layer):
    network, images = firemesh.load(name), firemesh.images(name, 4)[0]
    on = firemesh.machine("mnf-22nm").replace(threshold=5, layer_thresholds=of_layer)
    result = firemesh.run(network, images, on)
    wanted = reference.forward(network, images, lambda layer: of_layer.get(layer, 5))
    assert (result.outputs == wanted[network.outputs[0]]).all()
    for frame in MnfEmulation(network, on).frames(images):
        compared, wrong = differences(network, frame, images[frame.number], on.threshold_of)
        assert wrong == [] and compared > 0
    if "conv1" in of_layer:  # the same image comes in
        plain = firemesh.run(network, images, on.replace(layer_thresholds={}))
        fired = [run.layers.by_name("conv1").fired for run in (result, plain)]
        assert (fired[0] < fired[1]) is (of_layer["conv1"] > 5)
        assert (fired[0] > fired[1]) is (of_layer["conv1"] < 5)


def test_a_threshold_of_a_layer_of_waves_acts_in_each_of_them():
    network, images = firemesh.load("digits"), firemesh.images("digits", 3)[0]
    on = firemesh.machine("mnf-22nm").replace(layer_thresholds={"conv1": 30, "conv2": 4})
    small = on.replace(pe__psum_bank_bytes=60, pe__weight_bytes=540)
    whole, cut = (firemesh.run(network, images, one) for one in (on, small))
    assert [layer.fired for layer in whole.layers] == [layer.fired for layer in cut.layers]
    assert max(layer.waves for layer in cut.layers) > 1 == max(part.waves for part in whole.layers)
    assert (whole.outputs == cut.outputs).all()


@pytest.mark.parametrize("name", ["conv9", "conv1_pool", "fc2"])
def test_a_threshold_of_no_layer_with_relu_is_refused_in_one_sentence(name):
    on = firemesh.machine("mnf-22nm").replace(layer_thresholds={"conv1": 3, name: 3})
    with pytest.raises(MachineError) as caught:
        firemesh.run("digits", firemesh.images("digits", 1)[0], on)
    assert str(caught.value) == (
        f"mnf-22nm: layer_thresholds: {name} is no layer with ReLU of network digits; "
        "those are conv1, conv2, fc1"
    )


@pytest.mark.parametrize("value", [-1, 256, 1.5, "3", None, True])
def test_a_threshold_of_a_layer_that_is_no_code_is_refused(value):
    with pytest.raises(MachineError, match=r"^mnf-22nm: layer_thresholds\.conv1: must be "):
        firemesh.machine("mnf-22nm").replace(layer_thresholds={"conv1": value})


# Cycles


@every_network
def test_frames_and_layers_run_one_after_another_from_cycle_0(name):
    frames, result = run_exactly(
        firemesh.load(name), firemesh.images(name, 3)[0], firemesh.machine("mnf-22nm")
    )
    runs = [run for frame in frames for run in frame.runs]
    assert runs[0].cycle0 == 0
    assert all(before.cycle1 == after.cycle0 for before, after in pairwise(runs))
    assert runs[-1].cycle1 == result.cycles == sum(layer.cycles for layer in result.layers)


def test_a_run_of_n_frames_begins_with_that_of_fewer():
    images = firemesh.images("digits", 3)[0]
    sums = [firemesh.run("digits", images[:n]).cycles for n in (1, 2, 3)]
    frames, _ = run_exactly(firemesh.load("digits"), images, firemesh.machine("mnf-22nm"))
    assert sums == [frame.runs[-1].cycle1 for frame in frames]


def test_progress_is_told_before_and_during_each_step_of_each_frame():
    calls = []
    network = firemesh.load("digits")
    images = firemesh.images("digits", 2)[0]
    firemesh.run(network, images, progress=lambda *call: calls.append(call))
    fused = ("conv1_pool", "conv2_pool")
    steps = [layer.name for layer in network.layers if layer.name not in fused]
    wanted = [(frame, step) for frame in range(2) for step in steps]
    assert [call for call, _ in groupby(calls)] == wanted


def host_network(seed, tmp_path):
    """A network with layers that PEs do not compute, and images for it."""
    steps = ("pool", "conv", "residual", "conv", "average")
    model, images = onnx_graphs.random_graph(seed, True, "int8", steps)
    onnx.save(model, tmp_path / "host.onnx")
    return firemesh.load(tmp_path / "host.onnx"), images


@pytest.mark.parametrize("seed", range(6))
def test_the_host_unit_is_exact_and_takes_a_cycle_for_each_event_read_and_written(seed, tmp_path):
    network, images = host_network(seed, tmp_path)
    machine = firemesh.machine("mnf-tiny")
    frames, result = run_exactly(network, images, machine)
    ops = {type(layer) for layer in network.layers}
    assert {Add, GlobalAveragePool} <= ops
    exact = reference.forward(network, images)
    events = {
        name: (exact[name] != tensor.zero_point).reshape(len(images), -1).sum(axis=1)
        for name, tensor in network.tensors.items()
        if tensor.is_code
    }
    host = [run for frame in frames for run in frame.runs if isinstance(run, HostRun)]
    assert {Add, GlobalAveragePool} <= {type(run.step.layer) for run in host}
    for frame in frames:
        for run in frame.runs:
            if not isinstance(run, HostRun):
                continue
            layer = run.step.layer
            read = sum(int(events[name][frame.number]) for name in layer.inputs)
            written = int(events[layer.output][frame.number])
            free = isinstance(layer, Reshape)
            assert run.cycle1 - run.cycle0 == (0 if free else read + written)
            assert run.accesses == ((0, 0) if free else (read, written))
    for layer in result.layers:
        assert (layer.mode == "host") is (layer.tile == "")
        if layer.mode == "host":
            assert layer.cycles == layer.events + layer.fired
            assert layer.slots.sum() == layer.slots[:, Cause.UNUSED].sum()
            assert layer.counts[0, Memory.STORAGE].tolist() == [layer.events, layer.fired]


# Counters

SLOW_FIRE = ("mnf-22nm",)
COUNTED = [SLOW_FIRE, ("mnf-22nm", ("noc__multicast", "unicast")), ("mnf-tiny",)]


@every_network
@pytest.mark.parametrize("changes", COUNTED, ids=str)
def test_every_slot_of_every_pe_has_a_cause_in_every_cycle(name, changes):
    machine = machine_with(changes)
    frames, result = run_exactly(firemesh.load(name), firemesh.images(name, 3)[0], machine)
    per_pe = machine.pe.multipliers
    for frame in frames:
        for layer in frame.results:
            assert layer.slots.shape == (machine.n_pes, len(Cause))
            assert (layer.slots >= 0).all()
            assert (layer.slots.sum(axis=1) == per_pe * layer.cycles).all()
    assert sum(result.slots.values()) == machine.multipliers * result.cycles
    assert list(result.slots) == [cause.name.lower() for cause in Cause]


@every_network
@pytest.mark.parametrize("changes", COUNTED, ids=str)
def test_bytes_are_accesses_times_their_width_and_accesses_those_of_the_events(name, changes):
    machine = machine_with(changes)
    frames, _ = run_exactly(firemesh.load(name), firemesh.images(name, 2)[0], machine)
    row, word = machine.pe.multipliers, 4 * machine.pe.lanes
    for layer in (layer for frame in frames for layer in frame.results):
        counts, sizes = layer.counts, layer.bytes
        for memory, width in {"WEIGHT": row, "INDEX": 2, "POINTER": 4}.items():
            reads = counts[:, Memory[memory], 0]
            assert (sizes[:, Memory[memory], 0] == width * reads).all() and reads.sum() > 0
            assert not counts[:, Memory[memory], 1].any()
        assert (counts[:, Memory.WEIGHT] == counts[:, Memory.INDEX]).all()
        for memory in (Memory.EVENT_FIFO, Memory.STORAGE):
            assert (sizes[:, memory] == 8 * counts[:, memory]).all()
        assert (counts[:, Memory.EVENT_FIFO, 0] == counts[:, Memory.EVENT_FIFO, 1]).all()
        scans = (sizes[:, Memory.PSUM] - word * counts[:, Memory.PSUM]) // (4 - word)
        macs = counts[:, Memory.PSUM] - scans
        assert (sizes[:, Memory.PSUM] == 4 * scans + word * macs).all()
        assert (scans[:, 0] == scans[:, 1]).all() and (macs[:, 0] == macs[:, 1]).all()
        assert (sizes[:, Memory.BIAS] == 4 * counts[:, Memory.BIAS]).all()
        # the storage node keeps storage, the others everything else
        assert not counts[1:, Memory.STORAGE].any()
        assert not np.delete(counts[0], Memory.STORAGE, axis=0).any()
        copies = machine.n_pes if machine.noc.multicast == "unicast" else 1
        active = int((layer.slots[:, Cause.UNUSED] == 0).sum())
        reads, writes = counts[0, Memory.STORAGE]
        assert writes == layer.fired
        assert reads == layer.events * min(copies, active)
        pointers = counts[1:, Memory.POINTER, 0]
        assert (pointers == np.where(layer.slots[:, Cause.UNUSED] == 0, layer.events, 0)).all()


def test_a_layers_events_are_the_nonzero_activations_that_an_output_uses(result):
    for layer in result.layers:
        assert layer.events <= layer.active <= layer.inputs
        assert layer.density == layer.active / layer.inputs
    conv1, conv2, fc1, fc2 = result.layers
    assert (conv1.events, fc1.events, fc2.events) == (conv1.active, fc1.active, fc2.active)
    assert [conv1.fired, conv2.fired, fc1.fired] == [conv2.active, fc1.active, fc2.active]


# Results


def test_totals_are_the_sums_of_the_layers(result):
    records = result.layers.records()
    assert result.cycles == sum(record["cycles"] for record in records)
    for component, pj in result.energy.items():
        key = f"{component.lower().replace(' ', '_')}_pj"
        assert pj == pytest.approx(sum(record[key] for record in records))
    busy = sum(result.slots[cause.name.lower()] for cause in BUSY)
    assert result.utilization == busy / sum(result.slots.values())
    assert result.fps == pytest.approx(200e6 * 5 / result.cycles)
    seconds = result.cycles / 200e6
    assert result.power_mw == pytest.approx(sum(result.energy.values()) * 1e-9 / seconds)
    for record in records:
        parts = [value for key, value in record.items() if key.startswith("slots_")]
        assert sum(parts) == pytest.approx(1)
        assert record["utilization"] == pytest.approx(parts[0] + parts[1])
        assert record["frames"] == 5


def test_load_cycles_are_the_stored_rows_in_flits(result):
    network, machine = firemesh.load("digits"), firemesh.machine("mnf-22nm")
    plan = MnfEmulation(network, machine).plan
    steps = [step for step in plan.steps if isinstance(step, MnfStep)]
    blocks = [block for step in steps for block in step.blocks]
    rows = sum(len(block.rows().weight) for block in blocks)
    assert len(blocks) == len(result.layers)
    assert rows * 27 == plan.dram_bytes
    assert rows * 27 <= result.load_cycles * 8 < rows * 27 + 8 * machine.n_pes


def test_the_dataframe_has_the_records_as_rows(result):
    frame = result.layers.to_dataframe()
    assert frame.to_dict("records") == result.layers.records()
    assert list(frame["name"]) == ["conv1", "conv2", "fc1", "fc2"]


def test_without_pandas_the_extra_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas; .* pip install 'firemesh\[tables\]'"):
        result.layers.to_dataframe()


def test_layers_are_a_sequence_with_names(result):
    layers = result.layers
    assert len(layers) == 4 and layers[-1].name == "fc2" == list(layers)[3].name
    assert [layer.name for layer in layers[1:3]] == ["conv2", "fc1"]
    assert layers.by_name("fc1") is layers[2]
    with pytest.raises(KeyError, match="no layer 'fc3'; known layers: conv1, conv2, fc1, fc2"):
        layers.by_name("fc3")


def test_two_runs_are_the_same_to_the_last_digit(result):
    firemesh.run("digits-pruned", firemesh.images("digits", 1)[0], "mnf-tiny")
    again = firemesh.run("digits", firemesh.images("digits", 5)[0])
    assert json.dumps(again.to_dict()) == json.dumps(result.to_dict())


def test_networks_machines_and_images_are_taken_in_every_form(result, tmp_path):
    images = firemesh.images("digits", 5)[0]
    path = zoo.DATA / zoo.ZOO["digits"].file
    (tmp_path / "my.yaml").write_text(firemesh.machine("mnf-22nm").to_yaml())
    for network in (firemesh.load("digits"), path, str(path)):
        for machine in (firemesh.machine("mnf-22nm"), tmp_path / "my.yaml"):
            assert firemesh.run(network, images, machine).to_dict() == result.to_dict()
    for form in (images.astype(np.float64), images.astype(np.uint8), images.tolist()):
        assert firemesh.run("digits", form).to_dict() == result.to_dict()


def test_one_frame_may_lack_the_batch_axis():
    images = firemesh.images("digits", 1)[0]
    single, batch = firemesh.run("digits", images[0]), firemesh.run("digits", images)
    assert single.frames == 1 and single.outputs.shape == (1, 10)
    assert single.to_dict() == batch.to_dict()


def test_without_images_those_of_the_zoo_are_run():
    result = firemesh.run("digits", machine=firemesh.machine("mnf-22nm"))
    assert result.frames == 360


# Mistakes

SMALL = firemesh.machine("mnf-22nm")
WRONG = {
    "network": (
        ModelError,
        {"network": "lenet"},
        "known networks: digits, .*, googlenet; or give the path of",
    ),
    "shape": (ModelError, {"images": np.zeros((2, 8, 8))}, "images: must have shape frames x 1 x"),
    "no frames": (ModelError, {"images": np.zeros((0, 1, 8, 8))}, "got 0 x 1 x 8 x 8"),
    "objects": (ModelError, {"images": np.zeros((1, 1, 8, 8), object)}, "must hold numbers, got"),
    "nan": (ModelError, {"images": np.full((1, 8, 8), np.nan)}, "must be finite in float32"),
    "path as images": (ModelError, {"images": "frames.npy"}, "images: must have shape frames x"),
    "machine": (MachineError, {"machine": "eyeriss"}, "eyeriss: no machine of this name and no"),
    "mode": (
        MachineError,
        {"mode": "nope"},
        "mode: must be one of mnf, flexnn, auto or a YAML file .* got 'nope'",
    ),
    "mode of the machine": (
        MachineError,
        {"mode": "flexnn", "machine": "mnf-tiny"},
        "mnf-tiny: is a machine of mode mnf, got mode flexnn; .* is flexnn-edge",
    ),
    "energy": (
        MachineError,
        {"machine": SMALL.replace(energy="x")},
        "energy: must be one of eyeriss, maestro, mnf-calibrated",
    ),
    "storage": (
        MappingError,
        {"machine": SMALL.replace(storage__bytes=64)},
        "network digits: .*mnf-22nm has 64; set storage.bytes to at least 3584 or to null",
    ),
    "weights": (
        MappingError,
        {"machine": SMALL.replace(pe__weight_bytes=27, pe__tile="1x1")},
        "layer conv1: one input channel .* use a machine with pe.weight_bytes of at least 243$",
    ),
    "psums": (
        MappingError,
        {"machine": SMALL.replace(pe__psum_bank_bytes=24)},
        "layer conv1: one ofmap row .* use a machine with pe.psum_bank_bytes of at least 36$",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_an_exception_of_the_documented_type_with_one_sentence(kind):
    error, arguments, sentence = WRONG[kind]
    given = {"network": "digits", "images": np.zeros((1, 1, 8, 8))} | arguments
    with pytest.raises(error, match=sentence) as caught:
        firemesh.run(**given)
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_a_network_without_images_of_its_own_wants_some(tmp_path):
    network, _ = host_network(0, tmp_path)
    with pytest.raises(ModelError, match="images: network host brings none; pass an array"):
        firemesh.run(network)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pe__x": 1}, "mnf-22nm: pe.x: unknown key; known here: modules"),
        ({"x": 1}, "mnf-22nm: x: unknown key; known here: name"),
        ({"pe__lanes__x": 1}, "mnf-22nm: pe.lanes.x: lanes is a value"),
        ({"self": 1}, "mnf-22nm: self: unknown key"),
        ({"pe": 3}, "mnf-22nm: pe: must be a mapping of fields, got 3"),
        ({"pe__fire_lanes": 2}, "pe.fire_lanes: must be one of 1, 3, 27"),
        ({"mesh__width": 10**30}, "mesh: must have 2 to 4096 nodes"),
    ],
    ids=str,
)
def test_a_wrong_change_of_a_machine_names_the_field(changes, sentence):
    with pytest.raises(MachineError, match=sentence):
        SMALL.replace(**changes)
