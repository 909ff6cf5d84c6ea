"""Chooses each layer's mode: both modes run it, and a cut takes the best assignment of all."""

from collections.abc import Callable, Mapping
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
from .assign import Cost, Problem, Tensor, assign
from .convert import ConvertStep, convert, of_conversion
from .decision import AUTO, FJ, Decision
from .forms import EVENTS, ZVC
from .idle import check_energy
from .plan import Choices, Unit


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

    def forget(self, needed: set[str]) -> None:
        """Drop all tensors but some."""
        at = self._at
        at.tensors = {name: part for name, part in at.tensors.items() if name in needed}
        at.real = {name: part for name, part in at.real.items() if name in needed}

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
    machine = {"mnf": choices.machine.of_mnf, "flexnn": choices.machine.of_flexnn}
    for number, step in enumerate(choices.flexnn.steps):
        weigher.forget({name for later in choices.flexnn.steps[number:] for name in later.inputs})
        unit = units.get(step.name)
        if unit is None:
            if step.name not in choices.pooled_by:
                weigher.free(step)
            continue
        found = weigher.unit(unit, (wanted or {}).get(unit.name, AUTO))
        results[unit.name] = found
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
