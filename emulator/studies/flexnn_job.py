"""A run of mode flexnn of which every candidate that was counted is kept, layer by layer."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...models import synthetic
from ...models.network import Network
from ..flexnn.choice import Counted
from ..flexnn.descriptor import Cut
from ..flexnn.dims import LayerDims
from ..flexnn.emulation import FlexEmulation
from ..flexnn.machine import FlexMachine
from ..flexnn.plan import FlexStep, Search
from ..flexnn.run import summary
from .job import Job, Run, plain_layer, warm

MOST_ROUNDS, ROUND_BYTES = 4e6, 300
"""Rounds of conv1_2 of VGG-16 without local reuse, and about what the engine needs for one."""


@dataclass(frozen=True)
class FlexJob(Job):
    """A network in mode flexnn, one frame, whose descriptors are searched and counted.

    Layers of its run have more entries: ``sizes`` by `firemesh.emulator.flexnn.dims.Dim`, and
    ``options``, one of each candidate: origin, dataflows whose restrictions it keeps, tile, rounds,
    cycles, estimate (cycles, pJ), slots by cause, bytes by memory, flits.

    Parameters
    ----------
    search : Search
    """

    search: Search = Search()

    @property
    def bytes(self) -> float:
        """About the memory that a process needs for it."""
        assert isinstance(self.machine, FlexMachine)
        is_long = self.search.counts_fixed(self.machine)
        return super().bytes + (ROUND_BYTES * MOST_ROUNDS if is_long else 0)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        wanted = asdict(self.search) | {"beside": list(self.search.beside)}
        return super().identity | {"search": wanted}

    def _emulation(self, network: Network) -> FlexEmulation:
        """Return what runs a network."""
        assert isinstance(self.machine, FlexMachine)
        return FlexEmulation(network, self.machine, search=self.search)

    def work(self) -> Run:
        """Run it in this process."""
        network, inputs = synthetic.network(self.recipe), synthetic.images(self.recipe, 1)
        warm(self.machine)
        emulation = self._emulation(network)
        [frame] = emulation.frames(inputs, keep_runs=False)
        steps = {step.name: step for step in emulation.plan.steps if isinstance(step, FlexStep)}
        weights = [step.layer.weight for step in steps.values()]
        layers = []
        for result in frame.results:
            if result.name not in steps:
                continue
            step = steps[result.name]
            plain = plain_layer(result, network.tensors[step.output].size)
            found = emulation.options.get(step.name, [])
            plain["sizes"] = list(step.dims.sizes)
            plain["options"] = [option(one, step.dims) for one in found]
            layers.append(plain)
        kept = sum(int(np.count_nonzero(weight)) for weight in weights)
        density = kept / sum(weight.size for weight in weights)
        return Run(sum(layer["cycles"] for layer in layers), 0, density, layers, 0.0)


def option(one: Counted, dims: LayerDims) -> dict[str, Any]:
    """Return a counted candidate of a layer as plain values."""
    candidate = one.candidate
    return {
        "origin": candidate.origin,
        "dataflows": list(one.dataflows),
        "tile": summary(Cut(candidate.descriptor, dims)),
        "rounds": one.rounds,
        "cycles": one.cycles,
        "estimate": [candidate.estimate.cycles, candidate.estimate.energy_pj],
        "slots": one.activity.slots.tolist(),
        "bytes": one.activity.bytes.tolist(),
        "flits": one.activity.flits,
    }
