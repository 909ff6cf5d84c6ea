"""A run of a study: what is to be run, and what is kept of it."""

import hashlib
import json
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ...models import synthetic
from ...models.recipe import Recipe
from ..description import Description
from ..energy import Activity, energy
from ..flexnn.descriptor import Descriptor
from ..flexnn.machine import FlexMachine
from ..flexnn.plan import Search
from ..machine import AnyMachine, parse_yaml
from ..slots import BUSY, Cause

CODE = (
    "models",
    "encoders",
    "noc",
    "emulator",
    *(f"emulator/{mode}" for mode in ("mnf", "flexnn", "hybrid")),
)
"""Folders whose source decides what a run gives; studies, which only read runs, are not in it."""

WARM = Recipe("lenet5", layers="conv1")
"""What compiles the kernels, or loads them, before a run is timed."""

TIMED = 3

UNCOUNTED = Search(keep=0)
"""Takes the best estimate of all descriptors."""

BASE_BYTES, EVENT_BYTES = 350e6, 850
"""Memory of a process, and of an activation that the largest layer reads: measured with VGG-16,
whose run takes 0.8 GB with S1 and 3.1 GB with dense activations."""


@dataclass(frozen=True)
class Job:
    """A network on a machine, one frame.

    Parameters
    ----------
    name : str
        Of its file.
    recipe : Recipe
        Of the synthetic network and its image.
    machine : Machine or FlexMachine
    is_measured : bool
        Whether to run it again: `TIMED` times for the least time, and once for memory.
    searched_on : FlexMachine, optional
        Of mode flexnn: takes the descriptors of the best estimates on this machine, so that runs
        on machines that differ in other things have the same; by default they are searched on
        ``machine`` and counted.
    """

    name: str
    recipe: Recipe
    machine: AnyMachine
    is_measured: bool = False
    searched_on: FlexMachine | None = None

    @property
    def bytes(self) -> float:
        """About the memory that a process needs for it."""
        return BASE_BYTES + EVENT_BYTES * max(self._active())

    def _active(self) -> Iterator[float]:
        """Yield about how many activations each convolution reads."""
        recipe = self.recipe
        channels, size, _ = recipe.architecture.shape
        share = 1.0 if recipe.input_density is None else recipe.input_density
        for index, spec in enumerate(recipe.architecture.convolutions):
            yield share * channels * size * size
            channels, size = spec.filters, (size + 2 * spec.pad - spec.kernel) // spec.stride + 1
            if spec.pool:
                size = (size - spec.pool.kernel) // spec.pool.stride + 1
            share = recipe.output_density(index) or 1.0

    def work(self) -> "Run":
        """Run it in this process; jobs of other kinds have their own way."""
        return _run(self)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        recipe: dict[str, Any] = json.loads(json.dumps(asdict(self.recipe)))
        searched_on = self.searched_on and _plain_machine(self.searched_on)
        return {
            "recipe": recipe,
            "machine": _plain_machine(self.machine),
            "is_measured": self.is_measured,
            "searched_on": searched_on,
            "code": code_digest(),
        }


def _plain_machine(machine: Description) -> dict[str, Any]:
    return machine.model_dump(mode="json", exclude={"sources", "summary", "energy"})


@cache
def code_digest() -> str:
    """Return a digest of the source that runs networks."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((root / folder).glob("*.py")):
            if not path.name.startswith("cli"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """What is kept of a run; plain values, the same in JSON.

    Parameters
    ----------
    cycles, load_cycles : int
        Of the frame; and of bringing the weights in before it, 0 where they come in during it.
    density : float
        Part of the weights that are not zero.
    layers : list of dict
        Per layer name, tile, waves, cycles, events, active and inputs (activations), fired,
        outputs, flits, sent (flits that storage sent), slots by `Cause`, bytes (read, written) by
        `Memory`.
    seconds : float
        Of one core for the emulation, without making the network and compiling kernels.
    peak_bytes : int
        Most memory that the emulation took, network and input not included; 0 if not measured.
    """

    cycles: int
    load_cycles: int
    density: float
    layers: list[dict[str, Any]] = field(repr=False)
    seconds: float
    peak_bytes: int = 0

    @property
    def slots(self) -> dict[Cause, int]:
        """Multiplier slots by cause."""
        sums = np.sum([layer["slots"] for layer in self.layers], axis=0)
        return {cause: int(sums[cause]) for cause in Cause}

    @property
    def parts(self) -> dict[Cause, float]:
        """Slots by cause as parts of all slots."""
        total = sum(self.slots.values())
        return {cause: count / total for cause, count in self.slots.items()}

    @property
    def utilization(self) -> float:
        """Part of all slots in which a multiplier worked."""
        parts = self.parts
        return sum(parts[cause] for cause in BUSY)

    def total(self, key: str) -> int:
        """Return the sum of a number over the layers."""
        return sum(int(layer[key]) for layer in self.layers)

    def energy(self, machine: Description, table: str) -> dict[str, float]:
        """Return pJ by component with an energy table."""
        total: dict[str, float] = {}
        priced = machine.replace(energy=table)
        for layer in self.layers:
            slots, size = np.array(layer["slots"]), np.array(layer["bytes"])
            for name, pj in energy(Activity(size, slots, layer["flits"]), priced).items():
                total[name] = total.get(name, 0.0) + pj
        return total

    def power_mw(self, machine: Description, table: str) -> float:
        """Return the mean power with an energy table."""
        pj = sum(self.energy(machine, table).values())
        return pj * 1e-9 * machine.clock_hz / self.cycles


def execute(job: Job) -> Run:
    """Run a job in this process."""
    return job.work()


def _run(job: Job) -> Run:
    from ..run import run

    network, inputs = synthetic.network(job.recipe), synthetic.images(job.recipe, 1)
    warm(job.machine)
    schedule = None
    if job.searched_on:
        schedule = searched(job.recipe, job.searched_on.to_yaml())
    seconds = inf
    for _ in range(TIMED if job.is_measured else 1):
        began = time.process_time()
        result = run(network, inputs, machine=job.machine, schedule=schedule)
        seconds = min(seconds, time.process_time() - began)
    peak = 0
    if job.is_measured:
        tracemalloc.start()
        run(network, inputs, machine=job.machine, schedule=schedule)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    weights = [layer.weight for layer in network.layers if hasattr(layer, "weight")]
    kept = sum(int(np.count_nonzero(weight)) for weight in weights)
    outputs = {layer.name: network.tensors[layer.output].size for layer in network.layers}
    layers = [plain_layer(layer, outputs[layer.name]) for layer in result.layers]
    density = kept / sum(weight.size for weight in weights)
    return Run(result.cycles, result.load_cycles, density, layers, seconds, peak)


@cache
def searched(recipe: Recipe, machine: str) -> dict[str, Descriptor]:
    """Return the descriptors of the best estimates, by layer, on a machine given as YAML.

    A process that runs several jobs searches once for all of them.
    """
    from ..run import make_emulation

    network, inputs = synthetic.network(recipe), synthetic.images(recipe, 1)
    emulation: Any = make_emulation(network, parse_yaml(machine, "searched_on"), search=UNCOUNTED)
    for _ in emulation.frames(inputs):
        pass
    found: dict[str, Descriptor] = emulation.descriptors
    return found


def warm(machine: AnyMachine) -> None:
    """Have every kernel of a machine compiled, or loaded."""
    from ..run import run

    run(synthetic.network(WARM), synthetic.images(WARM, 1), machine=machine, search=UNCOUNTED)


def plain_layer(layer: Any, outputs: int) -> dict[str, Any]:
    """Return an entry of `Run.layers`, of a result and the size of its output."""
    activity: Activity = layer.activity
    return {
        "name": layer.name,
        "tile": layer.tile,
        "waves": layer.waves,
        "cycles": int(layer.cycles),
        "events": int(layer.events),
        "active": int(layer.active),
        "inputs": int(layer.inputs),
        "fired": int(layer.fired),
        "outputs": int(outputs),
        "flits": int(activity.flits),
        "sent": int(layer.sent_flits[0]),
        "slots": activity.slots.tolist(),
        "bytes": activity.bytes.tolist(),
    }
