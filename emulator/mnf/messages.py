"""What storage sends in a wave: its events, and the end-of-data messages."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...encoders import bits
from ...encoders.events import conv_events
from ...noc.network import Network
from ..activations import Activations
from ..arrays import I64x1
from ..kinds import STORAGE_NODE
from .machine import Machine
from .mapping import Mapping
from .state import Event
from .waves import Range


class Messages(NamedTuple):
    """Messages of a wave; arrays as in `firemesh.emulator.mnf.state.LayerArrays`."""

    source: I64x1
    """[events]: which of the layer's input activations it is."""
    address: I64x1
    """[events]: address in storage."""
    event: NDArray[np.int32]
    message_set: I64x1
    end_count: I64x1
    sets: list[tuple[int, ...]]
    """Nodes of each set."""
    n_sent: I64x1
    """[P]"""


def encode(
    mapping: Mapping, activations: Activations, channels: Range
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return which activations are events, and their columns.

    Parameters
    ----------
    mapping : Mapping
        Of a wave.
    activations : Activations
        The layer's input.
    channels : (int, int)
        Input channels of each convolution group that the wave takes.

    Returns
    -------
    source : int64[n_events]
    event : int32[n_events, 10]
        Columns of `firemesh.emulator.mnf.state.Event`.
    """
    window, shape = mapping.shape.window, mapping.shape
    channel, y, x = activations.coordinates
    is_held = np.array([bool(pes) for pes in mapping.holders])
    conv_group, local = np.divmod(channel, shape.group_channels)
    taken = np.flatnonzero(is_held[conv_group] & (local >= channels[0]) & (local < channels[1]))
    events = conv_events(channel[taken], y[taken], x[taken], window)
    source = taken[events.source]
    columns = np.empty((len(source), len(Event)), np.int32)
    columns[:, Event.CODE] = activations.code[source]
    columns[:, Event.CHANNEL] = events.channel
    low_y, low_x = np.divmod(events.start_neuron, window.ofmap[1])
    kernel_y, kernel_x = np.divmod(events.start_weight, window.kernel[1])
    columns[:, Event.LOW_Y], columns[:, Event.LOW_X] = low_y, low_x
    columns[:, Event.JUMP_Y], columns[:, Event.JUMP_X] = events.y_jump, events.x_jump
    columns[:, Event.TAP_Y] = kernel_y // window.kernel_step(0)
    columns[:, Event.TAP_X] = kernel_x // window.kernel_step(1)
    phase_y = kernel_y * window.dilations[0] % window.strides[0]
    phase_x = kernel_x * window.dilations[1] % window.strides[1]
    columns[:, Event.PHASE] = phase_y * window.strides[1] + phase_x
    taps_y, taps_x = np.array(shape.taps(0))[phase_y], np.array(shape.taps(1))[phase_x]
    columns[:, Event.IS_WHOLE] = (events.y_jump + 1 == taps_y) & (events.x_jump + 1 == taps_x)
    return source, columns


def make_messages(mapping: Mapping, activations: Activations, channels: Range) -> Messages:
    """Return what storage sends in a wave: events in storage order, then end-of-data messages.

    PEs that are sent the same number of events share one end-of-data message; classes come in
    ascending order of that number.
    """
    source, event = encode(mapping, activations, channels)
    conv_group = event[:, Event.CHANNEL] // mapping.shape.group_channels
    per_group = np.bincount(conv_group, minlength=mapping.shape.groups)
    n_sent = np.zeros(mapping.n_pes, np.int64)
    sets: list[tuple[int, ...]] = []
    for group, holders in enumerate(mapping.holders):
        sets.append(tuple(pe + 1 for pe in holders))
        n_sent[list(holders)] += per_group[group]
    active = sorted({part.pe for part in mapping.groups})
    ends = sorted({int(n_sent[pe]) for pe in active})
    for n in ends:
        sets.append(tuple(pe + 1 for pe in active if n_sent[pe] == n))
    message_set = np.concatenate([conv_group, mapping.shape.groups + np.arange(len(ends))])
    ends_sent = np.array(ends, np.int64)
    return Messages(
        source, activations.address[source], event, message_set, ends_sent, sets, n_sent
    )


class Destinations(NamedTuple):
    """Sets of PEs as the network knows them; arrays as in `LayerArrays` of `.state`."""

    set_first: I64x1
    set_member: I64x1
    set_tree: I64x1
    chain_next: NDArray[np.int64]
    single: I64x1


def declare(network: Network, sets: list[tuple[int, ...]], multicast: str) -> Destinations:
    """Declare to the network every set of nodes that packets will go to."""
    n = network.n_nodes
    single = np.full(n, -1, np.int64)
    tree = np.full(len(sets), -1, np.int64)
    chain = np.full((len(sets), n), -1, np.int64)
    snake = network.snake
    for node in range(1, n):
        single[STORAGE_NODE] = network.destinations(node, (STORAGE_NODE,))
    for number, members in enumerate(sets):
        if not members:
            continue
        if multicast == "tree":
            tree[number] = network.destinations(STORAGE_NODE, members)
            continue
        path = [STORAGE_NODE, *(node for node in snake if node in members)]
        for before, after in zip(path, path[1:], strict=False):
            chain[number, before] = after
            source = before if multicast == "chain" else STORAGE_NODE
            single[after] = network.destinations(source, (after,))
    return Destinations(
        np.cumsum([0, *(len(members) for members in sets)]),
        np.array([node for members in sets for node in members], np.int64),
        tree,
        chain,
        single,
    )


def flits_of(mapping: Mapping, fired: tuple[int, int, int], machine: Machine) -> tuple[int, int]:
    """Return flits per message from storage, and per packet to storage.

    Parameters
    ----------
    mapping : Mapping
    fired : (int, int, int)
        Shape of the tensor that the layer fires.
    machine : Machine
    """
    shape, noc = mapping.shape, machine.noc
    volume = (shape.channels, shape.height, shape.width)
    if noc.event_format == "full":
        fields = bits.event_fields(volume, shape.window)
    else:
        fields = bits.compact_fields(volume)
    destinations = machine.mesh.n_nodes if noc.multicast == "tree" else 0
    return (
        bits.flits(bits.message_bits(fields, destinations), noc.flit_bits),
        bits.flits(bits.message_bits(bits.compact_fields(fired)), noc.flit_bits),
    )
