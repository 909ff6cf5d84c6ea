"""The machines of a study: each after each combination of changes, in each mode that it runs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ..description import MachineError
from ..energy import table
from ..machine import AnyMachine
from ..machine import machine as find
from ..modes import MODES, find_machine, side_of
from .study_file import MachineEntry, StudyFile, several


@dataclass(frozen=True)
class Setting:
    """A machine after changes, in a mode; what its points have in common."""

    machine: AnyMachine
    changes: str
    mode: str
    modes: tuple[tuple[str, str], ...] | None

    @cached_property
    def yaml(self) -> str:
        """The machine's description."""
        return self.machine.to_yaml()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What of the machine decides a result: of a hybrid in one mode that side alone."""
        side = side_of(self.machine, self.mode)
        about = {"sources", "summary"}
        return {
            "machine": side.model_dump(mode="json", exclude=about),
            "energy": table(side.energy).model_dump(mode="json", exclude=about),
            "modes": None if self.modes is None else [list(pair) for pair in self.modes],
        }


def settings_of(study: StudyFile, folder: Path) -> Iterator[Setting]:
    """Yield the machines after changes, each in each of its modes.

    Parameters
    ----------
    study : StudyFile
    folder : Path
        That paths in it are relative to.

    Raises
    ------
    MachineError
        When a machine, change or mode cannot be used.
    """
    unused = set(study.modes or ())
    for n, entry in enumerate(study.machines):
        where = f"machines[{n}]"
        for machine, changes in _changed(entry, folder, where):
            wanted = entry.modes if entry.modes is not None else study.modes
            able = [mode for mode in wanted or (None,) if _runs(machine, mode, folder)]
            refused = [mode for mode in entry.modes or () if mode not in able]
            if refused or not able:
                raise MachineError(
                    f"{where}: {machine.name} does not run mode "
                    f"{' or '.join(refused or study.modes or ())}; change modes or machine"
                )
            unused -= set(able)
            for mode in able:
                name, _, modes = find_machine(_placed_mode(mode, folder), machine)
                by_layer = tuple(modes.by_layer.items()) if mode and mode not in MODES else None
                yield Setting(machine, changes, mode or name, by_layer)
    for mode in sorted(unused):
        raise MachineError(f"modes: no machine here runs {mode}; leave it out or add a machine")


def _placed_mode(mode: str | None, folder: Path) -> str | Path | None:
    return mode if mode is None or mode in MODES else folder / mode


def _runs(machine: AnyMachine, mode: str | None, folder: Path) -> bool:
    """Tell whether a machine runs a mode; a mode that is none is an error."""
    placed = _placed_mode(mode, folder)
    find_machine(placed, None)
    try:
        find_machine(placed, machine)
    except MachineError:
        return False
    return True


def _changed(entry: MachineEntry, folder: Path, where: str) -> Iterator[tuple[AnyMachine, str]]:
    """Yield a machine with each combination of what is set, and that as JSON."""
    try:
        base = find(placed(entry.machine, folder, entry.machine.endswith((".yaml", ".yml"))))
    except MachineError as error:
        raise MachineError(f"{where}.machine: {error}") from None
    values = [several(value) for value in entry.set.values()]
    for chosen in product(*values):
        changes = dict(zip(entry.set, chosen, strict=True))
        fields = {field.replace(".", "__"): value for field, value in changes.items()}
        try:
            machine = base.replace(**fields)
            table(machine.energy)
        except MachineError as error:
            hint = _hint(base, changes)
            raise MachineError(f"{where}.set: {error}{hint}") from None
        yield machine, json.dumps(changes, sort_keys=True)


def _hint(machine: AnyMachine, changes: Mapping[str, Any]) -> str:
    """Return what to do where a field that is a list got one of its items."""
    for field, value in changes.items():
        at: Any = machine.model_dump()
        for part in field.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if isinstance(at, tuple) and not isinstance(value, list):
            return f"; {field} is a list itself, so write a list of lists, such as [[{value}]]"
    return ""


def placed(name: str, folder: Path, is_path: bool | None = None) -> str:
    """Return a name, or the whole path of a file that is relative to the study's folder."""
    if is_path is None:
        is_path = name.endswith((".yaml", ".yml"))
    return str((folder / name).resolve()) if is_path else name
