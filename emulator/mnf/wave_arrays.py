"""What the kernels get for a wave: its parameters, arrays, first state and empty columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.network import Network
from ..arrays import build
from ..kinds import Memory
from ..slots import Cause
from .fire import FireOrder
from .machine import Machine
from .messages import Destinations, Messages, flits_of
from .rows import Rows
from .state import (
    Clock,
    Columns,
    Field,
    Flow,
    LayerArrays,
    Multicast,
    Params,
    PeState,
    Place,
    Ring,
)
from .steps import MnfStep
from .waves import Wave

LONG_AGO = 8
"""Cycles before the first one in which, as a wave begins, everything has been done."""


def params(
    step: MnfStep,
    wave: Wave,
    rows: Rows,
    machine: Machine,
    network: Network,
    messages: Messages,
    fired: tuple[int, int, int],
    cycle: int,
) -> Params:
    """Return the numbers of machine and wave; ``cycle`` is the first one."""
    pe, shape, mapping, layer = machine.pe, wave.mapping.shape, wave.mapping, step.layer
    x, y = network.tensors[layer.inputs[0]], network.tensors[layer.output]
    flits = flits_of(step.mapping, fired, machine)
    window, pool = shape.window, wave.pool
    return build(
        Params,
        modules=pe.modules,
        lanes=pe.lanes,
        n_positions=rows.weight.shape[1],
        group_filters=rows.weight.shape[2],
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
        threshold=machine.threshold_of(layer.name) if network.has_relu(layer) else -1,
        origin=cycle,
        most_rows=int(np.diff(rows.pointer).max(initial=0)),
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


def _row_totals(rows: Rows, machine: Machine) -> NDArray[np.int64]:
    """Return int64[rows, 4] by `Total`."""
    exists = rows.place[:, :, Place.SLOT] >= 0
    size = rows.place[:, :, Place.SIZE] * exists
    psums = 1 if machine.pe.weights == "ideal" else machine.pe.lanes
    parts = (exists, size, rows.effectual, -(-size // psums))
    return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=1)


def _row_offsets(wave: Wave, rows: Rows) -> NDArray[np.int64]:
    """Return int64[rows, positions]: where an event with reach 0 meets each position."""
    place, window = rows.place.astype(np.int64), wave.mapping.shape.window
    n_slots = wave.mapping.most_groups * wave.mapping.filters
    row = place[:, :, Place.TAP_Y] * window.ofmap_step(0) * window.ofmap[1]
    column = place[:, :, Place.TAP_X] * window.ofmap_step(1)
    offset: NDArray[np.int64] = place[:, :, Place.SLOT] - (row + column) * n_slots
    return offset


def layer_arrays(
    step: MnfStep,
    wave: Wave,
    rows: Rows,
    machine: Machine,
    messages: Messages,
    destinations: Destinations,
    fire: FireOrder,
) -> LayerArrays:
    """Return the wave as the PEs hold it, and the messages that storage sends."""
    mapping = wave.mapping
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
        row_total=_row_totals(rows, machine),
        row_offset=_row_offsets(wave, rows),
        slot_filter=slot_filter,
        bias=step.layer.bias,
        multiplier=step.layer.multiplier,
        **destinations._asdict(),
        **fire._asdict(),
    )


def state(
    wave: Wave,
    rows: Rows,
    machine: Machine,
    fire: FireOrder,
    cycle: int,
    psum: NDArray[np.int32] | None,
) -> PeState:
    """Return the state at the beginning of cycle ``cycle``.

    Parameters
    ----------
    wave : Wave
    rows : Rows
    machine : Machine
    fire : FireOrder
    cycle : int
    psum : int32[P, OH * OW * filter slots] or None
        What the wave before left; None where psums begin with 0.
    """
    pe, n_pes = machine.pe, machine.n_pes
    height, width = wave.mapping.shape.window.ofmap
    slots = wave.mapping.most_groups * wave.mapping.filters
    before = cycle - LONG_AGO
    depth = np.zeros(len(Ring), np.int64)
    depth[Ring.EVENTS], depth[Ring.FORWARD] = pe.event_fifo, pe.forward_fifo
    depth[Ring.GROUPS] = pe.fire_fifo
    fields = np.zeros((n_pes, len(Field)), np.int64)
    fields[:, Field.END] = -1
    fields[:, Field.LAST_READ] = fields[:, Field.DISPATCHED] = fields[:, Field.NEXT] = before
    fields[:, Field.CHUNK] = fire.chunk_first[:-1]
    flight = np.zeros((n_pes, 3, 2 + rows.weight.shape[1]), np.int64)
    flight[:, :, 0] = before
    clock = np.zeros(len(Clock), np.int64)
    clock[Clock.CYCLE] = clock[Clock.ACTIVE] = cycle
    return build(
        PeState,
        psum=np.zeros((n_pes, height * width * slots), np.int32) if psum is None else psum,
        codes=np.zeros((wave.mapping.shape.filters, height, width), np.int16),
        pe=fields,
        fifo=np.zeros((n_pes, len(Ring), depth.max()), np.int64),
        ring=np.zeros((n_pes, len(Ring), 2), np.int64),
        depth=depth,
        moved=np.full((n_pes, 2, max(pe.row_fifo, pe.mac_fifo)), before),
        flight=flight,
        bank=np.zeros((n_pes, pe.modules), np.int64),
        waiting=np.zeros((n_pes, pe.fire_fifo * fire.most_outputs, 4), np.int32),
        waiting_ring=np.zeros((n_pes, 2), np.int64),
        flow=np.zeros(len(Flow), np.int64),
        clock=clock,
    )


def columns(n_pes: int, n_messages: int, capacity: int) -> Columns:
    """Return empty columns."""
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


def longer(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return a table twice as long along an axis."""
    return np.concatenate([array, np.zeros_like(array)], axis=axis)


def grown(columns: Columns) -> Columns:
    """Return columns of twice the capacity."""
    doubled = {name: longer(getattr(columns, name), -1) for name in GROWING}
    doubled["fired_output"] = longer(columns.fired_output, 0)
    return columns._replace(**doubled)
