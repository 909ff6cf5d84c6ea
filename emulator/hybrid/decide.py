"""Chooses each layer's mode: both modes run it, and a cut takes the best assignment of all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations import Activations
from ..checkpoint import Position
from ..emulation import Emulation, Progress
from ..energy import energy
from ..engine_error import EngineError
from ..flexnn.descriptor import Descriptor
from ..flexnn.emulation import FlexEmulation
from ..layer_result import LayerResult
from ..mnf.emulation import MnfEmulation
from .assign import Cost, Problem, Tensor, assign, conversions, total
from .convert import EVENTS, FORM, ZVC, ConvertStep, convert, of_conversion
from .idle import check_energy
from .plan import Choices, Unit

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
        """Return what the frame costs with all layers in a mode; None where one does not fit."""
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


class _Weigher:
    """Runs a network's units in both modes, each from the same activations."""

    def __init__(self, choices: Choices, progress: Progress) -> None:
        network, machine = choices.network, choices.machine
        flexnn = FlexEmulation(network, machine.of_flexnn, plan=choices.flexnn)
        mnf = MnfEmulation(network, machine.of_mnf, choices.mnf)
        self._sides: dict[str, Emulation] = {"mnf": mnf, "flexnn": flexnn}
        self._descriptors = flexnn.descriptors
        self._choices, self._progress = choices, progress
        self._at = Position(0, 0, 0, np.zeros(machine.n_pes, np.int64))

    @property
    def schedule(self) -> dict[str, Descriptor]:
        """Descriptors that were searched on the way."""
        return dict(self._descriptors)

    def enter(self, values: NDArray[Any]) -> None:
        """Begin a frame."""
        self._at.tensors, self._at.real = self._sides["flexnn"].enter(values)

    def free(self, step: Any) -> None:
        """Take a step that costs nothing."""
        self._sides["flexnn"].stand_at(self._at)
        self._sides["flexnn"].run_step(step, lambda: None, None, lambda run: None, {})

    def unit(self, unit: Unit, wanted: str) -> dict[str, tuple[LayerResult, ...]]:
        """Return the results of a unit, by mode; go on with its output."""
        results: dict[str, tuple[LayerResult, ...]] = {}
        outputs: list[Activations] = []
        for mode, steps in sorted(unit.steps.items()):
            if wanted not in (AUTO, mode):
                continue
            at = Position(0, 0, 0, self._at.taken.copy(), dict(self._at.tensors))
            self._sides[mode].stand_at(at)
            for step in steps:
                tick = self._tick(f"{step.name} as {mode}")
                tick()
                self._sides[mode].run_step(step, tick, None, lambda run: None, {})
            results[mode] = tuple(at.results)
            outputs.append(at.tensors[unit.output])
        first = outputs[0]
        if any((first.dense() != other.dense()).any() for other in outputs[1:]):
            raise EngineError(f"layer {unit.name}: the modes' outputs differ; this is a fault")
        self._at.tensors[unit.output] = first
        return results

    def _tick(self, what: str) -> Callable[[], None]:
        return lambda: self._progress(0, what)

    def tensor(self, unit: Unit, consumers: tuple[str, ...]) -> Tensor:
        """Return what it takes to change the form of what left a unit."""
        part, machine = self._at.tensors[unit.output], self._choices.machine
        costs = {}
        for form in (EVENTS, ZVC):
            run = convert(ConvertStep(unit.output, form), part, machine, 0)
            costs[form] = _cost((of_conversion(run, machine),), machine)
        return Tensor(unit.output, unit.name, consumers, costs[EVENTS], costs[ZVC])


def _cost(results: tuple[LayerResult, ...], machine: Any) -> Cost:
    pj = sum(sum(energy(result.activity, machine).values()) for result in results)
    return Cost(sum(result.cycles for result in results), round(FJ * pj))


def decide(
    choices: Choices,
    frame: NDArray[Any],
    objective: str = "cycles",
    wanted: Mapping[str, str] | None = None,
    progress: Progress = lambda frame, layer: None,
) -> Decision:
    """Choose each layer's mode by what a frame costs in either.

    Layers cost the same whatever ran before them, and tensors the same whoever changes their form:
    so the sum is that of a run, and its least is found exactly (`firemesh.emulator.hybrid.assign`).

    Parameters
    ----------
    choices : Choices
        Its search's objective should be the same.
    frame : array
        A frame of the network's input.
    objective : {"cycles", "energy", "edp"}
    wanted : mapping of str to str, optional
        Name of a layer -> "mnf" or "flexnn", where the choice is made already.
    progress : callable
        May raise to end it.

    Raises
    ------
    MachineError
        When the energy table prices idle PEs.
    EngineError
        When the modes' outputs differ.
    """
    check_energy(choices.machine)
    weigher, units = _Weigher(choices, progress), {unit.name: unit for unit in choices.units}
    weigher.enter(frame)
    readers = {unit.output: tuple(_consumers(choices, unit)) for unit in units.values()}
    results, costs, tensors = {}, {}, []
    for step in choices.flexnn.steps:
        unit = units.get(step.name)
        if unit is None:
            if step.name not in choices.pooled_by:
                weigher.free(step)
            continue
        found = weigher.unit(unit, (wanted or {}).get(unit.name, AUTO))
        results[unit.name] = found
        machine = {"mnf": choices.machine.of_mnf, "flexnn": choices.machine.of_flexnn}
        costs[unit.name] = {mode: _cost(part, machine[mode]) for mode, part in found.items()}
        tensors.append(weigher.tensor(unit, readers[unit.output]))
    problem = Problem(costs, tuple(tensors))
    return Decision(objective, assign(problem, objective), problem, results, weigher.schedule)


def _consumers(choices: Choices, producer: Unit) -> list[str]:
    """Return the units that read a unit's output, in any shape."""
    roots = choices.roots
    return [
        unit.name
        for unit in choices.units
        if any(roots[name] == producer.output for name in unit.inputs)
    ]
