"""Ramulator 2's load and store traces: a line ``LD 0x1000`` a burst, no times.

The reader splits a line at each blank and takes two words, no more; so none ends in a blank.
"""

from pathlib import Path

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .records import Records

LINE = Template("{op} 0x{address:x}\n", {"op": ("LD", "ST")})
BURST_BYTES = 64
NOTE = "lines have no times: a bandwidth experiment, not a replay"


def write_bursts(
    trace: Trace, out: Path, options: Options, progress: Progress, line: Template
) -> Records:
    """Write lines of bursts without times; return what they are of."""
    records = Records(trace, options, ("dram", "storage"), BURST_BYTES, aligns=True)
    records.note = "; ".join(filter(None, [records.note, NOTE]))
    with open(out, "wb") as file:
        for block in records.blocks(progress):
            file.write(line.lines(block).data)
    return records


def write_ramulator2(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of bursts; see `firemesh.traces.exporters.exporter.Export`."""
    records = write_bursts(trace, out, options, progress, LINE)
    facts = records.facts() | {
        "line": "word address",
        "consumer_command": "ramulator2 -f CONFIG.yaml, whose Frontend is {impl: LoadStoreTrace, "
        "path: FILE, clock_ratio: 1}",
    }
    return Report({"records": records.written.count}, facts)


RAMULATOR2 = Exporter(
    write_ramulator2,
    "Ramulator 2's traces of bursts, for a bandwidth experiment",
    consumer="Ramulator 2 (LoadStoreTrace)",
    keeps="order, address, read or write",
    loses="cycles (a burst a cycle, as fast as the memory takes them), sizes, units, layers",
    options=("burst_bytes", "merge"),
)
