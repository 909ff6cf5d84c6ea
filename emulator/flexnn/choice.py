"""Chooses a layer's descriptor: candidates by estimate, the choice by the engine's own count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..energy import Activity, energy
from .dataflows import DATAFLOWS
from .descriptor import Cut, Descriptor
from .dims import LayerDims
from .engine import LayerRun, run_layer
from .estimate import Densities
from .machine import FlexMachine
from .plan import Search
from .rounds import Loops
from .scheduler import Candidate, candidates_for, search


@dataclass(frozen=True)
class Counted:
    """A candidate, and what the engine counted.

    Parameters
    ----------
    candidate : Candidate
    cycles : int
    energy_pj : float
    dataflows : tuple of str
        The fixed dataflows whose restrictions the descriptor keeps.
    rounds : int
    activity : Activity
    """

    candidate: Candidate
    cycles: int
    energy_pj: float
    dataflows: tuple[str, ...]
    rounds: int
    activity: Activity = field(repr=False, compare=False)

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


def dataflows_of(cut: Cut, lanes: int) -> tuple[str, ...]:
    """Return the fixed dataflows whose restrictions a descriptor keeps, on an array of lanes."""
    return tuple(name for name, rule in DATAFLOWS.items() if rule(cut, lanes) is None)


def candidates(
    layer: LayerDims, machine: FlexMachine, shares: Densities, wanted: Search
) -> list[Candidate]:
    """Return what is worth counting: of each objective the best estimates, each once.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    shares : Densities
    wanted : Search
    """
    found: list[Candidate] = []
    for objective in (wanted.objective, *wanted.beside):
        given = layer, machine, shares, objective, wanted.dataflow
        if wanted.counts_fixed(machine):
            best: Sequence[Candidate] = candidates_for(*given, keep=wanted.kept(machine))
        else:
            best = search(*given, keep=wanted.kept(machine)).candidates
        known = [candidate.descriptor for candidate in found]
        found += [candidate for candidate in best if candidate.descriptor not in known]
    return found


def counted(
    layer: LayerDims,
    machine: FlexMachine,
    x: NDArray[np.int16],
    weight: NDArray[np.int16],
    wanted: Search,
    tick: Callable[[], None] = lambda: None,
) -> list[Counted]:
    """Return candidates with the engine's counts, in the order of `candidates`.

    A round loads something, which takes a cycle. So where only cycles matter, a candidate with more
    rounds than another's cycles is left out uncounted: no local reuse has a round for each window.

    The ofmap counts as dense here: which outputs are zero does not depend on the descriptor, and
    costs every one the same share of its last DRAM writes.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    x : int16[n, c, h, w]
    weight : int16[k, c of a group, r, s]
        Less zero points.
    wanted : Search
    tick : callable
        Called now and then; may raise to end the search.
    """
    found: list[Counted] = []
    only_cycles = wanted.objective == "cycles" and not wanted.beside
    for candidate in candidates(layer, machine, densities(x, weight), wanted):
        cut = Cut(candidate.descriptor, layer)
        if only_cycles and found and Loops(cut).n_rounds > min(one.cycles for one in found):
            continue
        run = run_layer(cut, machine, x, weight, tick=tick)
        of_flows = dataflows_of(cut, machine.array.lanes)
        pj = array_energy(run, machine)
        found.append(Counted(candidate, run.cycles, pj, of_flows, run.n_rounds, activity(run)))
    return found


def least(options: Sequence[Counted], objective: str) -> Counted:
    """Return the candidate with the least count, the earlier one of equals."""
    return min(options, key=lambda option: option.cost(objective))


def best_estimate(
    layer: LayerDims,
    machine: FlexMachine,
    x: NDArray[np.int16],
    weight: NDArray[np.int16],
    wanted: Search,
) -> Descriptor:
    """Return the descriptor of the best estimate, uncounted; parameters as for `counted`."""
    given = layer, machine, densities(x, weight), wanted.objective, wanted.dataflow
    return search(*given, keep=1).candidates[0].descriptor
