"""The PEs' kernels: router interface, load, dispatcher, MAC cluster and fire phase, cycle by cycle.

When load takes an event, all that its rows will do is settled: rows meet nobody but the PE's rows
before them. So `multiply` tells the cycles of an event's rows at once, and the cycle of a PE is
left with what depends on others. Each stage judges the FIFO counts of the cycle's start, so the
order of stages and PEs cannot matter. `docs/mnf-cycles.md` defines every cycle, slot and access.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import first_class, kernel, signature
from ...noc.router import Packets, Ports, make_packets, make_ports
from ..arrays import example
from ..kinds import Kind, Memory
from ..slots import Cause
from .state import (
    Burst,
    Clock,
    Columns,
    Event,
    Field,
    LayerArrays,
    Multicast,
    Params,
    PeState,
    Place,
    Ring,
    Total,
)

MULTIPLY_PHASE, FIRE_PHASE, DONE_PHASE = 0, 1, 2
MESSAGE_BYTES, POINTER_BYTES, INDEX_BYTES, PSUM_BYTES, BIAS_BYTES = 8, 4, 2, 4, 4
WRITE_CYCLES = 2
"""From a row's psum reads to its writes."""


@kernel
def push(s: PeState, p: int, ring: int, value: int) -> None:
    """Put an entry behind the others of a FIFO; the caller has made sure of its place."""
    at = s.ring[p, ring, 0] + s.ring[p, ring, 1]
    if at >= s.depth[ring]:
        at -= s.depth[ring]
    s.fifo[p, ring, at] = value
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
def note(out: Columns, kind: int, p: int, cycle: int, first: int, message: int, steps: int) -> None:
    """Note a burst of so many steps in consecutive cycles."""
    n = out.bursts[kind, p]
    out.burst_cycle[kind, p, n] = cycle
    out.burst_first[kind, p, n] = first
    out.burst_message[kind, p, n] = message
    out.burst_count[kind, p, n] = steps
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
def add_whole(
    q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, row: int, value: int, reach: int
) -> None:
    """Multiply a row of which the event touches every tap; wrapping int32 psums."""
    for i in range(q.n_positions):
        if la.row[row, i, Place.SLOT] >= 0:
            at = reach + la.row_offset[row, i]
            for f in range(la.row[row, i, Place.SIZE]):
                s.psum[p, at + f] += np.int32(value) * np.int32(la.row_weight[row, i, f])
    positions, products = la.row_total[row, Total.POSITIONS], la.row_total[row, Total.PRODUCTS]
    effectual, words = la.row_total[row, Total.EFFECTUAL], la.row_total[row, Total.WORDS]
    out.slots[p, Cause.EXECUTED] += effectual
    out.slots[p, Cause.INEFFECTUAL] += products - effectual
    out.slots[p, Cause.CHANNEL] += positions * q.group_filters - products
    out.slots[p, Cause.TILE] += (q.n_positions - positions) * q.group_filters
    count(out, p + 1, Memory.PSUM, 0, words, PSUM_BYTES * q.word_psums)
    count(out, p + 1, Memory.PSUM, 1, words, PSUM_BYTES * q.word_psums)


@kernel
def add_part(
    q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, row: int, value: int, reach: int,
    event: NDArray[Any],
) -> int:  # fmt: skip
    """Multiply what the event touches of a row; return the cycles of its psum reads.

    Without forwarding its words are noted as those of the newest row. Returns 0, and does nothing,
    when no tap is touched.
    """
    existing = positions = products = effectual = words = 0
    longest = 1
    for i in range(q.n_positions):
        size = la.row[row, i, Place.SIZE]
        existing += la.row[row, i, Place.SLOT] >= 0
        if not is_touched(la, row, i, event):
            continue
        at = reach + la.row_offset[row, i]
        for f in range(size):
            s.psum[p, at + f] += np.int32(value) * np.int32(la.row_weight[row, i, f])
        if q.forwarding == 0:
            s.flight[p, 2, 2 + positions] = at // q.lanes
        if q.is_linear:
            module = at // q.n_slots % q.modules
            s.bank[p, module] += 1
            longest = max(longest, s.bank[p, module])
        positions += 1
        products += size
        effectual += la.row_effectual[row, i]
        words += (size + q.word_psums - 1) // q.word_psums
    if positions == 0:
        return 0
    if q.is_linear:
        for module in range(q.modules):
            s.bank[p, module] = 0
    s.flight[p, 2, 1] = positions
    filters = q.group_filters
    out.slots[p, Cause.EXECUTED] += effectual
    out.slots[p, Cause.INEFFECTUAL] += products - effectual
    out.slots[p, Cause.CHANNEL] += positions * filters - products
    out.slots[p, Cause.BORDER] += (existing - positions) * filters
    out.slots[p, Cause.TILE] += (q.n_positions - existing) * filters
    count(out, p + 1, Memory.PSUM, 0, words, PSUM_BYTES * q.word_psums)
    count(out, p + 1, Memory.PSUM, 1, words, PSUM_BYTES * q.word_psums)
    return longest


@kernel
def cleared(s: PeState, p: int, cycle: int) -> int:
    """Return the first cycle from ``cycle`` on in which no word of the newest row is in flight.

    A word is in flight while a row before wants it that read its last word in one of two cycles
    ago. The newest row becomes the last.
    """
    for k in range(2):
        for j in range(s.flight[p, k, 1]):
            for i in range(s.flight[p, 2, 1]):
                if s.flight[p, k, 2 + j] == s.flight[p, 2, 2 + i]:
                    cycle = max(cycle, s.flight[p, k, 0] + WRITE_CYCLES + 1)
    for j in range(s.flight.shape[2]):
        s.flight[p, 0, j] = s.flight[p, 1, j]
        s.flight[p, 1, j] = s.flight[p, 2, j]
    return cycle


@kernel
def multiply(
    q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, message: int, row: int, end: int,
    cycle: int,
) -> None:  # fmt: skip
    """Do all rows of an event that load takes in ``cycle``: when each is read, moved, multiplied.

    Counts the slots up to the last row's reads, but for those before the first row is under way.
    """
    event = la.event[message]
    reach = (
        (event[Event.LOW_Y] + event[Event.TAP_Y] * q.step_y) * q.ofmap_width
        + event[Event.LOW_X]
        + event[Event.TAP_X] * q.step_x
    ) * q.n_slots
    value = event[Event.CODE] - q.zero_in
    is_whole = event[Event.IS_WHOLE] != 0 and q.forwarding != 0 and q.is_linear == 0
    load, dispatch, issue = cycle, s.pe[p, Field.DISPATCHED], s.pe[p, Field.LAST_READ]
    n = load_steps = mac_steps = load_first = mac_first = load_begin = mac_begin = 0
    while row < end:
        cycles = 1
        if is_whole:
            add_whole(q, la, s, out, p, row, value, reach)
        else:
            cycles = add_part(q, la, s, out, p, row, value, reach, event)
            if cycles == 0:
                row += 1
                continue
        free = issue + 1 if n > 0 else max(issue, cycle) + 1
        at_row, at_mac = s.pe[p, Field.AT_ROW], s.pe[p, Field.AT_MAC]
        load = max(load, s.moved[p, 0, at_row]) + 1
        dispatch = max(load + q.weight_latency, dispatch, s.moved[p, 1, at_mac]) + 1
        wanted = max(dispatch, issue) + 1
        issue = wanted if q.forwarding != 0 else cleared(s, p, wanted)
        s.moved[p, 0, at_row], s.moved[p, 1, at_mac] = dispatch, issue
        s.pe[p, Field.AT_ROW] = at_row + 1 if at_row + 1 < q.row_fifo else 0
        s.pe[p, Field.AT_MAC] = at_mac + 1 if at_mac + 1 < q.mac_fifo else 0
        out.slots[p, Cause.HAZARD] += (issue - max(wanted, free)) * q.modules * q.lanes
        out.slots[p, Cause.DECODE] += (max(wanted, free) - free) * q.modules * q.lanes
        out.slots[p, Cause.BANK] += (cycles - 1) * q.modules * q.lanes
        if load != load_begin + load_steps or n == 0:
            if n > 0:
                note(out, Burst.LOAD, p, load_begin - q.origin, load_first, message, load_steps)
            load_begin, load_first, load_steps = load, row, 0
        if issue != mac_begin + mac_steps or n == 0:
            if n > 0:
                note(out, Burst.MAC, p, mac_begin - q.origin, mac_first, message, mac_steps)
            mac_begin, mac_first, mac_steps = issue, row, 0
        load_steps += 1
        mac_steps += 1
        issue += cycles - 1
        s.flight[p, 1, 0] = issue
        n += 1
        row += 1
    s.pe[p, Field.NEXT] = cycle + 1
    if n > 0:
        note(out, Burst.LOAD, p, load_begin - q.origin, load_first, message, load_steps)
        note(out, Burst.MAC, p, mac_begin - q.origin, mac_first, message, mac_steps)
        count(out, p + 1, Memory.WEIGHT, 0, n, q.modules * q.lanes)
        count(out, p + 1, Memory.INDEX, 0, n, INDEX_BYTES)
        s.pe[p, Field.NEXT] = load
        s.pe[p, Field.DISPATCHED] = dispatch
        s.pe[p, Field.LAST_READ] = issue


@kernel
def take(q: Params, la: LayerArrays, s: PeState, out: Columns, p: int, cycle: int) -> None:
    """Take the oldest message of the event FIFO, and do what it says."""
    message = s.fifo[p, Ring.EVENTS, s.ring[p, Ring.EVENTS, 0]]
    drop(s, p, Ring.EVENTS)
    count(out, p + 1, Memory.EVENT_FIFO, 0, 1, MESSAGE_BYTES)
    out.taken_cycle[p, out.taken[p]] = cycle - q.origin
    out.taken[p] += 1
    if message >= q.n_events:
        s.pe[p, Field.END] = la.end_count[message - q.n_events]
        s.pe[p, Field.NEXT] = cycle + 1
        return
    s.pe[p, Field.TAKEN] += 1
    count(out, p + 1, Memory.POINTER, 0, 1, POINTER_BYTES)
    channel = int(la.event[message, Event.CHANNEL])
    rank = la.group_rank[p, channel // q.group_channels]
    at = (rank * q.group_channels + channel % q.group_channels) * q.n_phases
    at += la.pointer_first[p] + la.event[message, Event.PHASE]
    multiply(q, la, s, out, p, message, la.pointer[at], la.pointer[at + 1], cycle)


@kernel
def interface(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, p: int,
    cycle: int,
) -> bool:  # fmt: skip
    """Take a delivered flit, forward along the chain; return whether something happened."""
    node = p + 1
    forwards = s.ring[p, Ring.FORWARD, 1]
    number = ports.rx[node]
    if number >= 0 and ports.tail[node] != 0:
        message = packets.item[number]
        push(s, p, Ring.EVENTS, message)
        count(out, node, Memory.EVENT_FIFO, 1, 1, MESSAGE_BYTES)
        at = out.received[node]
        out.received_cycle[node, at] = cycle - q.origin
        out.received_packet[node, at] = number
        out.received[node] = at + 1
        if q.multicast == Multicast.CHAIN and la.chain_next[la.message_set[message], node] >= 0:
            push(s, p, Ring.FORWARD, message)
    if forwards > 0 and ports.tx[node] < 0:
        message = s.fifo[p, Ring.FORWARD, s.ring[p, Ring.FORWARD, 0]]
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
def note_scan(out: Columns, p: int, cycle: int, step: int) -> None:
    """Note a scan step: the last burst goes on, or a new one begins."""
    n = out.bursts[Burst.FIRE, p]
    if n > 0:
        begin = out.burst_cycle[Burst.FIRE, p, n - 1]
        if begin + out.burst_count[Burst.FIRE, p, n - 1] == cycle:
            out.burst_count[Burst.FIRE, p, n - 1] += 1
            return
    note(out, Burst.FIRE, p, cycle, step, 0, 1)


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
    note_scan(out, p, cycle - q.origin, chunk * n_steps + step)
    for i in range(la.step_first[step], la.step_first[step + 1]):
        y, x = la.step[i, 0], la.step[i, 1]
        for f in range(slot, slot + size):
            k = la.slot_filter[p, f]
            acc = int(np.int32(s.psum[p, (y * q.ofmap_width + x) * q.n_slots + f] + la.bias[k]))
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
        push(s, p, Ring.GROUPS, fired)
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
        s.fifo[p, Ring.GROUPS, oldest] -= 1
        if s.fifo[p, Ring.GROUPS, oldest] == 0:
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
    events, taken, last_read = (
        s.ring[p, Ring.EVENTS, 1],
        s.pe[p, Field.TAKEN],
        s.pe[p, Field.LAST_READ],
    )
    is_multiplying = last_read >= cycle
    if (
        s.pe[p, Field.PHASE] == MULTIPLY_PHASE
        and s.pe[p, Field.END] == taken
        and last_read < cycle - WRITE_CYCLES
    ):
        s.pe[p, Field.PHASE] = FIRE_PHASE
    is_fire = s.pe[p, Field.PHASE] == FIRE_PHASE
    if not is_fire and not is_multiplying:
        if taken == la.n_sent[p]:
            cause = Cause.DRAIN
        elif events > 0:
            cause = Cause.DECODE
        elif taken == 0:
            cause = Cause.DRAIN
        elif n_blocked + ports.ready[p + 1] > 1:
            cause = Cause.PEER
        else:
            cause = Cause.INJECT
        out.slots[p, cause] += q.modules * q.lanes
    if events > 0 and cycle >= s.pe[p, Field.NEXT]:
        take(q, la, s, out, p, cycle)
    is_active = interface(q, la, s, ports, packets, out, p, cycle)
    if is_fire:
        fire(q, la, s, ports, packets, out, p, cycle)
    has_room = (
        s.ring[p, Ring.EVENTS, 1] < s.depth[Ring.EVENTS]
        and s.ring[p, Ring.FORWARD, 1] < s.depth[Ring.FORWARD]
    )
    ports.ready[p + 1] = 1 if has_room else 0
    return is_active or is_fire or is_multiplying or events > 0


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
