"""The command line's ``firemesh trace stats``."""

import json
from typing import Annotated

import typer

from .cli_trace_options import (
    AsJson,
    Cycles,
    File,
    Frame,
    Layer,
    Memory,
    Op,
    Unit,
    selection,
)
from .console import console, progress


def stats(
    path: File,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS",
            help="Of frame, layer, unit, memory, op; of others cause, link, wait; with commas.",
        ),
    ] = None,
    what: Annotated[
        str, typer.Option(metavar="accesses|slots|flits|stalls", help="What to add up.")
    ] = "accesses",
    layer: Layer = None,
    unit: Unit = None,
    memory: Memory = None,
    op: Op = None,
    frame: Frame = None,
    cycles: Cycles = None,
    as_json: AsJson = False,
) -> None:
    """Print totals: accesses and bytes, slots by cause, flits over links, or stalls in routers."""
    from ..traces.analyses.stats import stats as add_up
    from ..traces.opened import open_trace

    fields = None if by is None else tuple(field.strip() for field in by.split(","))
    chosen = selection(layer, unit, memory, op, frame, cycles)
    with open_trace(path) as trace, progress("") as bar:
        task = bar.add_task("", total=None)
        rows = add_up(
            trace, chosen, what, fields,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    names = rows.dtype.names or ()
    if as_json:
        records = [dict(zip(names, row.item(), strict=True)) for row in rows]
        typer.echo(json.dumps(records, indent=1))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(name, justify="left" if rows.dtype[name].kind == "U" else "right")
    for row in rows:
        cells = row.item()
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells))
    with console() as page:
        page.print(table)
