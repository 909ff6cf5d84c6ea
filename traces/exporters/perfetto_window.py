"""What happens in a window of cycles, as Perfetto's slices: accesses, and packets with flows."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..schema import DELIVERY, NETWORK_MEMORIES, OPS, PACKET
from .lanes import Lanes
from .lines import Template
from .packet_events import arrived, has_packets, sent, window
from .perfetto_overview import Overview
from .records import Records
from .trace_events import CYCLES, FRACTIONS, Events, Track

MOST_EVENTS = 1_500_000
"""Of a file; viewers get slow beyond."""
EVENTS_OF_ARRIVAL = 3
"""Its slice, and the two of its flow."""

WHERE = '"pid":{pid},"tid":{tid},"ts":{us}.{ns}'
SLICE = ',\n{{"ph":"X",' + WHERE + ',"dur":0.001,"name":"{name}","args":{{'
ACCESS_LINE = SLICE + '"address":"0x{address:x}","bytes":{size},"layer":{layer}}}}}'
SENT_LINE = SLICE + '"number":{number},"flits":{flits},"layer":{layer}}}}}'
ARRIVED_LINE = SLICE + '"number":{number},"flits":{flits},"layer":{layer}}}}}'
FLOW = '"cat":"packet","name":"packet","id":{id},' + WHERE + "}}"
BEGIN_LINE = ',\n{{"ph":"s",' + FLOW
END_LINE = ',\n{{"ph":"f","bp":"e",' + FLOW


class Tracks:
    """Tracks that are made when something first lies on them; of one slice a cycle.

    Parameters
    ----------
    overview : Overview
    names : sequence of str
        By memory.
    """

    def __init__(self, overview: Overview, names: Sequence[str]) -> None:
        self._overview, self._names, self._lanes = overview, names, Lanes()
        self._tracks: list[Track] = []

    def rows(
        self, cycle: NDArray[Any], unit: NDArray[Any], memory: Any, op: Any
    ) -> dict[str, NDArray[Any]]:
        """Return the columns ``pid``, ``tid``, ``us`` and ``ns`` of slices, by cycle."""
        which = self._lanes.of(cycle, unit, memory, op)
        for one in self._lanes.found[len(self._tracks) :]:
            number = f" {one.number + 1}" if one.number else ""
            name = self._names[2 * one.memory + one.op] + number
            group = self._overview.group[one.unit]
            self._tracks.append(self._overview.events.track(group, name))
        process, thread = np.array(self._tracks, np.int64).reshape(-1, 2).T
        us, ns = np.divmod(cycle, np.uint64(CYCLES))
        return {"pid": process[which], "tid": thread[which], "us": us, "ns": ns}


def write_accesses(records: Records, overview: Overview) -> None:
    """Write each access of the window as a slice of one cycle, on the track of its lane.

    Raises
    ------
    TraceError
        When they are more than a file may have.
    """
    trace, events = records.trace, overview.events
    line = Template(ACCESS_LINE, _words(records) | {"name": OPS})
    names = [f"{memory} {op}" for memory in trace.memories for op in OPS]
    tracks = Tracks(overview, names)
    for whole in trace.accesses(**records.selection.arguments):
        _check(records, events.count + len(whole), int(whole["cycle"][0]))
        block = whole.copy()
        block["cycle"] -= np.uint64(records.zero)
        columns = {name: block[name] for name in ("address", "size", "layer")}
        columns |= tracks.rows(*(block[name] for name in ("cycle", "unit", "memory", "op")))
        events.lines(line.lines(columns | {"name": block["op"]}), "slices", len(block))
        records.written.add(block)


def refuse_large(records: Records) -> None:
    """Refuse a window whose whole segments alone hold more accesses than a file may have events.

    Raises
    ------
    TraceError
    """
    if records.selection.cycles is None:
        return
    (low, high), rows = window(records), records.trace.segments
    is_whole = (rows["cycle0"] >= low) & (rows["cycle1"] <= high)
    counted = records.counted[is_whole[records.counted["segment"]]]
    accesses = int(counted["count"].sum())
    if accesses > MOST_EVENTS:
        cycles = max(1, (high - low) * MOST_EVENTS // (2 * accesses))
        raise TraceError(
            f"{records.trace.path}: the window holds more than {MOST_EVENTS:,} events; choose "
            f"--cycles {low}:{low + cycles}, or fewer layers, units or memories"
        )


def _words(records: Records) -> dict[str, Sequence[str]]:
    return {"ns": FRACTIONS, "layer": [json.dumps(name) for name in records.trace.layers]}


def _check(records: Records, events: int, cycle: int) -> None:
    if events > MOST_EVENTS:
        low, _ = window(records)
        way = f"choose --cycles {low}:{cycle}" if cycle > low else "choose fewer cycles"
        raise TraceError(
            f"{records.trace.path}: the window holds more than {MOST_EVENTS:,} events; {way}, or "
            "fewer layers, units or memories"
        )


def write_packets(records: Records, overview: Overview) -> None:
    """Write packets of the window: a slice where one is sent, one where it arrives, and a flow.

    A flow has both its ends in the window.

    Raises
    ------
    TraceError
        When they are more than a file may have.
    """
    if not has_packets(records.options):
        return
    begins, ends = _collected(records, overview.events.count)
    trace, door, n = records.trace, len(records.trace.memories) - len(NETWORK_MEMORIES), len(begins)
    names = [f"{memory} {op}" for memory in trace.memories for op in OPS]
    names[2 * door + 1], names[2 * door + 2] = "packets sent", "packets arrived"
    tracks, words = Tracks(overview, names), _words(records)
    if not n and not len(ends):
        return
    left = tracks.rows(begins["created"], begins["source"], door, 1)
    came = tracks.rows(ends["cycle"], ends["unit"], door + 1, 0)
    kinds = [json.dumps(kind)[1:-1] for kind in trace._names("kinds")]
    units = [json.dumps(f"from {unit}")[1:-1] for unit in trace.units]
    columns = {name: begins[name] for name in ("number", "flits", "layer")}
    line = Template(SENT_LINE, words | {"name": kinds})
    overview.events.lines(line.lines(left | columns | {"name": begins["kind"]}), "slices", n)
    columns = {name: ends[name] for name in ("number", "flits", "layer")}
    line = Template(ARRIVED_LINE, words | {"name": units})
    overview.events.lines(
        line.lines(came | columns | {"name": ends["source"]}), "slices", len(ends)
    )
    _write_flows(records, overview.events, (begins, left), (ends, came))


def _collected(records: Records, before: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the packets that are sent in the window, and those that arrive."""
    begins, ends = [np.zeros(0, PACKET), *sent(records)], [np.zeros(0, DELIVERY)]
    count = before + sum(map(len, begins))
    for block in arrived(records):
        count += EVENTS_OF_ARRIVAL * len(block)
        _check(records, count, int(block["cycle"][0]) + records.zero)
        ends.append(block)
    _check(records, count, 0)
    return np.concatenate(begins), np.concatenate(ends)


def _write_flows(
    records: Records,
    events: Events,
    begin: tuple[NDArray[Any], dict[str, NDArray[Any]]],
    end: tuple[NDArray[Any], dict[str, NDArray[Any]]],
) -> None:
    """Write a flow from a packet to each of its arrivals."""
    rows = records.trace.segments[records.segments]
    edges = rows["cycle0"].astype(np.int64) - records.zero

    def key(table: NDArray[Any], cycle: str) -> NDArray[np.int64]:
        segment = np.searchsorted(edges, table[cycle].astype(np.int64), "right")
        name = table["source"].astype(np.int64) << 32 | table["number"]
        found: NDArray[np.int64] = np.stack([segment, name], axis=1)
        return found

    named, which = np.unique(
        np.concatenate([key(begin[0], "created"), key(end[0], "cycle")]),
        axis=0,
        return_inverse=True,
    )
    of_begin, of_end = np.split(which.ravel(), [len(begin[0])])
    row = np.full(len(named), -1, np.int64)
    row[of_begin] = np.arange(len(of_begin))
    from_, to = row[of_end], np.arange(len(of_end))
    from_, to = from_[from_ >= 0], to[from_ >= 0]
    number = {"id": np.arange(1, len(to) + 1)}
    words = {"ns": FRACTIONS}
    for form, table, chosen in ((BEGIN_LINE, begin[1], from_), (END_LINE, end[1], to)):
        columns = {name: column[chosen] for name, column in table.items()}
        count = len(to) if form is END_LINE else 0
        events.lines(Template(form, words).lines(columns | number), "flows", count)
