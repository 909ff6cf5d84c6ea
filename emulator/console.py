"""What commands of the command line share: groups, tables on the console, progress."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

FILE_COLUMNS = 200


def show_help(context: typer.Context) -> None:
    """Print the help of a group that is called without a command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def group(what: str) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(
        help=what,
        callback=show_help,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


@contextmanager
def console() -> Iterator["Console"]:
    """Print what is written to the console at the end; a file is not as narrow as a terminal."""
    from rich.console import Console

    page = Console(markup=False)
    if not page.is_terminal and "COLUMNS" not in os.environ:
        page.width = FILE_COLUMNS
    with page.capture() as shown:
        yield page
    typer.echo(re.sub(" +$", "", shown.get(), flags=re.MULTILINE), nl=False)


def print_rows(rows: Sequence[dict[str, Any]], names: Sequence[str], as_json: bool) -> None:
    """Print some columns of rows as a table, or all as JSON, which has null for nan."""
    if as_json:
        known = [{name: _known(value) for name, value in row.items()} for row in rows]
        typer.echo(json.dumps(known, indent=1, allow_nan=False))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        shown = (f"{row[n]:.4g}" if isinstance(row[n], float) else str(row[n]) for n in names)
        table.add_row(*shown)
    with console() as page:
        page.print(table)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def progress(what: str = "frame") -> "Progress":
    """Return a bar on stderr that counts things; invisible where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    page = Console(stderr=True)
    return Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=page,
        transient=True,
        disable=not page.is_terminal,
    )


def waiting(what: str) -> AbstractContextManager[object]:
    """Show on stderr what takes a while."""
    from rich.console import Console

    page = Console(stderr=True)
    return page.status(what) if page.is_terminal else nullcontext()
