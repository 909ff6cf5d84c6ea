"""The host unit: computes what PEs do not (chosen; the papers have no such unit).

It reads a layer's inputs, then writes its output, in the form and at the pace of its mode: events
one per cycle, or bytes at DRAM's width. New shapes and the conversions at the network's edge take
no cycles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models import operators
from .activations import Activations, as_input, stored
from .steps import AnyPlan, HostStep


@dataclass(frozen=True)
class HostRun:
    """What a layer on the host unit left behind.

    Parameters
    ----------
    step : HostStep
    cycle0, cycle1 : int
        First cycle, and the one after the last.
    inputs : tuple of Activations
    output : Activations
    """

    step: HostStep
    cycle0: int
    cycle1: int
    inputs: tuple[Activations, ...]
    output: Activations

    @property
    def n_events(self) -> int:
        """Events read."""
        return sum(len(part.flat) for part in self.inputs)

    @property
    def accesses(self) -> tuple[int, int]:
        """Events read from and written to storage."""
        return (0, 0) if self.step.is_free else (self.n_events, len(self.output.flat))


def compute(
    plan: AnyPlan, step: HostStep, inputs: tuple[Activations, ...], order: str
) -> Activations:
    """Return what a layer that reads and writes codes makes, as it is stored.

    Parameters
    ----------
    plan : AnyPlan
    step : HostStep
    inputs : tuple of Activations
    order : {"row", "channel", "raster"}
        How storage arranges it.
    """
    tensor = plan.network.tensors[step.output]
    if step.is_free:
        return inputs[0].renamed(tensor)
    arrays = [part.dense()[None] for part in inputs]
    codes = operators.apply(plan.network, step.layer, *arrays)[0]
    return stored(tensor, codes, order, plan.regions[step.output])


def enter(plan: AnyPlan, step: HostStep, values: NDArray[np.float32]) -> Activations:
    """Quantise the network's input and place it in storage, before cycle 0."""
    codes = operators.apply(plan.network, step.layer, values[None])[0]
    return as_input(plan.network.tensors[step.output], codes, plan.regions[step.output])


def leave(plan: AnyPlan, step: HostStep, codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Turn codes into an output of the network: real numbers."""
    result: NDArray[np.float32] = operators.apply(plan.network, step.layer, codes[None])[0]
    return result
