"""netrace v1.0: packets with dependencies, for the simulators that read ``.tra.bz2``.

netrace's packets are those of a cache protocol, of 8 or 72 bytes and for one destination each. So a
multicast becomes one packet for each destination, all with its cycle, source and ``addr`` (its
number among the source's packets of the segment). `firemesh.traces.exporters.netrace_types` tells
which type it has, `firemesh.traces.exporters.dependencies` what waits for what.
"""

import bz2
import struct
from pathlib import Path
from typing import Any

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .netrace_regions import Regions
from .netrace_types import FLEXNN, LONG_BYTES, SHORT_BYTES, TYPES, flits_of
from .netrace_writer import DEPENDENCY_BYTES, RECORD, Writer
from .traffic import Traffic

MAGIC, VERSION = 0x484A5455, 1.0
HEADER = struct.Struct("<If30sBxQQII8x")
MOST_NODES = 255
BENCHMARK_BYTES = 29

LOST = (
    "sizes other than 8 and 72 bytes",
    "that the copies of a multicast share links: each copy is injected at the source",
    "that the first packet of a wave waits for the end-of-data of the wave before, an event for "
    "the weights, and a source for room: these waits are in the cycles only",
    "that an output waits for all events of its wave: it waits for the end-of-data behind them",
    "that results of mode flexnn wait for the operands of their round: this wait is in the cycles",
    "dependencies on packets that are not selected",
)


def write_netrace(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a netrace file; see `firemesh.traces.exporters.exporter.Export`."""
    traffic = Traffic(trace, options)
    writer = Writer(traffic, _check(traffic))
    records, waiting = writer.count(progress)
    _check_records(trace, int(records.sum()))
    regions = Regions(traffic, records, waiting, RECORD.itemsize, DEPENDENCY_BYTES)
    with bz2.open(out, "wb") as file:
        file.write(_head(traffic, regions, int(records.sum())))
        for place, whole in traffic.whole(writer.second(progress)):
            writer.write(file, place, whole)
    counts = {
        "packets": traffic.tally.packets,
        "records": writer.records,
        "dependencies": writer.dependencies,
        "regions": len(regions.table),
    }
    return Report(counts, traffic.facts() | _facts(traffic, writer) | {"regions": regions.facts})


def _check(traffic: Traffic) -> list[str]:
    trace, nodes = traffic.trace, traffic.width * traffic.height
    if nodes > MOST_NODES:
        raise TraceError(
            f"{trace.path}: has {nodes} nodes, netrace can tell {MOST_NODES}; export it as text, "
            "or run on a smaller mesh"
        )
    unknown = sorted(set(traffic.kinds) - set(TYPES))
    if unknown:
        raise TraceError(
            f"{trace.path}: has packets of kind {unknown[0]}, for which netrace has no type; "
            "install a newer firemesh"
        )
    return traffic.kinds


def _check_records(trace: Trace, records: int) -> None:
    if records >= 1 << 32:
        raise TraceError(
            f"{trace.path}: becomes {records:,} packets for one destination, netrace can number "
            "2**32; choose a layer or a frame"
        )


def _head(traffic: Traffic, regions: Regions, records: int) -> bytes:
    """Return header, notes and regions."""
    network = traffic.trace.attribute("network").encode()[:BENCHMARK_BYTES]
    notes = f"{traffic.trace.attribute('command')}; by firemesh, see the .meta.json beside it"
    told = notes.encode()[:8190] + b"\0"
    header = HEADER.pack(
        MAGIC,
        VERSION,
        network,
        traffic.width * traffic.height,
        traffic.end,
        records,
        len(told),
        len(regions.table),
    )
    return header + told + regions.table.tobytes()


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
    flits, tally = (writer.records - n_long) * short + n_long * long, traffic.tally
    return {
        "selected": tally.facts(),
        "written": tally.written(writer.records, writer.records, flits, traffic.zero),
        "consumer_command": "trace_viewer -p FILE",
        "cycle_0_is_cycle_of_run": traffic.zero,
        "num_nodes": traffic.width * traffic.height,
        "num_cycles": traffic.end,
        "num_packets": writer.records,
        "types": types,
        "size": "of a kind's two types that whose flits on channels of flit_bits are nearer",
        "flits": {
            "in_trace": tally.delivered_flits,
            "in_file": flits,
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
            "on_packets_outside": writer.outside,
        },
        "lost": list(LOST),
    }


NETRACE = Exporter(
    write_netrace,
    "netrace v1.0 with dependencies, bzip2",
    consumer="netrace 1.0 readers",
    keeps="cycle, source, destination, 8 or 72 bytes, what waits for what",
    loses="other sizes, shared links of multicasts, waits between waves",
    what="packets",
    suffix=".bz2",
    options=("relative",),
    ignores=("memory", "op"),
)
