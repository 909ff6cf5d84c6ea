"""Fixed dataflows with the partitions of arrays that were built for them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.network import Network
from ..flexnn.branches import Branches
from ..flexnn.choice import Counted, activity, array_energy, densities, least
from ..flexnn.descriptor import Cut, Descriptor
from ..flexnn.dims import Dim, LayerDims
from ..flexnn.emulation import FlexEmulation
from ..flexnn.engine import run_layer
from ..flexnn.machine import FlexMachine
from ..flexnn.plan import FlexStep
from ..flexnn.run import operand
from ..flexnn.scheduler import Candidate, Kept, Search
from ..shape import weights
from .flexnn_job import FlexJob

RIGID: dict[str, tuple[Dim, Dim]] = {
    "weight": (Dim.IC, Dim.OC),
    "output": (Dim.OY, Dim.OX),
    "input": (Dim.OY, Dim.OX),
}
"""Dataflow -> the dimensions over rows, and over columns: of the first TPU, where weights of
different planes work in parallel, ShiDianNao, where outputs of one plane do, and SCNN, whose PEs
have tiles of the plane each. Source: slides of Y.-H. Chen (CS217, 2018), examples of WS, OS, IS;
SCNN's tiles: A. Parashar et al., ISCA 2017."""


class RigidSearch(Search):
    """A search through the candidates with one dimension over rows, and one over columns.

    Parameters
    ----------
    allowed : (Dim, Dim)
    *given : Any
        Of `firemesh.emulator.flexnn.scheduler.Search`.
    """

    def __init__(self, allowed: tuple[Dim, Dim], *given: Any) -> None:
        super().__init__(*given)
        self.allowed = allowed

    def _branches(self, mode: str, kept: Kept) -> Branches:
        found = super()._branches(mode, kept)
        fits = np.ones(len(found.partitions), bool)
        for axis, dim in enumerate(self.allowed):
            others = [other for other in Dim if other != dim]
            fits &= (found.partitions[:, axis, others] == 1).all(axis=1)
        return found._replace(
            partitions=np.ascontiguousarray(found.partitions[fits]),
            chains=np.ascontiguousarray(found.chains[fits]),
        )


def rigid(
    flow: str, layer: LayerDims, machine: FlexMachine, x: NDArray[Any], weight: NDArray[Any]
) -> Candidate | None:
    """Return a dataflow's best estimate for energy with its own partitions, if there is one.

    Parameters
    ----------
    flow : str
        A name in `RIGID`.
    layer : LayerDims
    machine : FlexMachine
    x : int16[n, c, h, w]
    weight : int16[k, c of a group, r, s]
        Less zero points.
    """
    search = RigidSearch(RIGID[flow], layer, machine, densities(x, weight), "energy")
    kept = Kept((flow,), (1,))
    search.run(kept)
    return next(iter(search.found(kept, flow)), None)


class RigidEmulation(FlexEmulation):
    """A network whose layers take the best of `RIGID`; all of these are in ``options``."""

    def _descriptor(self, step: FlexStep, inputs: Any, tick: Callable[[], None]) -> Descriptor:
        machine, x, weight = self.plan.machine, operand(inputs), weights(step.layer)
        found = []
        for flow in RIGID:
            candidate = rigid(flow, step.dims, machine, x, weight)
            if candidate:
                run = run_layer(Cut(candidate.descriptor, step.dims), machine, x, weight, tick=tick)
                pj, done = array_energy(run, machine), activity(run)
                found.append(Counted(candidate, run.cycles, pj, (flow,), run.n_rounds, done))
        self.options[step.name] = found
        self.descriptors[step.name] = least(found, "energy").candidate.descriptor
        return self.descriptors[step.name]


@dataclass(frozen=True)
class RigidJob(FlexJob):
    """A network with every dataflow of `RIGID`, for energy."""

    def _emulation(self, network: Network) -> FlexEmulation:
        assert isinstance(self.machine, FlexMachine)
        return RigidEmulation(network, self.machine)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        allowed = {flow: [dim.name for dim in dims] for flow, dims in RIGID.items()}
        return super().identity | {"rigid": allowed}
