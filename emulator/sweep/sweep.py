"""A sweep: computes the points of a study that a folder lacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .cluster import cluster_at, own_cluster
from .dispatch import run_points
from .point_run import FAILED, Outcome
from .points import Point
from .store import Store

Done = Callable[[Point, Outcome], None]
"""Called with each point that was computed, when its rows are in the folder."""


@dataclass(frozen=True)
class Plan:
    """What there is and what is missing.

    Parameters
    ----------
    points : sequence of Point
        Of the study.
    store : Store
    retry : bool
        Whether failed points are computed again.
    """

    points: Sequence[Point]
    store: Store
    retry: bool = False
    statuses: dict[str, str | None] = field(default_factory=dict, init=False)
    """By digest: "ok", "failed", or None of a point without rows."""

    def __post_init__(self) -> None:
        """Look into the folder."""
        for point in self.points:
            self.statuses[point.digest] = self.store.status(point.digest)

    @property
    def missing(self) -> list[Point]:
        """The points to be computed."""
        again = {None, FAILED} if self.retry else {None}
        return [point for point in self.points if self.statuses[point.digest] in again]


def sweep(plan: Plan, done: Done, workers: int | None = None, scheduler: str | None = None) -> None:
    """Compute what is missing; rows are written as points finish.

    Parameters
    ----------
    plan : Plan
    done : callable
    workers : int, optional
        Processes on this machine; by default its cores.
    scheduler : str, optional
        Address of a scheduler whose workers are used instead.

    Raises
    ------
    MachineError
        When workers or scheduler cannot be used, or are gone; finished points are kept.
    OSError
        When rows cannot be written.
    """
    missing = plan.missing
    if not missing:
        return
    if scheduler is not None:
        cluster, at_once = cluster_at(scheduler), None
    else:
        n = min(len(missing), cores() if workers is None else workers)
        cluster, at_once = own_cluster(n), n
    with cluster as client:
        for point, outcome in run_points(client, missing, at_once):
            plan.store.add(point, outcome)
            plan.statuses[point.digest] = outcome.status
            done(point, outcome)


def cores() -> int:
    """Return how many cores this process may use."""
    from dask.system import CPU_COUNT

    return max(1, int(CPU_COUNT))
