"""Modes of execution, and the machines that they run on by default."""

from pathlib import Path

from .machine import AnyMachine, Machine, MachineError
from .machine import machine as find_machine

MODES = {
    "mnf": "multiply-and-fire: events in, threshold, events out",
    "flexnn": "tiles by descriptors on versatile PEs, bitmap sparsity on both operands",
}
DEFAULT_MACHINES = {"mnf": "mnf-22nm", "flexnn": "flexnn-edge"}


def mode_and_machine(
    mode: str | None, machine: str | Path | AnyMachine | None
) -> tuple[str, AnyMachine]:
    """Return mode and machine of a run: one that is not given follows from the other.

    Raises
    ------
    MachineError
        When the mode is unknown, or the machine is of another one.
    """
    if mode is not None and mode not in MODES:
        raise MachineError(f"mode: must be one of {', '.join(MODES)}, got {mode!r}")
    found = find_machine(DEFAULT_MACHINES[mode or "mnf"] if machine is None else machine)
    of_machine = "mnf" if isinstance(found, Machine) else "flexnn"
    if mode not in (None, of_machine):
        raise MachineError(
            f"{found.name}: is a machine of mode {of_machine}, got mode {mode}; a machine of it is "
            f"{DEFAULT_MACHINES[mode or of_machine]}"
        )
    return of_machine, found
