"""Chooses a layer's descriptor: candidates by estimate, the choice by the engine's own count."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..energy import Activity, energy
from .descriptor import Cut, Descriptor
from .dims import LayerDims
from .engine import LayerRun, run_layer
from .estimate import Densities
from .machine import FlexMachine
from .plan import Search
from .scheduler import Candidate, candidates_for


@dataclass(frozen=True)
class Counted:
    """A candidate, and what the engine counted.

    Parameters
    ----------
    candidate : Candidate
    cycles : int
    energy_pj : float
    """

    candidate: Candidate
    cycles: int
    energy_pj: float

    def cost(self, objective: str) -> float:
        """Return what is to be small."""
        if objective == "cycles":
            return float(self.cycles)
        return self.energy_pj if objective == "energy" else self.energy_pj * self.cycles


def densities(x: NDArray[np.int16], weight: NDArray[np.int16]) -> Densities:
    """Return the measured shares of non-zeros."""
    return Densities(np.count_nonzero(x) / x.size, np.count_nonzero(weight) / weight.size)


def array_energy(run: LayerRun, machine: FlexMachine) -> float:
    """Return a layer's energy in pJ."""
    return sum(energy(activity(run), machine).values())


def activity(run: LayerRun) -> Activity:
    """Return what a layer's energy is computed from."""
    flits = int(run.traffic.link_flits.sum())
    return Activity(run.bytes.sum(axis=0), run.slots.sum(axis=0), flits)


def counted(
    layer: LayerDims,
    machine: FlexMachine,
    x: NDArray[np.int16],
    weight: NDArray[np.int16],
    search: Search,
    tick: Callable[[], None] = lambda: None,
) -> list[Counted]:
    """Return candidates with the engine's counts, in the order of their estimates.

    The ofmap counts as dense here: which outputs are zero does not depend on the descriptor, and
    costs every one the same share of its last DRAM writes.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    x : int16[n, c, h, w]
    weight : int16[k, c of a group, r, s]
        Less zero points.
    search : Search
    tick : callable
        Called now and then; may raise to end the search.
    """
    found = []
    for candidate in candidates_for(
        layer, machine, densities(x, weight), search.objective, search.dataflow, search.keep
    ):
        run = run_layer(Cut(candidate.descriptor, layer), machine, x, weight, tick=tick)
        found.append(Counted(candidate, run.cycles, array_energy(run, machine)))
    return found


def choose(
    layer: LayerDims,
    machine: FlexMachine,
    x: NDArray[np.int16],
    weight: NDArray[np.int16],
    search: Search,
    tick: Callable[[], None] = lambda: None,
) -> Descriptor:
    """Return the descriptor with the least count; parameters as for `counted`.

    With ``search.keep`` 0 it is that of the best estimate.
    """
    if search.keep == 0:
        first = candidates_for(
            layer, machine, densities(x, weight), search.objective, search.dataflow, 1
        )
        return first[0].descriptor
    options = counted(layer, machine, x, weight, search, tick)
    return min(options, key=lambda option: option.cost(search.objective)).candidate.descriptor
