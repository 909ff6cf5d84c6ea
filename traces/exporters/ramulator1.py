"""Ramulator 1's memory traces: a line ``0x1000 R`` a burst, no times.

The reader loses a last line without a newline.
"""

from pathlib import Path

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .ramulator2 import write_bursts

LINE = Template("0x{address:x} {op}\n", {"op": ("R", "W")})


def write_ramulator1(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of bursts; see `firemesh.traces.exporters.exporter.Export`."""
    records = write_bursts(trace, out, options, progress, LINE)
    facts = records.facts() | {
        "line": "address letter",
        "consumer_command": "ramulator CONFIG.cfg --mode=dram FILE",
    }
    return Report({"records": records.written.count}, facts)


RAMULATOR1 = Exporter(
    write_ramulator1,
    "Ramulator 1's traces of bursts, for a bandwidth experiment",
    consumer="Ramulator 1 (--mode=dram), also in SCALE-Sim v3's flow",
    keeps="order, address, read or write",
    loses="cycles (a burst a cycle, as fast as the memory takes them), sizes, units, layers",
    options=("burst_bytes", "merge"),
)
