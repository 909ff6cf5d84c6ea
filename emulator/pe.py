"""The PEs' kernels: router interface, load, dispatcher, MAC cluster and fire phase, cycle by cycle.

Each stage judges the FIFO counts of the cycle's start, so the order of stages and PEs cannot
matter. `docs/mnf-cycles.md` defines every cycle, slot and access.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..noc.kernel import first_class, kernel, signature
from ..noc.router import Packets, Ports, make_packets, make_ports
from .slots import Cause
from .state import (
    Burst,
    Clock,
    Columns,
    Event,
    Field,
    Kind,
    LayerArrays,
    Memory,
    Multicast,
    Params,
    PeState,
    Place,
    Ring,
    example,
)

MULTIPLY_PHASE, FIRE_PHASE, DONE_PHASE = 0, 1, 2
MESSAGE_BYTES, POINTER_BYTES, INDEX_BYTES, PSUM_BYTES, BIAS_BYTES = 8, 4, 2, 4, 4


@kernel
def push(s: PeState, p: int, ring: int, first: int, second: int, third: int) -> None:
    """Put an entry behind the others of a FIFO; the caller has made sure of its place."""
    at = s.ring[p, ring, 0] + s.ring[p, ring, 1]
    if at >= s.depth[ring]:
        at -= s.depth[ring]
    s.fifo[p, ring, at, 0] = first
    s.fifo[p, ring, at, 1] = second
    s.fifo[p, ring, at, 2] = third
    s.ring[p, ring, 1] += 1


@kernel
def drop(s: PeState, p: int, ring: int) -> None:
    """Remove the oldest entry of a FIFO."""
    following = s.ring[p, ring, 0] + 1
    s.ring[p, ring, 0] = following if following < s.depth[ring] else 0
    s.ring[p, ring, 1] -= 1


@kernel
def count(out: Columns, node: int, memory: int, op: int, accesses: int, size: int) -> None:
    """Count accesses of ``size`` bytes each."""
    out.counts[node, memory, op] += accesses
    out.bytes[node, memory, op] += accesses * size


@kernel
def note(out: Columns, kind: int, p: int, cycle: int, first: int, message: int) -> None:
    """Note one step of a burst: the last burst goes on, or a new one begins."""
    n = out.bursts[kind, p]
    if (
        n > 0
        and out.burst_message[kind, p, n - 1] == message
        and out.burst_cycle[kind, p, n - 1] + out.burst_count[kind, p, n - 1] == cycle
    ):
        out.burst_count[kind, p, n - 1] += 1
        return
    out.burst_cycle[kind, p, n] = cycle
    out.burst_first[kind, p, n] = first
    out.burst_message[kind, p, n] = message
    out.burst_count[kind, p, n] = 1
    out.bursts[kind, p] = n + 1


@kernel
def send(
    packets: Packets,
    ports: Ports,
    clock: NDArray[Any],
    node: int,
    destinations: int,
    kind: int,
    item: int,
    flits: int,
    cycle: int,
) -> None:
    """Offer a packet."""
    number = clock[Clock.PACKETS]
    clock[Clock.PACKETS] += 1
    packets.source[number] = node
    packets.destinations[number] = destinations
    packets.flits[number] = flits
    packets.kind[number] = kind
    packets.item[number] = item
    packets.created[number] = cycle
    ports.tx[node] = number


@kernel
def is_touched(la: LayerArrays, row: int, i: int, event: NDArray[Any]) -> bool:
    """Tell whether an event touches the taps of a row's position ``i``."""
    back_y = event[Event.TAP_Y] - la.row[row, i, Place.TAP_Y]
    back_x = event[Event.TAP_X] - la.row[row, i, Place.TAP_X]
    return bool(
        la.row[row, i, Place.SLOT] >= 0
        and 0 <= back_y <= event[Event.JUMP_Y]
        and 0 <= back_x <= event[Event.JUMP_X]
    )


@kernel
def reach(q: Params, la: LayerArrays, row: int, i: int, event: NDArray[Any]) -> tuple[int, int]:
    """Return the ofmap row and column that a touched position ``i`` of a row meets."""
    back_y = event[Event.TAP_Y] - la.row[row, i, Place.TAP_Y]
    back_x = event[Event.TAP_X] - la.row[row, i, Place.TAP_X]
    return (
        int(event[Event.LOW_Y] + back_y * q.step_y),
        int(event[Event.LOW_X] + back_x * q.step_x),
    )


@kernel
def claim(
    q: Params, la: LayerArrays, s: PeState, p: int, row: int, message: int, cycle: int
) -> bool:
    """Note the words that a row wants as the newest in flight; return False when it is held.

    A word is held while a row before wants it that read its last word in one of two cycles ago.
    """
    event = la.event[message]
    n = 0
    for i in range(q.n_positions):
        if is_touched(la, row, i, event):
            y, x = reach(q, la, row, i, event)
            plane = la.row[row, i, Place.SLOT] // q.lanes
            word = (plane * s.psum.shape[1] + y) * s.psum.shape[2] + x
            for k in range(2):
                for j in range(s.flight[p, k, 1]):
                    if s.flight[p, k, 0] >= cycle - 2 and s.flight[p, k, 2 + j] == word:
                        return False
            s.flight[p, 2, 2 + n] = word
            n += 1
    s.flight[p, 2, 1] = n
    for j in range(s.flight.shape[2]):
        s.flight[p, 0, j] = s.flight[p, 1, j]
        s.flight[p, 1, j] = s.flight[p, 2, j]
    return True


@kernel
def issue(q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, cycle: int) -> bool:
    """Issue the oldest row of the MAC FIFO; return False when it is held.

    Multiplies and accumulates into int32 psums (wrapping), counts slots and psum accesses.
    """
    at = s.ring[p, Ring.MACS, 0]
    row, message = s.fifo[p, Ring.MACS, at, 0], s.fifo[p, Ring.MACS, at, 1]
    if q.forwarding == 0 and not claim(q, la, s, p, row, message, cycle):
        return False
    event = la.event[message]
    value = np.int32(event[Event.CODE] - q.zero_in)
    missing = positions = products = effectual = words = 0
    longest = 1
    for i in range(q.n_positions):
        slot, size = la.row[row, i, Place.SLOT], la.row[row, i, Place.SIZE]
        if slot < 0:
            missing += 1
            continue
        if not is_touched(la, row, i, event):
            continue
        y, x = reach(q, la, row, i, event)
        for f in range(size):
            s.psum[p, y, x, slot + f] += value * np.int32(la.row_weight[row, i, f])
        positions += 1
        products += size
        effectual += la.row_effectual[row, i]
        words += (size + q.word_psums - 1) // q.word_psums
        if q.is_linear:
            module = (y * s.psum.shape[2] + x) % q.modules
            s.bank[p, module] += 1
            longest = max(longest, s.bank[p, module])
    if q.is_linear:
        for module in range(q.modules):
            s.bank[p, module] = 0
    s.pe[p, Field.LAST_READ] = cycle + longest - 1
    s.flight[p, 1, 0] = cycle + longest - 1
    filters = q.group_filters
    out.slots[p, Cause.EXECUTED] += effectual
    out.slots[p, Cause.INEFFECTUAL] += products - effectual
    out.slots[p, Cause.CHANNEL] += positions * filters - products
    out.slots[p, Cause.BORDER] += (q.n_positions - missing - positions) * filters
    out.slots[p, Cause.TILE] += missing * filters
    count(out, p + 1, Memory.PSUM, 0, words, PSUM_BYTES * q.word_psums)
    count(out, p + 1, Memory.PSUM, 1, words, PSUM_BYTES * q.word_psums)
    note(out, Burst.MAC, p, cycle, row, message)
    drop(s, p, Ring.MACS)
    return True


@kernel
def seek(q: Params, la: LayerArrays, row: int, end: int, message: int) -> int:
    """Return the first row from ``row`` on with a position that the event touches."""
    event = la.event[message]
    while row < end:
        for i in range(q.n_positions):
            if is_touched(la, row, i, event):
                return row
        row += 1
    return row


@kernel
def load(
    q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, cycle: int, rows: int, events: int
) -> None:
    """Read the current event's next row; with none left, take the next message.

    ``rows`` and ``events`` are what row FIFO and event FIFO held at the cycle's start.
    """
    row, end = s.pe[p, Field.ROW], s.pe[p, Field.ROW_END]
    if row < end and rows < s.depth[Ring.ROWS]:
        message = s.pe[p, Field.EVENT]
        push(s, p, Ring.ROWS, row, message, cycle + q.weight_latency)
        count(out, p + 1, Memory.WEIGHT, 0, 1, q.modules * q.lanes)
        count(out, p + 1, Memory.INDEX, 0, 1, INDEX_BYTES)
        note(out, Burst.LOAD, p, cycle, row, message)
        row = seek(q, la, row + 1, end, message)
        s.pe[p, Field.ROW] = row
    if row < end or events == 0:
        return
    message = s.fifo[p, Ring.EVENTS, s.ring[p, Ring.EVENTS, 0], 0]
    drop(s, p, Ring.EVENTS)
    count(out, p + 1, Memory.EVENT_FIFO, 0, 1, MESSAGE_BYTES)
    out.taken_cycle[p, out.taken[p]] = cycle
    out.taken[p] += 1
    if message >= q.n_events:
        s.pe[p, Field.END] = la.end_count[message - q.n_events]
        return
    s.pe[p, Field.TAKEN] += 1
    count(out, p + 1, Memory.POINTER, 0, 1, POINTER_BYTES)
    channel = int(la.event[message, Event.CHANNEL])
    rank = la.group_rank[p, channel // q.group_channels]
    at = (rank * q.group_channels + channel % q.group_channels) * q.n_phases
    at += la.pointer_first[p] + la.event[message, Event.PHASE]
    s.pe[p, Field.EVENT] = message
    s.pe[p, Field.ROW] = seek(q, la, la.pointer[at], la.pointer[at + 1], message)
    s.pe[p, Field.ROW_END] = la.pointer[at + 1]


@kernel
def interface(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, p: int,
    cycle: int,
) -> bool:  # fmt: skip
    """Take a delivered flit, forward along the chain; return whether something happened."""
    node = p + 1
    forwards = s.ring[p, Ring.FORWARD, 1]
    number = ports.rx[node]
    if number >= 0:
        source = packets.source[number]
        s.got[node, source] += 1
        if s.got[node, source] == packets.flits[number]:
            s.got[node, source] = 0
            message = packets.item[number]
            push(s, p, Ring.EVENTS, message, 0, 0)
            count(out, node, Memory.EVENT_FIFO, 1, 1, MESSAGE_BYTES)
            at = out.received[node]
            out.received_cycle[node, at] = cycle
            out.received_packet[node, at] = number
            out.received[node] = at + 1
            if q.multicast == Multicast.CHAIN and la.chain_next[la.message_set[message], node] >= 0:
                push(s, p, Ring.FORWARD, message, 0, 0)
    if forwards > 0 and ports.tx[node] < 0:
        message = s.fifo[p, Ring.FORWARD, s.ring[p, Ring.FORWARD, 0], 0]
        drop(s, p, Ring.FORWARD)
        kind = Kind.EVENT if message < q.n_events else Kind.END
        target = la.single[la.chain_next[la.message_set[message], node]]
        send(packets, ports, s.clock, node, target, kind, message, q.event_flits, cycle)
    return bool(number >= 0 or forwards > 0)


@kernel
def requantise(q: Params, acc: int, multiplier: float) -> int:
    """Return the code of a psum with its bias; each operation is one float32 operation."""
    low, high = np.float32(q.type_low - q.zero_out), np.float32(q.type_high - q.zero_out)
    product = np.float32(acc) * np.float32(multiplier)
    code = int(np.rint(min(max(product, low), high))) + q.zero_out
    code = min(max(code, q.low), q.high)
    if q.threshold >= 0 and code - q.zero_out <= q.threshold:
        code = q.zero_out
    return code


@kernel
def pooled(q: Params, codes: NDArray[Any], k: int, y: int, x: int) -> int:
    """Return the largest code of an output's pooling window."""
    best = int(q.type_low)
    for i in range(q.pool_kernel_y):
        row = y * q.pool_stride_y - q.pool_pad_y + i * q.pool_dilation_y
        if row < 0 or row >= codes.shape[1]:
            continue
        for j in range(q.pool_kernel_x):
            column = x * q.pool_stride_x - q.pool_pad_x + j * q.pool_dilation_x
            if 0 <= column < codes.shape[2]:
                best = max(best, int(codes[k, row, column]))
    return best


@kernel
def scan(q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, cycle: int) -> None:
    """Do one scan step: read psums, requantise, queue the outputs that are complete and fire."""
    n_steps = len(la.step_first) - 1
    chunk, step = s.pe[p, Field.CHUNK], s.pe[p, Field.STEP]
    slot, size = la.chunk[chunk, 0], la.chunk[chunk, 1]
    positions = la.step_first[step + 1] - la.step_first[step]
    if step == 0:
        count(out, p + 1, Memory.BIAS, 0, 1, BIAS_BYTES * size)
    words = positions * ((size + q.lanes - 1) // q.lanes)
    word_bytes = PSUM_BYTES if q.fire_lanes == 1 else PSUM_BYTES * q.lanes
    count(out, p + 1, Memory.PSUM, 0, words, word_bytes)
    count(out, p + 1, Memory.PSUM, 1, words, word_bytes)
    note(out, Burst.FIRE, p, cycle, chunk * n_steps + step, 0)
    for i in range(la.step_first[step], la.step_first[step + 1]):
        y, x = la.step[i, 0], la.step[i, 1]
        for f in range(slot, slot + size):
            k = la.slot_filter[p, f]
            acc = int(np.int32(s.psum[p, y, x, f] + la.bias[k]))
            s.codes[k, y, x] = requantise(q, acc, la.multiplier[k])
    fired = 0
    for i in range(la.done_first[step], la.done_first[step + 1]):
        y, x = int(la.done[i, 0]), int(la.done[i, 1])
        for f in range(slot, slot + size):
            k = la.slot_filter[p, f]
            code = pooled(q, s.codes, k, y, x)
            if code != q.zero_out:
                at = (s.waiting_ring[p, 0] + s.waiting_ring[p, 1]) % s.waiting.shape[1]
                s.waiting[p, at, 0], s.waiting[p, at, 1] = k, y
                s.waiting[p, at, 2], s.waiting[p, at, 3] = x, code
                s.waiting_ring[p, 1] += 1
                fired += 1
    if fired > 0:
        push(s, p, Ring.GROUPS, fired, 0, 0)
    s.pe[p, Field.STEP] = step + 1
    if step + 1 == n_steps:
        s.pe[p, Field.CHUNK] = chunk + 1
        s.pe[p, Field.STEP] = 0


@kernel
def fire(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, p: int,
    cycle: int,
) -> None:  # fmt: skip
    """Do a PE's cycle of the fire phase: send the oldest output or the end-of-data, and scan."""
    node = p + 1
    groups = s.ring[p, Ring.GROUPS, 1]
    has_steps = s.pe[p, Field.CHUNK] < la.chunk_first[node]
    if groups > 0 and ports.tx[node] < 0:
        at = s.waiting_ring[p, 0]
        number = out.fired[0]
        out.fired[0] += 1
        for i in range(4):
            out.fired_output[number, i] = s.waiting[p, at, i]
        send(packets, ports, s.clock, node, la.single[0], Kind.FIRED, number, q.fired_flits, cycle)
        s.pe[p, Field.FIRED] += 1
        s.waiting_ring[p, 0] = (at + 1) % s.waiting.shape[1]
        s.waiting_ring[p, 1] -= 1
        oldest = s.ring[p, Ring.GROUPS, 0]
        s.fifo[p, Ring.GROUPS, oldest, 0] -= 1
        if s.fifo[p, Ring.GROUPS, oldest, 0] == 0:
            drop(s, p, Ring.GROUPS)
    elif groups == 0 and not has_steps and ports.tx[node] < 0:
        n = s.pe[p, Field.FIRED]
        send(packets, ports, s.clock, node, la.single[0], Kind.FIRED_END, n, q.fired_flits, cycle)
        s.pe[p, Field.PHASE] = DONE_PHASE
    if has_steps and groups < s.depth[Ring.GROUPS]:
        scan(q, la, s, out, p, cycle)
        out.slots[p, Cause.FIRE] += q.modules * q.lanes
    else:
        out.slots[p, Cause.FIRE_PORT] += q.modules * q.lanes


@kernel
def cycle_of_pe(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, p: int,
    cycle: int, n_blocked: int,
) -> bool:  # fmt: skip
    """Do one cycle of a PE; return whether something happened.

    ``n_blocked`` is the number of active PEs that were not ready for a flit in this cycle.
    """
    events, rows, macs = s.ring[p, Ring.EVENTS, 1], s.ring[p, Ring.ROWS, 1], s.ring[p, Ring.MACS, 1]
    taken = s.pe[p, Field.TAKEN]
    has_rows = s.pe[p, Field.ROW] < s.pe[p, Field.ROW_END]
    is_empty = macs == 0 and rows == 0 and not has_rows
    if (
        s.pe[p, Field.PHASE] == MULTIPLY_PHASE
        and s.pe[p, Field.END] == taken
        and is_empty
        and s.pe[p, Field.LAST_READ] <= cycle - 3
    ):
        s.pe[p, Field.PHASE] = FIRE_PHASE
    is_fire = s.pe[p, Field.PHASE] == FIRE_PHASE
    is_reading = s.pe[p, Field.LAST_READ] >= cycle
    is_issued = macs > 0 and not is_reading and issue(q, la, s, out, p, cycle)
    oldest = s.ring[p, Ring.ROWS, 0]
    if rows > 0 and macs < s.depth[Ring.MACS] and s.fifo[p, Ring.ROWS, oldest, 2] < cycle:
        push(s, p, Ring.MACS, s.fifo[p, Ring.ROWS, oldest, 0], s.fifo[p, Ring.ROWS, oldest, 1], 0)
        drop(s, p, Ring.ROWS)
    if has_rows or events > 0:
        load(q, la, s, out, p, cycle, rows, events)
    is_active = interface(q, la, s, ports, packets, out, p, cycle)
    if is_fire:
        fire(q, la, s, ports, packets, out, p, cycle)
    elif not is_issued:
        if is_reading:
            cause = Cause.BANK
        elif macs > 0:
            cause = Cause.HAZARD
        elif taken == la.n_sent[p] and is_empty:
            cause = Cause.DRAIN
        elif events > 0 or not is_empty:
            cause = Cause.DECODE
        elif taken == 0:
            cause = Cause.DRAIN
        elif n_blocked + ports.ready[p + 1] > 1:
            cause = Cause.PEER
        else:
            cause = Cause.INJECT
        out.slots[p, cause] += q.modules * q.lanes
    has_room = (
        s.ring[p, Ring.EVENTS, 1] < s.depth[Ring.EVENTS]
        and s.ring[p, Ring.FORWARD, 1] < s.depth[Ring.FORWARD]
    )
    ports.ready[p + 1] = 1 if has_room else 0
    return is_active or is_fire or is_reading or not is_empty or events > 0


SIGNATURE = signature(
    example(Params),
    example(LayerArrays),
    example(PeState),
    make_ports(1),
    make_packets(1),
    example(Columns),
    0,
)


@first_class(SIGNATURE)
def cycle_of_pes(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, cycle: int
) -> int:
    """Do one cycle of all PEs; return 1 when something happened, else 0."""
    n_blocked = 0
    for p in range(len(la.is_active)):
        if la.is_active[p] and ports.ready[p + 1] == 0:
            n_blocked += 1
    result = 0
    for p in range(len(la.is_active)):
        if la.is_active[p] == 0:
            out.slots[p, Cause.UNUSED] += q.modules * q.lanes
        elif cycle_of_pe(q, la, s, ports, packets, out, p, cycle, n_blocked):
            result = 1
    return result
