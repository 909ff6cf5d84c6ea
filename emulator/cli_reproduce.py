"""The command line's ``firemesh reproduce``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import console, progress, waiting

if TYPE_CHECKING:
    from .studies.study import Report, Study

INTERRUPTED = 130


def reproduce(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="mnf-table4; `list` prints all with a sentence each."),
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
        from .studies.study import reproduce as run_study
    if study == "list":
        for one in STUDIES.values():
            typer.echo(f"{one.name:15} {one.title}")
        return
    if study not in STUDIES:
        raise MachineError(f"STUDY: must be one of {', '.join(STUDIES)}, got {study}")
    chosen, folder = STUDIES[study], out or Path(study)
    jobs = chosen.jobs()
    finished: list[str] = []
    with progress("run") as bar:
        task = bar.add_task("", total=len(jobs))

        def done(name: str) -> None:
            finished.append(name)
            bar.update(task, completed=len(finished))

        try:
            report = run_study(
                chosen,
                folder,
                started=lambda names: bar.update(task, description=", ".join(names)),
                done=done,
            )
        except KeyboardInterrupt:
            report = None
    if report is None:
        typer.echo(
            f"interrupted: {len(finished)} of {len(jobs)} runs are finished and kept in {folder}; "
            "the same command goes on with them",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)
    if as_json:
        typer.echo(json.dumps(plain(chosen, report), indent=1))
    else:
        _print(chosen, report, folder)


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
