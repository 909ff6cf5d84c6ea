"""Makes the emulation of a network on a hybrid machine, modes chosen where they are not given."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ...models.network import Network
from ..emulation import Progress
from ..flexnn.descriptor import Descriptor
from ..flexnn.plan import Search
from .decide import decide
from .decision import AUTO
from .emulation import HybridEmulation
from .machine import HybridMachine
from .mode_file import modes_of
from .plan import make_choices, make_hybrid_plan


def hybrid_emulation(
    network: Network,
    machine: HybridMachine,
    modes: Mapping[str, str],
    frame: NDArray[Any],
    where: str = "modes",
    schedule: Mapping[str, Descriptor] | None = None,
    search: Search | None = None,
    progress: Progress = lambda frame, layer: None,
) -> HybridEmulation:
    """Return a network on a hybrid machine, ready to take frames.

    Parameters
    ----------
    network : Network
    machine : HybridMachine
    modes : mapping of str to str
        Name or pattern of layers -> "mnf", "flexnn" or "auto".
    frame : array
        The frame by which modes are chosen; see `firemesh.emulator.hybrid.decide`.
    where : str
        Where the modes come from, for messages.
    schedule : mapping of layer name to Descriptor, optional
    search : Search, optional
        Of descriptors; its objective is also that of the choice.
    progress : callable
        Called while modes are chosen.

    Raises
    ------
    MachineError, MappingError
        When modes, descriptors or the energy table cannot be used.
    """
    search = Search() if search is None else search
    choices = make_choices(network, machine, schedule, search)
    wanted = modes_of(choices, modes, where)
    if AUTO not in wanted.values():
        return HybridEmulation(make_hybrid_plan(choices, wanted))
    given = {name: mode for name, mode in wanted.items() if mode != AUTO}
    decision = decide(choices, frame, search.objective, given, progress)
    plan = make_hybrid_plan(choices, decision.modes, decision.schedule)
    return HybridEmulation(plan, decision)
