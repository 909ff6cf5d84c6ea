"""A network on a FlexNN machine: which layers run on the array, and with which descriptors."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...models.network import Conv, Linear, Network
from ..description import MachineError
from ..regions import place
from ..steps import HostStep
from .descriptor import Descriptor
from .dims import LayerDims, layer_dims
from .machine import FlexMachine
from .rules import check

KEPT = {"bus": 8, "mesh": 4}
"""Best estimates that the engine counts by default; on a mesh each takes a simulation."""


@dataclass(frozen=True)
class FlexStep:
    """A weighted layer on the array.

    Parameters
    ----------
    layer : Conv or Linear
    dims : LayerDims
    given : Descriptor or None
        None where one is searched when the layer's activations are known.
    """

    layer: Conv | Linear
    dims: LayerDims
    given: Descriptor | None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""
        return self.layer.inputs

    @property
    def output(self) -> str:
        """Tensor that is stored."""
        return self.layer.output


@dataclass(frozen=True)
class Search:
    """How descriptors are searched that are not given.

    Parameters
    ----------
    objective : {"cycles", "energy", "edp"}
    dataflow : str or None
        A fixed one; None for any.
    keep : int, optional
        Best estimates that the engine counts; 0 takes the best estimate uncounted. By default
        `KEPT`.
    with_fixed : bool, optional
        Whether each fixed dataflow's best estimate is counted beside them; by default on buses.
    beside : tuple of str
        Other objectives, whose best estimates are counted too: a study that compares objectives
        counts each candidate once. The choice among all is by ``objective``.
    """

    objective: str = "cycles"
    dataflow: str | None = None
    keep: int | None = None
    with_fixed: bool | None = None
    beside: tuple[str, ...] = ()

    def kept(self, machine: FlexMachine) -> int:
        """Return how many estimates are counted on a machine."""
        return KEPT[machine.sdn.kind] if self.keep is None else self.keep

    def counts_fixed(self, machine: FlexMachine) -> bool:
        """Return whether fixed dataflows' best estimates are counted on a machine."""
        return machine.sdn.kind == "bus" if self.with_fixed is None else self.with_fixed


@dataclass(frozen=True)
class FlexPlan:
    """A network on a FlexNN machine.

    Parameters
    ----------
    network : Network
    machine : FlexMachine
    steps : tuple of FlexStep or HostStep
    regions : dict
        First byte in DRAM of each stored tensor.
    storage_bytes : int
        Bytes that the tensors need.
    search : Search
    load_cycles : int
        0: weights come from DRAM in each frame.
    tensor_base : int
        Byte of DRAM from which `regions` count.
    weight_base : int or None
        Byte of DRAM at which the first layer's weights lie; behind the tensors if None.
    """

    network: Network
    machine: FlexMachine
    steps: tuple[FlexStep | HostStep, ...]
    regions: dict[str, int]
    storage_bytes: int
    search: Search
    load_cycles: int = 0
    tensor_base: int = 0
    weight_base: int | None = None


def make_flex_plan(
    network: Network,
    machine: FlexMachine,
    schedule: Mapping[str, Descriptor] | None = None,
    search: Search | None = None,
) -> FlexPlan:
    """Plan a network on a FlexNN machine.

    Parameters
    ----------
    network : Network
    machine : FlexMachine
    schedule : mapping of layer name to Descriptor, optional
        Descriptors of layers; the others' are searched.
    search : Search, optional

    Raises
    ------
    MachineError
        When a descriptor is of an unknown layer or breaks a rule.
    """
    given = dict(schedule or {})
    steps: list[FlexStep | HostStep] = []
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            dims = layer_dims(network, layer)
            descriptor = given.pop(layer.name, None)
            if descriptor is not None:
                check(descriptor, dims, machine, f"schedule: {layer.name}")
            steps.append(FlexStep(layer, dims, descriptor))
        else:
            steps.append(HostStep(layer, not network.tensors[layer.output].is_code))
    if given:
        known = [step.name for step in steps if isinstance(step, FlexStep)]
        raise MachineError(
            f"schedule: {next(iter(given))} is no layer with weights of network {network.name}; "
            f"those are {', '.join(known)}"
        )
    regions, top = place(network, steps)
    return FlexPlan(
        network, machine, tuple(steps), regions, top, Search() if search is None else search
    )
