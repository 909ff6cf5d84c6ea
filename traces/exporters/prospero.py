"""Traces of SST's Prospero: text, a line ``0 R 4096 64`` an access, or packed records of 21 bytes.

Addresses of the text are decimal: its reader takes hexadecimal ones for the end of the number and
never ends. Of an access Prospero makes no more than a line of its cache; so accesses are cut.
A file whose name ends in ``.gz`` is compressed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .folder import new_file
from .lines import Template
from .records import Records

FORMS = ("text", "binary")
LINE = Template("{cycle} {op} {address} {size}\n", {"op": ("R", "W")})
RECORD = np.dtype([("cycle", "<u8"), ("op", "S1"), ("address", "<u8"), ("size", "<u4")])
LINE_BYTES = 64
"""Of Prospero's cache, unless it is told another."""
LETTERS = np.array([b"R", b"W"])


def write_prospero(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of accesses; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, burst_bytes=LINE_BYTES)
    form, is_packed = options.form or FORMS[0], out.suffix == ".gz"
    if is_packed and form == "text":
        raise TraceError(
            "--form: Prospero reads compressed files of form binary only; add --form binary, or "
            "choose a name that does not end in .gz"
        )
    longest = 0
    with new_file(out, is_packed) as file:
        for block in records.blocks(progress):
            longest = max(longest, int(block["size"].max()))
            file.write((LINE.lines(block) if form == "text" else _packed(block)).data)
    reader = f"prospero.Prospero{'CompressedBinary' if is_packed else form.title()}TraceReader"
    # with lines of less than a burst Prospero would count two accesses for one that crosses a line
    line_bytes = max(LINE_BYTES, records.burst, 1 << (longest - 1).bit_length())
    told = f"reader={reader}, readerParams.file=FILE, clock={records.clock.hz}Hz"
    facts = records.facts() | {
        "form": form,
        "record": "cycle op address size" if form == "text" else str(RECORD.descr),
        "reader": reader,
        "cache_line_bytes": line_bytes,
        "consumer_command": "sst CONFIG.py, where prospero.prosperoCPU has "
        f"{told}, cache_line_size={line_bytes}",
    }
    return Report({"records": records.written.count}, facts)


def _packed(block: NDArray[Any]) -> NDArray[Any]:
    packed = np.empty(len(block), RECORD)
    for name in ("cycle", "address", "size"):
        packed[name] = block[name]
    packed["op"] = LETTERS[block["op"]]
    return packed


PROSPERO = Exporter(
    write_prospero,
    "Traces of SST's Prospero, text or binary",
    consumer="SST's element prospero",
    keeps="cycle before which an access is not made, read or write, address, size",
    loses="units, memories and layers (addresses tell the memory, see the side file)",
    options=("relative", "clock_hz", "burst_bytes", "merge", "form"),
    forms=FORMS,
)
