"""DRAMsim3's and DRAMSim2's traces: a line ``0x1000 READ 5`` a burst.

The third number is the cycle of the DRAM's clock before which the burst is not sent. The reader
takes any word but WRITE for a read, and repeats or loses the last line when it comes to the file's
end; so the file ends with a read in a cycle that never comes. There are no headers or comments.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .records import Records

LINE = Template("0x{address:x} {op} {cycle}\n", {"op": ("READ", "WRITE")})
SENTINEL = b"0x0 READ 18446744073709551615\n"
BURST_BYTES = 64
BURST_NS, LEAST_BURST_CYCLES = 80, 128
"""The longest that a burst keeps a DRAM busy, about: its row is closed, opened and read, with its
share of refreshes; ample, so that ``-c`` ends no replay before its last burst."""
DRAIN_CYCLES = 4096
"""For the last bursts and a refresh before them."""
NO_CLOCK = "cycles are those of the machine's clock; name the DRAM's with --clock"


def write_dramsim3(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of bursts; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, ("dram", "storage"), BURST_BYTES, aligns=True)
    if options.clock_hz is None:
        records.note = "; ".join(filter(None, [records.note, NO_CLOCK]))
    each, finish = max(LEAST_BURST_CYCLES, -(-records.clock.hz * BURST_NS // 10**9)), 0
    with open(out, "wb") as file:
        for block in records.blocks(progress):
            finish = finished(block["cycle"], each, finish)
            file.write(LINE.lines(block).data)
        file.write(SENTINEL)
    cycles = finish + DRAIN_CYCLES
    facts = records.facts() | {
        "line": "address word cycle",
        "sentinel": SENTINEL.decode().strip(),
        "cycles": cycles,
        "consumer_command": f"dramsim3main CONFIG.ini -c {cycles} -t FILE",
    }
    return Report({"records": records.written.count}, facts)


def finished(cycle: NDArray[Any], each: int, finish: int) -> int:
    """Return when bursts are done that are served one after another.

    Parameters
    ----------
    cycle : uint64[n]
        Before which a burst is not sent, ascending.
    each : int
        Cycles of a burst.
    finish : int
        When the bursts before them are done.
    """
    n = len(cycle)
    waits = cycle.astype(np.int64) - each * np.arange(n)
    return max(int(waits.max()), finish) + each * n


DRAMSIM3 = Exporter(
    write_dramsim3,
    "DRAMsim3's and DRAMSim2's traces of bursts",
    consumer="DRAMsim3; DRAMSim2, where the file's name begins with mase_",
    keeps="address, read or write, the cycle before which a burst is not sent",
    loses="sizes (a line is a burst), units, layers, waits of the machine for data",
    options=("relative", "clock_hz", "burst_bytes", "merge"),
)
