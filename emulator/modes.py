"""Modes of execution, and the machines that they run on by default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .machine import AnyMachine, FlexMachine, HybridMachine, MachineError
from .machine import machine as machine_of

MODES = {
    "mnf": "multiply-and-fire: events in, threshold, events out",
    "flexnn": "tiles by descriptors on versatile PEs, bitmap sparsity on both operands",
    "auto": "each layer in the mode that makes the whole cheapest, conversions included",
}
MIXED = "mixed"
"""What a run is called whose layers' modes are given one by one."""

DEFAULT_MACHINES = {
    "mnf": "mnf-22nm",
    "flexnn": "flexnn-edge",
    "auto": "hybrid-256",
    MIXED: "hybrid-256",
}


@dataclass(frozen=True)
class Modes:
    """Modes of layers on a hybrid machine.

    Parameters
    ----------
    by_layer : mapping of str to str
        Name or pattern -> "mnf", "flexnn" or "auto".
    where : str
        Where they come from, for messages.
    """

    by_layer: Mapping[str, str] = field(default_factory=lambda: {"*": "auto"})
    where: str = "mode"


def find_machine(
    mode: str | Path | Mapping[str, str] | None, machine: str | Path | AnyMachine | None
) -> tuple[str, AnyMachine, Modes]:
    """Return mode and machine of a run: one that is not given follows from the other.

    Parameters
    ----------
    mode : str, Path, mapping of str to str, or None
        A name in `MODES`, or names and patterns of layers with a mode each, or a YAML file of them.
    machine : str, Path, machine or None

    Returns
    -------
    str
        A name in `DEFAULT_MACHINES`.
    Machine, FlexMachine or HybridMachine
    Modes

    Raises
    ------
    MachineError
        When the mode is unknown, or the machine does not run it.
    """
    name, modes = _named(mode)
    found = machine_of(DEFAULT_MACHINES[name or "mnf"] if machine is None else machine)
    if isinstance(found, HybridMachine):
        return name or "auto", found, modes
    own = "flexnn" if isinstance(found, FlexMachine) else "mnf"
    if name not in (None, own):
        wanted = f"a mode for each layer ({modes.where})" if name == MIXED else f"mode {name}"
        raise MachineError(
            f"{found.name}: is a machine of mode {own}, got {wanted}; a machine of it is "
            f"{DEFAULT_MACHINES[name or own]}"
        )
    return own, found, modes


def side_of(machine: AnyMachine, name: str) -> AnyMachine:
    """Return what runs a mode: of a hybrid that runs one mode alone, the part that does."""
    if isinstance(machine, HybridMachine) and name in ("mnf", "flexnn"):
        return machine.of_mnf if name == "mnf" else machine.of_flexnn
    return machine


def mode_and_machine(
    mode: str | Path | Mapping[str, str] | None, machine: str | Path | AnyMachine | None
) -> tuple[str, AnyMachine, Modes]:
    """Return mode and machine of a run as `find_machine` does, of a hybrid the part that runs."""
    name, found, modes = find_machine(mode, machine)
    return name, side_of(found, name), modes


def _named(mode: str | Path | Mapping[str, str] | None) -> tuple[str | None, Modes]:
    """Return a mode's name, and the modes of layers."""
    if mode is None or (isinstance(mode, str) and mode in MODES):
        return mode, Modes()
    from .hybrid.mode_file import check_modes, read_modes

    if isinstance(mode, Mapping):
        return MIXED, Modes(check_modes(mode, "mode"))
    path = Path(mode)
    is_file = str(mode) and (path.suffix in (".yaml", ".yml") or path.exists())
    if not is_file:
        raise MachineError(
            f"mode: must be one of {', '.join(MODES)} or a YAML file of layers and modes, "
            f"got {str(mode)!r}"
        )
    return MIXED, Modes(read_modes(path), str(mode))
