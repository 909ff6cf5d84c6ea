"""Checks a trace against itself: tables, counters, ports, addresses, packets."""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decode import Segment
from .errors import DamageError, TraceError, check_range
from .kernel import kernel
from .reader import Trace
from .schema import NETWORK_MEMORIES, OPS, TABLES, Walk
from .verify_tables import Report, check_tables

Array = NDArray[Any]
MOST_BANKS = 1 << 20
AT_ONCE = 1 << 24
"""Accesses of a segment up to which its units are gone through together; else one by one."""


class Fault(IntEnum):
    """What is wrong with an access."""

    NONE = 0
    OUTSIDE_SEGMENT = 1
    OUTSIDE_MEMORY = 2
    PORT = 3
    UNIT = 4
    ORDER = 5


SENTENCES = {
    Fault.OUTSIDE_SEGMENT: "lies outside the segment's cycles",
    Fault.OUTSIDE_MEMORY: "lies outside the memory",
    Fault.PORT: "uses a port that is used already in this cycle",
    Fault.UNIT: "is of a memory that this kind of unit does not have",
    Fault.ORDER: "comes before the access before it",
}


@kernel
def check_block(
    words: Array, low: int, high: int, is_held: Array, size: Array, bank_bytes: Array,
    first_port: Array, ports: Array, last: Array, used: Array, count: Array, total: Array,
) -> tuple[int, int]:  # fmt: skip
    """Count accesses, which come in cycle order; return the first fault and its access.

    Parameters
    ----------
    words : int64[n, 3]
        Accesses, see `firemesh.traces.expand`.
    low, high : int
        Cycles of the segment.
    is_held : uint8[units, memories]
        Whether a unit has a memory.
    size, bank_bytes : int64[memories]
        0 where addresses are no bytes.
    first_port : int64[memories]
        A memory's first bank in ``last`` and ``used``.
    ports : int64[memories, 2]
        Of a bank, for reads and writes.
    last, used : int64[units, banks, 2]
        Last cycle of a bank's ports, and ports used in it; changed.
    count, total : int64[units, memories, 2]
        Accesses and bytes; changed.
    """
    before = low
    for i in range(len(words)):
        cycle, address, word = int(words[i, 0]), int(words[i, 1]), int(words[i, 2])
        unit, width, memory = word & 0xFFFF, (word >> 32) & 0xFFFF, (word >> 48) & 0xFF
        op = (word >> 56) & 1
        count[unit, memory, op] += 1
        total[unit, memory, op] += width
        if cycle < low or cycle >= high:
            return Fault.OUTSIDE_SEGMENT, i
        if cycle < before:
            return Fault.ORDER, i
        before = cycle
        if is_held[unit, memory] == 0:
            return Fault.UNIT, i
        bank = first_port[memory]
        if size[memory] > 0:
            if address < 0 or address > size[memory] - width:
                return Fault.OUTSIDE_MEMORY, i
            bank += address // bank_bytes[memory]
        if last[unit, bank, op] == cycle:
            used[unit, bank, op] += 1
        else:
            last[unit, bank, op] = cycle
            used[unit, bank, op] = 1
        if used[unit, bank, op] > ports[memory, op]:
            return Fault.PORT, i
    return Fault.NONE, -1


class _Memories:
    """The table of memories as `check_block` takes it."""

    def __init__(self, trace: Trace) -> None:
        table = trace.table("memories")
        self.names = trace.memories
        units = trace.table("units")["kind"]
        of = table["unit_kind"]
        is_held = (of[None] == units[:, None]) | (of[None] == b"node")
        self.is_held = is_held.astype(np.uint8)
        if max(int(table[name].max()) for name in ("bytes", "bank_bytes")) >= 1 << 62:
            raise DamageError("memories: bytes are too many")
        self.bytes = table["bytes"].astype(np.int64)
        self.bank_bytes = np.maximum(table["bank_bytes"].astype(np.int64), 1)
        banks = np.where(self.bytes > 0, -(-self.bytes // self.bank_bytes), 1)
        if banks.sum() > MOST_BANKS:
            raise DamageError("memories tell of too many banks")
        self.first = np.cumsum(banks) - banks
        self.n_banks = int(banks.sum())
        self.ports = np.stack([table["read_ports"], table["write_ports"]], 1).astype(np.int64)


def verify(trace: Trace, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check a trace.

    Parameters
    ----------
    trace : Trace
    progress : callable, optional
        Called with the segments checked so far, and all of them.

    Returns
    -------
    Report
        Without problems: every table can be read and fits the others; accesses, expanded one by
        one, are as many and as large as the engine counted by segment, unit, memory and operation;
        they lie inside their memories and segments; no port is used more often in a cycle than it
        can be; each packet is delivered, after it was sent; rows are in order.
    """
    report = Report()
    if not trace.is_unchanged:
        report.add("digest: the file is not as it was written")
    try:
        _check_all(trace, report, progress or (lambda done, total: None))
    except (TraceError, DamageError) as error:
        report.add(str(error))
    return report


def _check_all(trace: Trace, report: Report, progress: Callable[[int, int], None]) -> None:
    before = len(report.problems)
    for name in TABLES:
        trace.table(name)
    check_tables(trace, report)
    if len(report.problems) > before:
        return
    memories = _Memories(trace)
    for number in range(len(trace.segments)):
        progress(number, len(trace.segments))
        _check_segment(trace, number, memories, report)
        report.segments += 1


def _check_segment(trace: Trace, number: int, memories: _Memories, report: Report) -> None:
    record = trace.segments[number]
    where = f"segment {number} (frame {record['frame']}, layer {trace.layers[record['layer']]})"
    is_sound = True
    for problem in _slots(trace, number):
        report.add(f"{where}: {problem}")
        is_sound = False
    if not is_sound:
        return
    segment = trace._segment(number)
    try:
        for problem in _rows(segment):
            report.add(f"{where}: {problem}")
    except DamageError as error:
        report.add(f"{where}: {error}")
        return
    wanted = _counted(trace, number, len(memories.names))
    count = np.zeros_like(wanted)
    is_small = wanted[0].sum() <= AT_ONCE
    groups = [set(range(len(trace.units)))] if is_small else [{u} for u in range(len(trace.units))]
    for units in groups:
        fault = _check_units(trace, number, units, memories, count)
        if fault:
            report.add(f"{where}: {fault}")
            return
    report.accesses += int(count[0, :, : -len(NETWORK_MEMORIES)].sum())
    for what, unit, memory, op in np.argwhere(count != wanted):
        report.add(
            f"{where}: unit {trace.units[unit]}, {memories.names[memory]} {OPS[op]}: "
            f"{count[what, unit, memory, op]} {('accesses', 'bytes')[what]} in the lists, "
            f"{wanted[what, unit, memory, op]} counted"
        )
    for problem in _flits(trace, number):
        report.add(f"{where}: {problem}")
    for problem in _packets(trace, number, report):
        report.add(f"{where}: {problem}")


def _counted(trace: Trace, number: int, n_memories: int) -> Array:
    """Return int64[2, units, memories, ops]: accesses and bytes that the engine counted."""
    counters = trace.table("counters")
    rows = counters[counters["segment"] == number]
    wanted = np.zeros((2, len(trace.units), n_memories, 2), np.int64)
    at = rows["unit"], rows["memory"], rows["op"]
    np.add.at(wanted[0], at, rows["count"].astype(np.int64))
    np.add.at(wanted[1], at, rows["bytes"].astype(np.int64))
    return wanted


def _check_units(
    trace: Trace, number: int, units: set[int], memories: _Memories, count: Array
) -> str | None:
    """Go through accesses of units in cycle order; return what is wrong with the first bad one."""
    low, high = (int(trace.segments[name][number]) for name in ("cycle0", "cycle1"))
    last = np.full((len(trace.units), memories.n_banks, 2), -1, np.int64)
    used = np.zeros_like(last)
    for block in trace._blocks(number, units):
        fault, at = check_block(
            block.view(np.int64).reshape(-1, 3), low, high, memories.is_held, memories.bytes,
            memories.bank_bytes, memories.first, memories.ports, last, used, count[0], count[1],
        )  # fmt: skip
        if fault:
            access = block[at]
            return (
                f"unit {trace.units[access['unit']]}: {OPS[access['op'] & 1]} of "
                f"{access['size']} at {access['address']} of "
                f"{memories.names[access['memory']]} in cycle {access['cycle']} "
                f"{SENTENCES[Fault(fault)]}"
            )
    return None


def _rows(segment: Segment) -> Iterator[str]:
    """Yield what is wrong with the order of a segment's rows."""
    lists = segment.index.lists
    for number in segment.numbers:
        is_own = lists["leader"][number] < 0 or lists["queues"][number]
        for member in segment.members(number):
            if is_own and (segment.slack(number, member) < 0).any():
                yield f"list {number} has a slack below 0"
            start = segment.starts(number, member)[0][: segment.rows(number)]
            if (np.diff(start) < 0).any():
                yield f"list {number} has rows that begin before the row before"
            stalls = segment.stalls(member)
            place = stalls["row"].astype(np.int64) << 32 | stalls["entry"]
            if (np.diff(place) <= 0).any():
                yield f"list {number} has stalls that are not in order"
            check_range("stalls row", stalls["row"], 0, segment.rows(number) - 1)
            if (stalls["entry"] >= segment.n_entries(number, member)[stalls["row"]]).any():
                yield f"list {number} has stalls behind a row's last entry"
        if segment.walk(number) > Walk.RUN:
            segment.forget({number})


def _slots(trace: Trace, number: int) -> Iterator[str]:
    slots = trace.table("slots")
    rows = slots[slots["segment"] == number]
    total = np.zeros(len(trace.units), np.int64)
    np.add.at(total, rows["unit"], rows["count"].astype(np.int64))
    is_pe = trace.table("units")["kind"] == b"pe"
    record = trace.segments[number]
    cycles = int(record["cycle1"] - record["cycle0"])
    if cycles * trace.attribute("multipliers") >= 1 << 62:
        yield "slots must be more than can be counted"
        return
    wanted = cycles * trace.attribute("multipliers") * is_pe
    for unit in np.flatnonzero(total != wanted):
        yield f"slots of unit {trace.units[unit]} are {total[unit]}, must be {wanted[unit]}"


def _flits(trace: Trace, number: int) -> Iterator[str]:
    """Yield where flits that left the network are not those that its doors counted."""
    flits, links = trace.table("flits"), trace.table("links")
    rows = flits[flits["segment"] == number]
    total = np.zeros(len(links), np.int64)
    np.add.at(total, rows["link"], rows["count"].astype(np.int64))
    if (total < 0).any():
        yield "flits are more than can be counted"
    doors = _counted(trace, number, len(trace.memories))[1, :, -1, 0]
    local = np.zeros(len(trace.units), np.int64)
    is_local = links["source"] == links["target"]
    local[links["source"][is_local]] = total[is_local]
    for unit in np.flatnonzero(local != doors):
        yield f"flits to unit {trace.units[unit]} are {local[unit]}, must be {doors[unit]}"
    into, out = np.zeros_like(local), np.zeros_like(local)
    np.add.at(into, links["target"][~is_local], total[~is_local])
    np.add.at(into, np.arange(len(into)), _counted(trace, number, len(trace.memories))[1, :, -2, 1])
    np.add.at(out, links["source"], total)
    if (out < into).any():
        yield f"flits leave unit {trace.units[np.argmax(out < into)]} less often than they come"


def _packets(trace: Trace, number: int, report: Report) -> Iterator[str]:
    """Yield what is wrong with a segment's packets."""
    sent, arrived = trace._packets_of(number), trace._deliveries_of(number)
    report.packets += len(sent)
    keys = sent["source"].astype(np.int64) << 32 | sent["number"]
    order = np.argsort(keys)
    keys = keys[order]
    if (np.diff(keys) == 0).any():
        yield "two packets have the same source and number"
        return
    found = arrived["source"].astype(np.int64) << 32 | arrived["number"]
    at = np.searchsorted(keys, found)
    if (at >= len(keys)).any() or (keys[np.minimum(at, len(keys) - 1)] != found).any():
        yield "a packet arrives that was not sent"
        return
    if (arrived["cycle"] <= sent["created"][order][at]).any():
        yield "a packet arrives before it was sent"
    if len(np.unique(at)) != len(keys):
        yield f"{len(keys) - len(np.unique(at))} packets never arrive"
    twice = np.unique(np.stack([found, arrived["unit"].astype(np.int64)]), axis=1)
    if twice.shape[1] != len(found):
        yield "a packet arrives twice at a unit"
    flits = sent["flits"][order][at]
    if (flits != arrived["flits"]).any():
        yield "a packet arrives with another number of flits than it was sent with"
    kinds = len(trace.table("kinds"))
    if len(sent) and sent["kind"].max() >= kinds:
        yield f"packet kind {sent['kind'].max()} does not exist; there are {kinds}"
