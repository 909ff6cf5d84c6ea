"""Runs jobs on all cores, keeps each result in a file, and goes on where it was."""

import json
import os
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from ..machine import MachineError
from ..processes import side_by_side
from .job import Job, Run, execute

MEMORY = 2.5e9
"""Bytes that runs side by side may need; one that needs more runs alone."""

RUNS = "runs"
"""Folder of the finished runs, in the study's."""

Started = Callable[[Sequence[str]], None]
"""``started(names)`` is called with the jobs at work."""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, "utf-8")
    part.replace(path)


def finished(job: Job, folder: Path) -> Run | None:
    """Return what an earlier call found; None where there is none, or of another job or code."""
    try:
        kept = json.loads((folder / RUNS / f"{job.name}.json").read_text("utf-8"))
        return Run(**kept["run"]) if kept["job"] == job.identity else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def run_all(
    jobs: Sequence[Job], folder: Path, workers: int | None = None, started: Started | None = None
) -> Generator[tuple[Job, Run], None, None]:
    """Run jobs; yield each when it is done, those that were finished before at first.

    Parameters
    ----------
    jobs : sequence of Job
    folder : Path
        That exists; runs are kept in its folder ``runs``.
    workers : int, optional
        Processes, each with one run at a time, as far as `MEMORY` allows; by default the cores.
        0 runs all in this process.
    started : callable, optional

    Raises
    ------
    MachineError
        When a process ended before its run.
    """
    (folder / RUNS).mkdir(exist_ok=True)
    missing = []
    for job in jobs:
        known = finished(job, folder)
        if known is None:
            missing.append(job)
        else:
            yield job, known
    n = (os.cpu_count() or 1) if workers is None else workers
    found = _one_by_one(missing, started) if n == 0 else _side_by_side(missing, n, started)
    for job, run in found:
        kept = {"job": job.identity, "run": asdict(run)}
        write(folder / RUNS / f"{job.name}.json", json.dumps(kept, indent=1) + "\n")
        yield job, run


def _one_by_one(
    jobs: Sequence[Job], started: Started | None
) -> Generator[tuple[Job, Run], None, None]:
    for job in jobs:
        if started:
            started([job.name])
        yield job, execute(job)


def _side_by_side(
    jobs: Sequence[Job], workers: int, started: Started | None
) -> Generator[tuple[Job, Run], None, None]:
    """Run jobs in processes, as far as the memory allows."""
    at_work: Collection[Job] = ()

    def tell(names: Collection[Job]) -> None:
        nonlocal at_work
        at_work = names
        if started:
            started([job.name for job in names])

    try:
        yield from side_by_side(execute, jobs, workers, _next, tell)
    except BrokenProcessPool:
        names = " or ".join(sorted(job.name for job in at_work))
        raise MachineError(
            f"a process ended in {names}, perhaps for lack of memory; "
            "the same command goes on with the runs that are finished"
        ) from None


def _next(waiting: Sequence[Job], at_work: Collection[Job]) -> Job | None:
    """Return the first job that fits beside those at work."""
    free = MEMORY - sum(job.bytes for job in at_work)
    return next((job for job in waiting if not at_work or job.bytes <= free), None)
