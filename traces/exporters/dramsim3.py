"""DRAMsim3's and DRAMSim2's traces: a line ``0x1000 READ 5`` a burst.

The third number is the cycle of the DRAM's clock before which the burst is not sent. The reader
takes any word but WRITE for a read, and repeats or loses the last line when it comes to the file's
end; so the file ends with a read in a cycle that never comes. There are no headers or comments.
"""

from pathlib import Path

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .records import Records

LINE = Template("0x{address:x} {op} {cycle}\n", {"op": ("READ", "WRITE")})
SENTINEL = b"0x0 READ 18446744073709551615\n"
BURST_BYTES = 64
MOST_BURST_CYCLES = 128
"""Cycles that the slowest burst takes, about: a row is closed, opened and read, a refresh besides;
chosen with ample room, so that ``-c`` never ends a replay before its last burst."""


def write_dramsim3(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of bursts; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, ("dram", "storage"), BURST_BYTES, aligns=True)
    with open(out, "wb") as file:
        for block in records.blocks(progress):
            file.write(LINE.lines(block).data)
        file.write(SENTINEL)
    written = records.written
    cycles = (written.last_cycle or 0) + MOST_BURST_CYCLES * (written.count + 1)
    facts = records.facts() | {
        "line": "address word cycle",
        "sentinel": SENTINEL.decode().strip(),
        "cycles": cycles,
        "consumer_command": f"dramsim3main CONFIG.ini -c {cycles} -t FILE",
    }
    return Report({"records": written.count}, facts)


DRAMSIM3 = Exporter(
    write_dramsim3,
    "DRAMsim3's and DRAMSim2's traces of bursts",
    consumer="DRAMsim3; DRAMSim2, where the file's name begins with mase_",
    keeps="address, read or write, the cycle before which a burst is not sent",
    loses="sizes (a line is a burst), units, layers, waits of the machine for data",
    options=("relative", "clock_hz", "burst_bytes", "merge"),
)
