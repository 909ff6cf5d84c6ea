"""The kernels against the plain-Python oracle: cycles, slots, accesses, packets, outputs."""

from collections.abc import Iterator

import numpy as np
from column_accesses import accesses
from hypothesis import HealthCheck, given, settings
from oracle_mnf import Mapping, OracleLayer, OracleMachine, OracleResult, run_wave
from oracle_waves import OracleCut, blocks, waves
from small_layers import Case, cases

from firemesh.emulator.activations import arrived, merged
from firemesh.emulator.interconnect import interconnect
from firemesh.emulator.kinds import Kind
from firemesh.emulator.mnf import run as mnf
from firemesh.emulator.mnf.steps import MnfStep
from firemesh.emulator.shape import weights
from firemesh.emulator.slots import Cause
from firemesh.encoders.events import raster
from firemesh.models.reference import forward
from firemesh.noc.profiles import PROFILES

often = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def router_settings(noc) -> dict | None:
    """Return the settings of a router with virtual channels; None for the simple one."""
    if noc.router == "simple":
        return None
    profile = PROFILES.get(noc.router_name, noc.router)
    return profile.model_dump() | {"vcs": noc.vcs, "buffer_flits": noc.buffer_flits}


def oracle_machine(case: Case, step: MnfStep) -> OracleMachine:
    m, tile = case.plan.machine, step.mapping.tile
    return OracleMachine(
        m.mesh.width, m.mesh.height, m.pe.modules, m.pe.lanes, tile, m.pe.psum_bank_bytes,
        m.pe.event_fifo, m.pe.row_fifo, m.pe.mac_fifo, m.pe.forward_fifo, m.pe.fire_fifo,
        m.pe.weight_latency_cycles, m.pe.forwarding, m.pe.fire_lanes, m.noc.buffer_flits,
        m.noc.multicast, m.noc.flit_bits, m.noc.event_format, m.storage.event_order, m.pe.weights,
        m.pe.row_layout, m.storage.weight_packet_rows, m.storage.ports, m.noc.routing,
        router_settings(m.noc),
    )  # fmt: skip


def oracle_layer(case: Case, step: MnfStep) -> OracleLayer:
    conv, tensors, pool = step.layer, case.plan.network.tensors, step.pool
    x, y = tensors[conv.inputs[0]], tensors[conv.output]
    window = (pool.kernel, pool.strides, pool.pads, pool.dilations) if pool else None
    return OracleLayer(
        x.shape, weights(conv).astype(int), conv.bias, conv.multiplier, conv.strides, conv.pads,
        conv.dilations, conv.groups, x.zero_point, y.zero_point, y.low, y.high, conv.low, conv.high,
        window, case.plan.machine.threshold,
    )  # fmt: skip


def oracle_cuts(case: Case) -> list[OracleCut]:
    """Return the layers on PEs, with the tiles and the cuts that the plan chose."""
    found = []
    for step in mnf_steps(case):
        first, end = step.waves[0].band.outputs
        groups = 1 + max(group.number for group in step.waves[0].mapping.groups)
        parts = oracle_machine(case, step), oracle_layer(case, step)
        found.append(OracleCut(*parts, groups, end - first))
    return found


def mnf_steps(case: Case) -> list[MnfStep]:
    return [step for step in case.plan.steps if isinstance(step, MnfStep)]


def stored_input(case: Case):
    """The input as storage would keep it, had it been fired by a layer."""
    tensor = case.plan.network.tensors["x"]
    channel, y, x = raster(case.codes, tensor.zero_point)
    code = case.codes[channel, y, x].astype(np.int64)
    order = case.plan.machine.storage.event_order
    return arrived(tensor, channel, y, x, code, order, case.plan.regions["x"])


def run_frames(case: Case, frames: int) -> Iterator[tuple[int, mnf.WaveRun, OracleResult]]:
    """Run frames one after another on both; yield (frame, wave run, oracle result) of each wave.

    Layers after one that the host unit computes are left out.
    """
    plan = case.plan
    noc = interconnect(plan.machine)
    cuts = oracle_cuts(case)
    oracle_waves = [
        waves(cut, of_layer)
        for cut, of_layer in zip(cuts, blocks(cuts, plan.machine.pe.weight_rows), strict=True)
    ]
    state, cycle, taken = None, 7, np.zeros(plan.machine.n_pes, np.int64)
    for frame in range(frames):
        inputs = stored_input(case)
        channel, y, x = inputs.coordinates
        columns = channel, y, x, inputs.code, inputs.address
        events = [tuple(map(int, event)) for event in zip(*columns, strict=True)]
        for step, cut, of_step in zip(plan.steps, cuts, oracle_waves, strict=False):
            if not isinstance(step, MnfStep):
                break
            layer = mnf.Layer(plan, step, noc, inputs, cycle, taken)
            outputs, fired = [], []
            for run, wave in zip(layer.waves(), of_step, strict=True):
                base = plan.regions[step.output]
                oracle = run_wave(cut.machine, cut.layer, wave, events, cycle, state, base)
                yield frame, run, oracle
                state, cycle = oracle.state, oracle.cycle1
                outputs.append(run.output)
                fired += oracle.fired
            inputs, taken = merged(outputs), layer.taken
            events = sorted((event[1:] for event in fired), key=lambda event: event[-1])
            assert layer.cycle == cycle
        cycle += case.pause_cycles


def packets_of(run):
    columns, packets = run.columns, run.packets
    delivered = {}
    for node in range(len(columns.received)):
        for i in range(columns.received[node]):
            number = int(columns.received_packet[node, i])
            delivered.setdefault(number, []).append(
                (node, run.cycle0 + int(columns.received_cycle[node, i]))
            )
    names = {Kind.EVENT: "event", Kind.END: "end", Kind.FIRED: "fired", Kind.FIRED_END: "fired_end"}
    return [
        (n, names[Kind(packets.kind[n])], int(packets.source[n]), int(packets.created[n]),
         int(packets.flits[n]), tuple(delivered.get(n, ())))
        for n in range(len(packets.source))
    ]  # fmt: skip


def loads_of(run):
    if run.load is None:
        return []
    packets, load = run.load.packets, run.load
    return [
        (n, "weights", int(packets.source[n]), int(packets.created[n]), int(packets.flits[n]),
         ((int(load.pe[packets.item[n]]) + 1, int(load.arrived[n])),))
        for n in range(len(packets.source))
    ]  # fmt: skip


def check(case: Case, run, oracle):
    assert (run.cycle0, run.cycle1) == (oracle.cycle0, oracle.cycle1)
    assert np.array_equal(run.sums, oracle.psums)
    if run.wave.fires:
        assert np.array_equal(run.codes, oracle.codes)
    channel, y, x = run.output.coordinates
    columns = channel, y, x, run.output.code, run.output.address
    fired = [tuple(map(int, each)) for each in zip(*columns, strict=True)]
    assert fired == sorted((each[1:] for each in oracle.fired), key=lambda each: each[-1])
    slots = {
        (p + 1, cause.name.lower()): int(n)
        for p, row in enumerate(run.columns.slots)
        for cause, n in zip(Cause, row, strict=True)
        if n
    }
    assert slots == {key: n for key, n in oracle.slots.items() if n}
    assert packets_of(run) == oracle.packets
    assert loads_of(run) == oracle.loads
    links = {(int(n), int(o)): int(run.link_flits[n, o]) for n, o in np.argwhere(run.link_flits)}
    assert links == {key: n for key, n in oracle.link_flits.items() if n}
    assert accesses(case.plan, run) == oracle.accesses


def dense(case: Case, step: MnfStep, outputs):
    """Return the codes of the waves' outputs together."""
    return merged(outputs).dense().reshape(case.plan.network.tensors[step.output].shape)


def compare(case: Case, frames: int = 2):
    """Run a case on both and compare all."""
    outputs = {}
    for frame, run, oracle in run_frames(case, frames):
        check(case, run, oracle)
        outputs.setdefault((frame, run.step.name), []).append((run.step, run.output))
    machine, network = case.plan.machine, case.plan.network
    tensors = forward(network, case.codes[None], machine.threshold)
    for of_layer in outputs.values():
        step = of_layer[0][0]
        found = dense(case, step, [output for _, output in of_layer])
        assert np.array_equal(found, tensors[step.output][0])


@often
@given(case=cases())
def test_kernels_equal_the_oracle_cycle_for_cycle(case):
    compare(case)


@settings(often, max_examples=50)
@given(case=cases(noc__router="simple", noc__buffer_flits=1, noc__flit_bits=16))
def test_kernels_equal_the_oracle_where_flits_come_every_other_cycle(case):
    compare(case)


def check_cut(case: Case):
    """Compare a plan's waves and blocks with those of the page."""
    plan = case.plan
    pe, cuts = plan.machine.pe, oracle_cuts(case)
    n_dram = 0
    for step, cut, of_layer in zip(
        mnf_steps(case), cuts, blocks(cuts, pe.weight_rows), strict=True
    ):
        nodes = range(1, plan.machine.n_pes + 1)
        assert step.residency.value == of_layer[0].residency
        assert len(step.blocks) == len(of_layer)
        for block, wanted in zip(step.blocks, of_layer, strict=True):
            assert block.channels == wanted.channels
            n_rows = [wanted.n_places.get(node, 0) for node in nodes]
            assert block.n_rows.tolist() == n_rows
            n_dram += sum(n_rows)
            for node in wanted.rows:
                row = wanted.row_base[node]
                assert row + wanted.n_places[node] <= pe.weight_rows
                assert block.row_base[node - 1] == row
                assert block.pointer_base[node - 1] == wanted.pointer_base[node]
                assert block.bias_base[node - 1] == wanted.bias_base[node]
                assert block.dram_base[node - 1] == wanted.dram_base[node] * pe.multipliers
        of_step = waves(cut, of_layer)
        assert len(step.waves) == len(of_step)
        for wave, wanted in zip(step.waves, of_step, strict=True):
            assert (wave.number, wave.begins, wave.fires) == (
                wanted.number, wanted.begins, wanted.fires
            )  # fmt: skip
            assert (wave.band.rows, wave.band.outputs) == (wanted.rows, wanted.outputs)
            assert wave.channels == wanted.channels
            mapping = Mapping(cut.machine, cut.layer, wanted)
            held = {}
            for group in wave.mapping.groups:
                filters = list(range(group.first, group.first + group.size))
                held.setdefault(group.pe + 1, {})[group.number] = filters
            assert held == {
                node: {number: filters for number, (_, filters) in enumerate(groups)}
                for node, groups in mapping.held.items()
            }
            most = max(map(len, mapping.held.values()))
            assert most * mapping.n_words <= pe.bank_words
    assert plan.dram_bytes == n_dram * pe.multipliers


@often
@given(case=cases())
def test_layers_are_cut_as_the_page_says(case):
    check_cut(case)
