"""Hybrid machines' checks, files of modes, and what either mode alone is on such a machine."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_emulator_cli import printed, refused
from test_hybrid_exact import (
    PRESET,
    QUICK,
    cost_case,
    random_machine,
    same_cost,
)

import firemesh
from firemesh.emulator.energy import energy
from firemesh.emulator.hybrid.mode_file import check_modes, modes_of
from firemesh.emulator.hybrid.plan import make_choices
from firemesh.emulator.machine import (
    FlexMachine,
    HybridMachine,
    Machine,
    MachineError,
    parse_yaml,
)
from firemesh.emulator.mnf.mapping import MappingError
from firemesh.models.network import Network


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


# --- Machines ---


PAIRS = {
    "multipliers of a PE": (
        ("mnf.pe.modules * lanes", "flexnn.array.lanes"),
        ({"mnf__pe__modules": 8}, {"mnf__pe__lanes": 2}, {"flexnn__array__lanes": 15}),
    ),
    "bytes of a PE's SRAM": (
        ("mnf.pe.weight_bytes + modules * psum_bank_bytes", "flexnn.rf.banks * bank_bytes"),
        (
            {"mnf__pe__weight_bytes": 65537},
            {"mnf__pe__psum_bank_bytes": 4092},
            {"flexnn__rf__banks": 15},
            {"flexnn__rf__bank_bytes": 8193},
        ),
    ),
    "bytes of storage's SRAM": (
        ("mnf.storage.bytes", "flexnn.sram.bytes"),
        (
            {"mnf__storage__bytes": 1 << 19},
            {"mnf__storage__bytes": None},
            {"flexnn__sram__bytes": 1 << 19},
        ),
    ),
    "storage ports": (
        ("mnf.storage.ports", "flexnn.sdn.storage_ports"),
        ({"mnf__storage__ports": 2}, {"flexnn__sdn__storage_ports": 4}),
    ),
}


@pytest.mark.parametrize(
    ("what", "named", "changes"),
    [(what, named, change) for what, (named, many) in PAIRS.items() for change in many],
)
def test_what_is_not_the_same_in_both_modes_is_refused_with_both_fields(what, named, changes):
    with pytest.raises(MachineError) as error:
        PRESET.replace(**changes)
    sentence = str(error.value)
    assert sentence.startswith(f"hybrid-256: {what} must be the same in both modes, got ")
    assert all(f" of {field}" in sentence for field in named)
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("flexnn.sdn.kind", "bus", "mesh"),
        ("mnf.storage.event_order", "row", "raster"),
        ("mnf.storage.event_order", "channel", "raster"),
        ("mnf.storage.tensors", "sram", "dram"),
        ("mnf.storage.keeps_weights", True, "false"),
        ("noc.starts_afresh", False, "true"),
    ],
)
def test_a_field_that_is_bound_is_refused_with_its_only_value(path, value, wanted):
    with pytest.raises(MachineError) as error:
        PRESET.replace(**{path.replace(".", "__"): value})
    sentence = str(error.value)
    assert sentence.startswith(f"hybrid-256: {path}: must be {wanted} on a hybrid, so that ")
    assert sentence.endswith(f", got {str(value).lower()}")


@pytest.mark.parametrize("ports", [1, 2, 4])
def test_dram_has_to_be_as_wide_as_events_come_and_go(ports):
    both = {"mnf__storage__ports": ports, "flexnn__sdn__storage_ports": ports}
    least = 8 * (1 + ports)
    assert PRESET.replace(**both, flexnn__dram__bytes_per_cycle=least)
    narrow = both | {"flexnn__dram__bytes_per_cycle": least - 1}
    with pytest.raises(MachineError) as error:
        PRESET.replace(**narrow)
    sentence = str(error.value)
    assert sentence.startswith(f"hybrid-256: flexnn.dram.bytes_per_cycle: must be at least {least}")
    assert sentence.endswith(f"got {least - 1}")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"noc__multicast": "chain"}, "noc.multicast: must be tree or unicast"),
        ({"noc__routing": "west-first"}, "noc.routing: west-first needs a router with"),
        ({"noc__flit_bits": 1024}, "flexnn.sdn.column_bytes: must be at least a flit's 128 bytes"),
        (
            {"flexnn__sdn__drain_bytes": 7},
            "flexnn.sdn.drain_bytes: must be at least a flit's 8 bytes",
        ),
        ({"mnf__pe__tile": "3x3"}, "mnf.pe.tile: must be auto or one of 2x2, 4x1, 1x4, 1x1"),
        ({"mnf__pe__fire_lanes": 3}, "mnf.pe.fire_lanes: must be one of 1, 16"),
        ({"flexnn__array__rows": 0}, "flexnn.array.rows: must be greater than or equal to 1"),
        ({"mnf__mesh": {"width": 4}}, "mnf.mesh: unknown key; known here: pe, storage"),
        ({"threshold": 3}, "threshold: unknown key; known here: name, summary,"),
        ({"flexnn__clock_hz": 3}, "flexnn.clock_hz: unknown key; known here: array, rf,"),
    ],
)
def test_what_either_modes_machine_refuses_a_hybrid_refuses_too(changes, sentence):
    with pytest.raises(MachineError) as error:
        PRESET.replace(**changes)
    assert str(error.value).startswith("hybrid-256: ") and sentence in str(error.value)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_hybrid_and_its_parts_survive_the_round_trip_through_yaml(seed):
    rng = np.random.default_rng(seed)
    machine = random_machine(rng).replace(sources={"clock_hz": "chosen"})
    for one, kind in (
        (machine, HybridMachine), (machine.of_mnf, Machine), (machine.of_flexnn, FlexMachine)
    ):  # fmt: skip
        assert type(one) is kind
        again = parse_yaml(one.to_yaml(), "again")
        assert again == one and again.to_yaml() == one.to_yaml()


@pytest.mark.parametrize("seed", range(40))
def test_the_parts_of_a_hybrid_have_its_mesh_units_multipliers_and_network(seed):
    rng = np.random.default_rng(seed)
    machine = random_machine(rng)
    names = (
        "sides", "n_units", "n_nodes", "n_pes", "multipliers", "pe_multipliers", "storage_ports",
        "has_storage_row", "router_name", "flit_bits", "clock_hz", "energy", "noc", "name",
    )  # fmt: skip
    for part in (machine.of_mnf, machine.of_flexnn):
        assert [getattr(part, name) for name in names] == [getattr(machine, x) for x in names]
    array = machine.flexnn.array
    assert machine.n_units == 1 + array.rows * array.columns
    assert machine.n_nodes == (array.rows + 1) * array.columns
    assert machine.of_mnf.pe == machine.mnf.pe and machine.of_flexnn.rf == machine.flexnn.rf


# --- Files of modes ---


WRONG = {
    "unknown key": ("nope: mnf", "nope fits no layer of network digits that takes cycles; those "
                    "are conv1, conv2, fc1, fc2"),
    "unknown mode": ("conv1: fast", "conv1: must be one of mnf, flexnn, auto, got 'fast'"),
    "no word": ("conv1: [mnf]", "conv1: must be one of mnf, flexnn, auto, got ['mnf']"),
    "no mode": ("conv1:", "conv1: must be one of mnf, flexnn, auto, got None"),
    "idle pattern": ('"x*": mnf', "x* fits no layer of network digits that takes cycles"),
    "idle pattern beside all": ('"*": mnf\n"fc?x": mnf', "fc?x fits no layer of network digits"),
    "fused pool": ("conv1_pool: mnf", "conv1_pool goes with conv1, whose fire phase pools in mode "
                   "mnf; name that layer"),
    "layer without": ("conv1: mnf", "conv2 has no mode; name it, or add '\"*\": auto'"),
    "list": ("- conv1", "must be a mapping of layers to modes, such as 'conv1: flexnn'"),
    "text": ("mnf", "must be a mapping of layers to modes, such as 'conv1: flexnn'"),
    "empty": ("", "must be a mapping of layers to modes, such as 'conv1: flexnn'"),
    "empty mapping": ("{}", "must be a mapping of layers to modes, such as 'conv1: flexnn'"),
    "number": ("3: mnf", "3 is no layer's name; put it in quotes"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_file_of_modes_is_one_sentence(capsys, tmp_path, text, sentence):
    (tmp_path / "modes.yaml").write_text(text, "utf-8")
    found = refused(capsys, "run", "digits", "--frames", "1", "--mode", "modes.yaml")
    assert found.startswith(f"modes.yaml: {sentence}")


def test_a_layer_that_is_given_twice_is_told_with_its_line(capsys, tmp_path):
    (tmp_path / "modes.yaml").write_text('conv1: mnf\n"*": mnf\nconv1: flexnn\n', "utf-8")
    found = refused(capsys, "run", "digits", "--mode", "modes.yaml")
    assert found.startswith("modes.yaml, line 3: is not valid YAML")
    assert "conv1 is given twice" in found


def test_a_file_of_modes_that_is_not_there_or_no_text_is_told(capsys, tmp_path):
    arguments = ("run", "digits", "--mode")
    assert refused(capsys, *arguments, "no.yaml").startswith("no.yaml: cannot be read (No such")
    (tmp_path / "raw.yaml").write_bytes(b"\xff\xfe\x00")
    assert refused(capsys, *arguments, "raw.yaml").startswith("raw.yaml: cannot be read")
    assert refused(capsys, *arguments, "quick") == (
        "mode: must be one of mnf, flexnn, auto or a YAML file of layers and modes, got 'quick'"
    )


@pytest.mark.parametrize(
    ("machine", "own"), [("mnf-22nm", "mnf"), ("mnf-tiny", "mnf"), ("flexnn-edge", "flexnn")]
)
def test_a_machine_of_one_mode_takes_neither_auto_nor_a_file(capsys, tmp_path, machine, own):
    (tmp_path / "modes.yaml").write_text('"*": auto', "utf-8")
    for mode, got in (("auto", "mode auto"), ("modes.yaml", "a mode for each layer (modes.yaml)")):
        found = refused(capsys, "run", "digits", "--machine", machine, "--mode", mode)
        assert found.startswith(f"{machine}: is a machine of mode {own}, got {got};")
        assert found.endswith("a machine of it is hybrid-256")


def test_an_energy_table_that_prices_idle_pes_is_refused_with_those_that_do_not(capsys):
    found = refused(capsys, "run", "digits", "--mode", "auto", "--set", "energy=mnf-table5")
    assert found.startswith("hybrid-256: energy: mnf-table5 prices an idle PE")
    assert found.endswith("use eyeriss, maestro")


def small_choices():
    network = firemesh.load("digits")
    return make_choices(network, PRESET, None, QUICK)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"*": "mnf", "conv2": "flexnn"}, "mnf flexnn mnf mnf"),
        ({"conv2": "auto", "*": "flexnn"}, "flexnn auto flexnn flexnn"),
        ({"c*": "mnf", "*1": "flexnn", "*": "auto"}, "mnf mnf flexnn auto"),
        ({"*1": "flexnn", "c*": "mnf", "*": "auto"}, "flexnn mnf flexnn auto"),
        ({"[cf]*[12]": "flexnn", "fc2": "mnf"}, "flexnn flexnn flexnn mnf"),
        ({"conv?": "mnf", "fc?": "auto"}, "mnf mnf auto auto"),
    ],
)
def test_a_layers_own_name_goes_before_patterns_and_of_those_the_first(given, wanted):
    found = modes_of(small_choices(), check_modes(given, "modes"), "modes")
    assert found == dict(zip(("conv1", "conv2", "fc1", "fc2"), wanted.split(), strict=True))


@pytest.mark.parametrize("given", [{}, {"conv1": "both"}, {1: "mnf"}, {"conv1": ["mnf"]}])
def test_modes_given_in_python_are_checked_as_those_of_a_file(given):
    images = firemesh.images("digits", 1)[0]
    with pytest.raises(MachineError, match="^mode: "):
        firemesh.run("digits", images, mode=given)


def test_a_file_of_modes_is_the_same_run_as_the_mapping(capsys, tmp_path):
    given = {"conv*": "flexnn", "fc1": "mnf", "*": "auto"}
    (tmp_path / "modes.yaml").write_text(json.dumps(given), "utf-8")
    out = printed(capsys, "run", "digits", "--frames", "2", "--mode", "modes.yaml", "--json")
    found = json.loads(out)
    result = firemesh.run("digits", firemesh.images("digits", 2)[0], mode=given)
    assert found["cycles"] == result.cycles
    pairs = [(layer["name"], layer["mode"]) for layer in found["layers"]]
    assert pairs == [(layer.name, layer.mode) for layer in result.layers]
    modes = dict(pairs)
    assert (modes["conv1"], modes["conv2"], modes["fc1"]) == ("flexnn", "flexnn", "mnf")


# --- Either mode alone ---


@pytest.mark.parametrize("mode", ["mnf", "flexnn"])
@pytest.mark.parametrize("seed", range(10))
def test_one_mode_on_a_hybrid_is_its_parts_run_and_auto_knows_what_it_takes(seed, mode):
    for attempt in range(1000):
        _, choices, images = cost_case([seed, attempt])
        if not choices.refused:
            break
    network, machine = choices.network, choices.machine
    search = None if mode == "mnf" else QUICK
    alone = firemesh.run(network, images[:1], machine, mode, search=search)
    part = machine.of_mnf if mode == "mnf" else machine.of_flexnn
    assert alone.machine == part and alone.mode == mode
    decision = firemesh.run(network, images[:1], machine, "auto", search=QUICK).decision
    pj = sum(sum(energy(layer.activity, part).values()) for layer in alone.layers)
    assert same_cost(decision.pure(mode), (alone.cycles, pj), len(choices.units))
    every = firemesh.run(network, images[:1], machine, {"*": mode}, search=QUICK)
    assert every.cycles == alone.cycles and every.decision is None
    assert decision.total.cycles <= alone.cycles


def test_one_mode_on_a_hybrid_from_the_command_line_is_what_auto_tells(capsys):
    def result(*arguments):
        return json.loads(
            printed(capsys, "run", "digits", "--frames", "1", "--json", "--machine", "hybrid-256",
                    *arguments)
        )  # fmt: skip

    totals = result("--mode", "auto")["decision"]["totals"]
    for mode in ("mnf", "flexnn"):
        found = result("--mode", mode)
        assert found["mode"] == mode and found["cycles"] == totals[mode]["cycles"]
    assert result()["decision"]["totals"] == totals


# --- Layers that do not fit ---


def refusing(seed):
    """Return choices of which some layer does not fit in mode mnf, and images."""
    for attempt in range(1000):
        _, choices, images = cost_case([900, seed, attempt])
        if choices.refused and len(choices.units) > 1:
            return choices, images
    raise AssertionError("no such case")


@pytest.mark.parametrize("seed", range(8))
def test_a_layer_that_does_not_fit_in_mnf_goes_to_flexnn_and_is_refused_where_it_is_pinned(seed):
    choices, images = refusing(seed)
    network, machine = choices.network, choices.machine
    decision = firemesh.run(network, images, machine, "auto", search=QUICK).decision
    assert {decision.modes[name] for name in choices.refused} == {"flexnn"}
    assert decision.pure("mnf") is None and decision.pure("flexnn") is not None
    for name, error in choices.refused.items():
        assert f"layer {name}: " in str(error) and "use a machine with" in str(error)
        for given in ({name: "mnf", "*": "auto"}, {"*": "mnf"}):
            with pytest.raises(MappingError) as found:
                firemesh.run(network, images, machine, given, search=QUICK)
            wanted = {str(refusal) for refusal in choices.refused.values()}
            assert str(found.value) in ({str(error)} if name in given else wanted)
    with pytest.raises(MappingError):
        firemesh.run(network, images, machine, "mnf")


def test_a_layer_that_is_pinned_to_mnf_and_does_not_fit_is_told_at_the_command_line(
    capsys, tmp_path
):
    small = PRESET.replace(mnf__pe__psum_bank_bytes=4, mnf__pe__weight_bytes=(1 << 17) - 16 * 4)
    refusals = make_choices(firemesh.load("digits"), small, None, QUICK).refused
    name, error = next(iter(refusals.items()))
    (tmp_path / "small.yaml").write_text(small.to_yaml(), "utf-8")
    arguments = ("run", "digits", "--frames", "1", "--machine", "small.yaml")
    decision = json.loads(printed(capsys, *arguments, "--json"))["decision"]
    modes = {layer["name"]: layer["mode"] for layer in decision["layers"]}
    assert modes[name] == "flexnn" and decision["totals"]["mnf"] is None
    (tmp_path / "modes.yaml").write_text(f'{name}: mnf\n"*": auto\n', "utf-8")
    assert refused(capsys, *arguments, "--mode", "modes.yaml") == str(error)


def test_a_layer_with_the_name_of_a_conversion_is_refused():
    network = firemesh.load("digits")
    tensor = network.layers[0].output
    layers = list(network.layers)
    layers[1] = replace(layers[1], name=f"{tensor} to zvc")
    named = Network("n", tuple(layers), network.tensors, network.inputs, network.outputs)
    with pytest.raises(MachineError, match="has the name of a conversion; rename the layer$"):
        make_choices(named, PRESET)
