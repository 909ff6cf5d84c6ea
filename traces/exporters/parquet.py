"""Parquet files for DuckDB, polars, pandas and others: a row an access, a packet or an arrival.

Rows and columns are those of `firemesh.traces.parquet`: names are words, cycles those of the run,
and addresses those of each memory of each unit.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TraceError
from ..parquet import COLUMNS, Part, delivery_parts, packet_parts, segment_of, write_parquet
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .records import Records

FORMS = tuple(COLUMNS)
NOT_OF_PACKETS = ("unit", "memory", "op", "cycles")


def write_rows(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a Parquet file; see `firemesh.traces.exporters.exporter.Export`."""
    form = options.form or FORMS[0]
    if form == "accesses":
        records = Records(trace, options)
        groups = write_parquet(trace, out, form, _accesses(records, progress))
        facts, rows = records.facts(), records.written.count
        facts["addresses"] = "from 0 in each memory of each unit"
    else:
        seen = _Seen(trace, form, options, progress)
        groups = write_parquet(trace, out, form, seen.parts())
        facts, rows = seen.facts(), seen.count
    facts |= {
        "form": form,
        "columns": list(COLUMNS[form]),
        "row_groups": groups,
        "consumer_command": "duckdb -c \"SELECT layer, count(*) FROM 'FILE' GROUP BY layer\"",
    }
    return Report({"rows": rows, "row_groups": groups}, facts)


def _accesses(records: Records, progress: Progress) -> Iterator[Part]:
    trace = records.trace
    low = int(trace.segments["cycle0"][records.segments[0]])
    high = int(trace.segments["cycle1"][records.segments[-1]])
    for block in trace.accesses(**records.selection.arguments):
        records.selected.add(block)
        records.written.add(block)
        yield segment_of(trace, block), block
        progress(int(block["cycle"][-1]) - low, high - low)
    records.check()
    progress(high - low, high - low)


class _Seen:
    """Packets or arrivals that go by, counted."""

    def __init__(self, trace: Trace, form: str, options: Options, progress: Progress) -> None:
        self.trace, self.selection, self.progress = trace, options.selection, progress
        for name in NOT_OF_PACKETS:
            if getattr(self.selection, name) is not None:
                raise TraceError(f"--{name}: cannot be heeded by --form {form}; leave it out")
        self.form, self.cycle = form, COLUMNS[form][0]
        self.count = self.flits = 0
        self.cycles: list[int] = []

    def parts(self) -> Iterator[Part]:
        """Yield what goes by."""
        make = packet_parts if self.form == "packets" else delivery_parts
        segments = self.trace.segments
        for number, rows in make(self.trace, self.selection.layer, self.selection.frame):
            self.count += len(rows)
            self.flits += int(rows["flits"].sum(dtype=np.int64))
            if len(rows):
                ends = rows[self.cycle][[0, -1]].tolist()
                self.cycles = [*self.cycles, *ends][:1] + ends[1:]
            yield number, rows
            self.progress(number + 1, len(segments))
        if not self.count:
            raise TraceError(
                f"{self.trace.path}: holds no {self.form} in the selection; choose a layer that "
                "runs on the PEs, see firemesh trace info"
            )

    def facts(self) -> dict[str, Any]:
        """Return what the side file tells."""
        trace, (first, last) = self.trace, self.cycles
        told = {"flits": self.flits, "first_cycle": first, "last_cycle": last}
        return {
            "selection": self.selection.facts(),
            "machine_clock_hz": int(trace.attribute("clock_hz")),
            "selected": {self.form: self.count} | told,
            "written": {"records": self.count} | told,
        }


PARQUET = Exporter(
    write_rows,
    "Parquet files, a row an access, packet or arrival",
    consumer="DuckDB, polars, pandas, pyarrow, Spark",
    keeps="everything: cycle, frame, layer, unit, memory, op, address, size; form packets: also "
    "kind and value; deliveries: arrivals",
    loses="nothing of the rows; a form is one table",
    what="both",
    options=("form",),
    forms=FORMS,
)
