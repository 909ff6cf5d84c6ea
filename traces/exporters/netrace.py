"""netrace v1.0: packets with dependencies, for the simulators that read ``.tra.bz2``.

netrace's packets are those of a cache protocol, of 8 or 72 bytes and for one destination each. So a
multicast becomes one packet for each destination, all with its cycle, source and ``addr`` (its
number among the source's packets of the segment). `firemesh.traces.exporters.netrace_types` tells
which type it has, `firemesh.traces.exporters.dependencies` what waits for what.
"""

import bz2
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from .dependencies import NO_DEPENDENCIES, Dependencies, dependencies
from .exporter import Exporter, Options, Progress, Report
from .netrace_regions import Regions
from .netrace_types import FLEXNN, L1D, L2, LONG_BYTES, SHORT_BYTES, TYPES, flits_of
from .traffic import Sent, Traffic

MAGIC, VERSION = 0x484A5455, 1.0
HEADER = struct.Struct("<If30sBxQQII8x")
RECORD = np.dtype(
    [
        ("cycle", "<u8"),
        ("id", "<u4"),
        ("addr", "<u4"),
        ("type", "u1"),
        ("src", "u1"),
        ("dst", "u1"),
        ("node_types", "u1"),
        ("num_deps", "u1"),
    ]
)
DEPENDENCY_BYTES = 4
MOST_NODES = 255
BENCHMARK_BYTES = 29

LOST = (
    "sizes other than 8 and 72 bytes",
    "that the copies of a multicast share links: each copy is injected at the source",
    "that the first packet of a wave waits for the end-of-data of the wave before, an event for "
    "the weights, and a source for room: these waits are in the cycles only",
    "that an output waits for all events of its wave: it waits for the end-of-data behind them",
    "that results of mode flexnn wait for the operands of their round: this wait is in the cycles",
)


def write_netrace(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a netrace file; see `firemesh.traces.exporters.exporter.Export`."""
    traffic = Traffic(trace, options)
    kinds = _check(traffic)
    regions = Regions(traffic, RECORD.itemsize, DEPENDENCY_BYTES)
    writer = Writer(traffic, kinds)
    with bz2.open(out, "wb") as file:
        file.write(_head(traffic, regions))
        for place, sent in traffic.sent(progress):
            writer.write(file, place, sent)
    counts = {
        "packets": writer.packets,
        "records": writer.records,
        "dependencies": writer.dependencies,
        "regions": len(regions.table),
    }
    return Report(counts, traffic.facts() | _facts(traffic, writer) | {"regions": regions.facts})


def _check(traffic: Traffic) -> list[str]:
    trace, nodes = traffic.trace, traffic.width * traffic.height
    if nodes > MOST_NODES:
        raise TraceError(
            f"{trace.path}: has {nodes} nodes, netrace can tell {MOST_NODES}; export it as packets,"
            " or run on a smaller mesh"
        )
    records = int(traffic.copies.sum())
    if records >= 1 << 32:
        raise TraceError(
            f"{trace.path}: becomes {records:,} packets for one destination, netrace can number "
            "2**32; choose a layer or a frame"
        )
    unknown = sorted(set(traffic.kinds) - set(TYPES))
    if unknown:
        raise TraceError(
            f"{trace.path}: has packets of kind {unknown[0]}, for which netrace has no type; "
            "install a newer firemesh"
        )
    return traffic.kinds


def _head(traffic: Traffic, regions: Regions) -> bytes:
    """Return header, notes and regions."""
    network = traffic.trace.attribute("network").encode()[:BENCHMARK_BYTES]
    notes = f"{traffic.trace.attribute('command')}; by firemesh, see the .json beside it"
    told = notes.encode()[:8190] + b"\0"
    header = HEADER.pack(
        MAGIC,
        VERSION,
        network,
        traffic.width * traffic.height,
        traffic.end,
        int(traffic.copies.sum()),
        len(told),
        len(regions.table),
    )
    return header + told + regions.table.tobytes()


class Writer:
    """Writes the packets, and counts them.

    Attributes
    ----------
    packets, records, dependencies, forwarded : int
    flits : int
        Of the records, as the trace has them.
    of_type : int64[256]
        Records of each type.
    of_kind : int64[kinds]
    """

    def __init__(self, traffic: Traffic, kinds: list[str]) -> None:
        self._traffic, trace = traffic, traffic.trace
        self._end = kinds.index("end") if "end" in kinds else -1
        self._types = np.array([[number for _, number in TYPES[kind]] for kind in kinds], np.uint8)
        short, long = flits_of(trace.attribute("flit_bits"))
        self._is_long_from = (short + long) / 2 if short < long else np.inf
        self._level = np.full(len(trace.units), L1D, np.uint8)
        self._level[traffic.storage] = L2
        names = [bytes(name) for name in trace.table("streams")["name"]]
        self._eject = names.index(b"eject") if b"eject" in names else -1
        self.packets = self.records = self.dependencies = self.forwarded = self.flits = 0
        self.of_type = np.zeros(256, np.int64)
        self.of_kind = np.zeros(len(kinds), np.int64)

    def write(self, file: IO[bytes], place: int, sent: Sent) -> None:
        """Write the packets of a segment."""
        number = int(self._traffic.numbers[place])
        waits: Dependencies | None = NO_DEPENDENCIES
        if self._traffic.waiting[place]:
            waits = dependencies(
                sent, self._traffic.storage, self._end, self._traffic.trace._segment(number),
                self._eject,
            )  # fmt: skip
        if waits is None or len(waits.arrival) != self._traffic.waiting[place]:
            raise self._traffic.damaged(number)
        begin = 0
        for part in sent.parts():
            end = begin + len(part.to)
            records = self._records(part, self.records + begin)
            mine = slice(*np.searchsorted(waits.arrival, [begin, end]).tolist())
            file.write(_packed(records, waits, mine, begin, self.records).data)
            begin = end
        self.packets, self.records = self.packets + len(sent.packets), self.records + begin
        self.dependencies += len(waits.arrival)
        self.forwarded += waits.forwarded

    def _records(self, part: Sent, first_id: int) -> NDArray[Any]:
        row = part.row
        records = np.zeros(len(row), RECORD)
        copied = part.packets[row]
        is_long = copied["flits"] >= self._is_long_from
        records["cycle"], records["addr"] = copied["created"], copied["number"]
        records["id"] = np.arange(first_id, first_id + len(row))
        node = self._traffic.node
        records["src"], records["dst"] = node[copied["source"]], node[part.to]
        records["type"] = self._types[copied["kind"], is_long.astype(np.intp)]
        source, target = (self._level[unit] for unit in (copied["source"], part.to))
        records["node_types"] = source << 4 | target
        self.flits += int(copied["flits"].sum(dtype=np.int64))
        self.of_type += np.bincount(records["type"], minlength=256)
        self.of_kind += np.bincount(copied["kind"], minlength=len(self.of_kind))
        return records


def _packed(
    records: NDArray[Any], waits: Dependencies, mine: slice, begin: int, first_id: int
) -> NDArray[np.uint8]:
    """Return uint8[bytes]: records, each followed by the packets that its arrival releases.

    Parameters
    ----------
    records : structured array
    waits : Dependencies
        Of the segment.
    mine : slice
        Those of these records.
    begin, first_id : int
        Place of the first record in the segment; id of the segment's first.
    """
    record = waits.arrival[mine] - begin
    count = np.bincount(record, minlength=len(records))
    records["num_deps"] = count
    before = np.cumsum(count) - count
    start = RECORD.itemsize * np.arange(len(records)) + DEPENDENCY_BYTES * before
    packed = np.empty(RECORD.itemsize * len(records) + DEPENDENCY_BYTES * len(record), np.uint8)
    rows = records.view(np.uint8).reshape(-1, RECORD.itemsize)
    packed[start[:, None] + np.arange(RECORD.itemsize)] = rows
    at = RECORD.itemsize * (record + 1) + DEPENDENCY_BYTES * np.arange(len(record))
    ids = (waits.released[mine] + first_id).astype("<u4")
    packed[at[:, None] + np.arange(DEPENDENCY_BYTES)] = ids.view(np.uint8).reshape(
        -1, DEPENDENCY_BYTES
    )
    return packed


def _facts(traffic: Traffic, writer: Writer) -> dict[str, Any]:
    short, long = flits_of(traffic.trace.attribute("flit_bits"))
    sizes = (SHORT_BYTES, LONG_BYTES)
    types = {
        kind: [
            {"type": name, "number": number, "bytes": size, "records": int(writer.of_type[number])}
            for (name, number), size in zip(TYPES[kind], sizes, strict=True)
        ]
        for kind, count in zip(traffic.kinds, writer.of_kind, strict=True)
        if count or kind not in FLEXNN
    }
    of_long = {pair[1][1] for pair in TYPES.values()}
    n_long = sum(int(writer.of_type[number]) for number in of_long)
    return {
        "cycle_0_is_cycle_of_run": traffic.zero,
        "num_nodes": traffic.width * traffic.height,
        "num_cycles": traffic.end,
        "num_packets": writer.records,
        "types": types,
        "size": "of a kind's two types that whose flits on channels of flit_bits are nearer",
        "flits": {
            "in_trace": writer.flits,
            "in_file": (writer.records - n_long) * short + n_long * long,
        },
        "node_types": {"storage": "L2", "pe": "L1D"},
        "node": "x + width*y; readers that take sqrt(num_nodes) for the width want a square mesh",
        "addr": "number of the packet among those of its source in the segment",
        "multicast": "a record for each destination, with equal cycle, src and addr",
        "dependencies": {
            "rule": "a PE's packets 0..W-1 to storage in a wave wait for the end-of-data message "
            "that reached it, packet j for packet j-W; W is 255, 254 where the PE forwards the "
            "message; a packet forwarded in a chain waits for the one that brought it",
            "of_outputs": writer.dependencies - writer.forwarded,
            "of_forwarded": writer.forwarded,
        },
        "lost": list(LOST),
    }


NETRACE = Exporter(
    write_netrace,
    "netrace v1.0 with dependencies, bzip2",
    consumer="netrace 1.0 readers",
    keeps="cycle, source, destination, 8 or 72 bytes, what waits for what",
    loses="; ".join(LOST),
    what="packets",
    suffix=".bz2",
    options=("relative",),
    ignores=("unit", "memory", "op", "cycles"),
)
