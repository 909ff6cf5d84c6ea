"""A study: jobs, and the report that is made of their runs."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .job import Job, Run
from .pool import Started, run_all, write
from .sheet import Sheet

Draw = Callable[[Path], None]
"""Draws a figure into a file; the name's ending says the form."""

FIGURE_FORMS = ("png", "svg")


@dataclass(frozen=True)
class Report:
    """What a study found.

    Parameters
    ----------
    rows : list of dict
        One per line of the CSV file: names and numbers, of the same keys.
    sheets : sequence of Sheet
        Tables for people.
    notes : sequence of str
        Sentences below the tables.
    figures : dict
        File name without ending -> what draws it.
    texts : dict
        File name -> text, of files beyond tables and figures.
    """

    rows: Sequence[dict[str, Any]]
    sheets: Sequence[Sheet]
    notes: Sequence[str]
    figures: Mapping[str, Draw] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study.

    Parameters
    ----------
    name : str
    title : str
        One sentence.
    file : str
        Name of its files, without ending.
    jobs : callable
        Returns the runs it needs.
    report : callable
        Makes the report from the runs by name; some may be missing after an interruption.
    has_figures : bool
        Whether it needs matplotlib.
    workers : int, optional
        Processes that run side by side; by default the cores.
    """

    name: str
    title: str
    file: str
    jobs: Callable[[], list[Job]]
    report: Callable[[dict[str, Run]], Report]
    has_figures: bool = False
    workers: int | None = None


def reproduce(
    study: Study,
    out: Path,
    workers: int | None = None,
    started: Started | None = None,
    done: Callable[[str], None] | None = None,
) -> Report:
    """Run a study; write its files.

    Parameters
    ----------
    study : Study
    out : Path
        Folder for tables, figures and runs; made where it is missing. Runs that are finished in
        it are not run again.
    workers : int, optional
        Instead of the study's; see `firemesh.emulator.studies.pool.run_all`.
    started, done : callable, optional
        Called with the names of the runs at work, and with the name of each that is finished.

    Raises
    ------
    MachineError
        When it draws figures and matplotlib is missing, or a run's process ended.
    OSError
        When the folder cannot be written to.
    """
    if study.has_figures:
        from . import figures

        figures.check()
    out.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Run] = {}
    n = study.workers if workers is None else workers
    try:
        with closing(run_all(study.jobs(), out, n, started)) as found:
            for job, run in found:
                runs[job.name] = run
                if done:
                    done(job.name)
    except BaseException:
        if runs:
            save(study, study.report(runs), out)
        raise
    report = study.report(runs)
    save(study, report, out)
    return report


def save(study: Study, report: Report, out: Path) -> None:
    """Write a report's tables and figures."""
    write(out / f"{study.file}.csv", _csv(report.rows))
    write(out / f"{study.file}.json", json.dumps(plain(study, report), indent=1) + "\n")
    parts = [f"# {study.title}\n", *(sheet.markdown() for sheet in report.sheets)]
    notes = "\n".join(f"- {note}" for note in report.notes)
    write(out / f"{study.file}.md", "\n".join([*parts, f"{notes}\n"]))
    for name, text in report.texts.items():
        write(out / name, text)
    for name, draw in report.figures.items():
        for ending in FIGURE_FORMS:
            draw(out / f"{name}.{ending}")


def files(study: Study, report: Report) -> list[str]:
    """Return the names of the files that `save` writes."""
    tables = [f"{study.file}.{ending}" for ending in ("csv", "json", "md")]
    drawn = [f"{name}.{ending}" for name in report.figures for ending in FIGURE_FORMS]
    return [*tables, *drawn, *report.texts]


def plain(study: Study, report: Report) -> dict[str, Any]:
    """Return a report as plain values, for JSON."""
    return {
        "schema": "firemesh-study",
        "schema_version": 1,
        "study": study.name,
        "title": study.title,
        "rows": list(report.rows),
        "notes": list(report.notes),
    }


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
