"""A network on a hybrid machine: which layers may run in which mode, and the steps of a choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...models.network import Network
from ..description import MachineError
from ..flexnn.descriptor import Descriptor
from ..flexnn.plan import FlexPlan, FlexStep, Search, make_flex_plan
from ..mnf.mapping import MappingError
from ..mnf.plan import Plan, make_plan
from ..mnf.steps import MnfStep
from ..regions import place
from ..steps import AnyStep, HostStep
from .convert import ConvertStep
from .forms import EVENTS, FORM, ZVC
from .machine import HybridMachine

LayerSteps = tuple[MnfStep | FlexStep | HostStep, ...]


@dataclass(frozen=True)
class Unit:
    """What runs in one mode: a layer; with the max-pool that mode mnf does as it fires.

    Parameters
    ----------
    name : str
        The layer's.
    inputs : tuple of str
    output : str
        Tensor that other units read.
    steps : dict
        Mode -> its steps; without a mode that the layer does not fit.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    steps: Mapping[str, LayerSteps]


@dataclass(frozen=True)
class Choices:
    """A network on a hybrid machine before modes are chosen.

    Parameters
    ----------
    network : Network
    machine : HybridMachine
    mnf : Plan
        Of all layers that fit in mode mnf.
    flexnn : FlexPlan
        Of all layers.
    refused : dict
        Layers that do not fit in mode mnf, and why.
    """

    network: Network
    machine: HybridMachine
    mnf: Plan
    flexnn: FlexPlan
    refused: Mapping[str, MappingError]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The units in network order."""
        of_mnf = {step.name: step for step in self.mnf.steps}
        of_flexnn = {step.name: step for step in self.flexnn.steps}
        found, fused = [], set[str]()
        for layer in self.network.layers:
            step = of_flexnn[layer.name]
            if layer.name in fused or (isinstance(step, HostStep) and step.is_free):
                continue
            steps: dict[str, LayerSteps] = {"flexnn": (step,)}
            output = layer.output
            if layer.name in of_mnf:
                mnf = of_mnf[layer.name]
                steps["mnf"] = (mnf,)
                if isinstance(mnf, MnfStep) and mnf.pool:
                    fused.add(mnf.pool.name)
                    steps["flexnn"] = (step, of_flexnn[mnf.pool.name])
                    output = mnf.pool.output
            found.append(Unit(layer.name, layer.inputs, output, steps))
        return tuple(found)

    @cached_property
    def pooled_by(self) -> dict[str, str]:
        """Name of a max-pool that goes with a layer -> the layer's."""
        return {
            step.pool.name: step.name
            for step in self.mnf.steps
            if isinstance(step, MnfStep) and step.pool
        }

    @cached_property
    def roots(self) -> dict[str, str]:
        """Name of a stored tensor -> that of which it is another shape, or its own."""
        found: dict[str, str] = {}
        for step in self.flexnn.steps:
            for name in (*step.inputs, step.output):
                found.setdefault(name, name)
            if isinstance(step, HostStep) and step.is_alias:
                found[step.output] = found[step.inputs[0]]
        return found


@dataclass(frozen=True)
class HybridPlan:
    """A network on a hybrid machine, each layer in a mode.

    Parameters
    ----------
    network : Network
    machine : HybridMachine
    modes : dict
        Name of a step -> its mode; conversions and what takes no cycles have none.
    steps : tuple
    mnf : Plan
        The steps of mode mnf.
    flexnn : FlexPlan
        The steps of mode flexnn.
    regions : dict
        First byte of each stored tensor: as an event list, if it ever is one.
    storage_bytes : int
        Bytes that the tensors need, in both forms.
    roots : dict
        As of `Choices`.
    load_cycles : int
        0: weights come in during the frame, for others use the PEs' memories in between.
    """

    network: Network
    machine: HybridMachine
    modes: Mapping[str, str]
    steps: tuple[MnfStep | FlexStep | HostStep | ConvertStep, ...]
    mnf: Plan
    flexnn: FlexPlan
    regions: Mapping[str, int]
    storage_bytes: int
    roots: Mapping[str, str]
    load_cycles: int = 0


def make_choices(
    network: Network,
    machine: HybridMachine,
    schedule: Mapping[str, Descriptor] | None = None,
    search: Search | None = None,
) -> Choices:
    """Map a network onto a hybrid machine in either mode.

    Raises
    ------
    MachineError
        When a descriptor is of an unknown layer or breaks a rule, or a layer has a conversion's
        name.
    """
    _check_names(network)
    refused: dict[str, MappingError] = {}
    mnf = make_plan(network, machine.of_mnf, refused)
    flexnn = make_flex_plan(network, machine.of_flexnn, schedule, search)
    return Choices(network, machine, mnf, flexnn, refused)


def _check_names(network: Network) -> None:
    """Raise where a layer's name could be that of a conversion."""
    taken = {ConvertStep(tensor, form).name for tensor in network.tensors for form in (EVENTS, ZVC)}
    for layer in network.layers:
        if layer.name in taken:
            raise MachineError(
                f"network {network.name}: layer {layer.name} has the name of a conversion; rename "
                "the layer"
            )


def make_hybrid_plan(
    choices: Choices,
    modes: Mapping[str, str],
    schedule: Mapping[str, Descriptor] | None = None,
) -> HybridPlan:
    """Plan a network whose layers have modes.

    DRAM holds the weights of mode mnf, event lists, the tensors of mode flexnn, then its weights.

    Parameters
    ----------
    choices : Choices
    modes : mapping of str to str
        Name of a unit -> its mode.
    schedule : mapping of str to Descriptor, optional
        Descriptors that are known by now.
    """
    known = dict(schedule or {})
    of_mode = {
        step.name: (mode, step)
        for unit in choices.units
        for mode, steps in unit.steps.items()
        if modes[unit.name] == mode
        for step in steps
    }
    steps: list[MnfStep | FlexStep | HostStep] = []
    for layer, free in zip(choices.network.layers, choices.flexnn.steps, strict=True):
        mode, step = of_mode.get(layer.name, ("", free))
        if not mode and layer.name in choices.pooled_by:
            continue
        if isinstance(step, FlexStep) and layer.name in known:
            step = replace(step, given=known[layer.name])
        steps.append(step)
    of_step = {name: mode for name, (mode, _) in of_mode.items()}
    whole = _with_conversions(choices, steps, of_step)
    (events, n_events), (zvc, n_zvc) = _placed(choices, steps, whole, of_step)
    tensor_base = choices.mnf.dram_bytes + n_events
    events = {name: choices.mnf.dram_bytes + at for name, at in events.items()}
    mnf = replace(
        choices.mnf,
        steps=tuple(s for s in steps if _is_of(s, "mnf", of_step) and not isinstance(s, FlexStep)),
        regions=events,
        storage_bytes=n_events,
    )
    flexnn = replace(
        choices.flexnn,
        steps=tuple(
            s for s in steps if _is_of(s, "flexnn", of_step) and not isinstance(s, MnfStep)
        ),
        regions=zvc,
        storage_bytes=n_zvc,
        tensor_base=tensor_base,
        weight_base=tensor_base + n_zvc,
    )
    n_bytes = n_events + n_zvc
    return HybridPlan(
        choices.network, choices.machine, of_step, whole, mnf, flexnn, zvc | events, n_bytes,
        choices.roots,
    )  # fmt: skip


def _is_of(step: AnyStep, mode: str, modes: Mapping[str, str]) -> bool:
    return modes.get(step.name) == mode


def _placed(
    choices: Choices,
    steps: Sequence[MnfStep | FlexStep | HostStep],
    whole: Sequence[AnyStep],
    modes: Mapping[str, str],
) -> list[tuple[dict[str, int], int]]:
    """Return first bytes of the tensors that are ever event lists, and of those ever ZVC."""
    held: dict[str, set[str]] = {form: set(choices.network.inputs) for form in (EVENTS, ZVC)}
    for step in whole:
        if isinstance(step, ConvertStep):
            held[step.to].add(step.tensor)
        elif step.name in modes:
            held[FORM[modes[step.name]]].add(step.output)
        else:
            for names in held.values():
                names.add(step.output)
    return [place(choices.network, steps, held[form]) for form in (EVENTS, ZVC)]


def _with_conversions(
    choices: Choices, steps: Sequence[MnfStep | FlexStep | HostStep], modes: Mapping[str, str]
) -> tuple[MnfStep | FlexStep | HostStep | ConvertStep, ...]:
    """Put a conversion before the first step that wants a tensor in a form that it has not."""
    found: list[MnfStep | FlexStep | HostStep | ConvertStep] = []
    roots = choices.roots
    forms: dict[str, set[str]] = {}
    for step in steps:
        if step.name in modes:
            form = FORM[modes[step.name]]
            for name in dict.fromkeys(roots[name] for name in step.inputs):
                held = forms.get(name)
                if held is not None and form not in held:
                    found.append(ConvertStep(name, form))
                    held.add(form)
            forms[step.output] = {form}
        found.append(step)
    return tuple(found)
