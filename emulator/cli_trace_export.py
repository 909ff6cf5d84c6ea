"""The command line's ``firemesh trace export`` and ``formats``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .cli_trace_options import (
    AsJson,
    Cycles,
    File,
    Force,
    Frame,
    Layer,
    Memory,
    Op,
    Unit,
    selection,
)
from .console import console, progress


def export(
    path: File,
    format: Annotated[
        str,
        typer.Option("--to", "--format", metavar="FORMAT", help="See firemesh trace formats."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="PATH", help="What to write; PATH.meta.json beside it tells how."),
    ],
    layer: Layer = None,
    unit: Unit = None,
    memory: Memory = None,
    op: Op = None,
    frame: Frame = None,
    cycles: Cycles = None,
    form: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of formats that have several.")
    ] = None,
    clock: Annotated[
        int | None,
        typer.Option(metavar="HZ", min=1, help="Of the consumer; default: the machine's."),
    ] = None,
    burst_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Accesses are cut at its multiples; default: the format's."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Accesses to one burst in a row become one record.")
    ] = False,
    split: Annotated[
        bool, typer.Option("--split", help="Of text: a line for each destination of a packet.")
    ] = False,
    relative: Annotated[
        bool, typer.Option("--relative", help="Count cycles from the first that is exported.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write accesses or packets for another program."""
    from ..traces.exporters.export import export as write
    from ..traces.exporters.export import find_exporter, side_file
    from ..traces.exporters.exporter import Options
    from ..traces.opened import open_trace

    chosen = selection(layer, unit, memory, op, frame, cycles)
    options = Options(chosen, relative, clock, burst_bytes, merge, split, form)
    find_exporter(format, options)
    with open_trace(path) as trace, progress("") as bar:
        task = bar.add_task("", total=None)
        report = write(
            trace, format, out, options, force,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        typer.echo(side_file(out).read_text("utf-8"), nl=False)
        return
    told = ", ".join(_told(count, name) for name, count in report.counts.items())
    if note := report.facts.get("note"):
        typer.echo(note)
    typer.echo(f"{format}: {told} in {_bytes(out):,} bytes, {out}")


def _told(count: int, name: str) -> str:
    """Return a count of things and their name, of which there is one or several."""
    words = name.replace("_", " ")
    if count == 1:
        ends = ("ies", "y"), ("sses", "ss"), ("s", "")
        end, one = next(pair for pair in ends if words.endswith(pair[0]))
        words = words.removesuffix(end) + one
    return f"{count:,} {words}"


def _bytes(out: Path) -> int:
    parts = out.rglob("*") if out.is_dir() else [out]
    return sum(part.stat().st_size for part in parts if part.is_file())


def formats(as_json: AsJson = False) -> None:
    """List the formats of other programs: who reads them, what they keep and lose."""
    from ..traces.exporters.export import EXPORTERS

    if as_json:
        told = {
            name: {key: value for key, value in one._asdict().items() if key != "write"}
            for name, one in EXPORTERS.items()
        }
        typer.echo(json.dumps(told, indent=1))
        return
    from rich.table import Table

    table = Table(pad_edge=False, header_style="", show_lines=True)
    for name in ("format", "of", "read by", "keeps", "loses"):
        table.add_column(name, overflow="fold")
    for name, one in EXPORTERS.items():
        table.add_row(name, one.what, one.consumer, one.keeps, one.loses)
    with console() as page:
        page.print(table)
