"""Traces of SST's Prospero: text, a line ``0 R 4096 64`` an access, or packed records of 21 bytes.

Addresses of the text are decimal: its reader takes hexadecimal ones for the end of the number and
never ends. A file whose name ends in ``.gz`` is compressed.
"""

import gzip
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .lines import Template
from .records import Records

FORMS = ("text", "binary")
LINE = Template("{cycle} {op} {address} {size}\n", {"op": ("R", "W")})
RECORD = np.dtype([("cycle", "<u8"), ("op", "S1"), ("address", "<u8"), ("size", "<u4")])
LETTERS = np.array([b"R", b"W"])
GZIP_LEVEL = 1


def write_prospero(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of accesses; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options)
    form, is_packed = options.form or FORMS[0], out.suffix == ".gz"
    if is_packed and form == "text":
        raise TraceError(
            f"{out}: Prospero reads packed files of form binary only; add --form binary"
        )
    file: IO[bytes]
    with gzip.GzipFile(out, "wb", GZIP_LEVEL, mtime=0) if is_packed else open(out, "wb") as file:
        for block in records.blocks(progress):
            file.write((LINE.lines(block) if form == "text" else _packed(block)).data)
    reader = "CompressedBinary" if is_packed else form.title()
    facts = records.facts() | {
        "form": form,
        "record": "cycle op address size" if form == "text" else str(RECORD.descr),
        "reader": f"prospero.Prospero{reader}TraceReader, parameter file",
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
