"""Which layer runs in which mode, and what the choice was between."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..flexnn.descriptor import Descriptor
from ..layer_result import LayerResult
from .assign import Cost, Problem, conversions, total
from .forms import FORM

AUTO = "auto"
FJ = 1000
"""fJ of a pJ: energies are added up in whole fJ, so that a cut of least energy is exact."""


@dataclass(frozen=True)
class Decision:
    """Which layer runs in which mode, and what the choice was between.

    Parameters
    ----------
    objective : {"cycles", "energy", "edp"}
    modes : dict
        Name of a layer -> its mode.
    problem : Problem
        What layers and changes of form cost in the frame that was looked at.
    results : dict
        Layer -> mode -> its results, pools that go with it included.
    schedule : dict
        Descriptors of mode flexnn, by layer.
    """

    objective: str
    modes: Mapping[str, str]
    problem: Problem
    results: Mapping[str, Mapping[str, tuple[LayerResult, ...]]] = field(repr=False)
    schedule: Mapping[str, Descriptor] = field(repr=False)

    @property
    def conversions(self) -> list[tuple[str, str]]:
        """Tensors that change form, and into which."""
        return conversions(self.problem, self.modes)

    @property
    def total(self) -> Cost:
        """What the frame costs."""
        return total(self.problem, self.modes)

    def pure(self, mode: str) -> Cost | None:
        """Return what the frame costs with all layers in a mode; None where one was not tried."""
        if any(mode not in costs for costs in self.problem.layers.values()):
            return None
        return total(self.problem, dict.fromkeys(self.problem.layers, mode))

    def of_conversions(self) -> Cost:
        """Return what the changes of form cost."""
        tensors = {tensor.name: tensor for tensor in self.problem.tensors}
        costs = (tensors[name].cost(form) for name, form in self.conversions)
        return sum(costs, Cost(0, 0))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON; energies in pJ."""

        def plain(cost: Cost | None) -> dict[str, Any] | None:
            if cost is None:
                return None
            return {"cycles": cost.cycles, "energy_pj": cost.energy_fj / FJ}

        tensors = {tensor.name: tensor for tensor in self.problem.tensors}
        return {
            "objective": self.objective,
            "layers": [
                {"name": name, "mode": self.modes[name]}
                | {mode: plain(costs.get(mode)) for mode in FORM}
                for name, costs in self.problem.layers.items()
            ],
            "conversions": [
                {"tensor": name, "to": form, **(plain(tensors[name].cost(form)) or {})}
                for name, form in self.conversions
            ],
            "totals": {mode: plain(self.pure(mode)) for mode in FORM}
            | {AUTO: plain(self.total), "conversions": plain(self.of_conversions())},
        }
