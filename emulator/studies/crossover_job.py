"""A run of a network on a hybrid machine, of which every layer is kept in each mode."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...models import synthetic
from ...models.network import Network, Tensor
from ..activations import Activations
from ..flexnn.plan import Search
from ..hybrid.convert import ConvertStep, convert, of_conversion
from ..hybrid.decide import decide
from ..hybrid.decision import Decision
from ..hybrid.forms import EVENTS, FORM, ZVC
from ..hybrid.machine import HybridMachine
from ..hybrid.plan import Choices, make_choices
from ..layer_result import LayerResult
from .job import Job, Run, plain_layer

SEARCH = Search("cycles")
"""Of mode flexnn's descriptors: what a run searches by default."""


@dataclass(frozen=True)
class CrossoverJob(Job):
    """A network on a hybrid machine, one frame, each layer in each of some modes.

    Layers of its run are results of a mode, and have more entries: ``unit``, the layer that they go
    with (a pool behind it is one more), and ``mode``. Where both modes run, there are also both
    conversions of each tensor, with ``unit``, the layer that makes it, ``to``, the form that is
    made, and ``consumers``. Cycles of the run are those of all of it.

    Parameters
    ----------
    modes : tuple of str
        "mnf", "flexnn" or both.
    """

    modes: tuple[str, ...] = tuple(FORM)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        return super().identity | {"modes": list(self.modes)}

    def work(self) -> Run:
        """Run it in this process."""
        assert isinstance(self.machine, HybridMachine)
        network, inputs = synthetic.network(self.recipe), synthetic.images(self.recipe, 1)
        choices = make_choices(network, self.machine, search=SEARCH)
        is_both = set(self.modes) == set(FORM)
        wanted = {} if is_both else {unit.name: self.modes[0] for unit in choices.units}
        decision = decide(choices, inputs[0], SEARCH.objective, wanted)
        layers = list(_layers(decision, network))
        if is_both:
            layers += _conversions(decision, choices)
        weights = [layer.weight for layer in network.layers if hasattr(layer, "weight")]
        kept = sum(int(np.count_nonzero(weight)) for weight in weights)
        density = kept / sum(weight.size for weight in weights)
        return Run(sum(layer["cycles"] for layer in layers), 0, density, layers, 0.0)


def _layers(decision: Decision, network: Network) -> Iterator[dict[str, Any]]:
    """Yield what is kept of each layer in each mode that it ran in."""
    outputs = {layer.name: network.tensors[layer.output].size for layer in network.layers}
    for unit, of_mode in decision.results.items():
        for mode, results in of_mode.items():
            for result in results:
                plain = plain_layer(result, outputs[result.name])
                yield plain | {"unit": unit, "mode": mode}


def _conversions(decision: Decision, choices: Choices) -> Iterator[dict[str, Any]]:
    """Yield what is kept of both conversions of each tensor."""
    for tensor in decision.problem.tensors:
        of_mode = decision.results[tensor.producer]
        active = next(iter(of_mode.values()))[-1].fired
        for form in (EVENTS, ZVC):
            result = conversion(choices.network.tensors[tensor.name], active, form, choices.machine)
            plain = plain_layer(result, result.inputs)
            more = {"to": form, "consumers": list(tensor.consumers)}
            yield plain | {"unit": tensor.producer, "mode": "convert"} | more


def conversion(tensor: Tensor, active: int, form: str, machine: HybridMachine) -> LayerResult:
    """Return what it takes to change a tensor's form; how many are active decides it.

    Parameters
    ----------
    tensor : Tensor
    active : int
        Its activations that differ from the zero point.
    form : {"events", "zvc"}
        The form that is made.
    machine : HybridMachine
    """
    any_of_them = np.arange(active)
    part = Activations(tensor, any_of_them, any_of_them, any_of_them)
    return of_conversion(convert(ConvertStep(tensor.name, form), part, machine, 0), machine)
