"""Laws of the MNF machine, on random layers and on the zoo."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from column_accesses import accesses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shuffling_network import shuffling
from small_layers import cases
from test_emulator_oracle import stored_input

import firemesh
from firemesh.emulator.activations import Activations
from firemesh.emulator.interconnect import interconnect
from firemesh.emulator.kinds import Kind, Memory
from firemesh.emulator.machine import machine
from firemesh.emulator.mnf import run as mnf
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.slots import Cause
from firemesh.models.network import Linear
from firemesh.models.reference import conv_sums, forward, linear_sums

many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def run(case, inputs=None, noc=None):
    plan = case.plan
    noc = noc or interconnect(plan.machine)
    taken = np.zeros(plan.machine.n_pes, np.int64)
    inputs = stored_input(case) if inputs is None else inputs
    (wave,) = mnf.Layer(plan, plan.steps[0], noc, inputs, 0, taken).waves()
    return wave


def expected(case):
    tensors = forward(case.plan.network, case.codes[None], case.plan.machine.threshold)
    return tensors[case.plan.steps[0].output][0]


def digits_runs(name="digits", frames=2, **changes):
    """Yield (plan, layer run) of each MNF layer of the first frames."""
    emulation = MnfEmulation(firemesh.load(name), machine("mnf-22nm").replace(**changes))
    for frame in emulation.frames(firemesh.images(name, frames)[0]):
        for layer in frame.runs:
            if isinstance(layer, mnf.WaveRun):
                yield emulation.plan, layer


def effectual_products(layer):
    """Return the products of non-zero activations and non-zero weights, counted by convolution."""
    conv, source = layer.step.layer, layer.inputs
    shown = replace(
        conv,
        weight=(
            conv.weight != conv.weight_zero_point.reshape(-1, *[1] * (conv.weight.ndim - 1))
        ).astype(np.int8),
        weight_zero_point=np.zeros_like(conv.weight_zero_point),
        bias=np.zeros_like(conv.bias),
    )
    codes = (source.dense() != source.tensor.zero_point).astype(np.int8)[None]
    if isinstance(conv, Linear):
        return int(linear_sums(shown, codes, 0).sum())
    return int(conv_sums(shown, codes, 0, layer.step.shape.window.ofmap).sum())


def check_slots(plan, layer):
    """Slots of each PE add up, and every product that counts is executed, once."""
    cycles = layer.cycle1 - layer.cycle0
    of_pe = layer.columns.slots.sum(axis=1)
    assert (of_pe == cycles * plan.machine.pe.multipliers).all()
    assert layer.columns.slots[:, Cause.EXECUTED].sum() == effectual_products(layer)


def check_deliveries(plan, layer):
    """Every message reaches each of its destinations exactly once, and nobody else."""
    reached = Counter()
    for node in range(1, plan.machine.mesh.n_nodes):
        for i in range(layer.columns.received[node]):
            packet = layer.columns.received_packet[node, i]
            assert layer.packets.kind[packet] in (Kind.EVENT, Kind.END)
            reached[int(layer.packets.item[packet]), node] += 1
    wanted = {
        (message, node): 1
        for message, group in enumerate(layer.messages.message_set)
        for node in layer.messages.sets[group]
    }
    assert reached == wanted


PORTS = {"storage": 1, "event_fifo": 1, "pointer": 1, "index": 1, "weight": 1, "bias": 1}


def check_accesses(plan, layer):
    """One access per port and cycle; addresses inside their memories; counters equal accesses."""
    pe = plan.machine.pe
    sizes = {
        "storage": plan.storage_bytes,
        "event_fifo": 8 * pe.event_fifo,
        "weight": pe.weight_rows * pe.multipliers,
        "index": 2 * pe.weight_rows,
        "psum": pe.modules * pe.psum_bank_bytes,
    }
    used = Counter()
    counted = Counter()
    for cycle, node, memory, op, address, size in accesses(plan, layer):
        assert layer.cycle0 <= cycle < layer.cycle1
        assert 0 <= address and address + size <= sizes.get(memory, 1 << 40)
        bank = address // pe.psum_bank_bytes if memory == "psum" else 0
        assert (address + size - 1) // pe.psum_bank_bytes == bank or memory != "psum"
        used[cycle, node, memory, op, bank] += 1
        counted[node, memory, op] += 1
        counted[node, memory, op, "bytes"] += size
    for (_, _, memory, op, _), times in used.items():
        ports = plan.machine.storage.ports if (memory, op) == ("storage", "write") else 1
        assert times <= ports or (memory == "psum" and pe.weights == "ideal")
    names = [kind.name.lower() for kind in Memory]
    for (node, memory, op), n in np.ndenumerate(layer.columns.counts):
        key = (node, names[memory], ("read", "write")[op])
        assert counted[key] == n
        assert counted[*key, "bytes"] == layer.columns.bytes[node, memory, op]


@many
@given(case=cases(is_whole=True))
def test_random_layers_keep_every_law(case):
    layer = run(case)
    check_slots(case.plan, layer)
    check_deliveries(case.plan, layer)
    check_accesses(case.plan, layer)
    assert np.array_equal(layer.output.dense(), expected(case))


@pytest.mark.parametrize("multicast", ("tree", "chain", "unicast"))
@pytest.mark.parametrize("name", ("digits", "digits-pruned"))
def test_the_zoo_keeps_every_law(name, multicast):
    n = 0
    for plan, layer in digits_runs(name, noc__multicast=multicast):
        check_slots(plan, layer)
        check_deliveries(plan, layer)
        check_accesses(plan, layer)
        n += 1
    assert n == 8


@pytest.mark.parametrize("changes", ({"pe__row_layout": "linear"}, {"pe__weights": "ideal"}))
@pytest.mark.parametrize("name", ("digits", "digits-pruned"))
def test_other_rows_keep_every_law(name, changes):
    for plan, layer in digits_runs(name, **changes):
        check_slots(plan, layer)
        check_accesses(plan, layer)


def test_linear_rows_lose_slots_to_banks_and_tiles_never_do():
    for layout, loses in (("linear", True), ("tile", False)):
        lost = sum(
            layer.columns.slots[:, Cause.BANK].sum()
            for _, layer in digits_runs(pe__row_layout=layout)
        )
        assert (lost > 0) == loses


@pytest.mark.parametrize("name", ("digits", "digits-pruned"))
def test_ideal_packing_reads_no_more_rows_and_multiplies_no_zero(name):
    pairs = zip(digits_runs(name), digits_runs(name, pe__weights="ideal"), strict=True)
    for (_, rows), (_, ideal) in pairs:
        reads = [run.columns.counts[:, Memory.WEIGHT, 0].sum() for run in (rows, ideal)]
        assert reads[1] <= reads[0]
        assert ideal.columns.slots[:, Cause.INEFFECTUAL].sum() == 0


@pytest.mark.parametrize("fire_lanes", (3, 27))
def test_wide_fire_phases_keep_every_law(fire_lanes):
    for plan, layer in digits_runs(pe__fire_lanes=fire_lanes):
        check_slots(plan, layer)
        check_accesses(plan, layer)


@many
@given(case=cases(is_whole=True), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_events_in_storage_changes_no_result(case, seed):
    inputs = stored_input(case)
    order = np.random.default_rng(seed).permutation(len(inputs.flat))
    shuffled = Activations(
        inputs.tensor, inputs.flat[order], inputs.code[order], inputs.address[order]
    )
    assert np.array_equal(run(case, shuffled).output.dense(), expected(case))


@many
@given(case=cases(is_whole=True, noc__flit_bits=64), seed=st.integers(0, 2**31 - 1))
def test_packets_that_overtake_each_other_change_no_result(case, seed):
    mesh = case.plan.machine.mesh
    layer = run(case, noc=shuffling(mesh.width, mesh.height, seed))
    check_slots(case.plan, layer)
    check_deliveries(case.plan, layer)
    assert np.array_equal(layer.output.dense(), expected(case))


def test_an_end_of_data_that_overtakes_its_events_is_borne():
    """The law above is about something: ends do arrive before events."""
    overtaken = 0
    emulation = MnfEmulation(firemesh.load("digits"), machine("mnf-22nm"))
    emulation._noc = shuffling(4, 3, 1)
    images = firemesh.images("digits", 2)[0]
    outputs = []
    for frame in emulation.frames(images):
        outputs.append(frame.output)
        for layer in frame.runs:
            if isinstance(layer, mnf.WaveRun):
                for node in range(1, 12):
                    got = layer.columns.received_packet[node, : layer.columns.received[node]]
                    kinds = layer.packets.kind[got]
                    overtaken += int((kinds[:-1] == Kind.END).any())
    assert overtaken > 0
    network = firemesh.load("digits")
    assert np.array_equal(outputs, forward(network, images)[network.outputs[0]])


@many
@given(case=cases(is_whole=True, noc__router="simple"), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_routers_changes_nothing(case, seed):
    permuted = interconnect(case.plan.machine)
    permuted.state.order[:] = np.random.default_rng(seed).permutation(permuted.n_nodes)
    one, other = run(case), run(case, noc=permuted)
    assert one.cycle1 == other.cycle1
    assert accesses(case.plan, one) == accesses(case.plan, other)


@many
@given(case=cases(is_whole=True))
def test_two_runs_leave_identical_columns(case):
    one, other = run(case), run(case)
    for name in one.columns._fields:
        assert np.array_equal(getattr(one.columns, name), getattr(other.columns, name)), name
    for name in one.packets._fields:
        assert np.array_equal(getattr(one.packets, name), getattr(other.packets, name)), name


def test_column_tables_that_fill_up_are_grown_without_a_trace(monkeypatch):
    whole = [(layer.cycle1, accesses(plan, layer)) for plan, layer in digits_runs(frames=1)]
    make = mnf.empty_columns
    monkeypatch.setattr(mnf, "empty_columns", lambda pes, messages, _: make(pes, messages, 1))
    monkeypatch.setattr(mnf, "SLICE_CYCLES", 37)
    grown = [(layer.cycle1, accesses(plan, layer)) for plan, layer in digits_runs(frames=1)]
    assert grown == whole


def test_a_network_that_stops_is_reported():
    emulation = MnfEmulation(firemesh.load("digits"), machine("mnf-22nm"))
    emulation._noc.state.credits[:] = 0
    with pytest.raises(mnf.EngineError, match="layer conv1, cycle .*wedged"):
        list(emulation.frames(firemesh.images("digits", 1)[0]))
