"""The arrays that the PE and engine kernels work on.

`Params` and `LayerArrays` are fixed for a layer, `PeState` changes from cycle to cycle, `Columns`
is what the kernels leave behind: counters, slots, and the start cycles from which every access can
be told. P = PEs (PE ``p`` is node ``p + 1``), N = nodes, F = filters of a filter group.
"""

from enum import IntEnum
from typing import NamedTuple

from ..arrays import F32x1, I16x3, I32x1, I32x2, I32x3, I64x1, I64x2, I64x3, U8x1


class Burst(IntEnum):
    """Kinds of bursts: runs of accesses in consecutive cycles."""

    LOAD = 0
    """Rows read; ``first`` is the row, ``message`` the event."""
    MAC = 1
    """Rows issued; likewise."""
    FIRE = 2
    """Scan steps; ``first`` is chunk * n_steps + step."""


class Multicast(IntEnum):
    """How a message reaches several PEs."""

    TREE = 0
    CHAIN = 1
    UNICAST = 2


class Params(NamedTuple):
    """Numbers of machine and layer."""

    modules: int
    lanes: int
    n_positions: int
    """Positions of a row."""
    group_filters: int
    """Filters of a position: F, or 1 with packed rows."""
    word_psums: int
    """Psums of one access of a row: L, or 1 with packed rows."""
    is_linear: int
    """Whether rows are runs in raster order, which may want several words of a module."""
    ofmap_width: int
    n_slots: int
    """Filter slots of a PE."""
    row_fifo: int
    mac_fifo: int
    weight_latency: int
    forwarding: int
    fire_lanes: int
    multicast: int
    n_events: int
    n_messages: int
    n_phases: int
    step_y: int
    """Distance of the ofmap rows of consecutive taps."""
    step_x: int
    group_channels: int
    zero_in: int
    zero_out: int
    type_low: int
    type_high: int
    low: int
    high: int
    threshold: int
    """-1 when the layer has none."""
    origin: int
    """First cycle; those in `Columns` count from it."""
    most_rows: int
    """Rows of an event in a PE, at most."""
    event_flits: int
    fired_flits: int
    pool_kernel_y: int
    pool_kernel_x: int
    pool_stride_y: int
    pool_stride_x: int
    pool_pad_y: int
    pool_pad_x: int
    pool_dilation_y: int
    pool_dilation_x: int


class Event(IntEnum):
    """Columns of `LayerArrays.event`."""

    CODE = 0
    """The activation's code."""
    CHANNEL = 1
    PHASE = 2
    """``phase_y*phases_x + phase_x``."""
    LOW_Y = 3
    """First ofmap row that the event reaches."""
    LOW_X = 4
    TAP_Y = 5
    """Tap that meets ``LOW_Y``; tap ``TAP_Y - j`` meets ``LOW_Y + j*step_y``."""
    TAP_X = 6
    JUMP_Y = 7
    JUMP_X = 8
    IS_WHOLE = 9
    """Whether it touches all taps of its phase."""


class Place(IntEnum):
    """Columns of `LayerArrays.row`."""

    TAP_Y = 0
    TAP_X = 1
    SLOT = 2
    """First filter slot of the PE, -1 where the row has no such position."""
    SIZE = 3
    """Filters that exist."""


class Total(IntEnum):
    """Columns of `LayerArrays.row_total`, over all positions of a row."""

    POSITIONS = 0
    """Positions that exist."""
    PRODUCTS = 1
    """Weights of filters that exist."""
    EFFECTUAL = 2
    """Weights that differ from their zero point."""
    WORDS = 3
    """Psum words."""


class LayerArrays(NamedTuple):
    """A layer as the PEs hold it, and the messages that storage sends."""

    event: I32x2
    """[events, 10]: columns of `Event`."""
    message_set: I64x1
    """[messages]: set of PEs; events first, then end-of-data messages."""
    end_count: I64x1
    """[messages - events]: events sent to each PE of the set."""
    set_first: I64x1
    """[sets + 1]: a set's members in ``set_member``."""
    set_member: I64x1
    """Nodes in ascending order."""
    set_tree: I64x1
    """[sets]: network destination set of all members."""
    chain_next: I64x2
    """[sets, N]: next node in the set's chain, -1 at its end; column 0 is the first."""
    single: I64x1
    """[N]: network destination set of the node alone."""
    is_active: U8x1
    """[P]: the PE holds filters."""
    n_sent: I64x1
    """[P]: events that the PE is sent."""
    group_rank: I64x2
    """[P, convolution groups]: which of the PE's groups it is, -1 when the PE has none of it."""
    pointer_first: I64x1
    """[P]: the PE's first entry in ``pointer``."""
    pointer: I64x1
    """Rows of (channel of the PE, phase): ``pointer[i]`` to ``pointer[i + 1]``."""
    row: I32x3
    """[rows, positions, 4]: columns of `Place`."""
    row_weight: I16x3
    """[rows, positions, F]: weight less zero point."""
    row_effectual: I32x2
    """[rows, positions]: weights that differ from their zero point."""
    row_total: I32x2
    """[rows, 4]: columns of `Total`."""
    row_offset: I64x2
    """[rows, positions]: entry of a PE's psums, from that of tap (0, 0) and slot 0."""
    slot_filter: I64x2
    """[P, filter groups * F]: filter of the layer, -1 for none."""
    bias: I32x1
    """[K]"""
    multiplier: F32x1
    """[K]"""
    chunk_first: I64x1
    """[P + 1]: the PE's chunks of filters."""
    chunk: I64x2
    """[chunks, 2]: first filter slot, filters."""
    step_first: I64x1
    """[steps + 1]: positions of a scan step."""
    step: I32x2
    """[positions, 2]: y, x."""
    done_first: I64x1
    """[steps + 1]: outputs complete after a scan step."""
    done: I32x2
    """[outputs, 2]: y, x."""


class Ring(IntEnum):
    """FIFOs of a PE."""

    EVENTS = 0
    """Messages."""
    FORWARD = 1
    """Messages to forward along the chain."""
    GROUPS = 2
    """Outputs left in the group."""


class Field(IntEnum):
    """Columns of `PeState.pe`."""

    TAKEN = 0
    """Events taken by load."""
    END = 1
    """Number in the end-of-data taken, -1 before."""
    PHASE = 2
    """0 multiply, 1 fire, 2 done."""
    NEXT = 3
    """First cycle in which load can take the next message."""
    DISPATCHED = 4
    """Cycle in which the dispatcher takes the last row of the events taken."""
    LAST_READ = 5
    """Cycle of that row's last psum read."""
    AT_ROW = 6
    """Number of the next row, modulo the depth of the row FIFO."""
    AT_MAC = 7
    """The same, of the MAC FIFO."""
    CHUNK = 8
    """Chunk of filters that the fire phase is at."""
    STEP = 9
    """Next scan step of the chunk."""
    FIRED = 10
    """Outputs sent."""


class Flow(IntEnum):
    """Entries of `PeState.flow`, the storage PE's state."""

    MESSAGE = 0
    """Next message."""
    COPY = 1
    """Next of its copies."""
    ENDS = 2
    """PEs whose end-of-data arrived."""
    ANNOUNCED = 3
    """Outputs that they announced."""
    ARRIVED = 4
    """Outputs that arrived."""


class Clock(IntEnum):
    """Entries of `PeState.clock`."""

    CYCLE = 0
    """The next cycle."""
    ACTIVE = 1
    """Last cycle in which something happened."""
    PACKETS = 2
    """Packets created."""


class PeState(NamedTuple):
    """State of all PEs and of the storage PE."""

    psum: I32x2
    """[P, OH * OW * filter slots]: wrapping."""
    codes: I16x3
    """[K, OH, OW]: requantised, clipped, with threshold, before pooling."""
    pe: I64x2
    """[P, 11]: columns of `Field`."""
    fifo: I64x3
    """[P, 3, deepest]: FIFOs of `Ring`."""
    ring: I64x3
    """[P, 3, 2]: position of the oldest entry, entries."""
    depth: I64x1
    """[3]: depth of each FIFO."""
    moved: I64x3
    """[P, 2, deepest]: cycles in which the dispatcher took the last ``row_fifo`` rows, and the MAC
    cluster the last ``mac_fifo``; rings."""
    flight: I64x3
    """[P, 3, 2 + positions]: last two rows issued, and one to be: cycle of the last read, number of
    words, words. Words are noted only without forwarding."""
    bank: I64x2
    """[P, modules]: words that the row at the MACs wants of each module."""
    waiting: I32x3
    """[P, capacity, 4]: outputs of the waiting groups: filter, y, x, code; a ring."""
    waiting_ring: I64x2
    """[P, 2]: position of the oldest output, outputs."""
    flow: I64x1
    """[5]: entries of `Flow`."""
    clock: I64x1
    """[3]: entries of `Clock`."""


class Columns(NamedTuple):
    """What a layer leaves behind; arrays of a capacity that the driver grows.

    Cycles count from the layer's first.
    """

    slots: I64x2
    """[P, causes]"""
    counts: I64x3
    """[N, memories, 2]: accesses, read and write."""
    bytes: I64x3
    """[N, memories, 2]"""
    received: I64x1
    """[N]: packets whose last flit arrived."""
    received_cycle: I32x2
    """[N, capacity]"""
    received_packet: I32x2
    taken: I64x1
    """[P]: messages taken from the event FIFO, in order of arrival."""
    taken_cycle: I32x2
    """[P, capacity]"""
    bursts: I64x2
    """[3, P]: bursts by `Burst`."""
    burst_cycle: I32x3
    """[3, P, capacity]: first cycle."""
    burst_first: I32x3
    burst_count: I32x3
    burst_message: I32x3
    fired: I64x1
    """[1]: outputs sent."""
    fired_output: I32x2
    """[capacity, 4]: filter, y, x, code, in order of creation."""
