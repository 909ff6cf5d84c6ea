"""DRAMSys' traces ``.stl``: a line ``5: (64) read 0x1000`` a burst.

The first number is the cycle of the player's clock, in whole MHz, before which the burst is not
sent. The reader keeps it in 32 bits, and what is beyond begins at 0 again; so such cycles are
refused.
"""

from pathlib import Path

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .records import Records

LINE = Template("{cycle}: ({size}) {op} 0x{address:x}\n", {"op": ("read", "write")})
BURST_BYTES = 64
MOST_CYCLES = 1 << 32
MHZ = 10**6


def write_dramsys(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of bursts; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, ("dram", "storage"), BURST_BYTES, aligns=True)
    if records.clock.hz % MHZ:
        near = max(1, round(records.clock.hz / MHZ)) * MHZ
        raise TraceError(
            f"--clock: DRAMSys takes whole MHz, and {records.clock.hz} Hz is none; "
            f"give --clock {near}"
        )
    with open(out, "wb") as file:
        for block in records.blocks(progress):
            if (last := int(block["cycle"][-1])) >= MOST_CYCLES:
                raise TraceError(
                    f"{trace.path}: goes to cycle {last} and beyond, DRAMSys counts to 2**32; "
                    "export parts with --cycles FROM:TO --relative, or choose a slower --clock"
                )
            file.write(LINE.lines(block).data)
    mhz = records.clock.hz // MHZ
    facts = records.facts() | {
        "line": "cycle: (size) read|write address",
        "trace_setup": {"type": "player", "clkMhz": mhz, "name": "FILE"},
        "consumer_command": "DRAMSys CONFIG.json, whose tracesetup is this trace_setup, and whose "
        "StoreMode is NoStorage",
    }
    return Report({"records": records.written.count}, facts)


DRAMSYS = Exporter(
    write_dramsys,
    "DRAMSys' traces of bursts",
    consumer="DRAMSys (type player)",
    keeps="address, read or write, the cycle before which a burst is not sent",
    loses="sizes (a line is a whole burst), units, layers, data, waits of the machine for data",
    suffix=".stl",
    options=("relative", "clock_hz", "burst_bytes", "merge"),
)
