"""Packets as text: a line ``cycle src dst size`` for each, as many simple replayers read it.

Lines are in order of cycle, source and number. ``dst`` of a multicast is its set of destinations,
``1,2,5``, unless split. Nodes are those of the mesh, ``x + width*y``; the size is in flits. There
are no comments and no header, because most readers allow none.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .sent import Sent
from .text import numbers_text
from .traffic import Traffic

SPACE, COMMA, NEWLINE = (ord(c) for c in " ,\n")


def write_packets(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write the packets of a trace as lines; see `firemesh.traces.exporters.exporter.Export`."""
    traffic = Traffic(trace, options)
    lines = 0
    with open(out, "wb") as file:
        for _, sent in traffic.sent(progress):
            for part in traffic.placed(sent).parts():
                part = part.split() if options.split else part
                lines += len(part.packets)
                file.write(_lines(part).data)
    tally = traffic.tally
    flits = tally.delivered_flits if options.split else tally.flits
    counts = {"packets": tally.packets, "deliveries": tally.deliveries, "lines": lines}
    facts = traffic.facts() | {
        "selected": tally.facts(),
        "written": tally.written(lines, tally.deliveries, flits, traffic.zero),
        "consumer_command": f"firemesh noc replay FILE --width {traffic.width} --height "
        f"{traffic.height}",
        "line": "cycle src dst size",
        "cycle_0_is_cycle_of_run": traffic.zero,
        "end_cycle": traffic.end,
        "size": "flits",
        "multicast": "split: a line for each destination" if options.split else "one line, dst a,b",
    }
    return Report(counts, facts)


def _lines(sent: Sent) -> NDArray[np.uint8]:
    packets, n = sent.packets, len(sent.packets)
    begin = sent.first[:-1] + 3 * np.arange(n)
    end = sent.first[1:] + 3 * np.arange(n) + 2
    number = np.empty(len(sent.to) + 3 * n, np.int64)
    after = np.full(len(number), COMMA, np.uint8)
    number[begin], number[begin + 1], number[end] = (
        packets[name] for name in ("created", "source", "flits")
    )
    number[np.arange(len(sent.to)) + 3 * sent.row + 2] = sent.to
    after[begin] = after[begin + 1] = after[end - 1] = SPACE
    after[end] = NEWLINE
    return numbers_text(number, after)


TEXT = Exporter(
    write_packets,
    "text, a line `cycle src dst size` a packet",
    consumer="simple replayers, and firemesh noc replay",
    keeps="cycle, source, destinations, flits",
    loses="kinds and values of packets, when they arrived, all accesses",
    what="packets",
    options=("relative", "split"),
    ignores=("memory", "op"),
)
