"""Gives points to workers, and tells what became of them."""

import time
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from queue import Empty, Queue
from typing import Any

from ... import __version__
from ..description import MachineError
from ..studies.job import code_digest
from .cluster import Connected, words
from .point_run import OtherCodeError, Outcome, compute, failed
from .points import Point

WORKERLESS_SECONDS = 60.0
"""How long a sweep waits for a cluster's workers when there is none."""


def run_points(
    client: Connected, points: Sequence[Point], at_once: int | None = None
) -> Generator[tuple[Point, Outcome], None, None]:
    """Run points; yield each with its outcome when it is done.

    Parameters
    ----------
    client : distributed.Client
    points : sequence of Point
    at_once : int, optional
        How many are given to the scheduler at a time, so that a worker that ends is blamed on the
        point that it computed alone; by default all.

    Raises
    ------
    MachineError
        When the scheduler or all workers are gone, or a worker has another firemesh.
    """
    finished: Queue[Any] = Queue()
    waiting = iter(points)
    at_work: dict[str, tuple[Point, Any]] = {}
    code = code_digest()
    is_alive = _watch(client)
    try:
        while True:
            room = len(points) if at_once is None else at_once - len(at_work)
            for point in islice(waiting, room):
                key = f"firemesh-{point.digest}"
                future = client.submit(compute, point, code, key=key)
                at_work[key] = point, future
                future.add_done_callback(finished.put)
            if not at_work:
                return
            try:
                future = finished.get(timeout=1)
            except Empty:
                is_alive()
                continue
            point, _ = at_work.pop(future.key)
            yield point, _outcome(client, future, point)
    finally:
        if at_work and client.status == "running":
            client.cancel([future for _, future in at_work.values()], force=True)


def _watch(client: Connected) -> Callable[[], None]:
    """Return what raises an error when the scheduler is gone, or workers are for long."""
    seen = time.monotonic()

    def check_alive() -> None:
        nonlocal seen
        if client.status != "running":
            raise _lost()
        if client.scheduler_info().get("n_workers", 1):
            seen = time.monotonic()
        elif time.monotonic() - seen > WORKERLESS_SECONDS:
            raise MachineError(
                f"the cluster has had no worker for {WORKERLESS_SECONDS:g} seconds; start some "
                "and call the same command again, which goes on with the finished points"
            )

    return check_alive


def _lost() -> MachineError:
    return MachineError(
        "the scheduler is gone; finished points are kept, and the same command goes on with them"
    )


def _outcome(client: Connected, future: Any, point: Point) -> Outcome:
    """Return what became of a point that is done."""
    from distributed import KilledWorker

    if future.status == "finished":
        found: Outcome = future.result()
        return found
    if future.status != "error" or client.status != "running":
        raise _lost()
    error = future.exception()
    if isinstance(error, KilledWorker):
        return failed(
            point,
            "its workers died while they computed it, perhaps for lack of memory; with --workers 1 "
            "it has all of it, --retry computes it again",
        )
    if isinstance(error, OtherCodeError):
        raise error
    raise MachineError(
        f"a worker cannot compute points ({words(error)}); install firemesh {__version__} there"
    )
