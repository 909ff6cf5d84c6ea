"""The command line's ``firemesh sweep``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import console, progress, waiting

if TYPE_CHECKING:
    from .sweep.points import Point
    from .sweep.study_file import StudyFile
    from .sweep.sweep import Plan

SOME_FAILED = 1
INTERRUPTED = 130
LIST = "list"
MOST_SENTENCES = 10


def sweep(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="YAML file, or the name of a ready study; list prints these."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where rows go; points that have rows there are not computed again; default: a "
            "folder named like the study.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="Processes; default: one for each core."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Use the workers of a dask scheduler that is there."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Compute points that failed before again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the points, and which of them have rows.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print a ready study's file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Run networks on machines at many points, side by side; Parquet rows for each layer."""
    from .sweep.study_file import read_study, ready_studies, ready_text

    if study == LIST:
        for name in ready_studies():
            typer.echo(f"{name:25} {read_study(name)[0].title}")
        return
    if show:
        _show(study, ready_studies(), ready_text)
        return
    _refuse_both(workers, scheduler)
    described, folder = read_study(study)
    with waiting("loading"):
        from .sweep import cluster
        from .sweep.points import points
        from .sweep.store import Store
        from .sweep.sweep import Plan
    cluster.check()
    if described.figure:
        from .studies import figures

        figures.check()
    found = points(described, folder, study)
    store = Store(out or Path(described.name))
    if not dry_run:
        store.prepare()
    plan = Plan(found, store, retry)
    if dry_run:
        _list(plan, as_json)
        return
    _run(described, plan, workers, scheduler, as_json)


def _refuse_both(workers: int | None, scheduler: str | None) -> None:
    from .description import MachineError

    if workers is not None and scheduler is not None:
        raise MachineError("--workers: is of the own cluster; leave it out with --scheduler")


def _show(study: str, known: list[str], text: Any) -> None:
    from .description import MachineError

    if study not in known:
        raise MachineError(f"STUDY: must be one of {', '.join(known)} with --show, got {study}")
    typer.echo(text(study), nl=False)


def _run(
    study: "StudyFile", plan: "Plan", workers: int | None, scheduler: str | None, as_json: bool
) -> None:
    """Compute what is missing, show progress, and keep what is finished whatever happens."""
    from .sweep.figure import draw
    from .sweep.point_run import OK
    from .sweep.store import RESULTS

    failure: Exception | None = None
    is_interrupted = False
    computed: list[str] = []
    try:
        _compute(plan, computed, workers, scheduler)
    except KeyboardInterrupt:
        is_interrupted = True
    except Exception as error:
        failure = error
    try:
        rows = plan.store.collect(plan.points).to_pylist()
    except Exception as error:
        raise failure or error from None
    if failure:
        raise failure
    files = [RESULTS]
    if study.figure and not is_interrupted:
        good = [row for row in rows if row["status"] == OK]
        files += draw(study.figure, good, study.title, plan.store.folder, study.name)
    told = _told(study, plan, computed, files, is_interrupted)
    typer.echo(json.dumps(told, indent=1)) if as_json else _print(told)
    _conclude(told, {row["point"]: row["error"] for row in rows if row["error"]})


def _compute(plan: "Plan", computed: list[str], workers: int | None, scheduler: str | None) -> None:
    from .sweep.sweep import sweep as run_sweep

    with progress("point") as bar:
        kept = len(plan.points) - len(plan.missing)
        task = bar.add_task("starting workers", total=len(plan.points), completed=kept)
        n_failed = 0

        def done(point: "Point", outcome: Any) -> None:
            nonlocal n_failed
            computed.append(point.digest)
            n_failed += bool(outcome.error)
            asked = point.asked
            told = f"{asked.network} on {asked.machine}, {asked.mode}"
            told += f"; {n_failed} failed" if n_failed else ""
            bar.update(task, description=told, completed=kept + len(computed))

        run_sweep(plan, done, workers, scheduler)


def _told(
    study: "StudyFile", plan: "Plan", computed: list[str], files: list[str], is_interrupted: bool
) -> dict[str, Any]:
    """Return what was done as plain values."""
    from .sweep.store import totals

    n_ok, n_failed = totals(plan.statuses)
    return {
        "schema": "firemesh-sweep",
        "schema_version": 1,
        "study": study.name,
        "title": study.title,
        "points": len(plan.points),
        "computed": len(computed),
        "ok": n_ok,
        "failed": n_failed,
        "missing": len(plan.points) - n_ok - n_failed,
        "other_points": plan.store.others(plan.points),
        "is_complete": not is_interrupted,
        "folder": str(plan.store.folder),
        "files": files,
    }


def _print(told: dict[str, Any]) -> None:
    typer.echo(
        f"{told['study']}: {told['points']:,} points: {told['ok']:,} ok, {told['failed']:,} "
        f"failed, {told['missing']:,} missing; {told['computed']:,} computed now"
    )
    typer.echo(f"in {told['folder']}: points/, {', '.join(told['files'])}")
    if told["other_points"]:
        typer.echo(
            f"points/ also holds {told['other_points']:,} of other studies or versions, which "
            f"{told['files'][0]} leaves out"
        )


def _conclude(told: dict[str, Any], errors: dict[str, str]) -> None:
    for digest, error in list(errors.items())[:MOST_SENTENCES]:
        typer.echo(f"failed: {digest}: {error}", err=True)
    if len(errors) > MOST_SENTENCES:
        typer.echo(f"failed: and {len(errors) - MOST_SENTENCES} points more", err=True)
    if not told["is_complete"]:
        typer.echo(
            f"interrupted: {told['ok'] + told['failed']} of {told['points']} points are finished "
            f"and kept in {told['folder']}; the same command goes on with them",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)
    if errors:
        raise typer.Exit(SOME_FAILED)


def _list(plan: "Plan", as_json: bool) -> None:
    """Print all points, and which of them have rows."""
    from .sweep.store import totals

    shown = ("network", "layers", "preset", "weights", "activations", "seed", "machine",
             "changes", "mode")  # fmt: skip
    rows = []
    for point in plan.points:
        asked = {name: getattr(point.asked, name) for name in shown}
        status = plan.statuses[point.digest]
        rows.append({"point": point.digest, **asked, "status": status or "missing"})
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("point", *shown, "status"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    with console() as page:
        page.print(table)
    n_ok, n_failed = totals(plan.statuses)
    typer.echo(
        f"{len(rows):,} points: {n_ok:,} ok, {n_failed:,} failed, {len(plan.missing):,} to compute"
    )
