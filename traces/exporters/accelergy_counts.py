"""How often each component acts, from a trace's counters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import OPS
from ..selection import Selection, numbers
from .accelergy_parts import (
    CHIP,
    COMPUTE,
    LINK,
    MAC,
    PE,
    SYSTEM,
    TRANSFER,
    path,
    pe_numbers,
    word_bytes,
)
from .exporter import Progress
from .records import Records
from .tally import AccessTally

Counts = dict[str, dict[str, int]]
"""Path of a component -> action -> how often."""
Ints = NDArray[np.int64]


def bytes_of(records: Records, progress: Progress) -> Ints:
    """Return int64[n_units, n_memories, 2]: bytes that are read and written.

    They are those that the engine counted; only in a window of cycles accesses are gone through.
    """
    trace, counted = records.trace, records.counted
    total = np.zeros((len(trace.units), len(trace.memories), len(OPS)), np.int64)
    if records.selection.cycles is None:
        place = counted["unit"], counted["memory"], counted["op"]
        np.add.at(total, place, counted["bytes"].astype(np.int64))
        writes = int(counted["count"][counted["op"] == 1].sum())
        count, of = int(counted["count"].sum()), trace.segments[records.segments]
        ends = int(of["cycle0"][0]), int(of["cycle1"][-1]) - 1
        records.selected = AccessTally(count, count - writes, writes, int(total.sum()), *ends)
        return total
    low, high = records.selection.cycles
    for block in trace.accesses(**records.selection.arguments):
        records.selected.add(block)
        place = block["unit"], block["memory"], block["op"]
        np.add.at(total, place, block["size"].astype(np.int64))
        progress(int(block["cycle"][-1]) - low, high - low)
    records.check()
    return total


def memory_counts(records: Records, total: Ints) -> Counts:
    """Return accesses of whole words, the bytes of a component and action rounded up to them."""
    trace, found = records.trace, dict[str, dict[str, int]]()
    widths = np.array([word_bytes(memory) for memory in trace.table("memories")])
    actions = -(-total // widths[:, None])
    reads, writes = (int(actions[..., op].sum()) for op in range(len(OPS)))
    size = int((actions * widths[:, None]).sum())
    records.written = AccessTally(reads + writes, reads, writes, size)
    pes = pe_numbers(trace)
    for unit, memory, op in np.argwhere(total).tolist():
        name = trace.memories[memory]
        place = SYSTEM if name == "dram" else PE if unit in pes else CHIP
        component = found.setdefault(path(place, name, pes.get(unit, "")), {})
        count = int(actions[unit, memory, op])
        component[OPS[op]] = component.get(OPS[op], 0) + count
    return found


def why_memories_only(selection: Selection) -> str:
    """Return why multipliers and links are left out; empty where they are not."""
    if selection.cycles is not None:
        return "multipliers and links are counted by segments: with --cycles they are left out"
    if selection.memory is not None or selection.op is not None:
        return "multipliers and links are no memories: with --memory or --op they are left out"
    return ""


def mac_counts(records: Records) -> Counts:
    """Return the slots of each PE's multipliers that were busy."""
    trace, slots = records.trace, records.trace.table("slots")
    is_busy = trace.table("causes")["is_busy"][slots["cause"]] != 0
    mine = slots[np.isin(slots["segment"], records.segments) & is_busy]
    total = np.zeros(len(trace.units), np.int64)
    np.add.at(total, mine["unit"], mine["count"].astype(np.int64))
    units = numbers(trace.units, records.selection.unit, "unit")
    return {
        path(PE, MAC, number): {COMPUTE: int(total[unit])}
        for unit, number in pe_numbers(trace).items()
        if total[unit] and (units is None or unit in units)
    }


def link_counts(records: Records) -> Counts:
    """Return the flits over each link; of selected units those that they send."""
    trace, flits = records.trace, records.trace.table("flits")
    mine = flits[np.isin(flits["segment"], records.segments)]
    total = np.zeros(len(trace.links), np.int64)
    np.add.at(total, mine["link"], mine["count"].astype(np.int64))
    units, source = numbers(trace.units, records.selection.unit, "unit"), trace.table("links")
    return {
        path(CHIP, f"{LINK}[{link}]"): {TRANSFER: int(total[link])}
        for link in np.flatnonzero(total).tolist()
        if units is None or int(source["source"][link]) in units
    }


def totals(counts: Counts) -> Any:
    """Return the number of components and of their actions."""
    return {
        "components": len(counts),
        "actions": sum(count for actions in counts.values() for count in actions.values()),
    }
