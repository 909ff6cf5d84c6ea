"""The kernels against the plain-Python oracle: cycles, slots, accesses, packets, outputs."""

import numpy as np
from column_accesses import accesses
from hypothesis import HealthCheck, given, settings
from oracle_mnf import OracleLayer, OracleMachine, run_layer
from small_layers import Case, cases

from firemesh.emulator import mnf
from firemesh.emulator.activations import arrived
from firemesh.emulator.shape import weights
from firemesh.emulator.slots import Cause
from firemesh.emulator.state import Kind
from firemesh.encoders.events import raster
from firemesh.noc.network import Network as Interconnect


def oracle_machine(case: Case) -> OracleMachine:
    m, tile = case.plan.machine, case.plan.steps[0].mapping.tile
    return OracleMachine(
        m.mesh.width, m.mesh.height, m.pe.modules, m.pe.lanes, tile, m.pe.psum_bank_bytes,
        m.pe.event_fifo, m.pe.row_fifo, m.pe.mac_fifo, m.pe.forward_fifo, m.pe.fire_fifo,
        m.pe.weight_latency_cycles, m.pe.forwarding, m.pe.fire_lanes, m.noc.buffer_flits,
        m.noc.multicast, m.noc.flit_bits, m.noc.event_format, m.storage.event_order, m.pe.weights,
        m.pe.row_layout,
    )  # fmt: skip


def oracle_layer(case: Case) -> OracleLayer:
    conv, network = case.conv, case.plan.network
    x, y = network.tensors["x"], network.tensors["y"]
    pools = [(p.kernel, p.strides, p.pads, p.dilations) for p in network.layers[1:]]
    return OracleLayer(
        x.shape, weights(conv).astype(int), conv.bias, conv.multiplier, conv.strides, conv.pads,
        conv.dilations, conv.groups, x.zero_point, y.zero_point, y.low, y.high, conv.low, conv.high,
        pools[0] if pools else None, case.plan.machine.threshold,
    )  # fmt: skip


def stored_input(case: Case):
    """The input as storage would keep it, had it been fired by a layer."""
    tensor = case.plan.network.tensors["x"]
    channel, y, x = raster(case.codes, tensor.zero_point)
    code = case.codes[channel, y, x].astype(np.int64)
    order = case.plan.machine.storage.event_order
    return arrived(tensor, channel, y, x, code, order, case.plan.regions["x"])


def run_both(case: Case, frames: int = 1):
    """Run frames one after another on both; yield (layer run, oracle result)."""
    plan = case.plan
    step = plan.steps[0]
    noc = Interconnect(
        plan.machine.mesh.width,
        plan.machine.mesh.height,
        buffer_flits=plan.machine.noc.buffer_flits,
    )
    state, cycle, taken = None, 7, np.zeros(plan.machine.n_pes, np.int64)
    inputs = stored_input(case)
    channel, y, x = inputs.coordinates
    events = [
        tuple(map(int, e)) for e in zip(channel, y, x, inputs.code, inputs.address, strict=True)
    ]
    for _ in range(frames):
        (run,) = mnf.Layer(plan, step, noc, inputs, cycle, taken).waves()
        base = plan.regions[step.output]
        if state is not None:
            for memory in (state.row_base, state.pointer_base, state.bias_base):
                memory.clear()
        oracle = run_layer(
            oracle_machine(case), oracle_layer(case), events, cycle, state, output_base=base
        )
        yield run, oracle
        state, cycle, taken = oracle.state, run.cycle1, taken + run.columns.taken


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


def check(case: Case, run, oracle):
    assert (run.cycle0, run.cycle1) == (oracle.cycle0, oracle.cycle1)
    assert np.array_equal(run.sums, oracle.psums)
    assert np.array_equal(run.codes, oracle.codes)
    assert np.array_equal(run.output.dense().reshape(oracle.output.shape), oracle.output)
    slots = {
        (p + 1, cause.name.lower()): int(n)
        for p, row in enumerate(run.columns.slots)
        for cause, n in zip(Cause, row, strict=True)
        if n
    }
    assert slots == {key: n for key, n in oracle.slots.items() if n}
    assert packets_of(run) == oracle.packets
    links = {(int(n), int(o)): int(run.link_flits[n, o]) for n, o in np.argwhere(run.link_flits)}
    assert links == {key: n for key, n in oracle.link_flits.items() if n}
    assert accesses(case.plan, run) == oracle.accesses


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_kernels_equal_the_oracle_cycle_for_cycle(case):
    for run, oracle in run_both(case):
        check(case, run, oracle)
