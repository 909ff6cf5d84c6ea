"""Mode MNF: runs one layer of one frame on PEs, network and storage, cycle by cycle."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Network
from ..noc.network import Network as Interconnect
from ..noc.router import Packets, make_packets
from .activations import Activations, arrived, volume
from .engine import SENTENCES, EngineStatus, advance
from .fire import FireOrder, fire_order
from .machine import Machine
from .messages import Destinations, Messages, declare, flits_of, make_messages
from .pe import cycle_of_pes
from .plan import MnfStep, Plan
from .slots import Cause
from .state import (
    Clock,
    Columns,
    Field,
    Flow,
    Kind,
    LayerArrays,
    Memory,
    Multicast,
    Params,
    PeState,
    Place,
    Ring,
    build,
)

SLICE_CYCLES = 1 << 16
"""Cycles after which the engine comes back to Python, so that a run can be ended."""


class EngineError(RuntimeError):
    """A run that cannot go on; one sentence with layer and cycle."""


@dataclass(frozen=True)
class LayerRun:
    """What a layer left behind.

    Parameters
    ----------
    step : MnfStep
    inputs : Activations
    cycle0, cycle1 : int
        First cycle, and the one after the last.
    messages : Messages
    fire : FireOrder
    packets : Packets
        Cut to the packets created.
    columns : Columns
    state : PeState
        At the end.
    link_flits : int64[n_nodes, 5]
        Flits sent by each output in this layer.
    fifo_base : int64[n_pes]
        Messages that each PE had taken before this layer.
    output : Activations
    """

    step: MnfStep
    inputs: Activations
    cycle0: int
    cycle1: int
    messages: Messages
    fire: FireOrder
    packets: Packets
    columns: Columns
    state: PeState
    link_flits: NDArray[np.int64]
    fifo_base: NDArray[np.int64]
    output: Activations

    @property
    def codes(self) -> NDArray[np.int16]:
        """int16[k, oh, ow]: the layer's codes before pooling."""
        return self.state.codes

    @property
    def sums(self) -> NDArray[np.int32]:
        """int32[k, oh, ow]: the psums that the PEs accumulated, without bias."""
        mapping = self.step.mapping
        sums = np.empty(self.state.codes.shape, np.int32)
        psum = self.state.psum.reshape(len(self.state.psum), *sums.shape[1:], -1)
        for group in mapping.groups:
            slot = group.number * mapping.filters
            part = psum[group.pe, :, :, slot : slot + group.size]
            sums[group.first : group.first + group.size] = part.transpose(2, 0, 1)
        return sums


def _params(
    step: MnfStep,
    machine: Machine,
    network: Network,
    messages: Messages,
    fired: tuple[int, int, int],
    cycle: int,
) -> Params:
    pe, shape, mapping, layer = machine.pe, step.shape, step.mapping, step.layer
    x, y = network.tensors[layer.inputs[0]], network.tensors[layer.output]
    flits = flits_of(mapping, fired, machine)
    window, pool = shape.window, step.window
    return build(
        Params,
        modules=pe.modules,
        lanes=pe.lanes,
        n_positions=step.rows.weight.shape[1],
        group_filters=step.rows.weight.shape[2],
        word_psums=1 if pe.weights == "ideal" else pe.lanes,
        is_linear=mapping.is_linear,
        ofmap_width=window.ofmap[1],
        n_slots=mapping.most_groups * mapping.filters,
        row_fifo=pe.row_fifo,
        mac_fifo=pe.mac_fifo,
        weight_latency=pe.weight_latency_cycles,
        forwarding=pe.forwarding,
        fire_lanes=pe.fire_lanes,
        multicast=Multicast[machine.noc.multicast.upper()],
        n_events=len(messages.event),
        n_messages=len(messages.message_set),
        n_phases=window.strides[0] * window.strides[1],
        step_y=window.ofmap_step(0),
        step_x=window.ofmap_step(1),
        group_channels=shape.group_channels,
        zero_in=x.zero_point,
        zero_out=y.zero_point,
        type_low=y.low,
        type_high=y.high,
        low=layer.low,
        high=layer.high,
        threshold=machine.threshold if network.has_relu(layer) else -1,
        origin=cycle,
        most_rows=int(np.diff(step.rows.pointer).max(initial=0)),
        event_flits=flits[0],
        fired_flits=flits[1],
        pool_kernel_y=pool.kernel[0],
        pool_kernel_x=pool.kernel[1],
        pool_stride_y=pool.strides[0],
        pool_stride_x=pool.strides[1],
        pool_pad_y=pool.pads[0],
        pool_pad_x=pool.pads[1],
        pool_dilation_y=pool.dilations[0],
        pool_dilation_x=pool.dilations[1],
    )


def _row_totals(step: MnfStep, machine: Machine) -> NDArray[np.int64]:
    """Return int64[rows, 4] by `Total`."""
    exists = step.rows.place[:, :, Place.SLOT] >= 0
    size = step.rows.place[:, :, Place.SIZE] * exists
    psums = 1 if machine.pe.weights == "ideal" else machine.pe.lanes
    parts = (exists, size, step.rows.effectual, -(-size // psums))
    return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=1)


def _row_offsets(step: MnfStep) -> NDArray[np.int64]:
    """Return int64[rows, positions]: where an event with reach 0 meets each position."""
    place, window = step.rows.place.astype(np.int64), step.shape.window
    n_slots = step.mapping.most_groups * step.mapping.filters
    rows = place[:, :, Place.TAP_Y] * window.ofmap_step(0) * window.ofmap[1]
    columns = place[:, :, Place.TAP_X] * window.ofmap_step(1)
    offset: NDArray[np.int64] = place[:, :, Place.SLOT] - (rows + columns) * n_slots
    return offset


def _layer_arrays(
    step: MnfStep, machine: Machine, messages: Messages, destinations: Destinations, fire: FireOrder
) -> LayerArrays:
    mapping, rows = step.mapping, step.rows
    slots = (mapping.n_pes, mapping.most_groups * mapping.filters)
    slot_filter = np.full(slots, -1, np.int64)
    for group in mapping.groups:
        slot = group.number * mapping.filters
        slot_filter[group.pe, slot : slot + group.size] = group.first + np.arange(group.size)
    return build(
        LayerArrays,
        event=messages.event,
        message_set=messages.message_set,
        end_count=messages.end_count,
        is_active=(slot_filter >= 0).any(axis=1),
        n_sent=messages.n_sent,
        group_rank=rows.group_rank,
        pointer_first=rows.pointer_first[:-1],
        pointer=rows.pointer,
        row=rows.place,
        row_weight=rows.weight,
        row_effectual=rows.effectual,
        row_total=_row_totals(step, machine),
        row_offset=_row_offsets(step),
        slot_filter=slot_filter,
        bias=step.layer.bias,
        multiplier=step.layer.multiplier,
        **destinations._asdict(),
        **fire._asdict(),
    )


def _state(step: MnfStep, machine: Machine, fire: FireOrder, cycle: int) -> PeState:
    pe, n_pes, n_nodes = machine.pe, machine.n_pes, machine.mesh.n_nodes
    height, width = step.shape.window.ofmap
    slots = step.mapping.most_groups * step.mapping.filters
    depth = np.zeros(len(Ring), np.int64)
    depth[Ring.EVENTS], depth[Ring.FORWARD] = pe.event_fifo, pe.forward_fifo
    depth[Ring.GROUPS] = pe.fire_fifo
    fields = np.zeros((n_pes, len(Field)), np.int64)
    fields[:, Field.END] = -1
    fields[:, Field.LAST_READ] = fields[:, Field.DISPATCHED] = fields[:, Field.NEXT] = cycle - 8
    flight = np.zeros((n_pes, 3, 2 + step.rows.weight.shape[1]), np.int64)
    flight[:, :, 0] = cycle - 8
    fields[:, Field.CHUNK] = fire.chunk_first[:-1]
    clock = np.zeros(len(Clock), np.int64)
    clock[Clock.CYCLE] = clock[Clock.ACTIVE] = cycle
    return build(
        PeState,
        psum=np.zeros((n_pes, height * width * slots), np.int32),
        codes=np.zeros((step.shape.filters, height, width), np.int16),
        pe=fields,
        fifo=np.zeros((n_pes, len(Ring), depth.max()), np.int64),
        ring=np.zeros((n_pes, len(Ring), 2), np.int64),
        depth=depth,
        moved=np.full((n_pes, 2, max(pe.row_fifo, pe.mac_fifo)), cycle - 8),
        flight=flight,
        bank=np.zeros((n_pes, pe.modules), np.int64),
        waiting=np.zeros((n_pes, pe.fire_fifo * fire.most_outputs, 4), np.int32),
        waiting_ring=np.zeros((n_pes, 2), np.int64),
        got=np.zeros((n_nodes, n_nodes), np.int64),
        flow=np.zeros(len(Flow), np.int64),
        clock=clock,
    )


def _columns(n_pes: int, n_messages: int, capacity: int) -> Columns:
    n_nodes = n_pes + 1
    return build(
        Columns,
        slots=np.zeros((n_pes, len(Cause)), np.int64),
        counts=np.zeros((n_nodes, len(Memory), 2), np.int64),
        bytes=np.zeros((n_nodes, len(Memory), 2), np.int64),
        received=np.zeros(n_nodes, np.int64),
        received_cycle=np.zeros((n_nodes, capacity), np.int32),
        received_packet=np.zeros((n_nodes, capacity), np.int32),
        taken=np.zeros(n_pes, np.int64),
        taken_cycle=np.zeros((n_pes, n_messages), np.int32),
        bursts=np.zeros((3, n_pes), np.int64),
        burst_cycle=np.zeros((3, n_pes, capacity), np.int32),
        burst_first=np.zeros((3, n_pes, capacity), np.int32),
        burst_count=np.zeros((3, n_pes, capacity), np.int32),
        burst_message=np.zeros((3, n_pes, capacity), np.int32),
        fired=np.zeros(1, np.int64),
        fired_output=np.zeros((capacity, 4), np.int32),
    )


GROWING = (
    "received_cycle",
    "received_packet",
    "burst_cycle",
    "burst_first",
    "burst_count",
    "burst_message",
)


def _longer(array: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)], axis=axis)


def _grown(columns: Columns) -> Columns:
    longer = {name: _longer(getattr(columns, name), -1) for name in GROWING}
    longer["fired_output"] = _longer(columns.fired_output, 0)
    return columns._replace(**longer)


def _run_engine(
    noc: Interconnect,
    q: Params,
    la: LayerArrays,
    s: PeState,
    columns: Columns,
    tick: Callable[[], None],
) -> tuple[Packets, Columns, EngineStatus]:
    packets = make_packets(2 * q.n_messages + 64)
    while True:
        status = EngineStatus(
            advance(
                noc.step,
                noc.state,
                cycle_of_pes,
                q,
                la,
                s,
                noc.ports,
                packets,
                columns,
                int(s.clock[Clock.CYCLE]) + SLICE_CYCLES,
            )
        )
        if status == EngineStatus.GROW:
            packets = Packets(*(_longer(column, 0) for column in packets))
            columns = _grown(columns)
        elif status == EngineStatus.UNTIL:
            tick()
        else:
            n = int(s.clock[Clock.PACKETS])
            return Packets(*(column[:n] for column in packets)), columns, status


def fired_packets(packets: Packets, columns: Columns) -> NDArray[np.int32]:
    """Return the packets of outputs in their order of arrival at storage."""
    packet = columns.received_packet[0, : columns.received[0]]
    found: NDArray[np.int32] = packet[packets.kind[packet] == Kind.FIRED]
    return found


def run_layer(
    plan: Plan,
    step: MnfStep,
    noc: Interconnect,
    activations: Activations,
    cycle: int,
    fifo_base: NDArray[np.int64],
    tick: Callable[[], None] = lambda: None,
) -> LayerRun:
    """Run a layer.

    Parameters
    ----------
    plan : Plan
    step : MnfStep
    noc : firemesh.noc.network.Network
        Idle; its state goes on from layer to layer.
    activations : Activations
        The layer's input.
    cycle : int
        First cycle of the layer.
    fifo_base : int64[n_pes]
        Messages that each PE took before.
    tick : callable
        Called now and then, at least every `SLICE_CYCLES` cycles; may raise to end the run.

    Raises
    ------
    EngineError
        When network and PEs come to a halt.
    """
    machine, network = plan.machine, plan.network
    tensor = network.tensors[step.output]
    fired = volume(tensor)
    messages = make_messages(step.mapping, activations)
    destinations = declare(noc, messages.sets, machine.noc.multicast)
    fire = fire_order(step.mapping, machine.pe.fire_lanes, step.window, fired[1:])
    q = _params(step, machine, network, messages, fired, cycle)
    la = _layer_arrays(step, machine, messages, destinations, fire)
    s = _state(step, machine, fire, cycle)
    columns = _columns(machine.n_pes, q.n_messages, q.n_messages + 64)
    noc.ports.tx[:] = noc.ports.rx[:] = -1
    noc.ports.ready[:] = np.concatenate([[1], la.is_active])
    flits_before = noc.state.link_flits.copy()
    packets, columns, status = _run_engine(noc, q, la, s, columns, tick)
    if status != EngineStatus.DONE:
        at = int(s.clock[Clock.CYCLE])
        raise EngineError(f"layer {step.name}, cycle {at}: {SENTENCES[status]}")
    which = packets.item[fired_packets(packets, columns)]
    channel, y, x, code = columns.fired_output[which].astype(np.int64).T
    order = machine.storage.event_order
    base = plan.regions[step.output]
    return LayerRun(
        step,
        activations,
        cycle,
        int(s.clock[Clock.CYCLE]),
        messages,
        fire,
        packets,
        columns,
        s,
        noc.state.link_flits - flits_before,
        fifo_base,
        arrived(tensor, channel, y, x, code, order, base),
    )
