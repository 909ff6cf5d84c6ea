"""What commands of the command line share: groups, tables on the console, progress."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

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
