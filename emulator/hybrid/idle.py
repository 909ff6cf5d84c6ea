"""Which energy tables a hybrid machine can have."""

from .. import energy
from ..description import MachineError
from .machine import HybridMachine


def check_energy(machine: HybridMachine) -> None:
    """Raise where idle PEs have a price, which each mode would tell otherwise.

    Raises
    ------
    MachineError
    """
    if energy.table(machine.energy).idle_fraction:
        free = [name for name in energy.tables() if not energy.table(name).idle_fraction]
        raise MachineError(
            f"{machine.name}: energy: {machine.energy} prices an idle PE as a part of a busy one, "
            f"which is another in each mode; use {', '.join(free)}"
        )
