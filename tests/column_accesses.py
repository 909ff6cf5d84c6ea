"""Every access of a wave, told from the columns that the kernels leave behind.

The slow and obvious reading: one Python tuple per access.
"""

from collections import Counter

from firemesh.emulator.kinds import Kind
from firemesh.emulator.mnf.plan import Plan
from firemesh.emulator.mnf.run import WaveRun
from firemesh.emulator.mnf.state import Burst, Event


def accesses(plan: Plan, run: WaveRun) -> list[tuple[int, int, str, str, int, int]]:
    """Return (cycle, node, memory, op, address, size) of each access, sorted."""
    found = [*_storage(run), *_loaded(plan, run)]
    for p in range(plan.machine.n_pes):
        found += _event_fifo(plan, run, p)
        found += _load(plan, run, p)
        found += _mac(plan, run, p)
        found += _fire(plan, run, p)
    return sorted((int(a), int(b), c, d, int(e), int(f)) for a, b, c, d, e, f in found)


def _loaded(plan, run):
    if run.load is None:
        return
    load, width = run.load, plan.machine.pe.multipliers
    for i, p in enumerate(load.pe):
        yield load.read_cycle[i], 0, "dram", "read", load.dram_address[i], width
        yield load.write_cycle[i], p + 1, "weight", "write", load.address[i], width


def _storage(run):
    packets, columns = run.packets, run.columns
    for number in range(len(packets.source)):
        if packets.source[number] == 0 and packets.kind[number] == Kind.EVENT:
            address = run.messages.address[packets.item[number]]
            yield packets.created[number], 0, "storage", "read", address, 8
    kept = dict(zip(run.output.flat.tolist(), run.output.address.tolist(), strict=True))
    _, height, width = _volume(run)
    for i in range(columns.received[0]):
        if packets.kind[columns.received_packet[0, i]] != Kind.FIRED:
            continue
        output = packets.item[columns.received_packet[0, i]]
        k, y, x, _ = columns.fired_output[output]
        address = kept[int((k * height + y) * width + x)]
        yield run.cycle0 + columns.received_cycle[0, i], 0, "storage", "write", address, 8


def _volume(run):
    shape = run.output.tensor.shape
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def _messages(run, p):
    columns = run.columns
    return [
        int(run.packets.item[columns.received_packet[p + 1, i]])
        for i in range(columns.received[p + 1])
    ]


def _event_fifo(plan, run, p):
    depth, base, columns = plan.machine.pe.event_fifo, int(run.fifo_base[p]), run.columns
    rows, shape = run.rows, run.wave.mapping.shape
    n_phases = shape.window.strides[0] * shape.window.strides[1]
    for i, message in enumerate(_messages(run, p)):
        address = 8 * ((base + i) % depth)
        yield (
            run.cycle0 + columns.received_cycle[p + 1, i],
            p + 1,
            "event_fifo",
            "write",
            address,
            8,
        )
        taken = run.cycle0 + columns.taken_cycle[p, i]
        yield taken, p + 1, "event_fifo", "read", address, 8
        if message < len(run.messages.event):
            event = run.messages.event[message]
            rank = rows.group_rank[p, event[Event.CHANNEL] // shape.group_channels]
            channel = rank * shape.group_channels + event[Event.CHANNEL] % shape.group_channels
            entry = run.block.pointer_base[p] + channel * n_phases + event[Event.PHASE]
            yield taken, p + 1, "pointer", "read", 4 * entry, 4


def _bursts(run, kind, p):
    columns = run.columns
    for i in range(columns.bursts[kind, p]):
        yield (
            run.cycle0 + int(columns.burst_cycle[kind, p, i]),
            int(columns.burst_first[kind, p, i]),
            int(columns.burst_count[kind, p, i]),
            int(columns.burst_message[kind, p, i]),
        )


def _touched(run, message, row):
    """Return the touched (y, x, slot, filters) of a row."""
    event, window = run.messages.event[message], run.wave.mapping.shape.window
    for tap_y, tap_x, slot, size in run.rows.place[row].tolist():
        back_y, back_x = event[Event.TAP_Y] - tap_y, event[Event.TAP_X] - tap_x
        if slot >= 0 and 0 <= back_y <= event[Event.JUMP_Y] and 0 <= back_x <= event[Event.JUMP_X]:
            yield (
                int(event[Event.LOW_Y] + back_y * window.ofmap_step(0)),
                int(event[Event.LOW_X] + back_x * window.ofmap_step(1)),
                slot,
                size,
            )


def _rows(run, first, count, message):
    """Yield the touched rows of a burst."""
    row = first
    while count:
        if list(_touched(run, message, row)):
            yield row
            count -= 1
        row += 1


def _load(plan, run, p):
    width = plan.machine.pe.multipliers
    for cycle, first, count, message in _bursts(run, Burst.LOAD, p):
        for i, row in enumerate(_rows(run, first, count, message)):
            number = row - int(run.rows.first[p]) + int(run.block.row_base[p])
            yield cycle + i, p + 1, "weight", "read", number * width, width
            yield cycle + i, p + 1, "index", "read", number * 2, 2


def _words(plan, run, p, number, slot, size, places):
    """Return the byte address of each word of filters slot..slot+size-1 at the places."""
    mapping, pe = run.wave.mapping, plan.machine.pe
    for y, x in places:
        for at in range(slot - slot % pe.lanes, slot + size, pe.lanes):
            module, word = mapping.word(number, at, y, x)
            yield module * pe.psum_bank_bytes + word * 4 * pe.lanes


def _mac(plan, run, p):
    pe = plan.machine.pe
    is_ideal, is_linear = pe.weights == "ideal", pe.row_layout == "linear"
    for cycle, first, count, message in _bursts(run, Burst.MAC, p):
        for i, row in enumerate(_rows(run, first, count, message)):
            wanted = Counter()
            for y, x, slot, size in _touched(run, message, row):
                number, at = divmod(slot, run.wave.mapping.filters)
                for address in _words(plan, run, p, number, at, size, [(y, x)]):
                    bank = address // pe.psum_bank_bytes
                    later = wanted[bank] if is_linear else 0
                    wanted[bank] += 1
                    lane, width = (slot % pe.lanes, 1) if is_ideal else (0, pe.lanes)
                    place = address + 4 * lane, 4 * width
                    yield cycle + i + later, p + 1, "psum", "read", *place
                    yield cycle + i + later + 2, p + 1, "psum", "write", *place


def _fire(plan, run, p):
    fire, pe, filters = run.fire, plan.machine.pe, run.wave.mapping.filters
    n_steps = len(fire.step_first) - 1
    for cycle, first, count, _ in _bursts(run, Burst.FIRE, p):
        for i in range(count):
            chunk, step = divmod(first + i, n_steps)
            slot, size = map(int, fire.chunk[chunk])
            if step == 0:
                address = 4 * (int(run.block.bias_base[p]) + slot)
                yield cycle + i, p + 1, "bias", "read", address, 4 * size
            places = fire.step[fire.step_first[step] : fire.step_first[step + 1]].tolist()
            number, slot = divmod(slot, filters)
            width, lane = (4, slot % pe.lanes) if pe.fire_lanes == 1 else (4 * pe.lanes, 0)
            for address in _words(plan, run, p, number, slot, size, places):
                yield cycle + i, p + 1, "psum", "read", address + 4 * lane, width
                yield cycle + i + 1, p + 1, "psum", "write", address + 4 * lane, width
