"""Fixed dataflows beside the flexible one: what was counted on each layer, and its sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..energy import Activity, energy
from ..flexnn.dims import NAMES
from .flexnn_rigid import RIGID
from .flexnn_runs import OBJECTIVES, TABLE, variant
from .job import Run

FLEXIBLE = "flexible"
FIXED = ("weight", "output", "input", "none", "row")
FLOWS = (*FIXED, FLEXIBLE)
"""Dataflows in the order of tables and figures."""

SHORT = {
    "weight": "WS",
    "output": "OS",
    "input": "IS",
    "none": "NLR",
    "row": "RS",
    FLEXIBLE: "flexible",
}
"""Their names in tables: weight, output and input stationary, no local reuse, row stationary."""


DRAM = "DRAM"

RIGID_FLOWS = {f"{flow}-rigid": flow for flow in RIGID}
"""Dataflows with the partitions of arrays that were built for them -> the dataflow."""

SHORT |= {name: f"{SHORT[flow]}*" for name, flow in RIGID_FLOWS.items()}


@dataclass(frozen=True)
class Option:
    """A candidate of a layer as the engine counted it.

    Parameters
    ----------
    tree : dict
        Of `firemesh.emulator.studies.flexnn_job.option`; a layer of any run is one too.
    """

    tree: Mapping[str, Any] = field(repr=False)

    @property
    def cycles(self) -> int:
        """That the layer takes."""
        return int(self.tree["cycles"])

    @cached_property
    def parts(self) -> dict[str, float]:
        """Energy in pJ by component, with table `TABLE`."""
        size, slots = np.array(self.tree["bytes"]), np.array(self.tree["slots"])
        priced = variant("").replace(energy=TABLE)
        return energy(Activity(size, slots, self.tree["flits"]), priced)

    @cached_property
    def pj(self) -> float:
        """All of the energy."""
        return sum(self.parts.values())

    def cost(self, objective: str) -> float:
        """Return what is to be small: cycles, energy in pJ, or their product."""
        if objective == "cycles":
            return float(self.cycles)
        return self.pj if objective == "energy" else self.pj * self.cycles


@dataclass(frozen=True)
class Case:
    """A layer for an objective.

    Parameters
    ----------
    network, layer, objective : str
    sizes : sequence of int
        By `Dim`; none of runs of other kinds.
    of_flow : dict
        Dataflow -> its option with the least count; None where none of its was counted, because
        none is legal.
    run : Option
        The layer in the run itself, whose descriptor is the best one for `OBJECTIVES[0]`.
    """

    network: str
    layer: str
    objective: str
    sizes: Sequence[int]
    of_flow: Mapping[str, Option | None]
    run: Option

    @property
    def flexible(self) -> Option:
        """The best one of all."""
        found = self.of_flow[FLEXIBLE]
        assert found is not None
        return found

    def saving(self, flow: str) -> float | None:
        """Return what flexible saves of a dataflow's cost, as a part of it."""
        option = self.of_flow[flow]
        if option is None:
            return None
        return 1 - self.flexible.cost(self.objective) / option.cost(self.objective)

    def violations(self) -> list[str]:
        """Return a sentence for each fixed dataflow that is better than flexible.

        For `OBJECTIVES[0]` the run itself is compared too: it may only be better than the count
        of its descriptor, for which no output was taken as zero.
        """
        found = []
        best = self.flexible.cost(self.objective)
        if self.objective == OBJECTIVES[0]:
            best = max(best, self.run.cost(self.objective))
        for flow in FIXED:
            option = self.of_flow[flow]
            if option is not None and option.cost(self.objective) < best:
                found.append(
                    f"ERROR: {self.network} {self.layer}, {self.objective}: {SHORT[flow]} "
                    f"{option.cost(self.objective):,.0f} is below flexible {best:,.0f}"
                )
        return found


def cases(network: str, run: Run, rigid: Run | None = None) -> list[Case]:
    """Return every layer of a run for every objective; for energy with those of a rigid run."""
    found = []
    built = {layer["name"]: layer for layer in rigid.layers} if rigid else {}
    for layer in run.layers:
        own = Option(layer)
        options = [Option(tree) for tree in layer.get("options", ())] or [own]
        for objective in OBJECTIVES:
            of_flow: dict[str, Option | None] = {
                flow: _least(
                    [one for one in options if flow in one.tree.get("dataflows", ())], objective
                )
                for flow in FIXED
            }
            of_flow[FLEXIBLE] = _least(options, objective)
            if objective == "energy" and layer["name"] in built:
                of_flow |= _rigid(built[layer["name"]])
            sizes = layer.get("sizes", ())
            found.append(Case(network, layer["name"], objective, sizes, of_flow, own))
    return found


def _rigid(layer: dict[str, Any]) -> dict[str, Option | None]:
    """Return the options of a rigid run's layer by dataflow."""
    given = {tree["origin"]: Option(tree) for tree in layer.get("options", ())}
    return {name: given.get(flow) for name, flow in RIGID_FLOWS.items()}


def _least(options: Sequence[Option], objective: str) -> Option | None:
    return min(options, key=lambda one: one.cost(objective), default=None)


@dataclass(frozen=True)
class Total:
    """A dataflow over the layers of a network that it can run.

    Parameters
    ----------
    network, objective, flow : str
    cycles : int
    parts : dict
        Energy in pJ by component.
    without : tuple of str
        Layers of which it has no legal descriptor.
    flexible_cost : float
        Of flexible, over the same layers.
    flexible_chip_pj : float
        Its energy without DRAM.
    """

    network: str
    objective: str
    flow: str
    cycles: int
    parts: Mapping[str, float]
    without: tuple[str, ...]
    flexible_cost: float
    flexible_chip_pj: float

    @property
    def cost(self) -> float:
        """What was to be small; of ``edp`` the product of the sums."""
        return _cost(self.objective, self.cycles, sum(self.parts.values()))

    @property
    def saving(self) -> float | None:
        """What flexible saves of it, as a part of it."""
        return 1 - self.flexible_cost / self.cost if self.cost else None

    @property
    def chip_saving(self) -> float | None:
        """What flexible saves of the energy without DRAM."""
        own = sum(self.parts.values()) - self.parts.get(DRAM, 0.0)
        return 1 - self.flexible_chip_pj / own if own else None


def _cost(objective: str, cycles: float, pj: float) -> float:
    return cycles if objective == "cycles" else pj if objective == "energy" else pj * cycles


def totals(found: Sequence[Case]) -> list[Total]:
    """Return the sums of each network, objective and dataflow."""
    keys = dict.fromkeys((case.network, case.objective) for case in found)
    result = []
    for network, objective in keys:
        of_both = [c for c in found if (c.network, c.objective) == (network, objective)]
        for flow in of_both[0].of_flow:
            able = [(c, option) for c in of_both if (option := c.of_flow.get(flow)) is not None]
            parts: dict[str, float] = {}
            for _, option in able:
                for name, pj in option.parts.items():
                    parts[name] = parts.get(name, 0.0) + pj
            cycles = sum(option.cycles for _, option in able)
            beside = [c.flexible for c, _ in able]
            flexible = _cost(
                objective, sum(o.cycles for o in beside), sum(o.pj for o in beside)
            )  # fmt: skip
            chip = sum(o.pj - o.parts[DRAM] for o in beside)
            without = tuple(c.layer for c in of_both if c.of_flow.get(flow) is None)
            result.append(Total(network, objective, flow, cycles, parts, without, flexible, chip))
    return result


def layer_row(case: Case, flow: str) -> dict[str, Any]:
    """Return a line of the CSV file of layers."""
    option = case.of_flow[flow]
    tree: Mapping[str, Any] = {} if option is None else option.tree
    estimated = tree.get("estimate", (None, None))
    return {
        "network": case.network,
        "layer": case.layer,
        "objective": case.objective,
        "dataflow": flow,
        **{name: case.sizes[n] if case.sizes else None for n, name in enumerate(NAMES)},
        "schedule": tree.get("tile"),
        "rounds": tree.get("rounds"),
        "cycles": option.cycles if option else None,
        "energy_uj": option.pj * 1e-6 if option else None,
        "estimated_cycles": estimated[0],
        "estimated_uj": None if estimated[1] is None else estimated[1] * 1e-6,
        "saving_of_flexible": case.saving(flow),
    }
