"""Traces in the Common Trace Format 1.8: a folder of ``metadata`` and binary streams.

Events are what readers of a trace get, byte for byte: an access is its cycle, then address, unit,
layer, size, memory and op. So an array of accesses is the body of a packet, as CTF calls a block of
events with its own header; the header tells first and last cycle, by which a reader can find a
window. Each kind of event has a stream of its own; readers merge them by time.
"""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..reader import Trace
from .ctf_metadata import HEADER, MAGIC, STREAMS, event_dtype, metadata
from .exporter import Exporter, Options, Progress, Report
from .packet_events import arrived, has_packets, sent, window
from .records import Records

PACKET_EVENTS = 1 << 15
"""Events of a packet, at most."""


def write_ctf(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a folder of streams; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, is_apart=True)
    out.mkdir()
    streams = {name: Stream(out / name, name) for name in STREAMS}
    try:
        for block in records.blocks(progress):
            streams["access"].write(block)
        streams["segment"].write(segments(records))
        if has_packets(options):
            for block in sent(records):
                streams["packet_sent"].write(block)
            for block in arrived(records):
                streams["packet_arrived"].write(block)
    finally:
        for stream in streams.values():
            stream.close()
    about = {name: trace.attribute(name) for name in ("network", "mode", "command")}
    about |= {"first_cycle_of_run": records.zero}
    (out / "metadata").write_text(metadata(trace, about), "ascii")
    counts = {
        "accesses": streams["access"].count,
        "packets": streams["packet_sent"].count,
        "deliveries": streams["packet_arrived"].count,
        "segments": streams["segment"].count,
    }
    facts = records.facts() | {
        "addresses": "of the memory of the unit, from 0",
        "packets": {name: streams[name].facts() for name in ("packet_sent", "packet_arrived")},
        "consumer_command": "babeltrace2 --clock-cycles FOLDER",
    }
    return Report(counts, facts)


def segments(records: Records) -> NDArray[Any]:
    """Return the events that tell when a wave of a layer of a frame begins and ends."""
    told = records.trace.segments[records.segments]
    low, high = window(records)
    rows = np.empty(len(told), event_dtype("segment"))
    for name in ("frame", "layer", "wave"):
        rows[name] = told[name]
    zero = np.uint64(records.zero)
    rows["cycle"] = np.maximum(told["cycle0"], np.uint64(low)) - zero
    rows["end"] = np.minimum(told["cycle1"], np.uint64(high)) - zero
    return rows


class Stream:
    """A stream's file; there is none of a stream without events.

    Parameters
    ----------
    path : Path
    name : str
        A key of `firemesh.traces.exporters.ctf_metadata.STREAMS`.

    Attributes
    ----------
    count : int
        Events that were written.
    first, last : int or None
        Their cycles, None without events.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.count = path, 0
        self.first: int | None = None
        self.last: int | None = None
        self._number, self._size = list(STREAMS).index(name), event_dtype(name).itemsize
        self._file: IO[bytes] | None = None

    def write(self, events: NDArray[Any]) -> None:
        """Write events: records of which each is an event's bytes, by cycle, its first field."""
        for begin in range(0, len(events), PACKET_EVENTS):
            part = np.ascontiguousarray(events[begin : begin + PACKET_EVENTS])
            first, last = (int(event[0]) for event in part[[0, -1]])
            bits = 8 * (HEADER.itemsize + part.nbytes)
            header = (MAGIC, self._number, first, last, bits, bits)
            if self._file is None:
                self._file, self.first = open(self.path, "wb"), first
            self._file.write(np.array([header], HEADER).tobytes())
            self._file.write(part.view(np.uint8).data)
            self.count += len(part)
            self.last = last

    def facts(self) -> dict[str, int | None]:
        """Return what the side file tells of the events."""
        return {"records": self.count, "first_cycle": self.first, "last_cycle": self.last}

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


CTF = Exporter(
    write_ctf,
    "The Common Trace Format 1.8: accesses, packets and segments",
    consumer="babeltrace2, Trace Compass",
    keeps="all: cycle, unit, memory, op, address, size, layer; packets sent and arrived",
    loses="frames of accesses (segments tell them by cycle), counters, slots",
    what="both",
    is_folder=True,
    options=("relative",),
)
