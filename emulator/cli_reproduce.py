"""The command line's ``firemesh reproduce``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import console, progress, waiting

if TYPE_CHECKING:
    from .studies.study import Report, Study

INTERRUPTED = 130
LIST = "list"


def reproduce(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="Such as mnf-table4; list prints all of them."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where tables, figures and runs go; finished runs there are not run again; "
            "default: a folder named like the study.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Emulate what a paper published and print both, with the causes of the difference."""
    with waiting("loading; the first time, kernels are compiled for about half a minute"):
        from .machine import MachineError
        from .studies.catalogue import STUDIES
        from .studies.study import plain
    if study == LIST:
        for one in STUDIES.values():
            typer.echo(f"{one.name:15} {one.title}")
        return
    if study not in STUDIES:
        raise MachineError(f"STUDY: must be one of {', '.join(STUDIES)}, got {study}")
    chosen, folder = STUDIES[study], out or Path(study)
    report = _run(chosen, folder)
    if as_json:
        typer.echo(json.dumps(plain(chosen, report), indent=1))
    else:
        _print(chosen, report, folder)


def _run(study: "Study", folder: Path) -> "Report":
    """Run a study and show progress; tell what an interruption leaves."""
    from .studies.study import reproduce as run_study

    finished: list[str] = []
    n = len(study.jobs())
    with progress("run") as bar:
        task = bar.add_task("", total=n)

        def started(names: Sequence[str]) -> None:
            bar.update(task, description=", ".join(names))

        def done(name: str) -> None:
            finished.append(name)
            bar.update(task, completed=len(finished))

        try:
            return run_study(study, folder, started=started, done=done)
        except KeyboardInterrupt:
            pass
    typer.echo(
        f"interrupted: {len(finished)} of {n} runs are finished and kept in {folder}; "
        "the same command goes on with them",
        err=True,
    )
    raise typer.Exit(INTERRUPTED)


def _print(study: "Study", report: "Report", folder: Path) -> None:
    """Print a report's tables and notes, and where its files are."""
    from rich.table import Table
    from rich.text import Text

    from .studies.study import files

    notes = Table.grid(padding=(0, 1, 0, 0))
    for note in report.notes:
        notes.add_row("-", Text(note))
    with console() as page:
        page.print(Text(study.title, "bold"))
        for sheet in report.sheets:
            page.print(sheet.rich())
        page.print(notes)
    typer.echo(f"in {folder}: {', '.join(files(study, report))}")
