"""Modes by layer as users give them: names or patterns of layers, in a YAML file or a mapping."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..description import MachineError, read_yaml
from .decision import AUTO
from .forms import FORM
from .plan import Choices

WORDS = (*FORM, AUTO)
LISTED = 12


def read_modes(path: str | Path) -> dict[str, str]:
    """Return what a YAML file of modes holds.

    Raises
    ------
    MachineError
        When it is no such file.
    """
    return check_modes(read_yaml(str(path)), str(path))


def check_modes(tree: Any, where: str) -> dict[str, str]:
    """Return a mapping of layers to modes, if it is one.

    Parameters
    ----------
    tree : mapping
        As YAML gives it.
    where : str
        File, for messages.
    """
    if not isinstance(tree, Mapping) or not tree:
        raise MachineError(
            f"{where}: must be a mapping of layers to modes, such as 'conv1: flexnn' and "
            f"'\"*\": auto', got {tree!r:.80}"
        )
    for name, mode in tree.items():
        if not isinstance(name, str):
            raise MachineError(f"{where}: {name!r:.80} is no layer's name; put it in quotes")
        if mode not in WORDS:
            raise MachineError(
                f"{where}: {name}: must be one of {', '.join(WORDS)}, got {mode!r:.80}"
            )
    return dict(tree)


def modes_of(choices: Choices, patterns: Mapping[str, str], where: str) -> dict[str, str]:
    """Return each layer's mode, or "auto".

    A layer's own name goes before patterns (``*``, ``?``, ``[...]``), and of those the first that
    fits is taken.

    Parameters
    ----------
    choices : Choices
    patterns : mapping of str to str
    where : str
        For messages.

    Raises
    ------
    MachineError
        When a name or pattern fits no layer, or a layer has no mode.
    MappingError
        When a layer does not fit the mode.
    """
    names = [unit.name for unit in choices.units]
    for name in patterns:
        if name in choices.pooled_by:
            raise MachineError(
                f"{where}: {name} goes with {choices.pooled_by[name]}, whose fire phase pools in "
                "mode mnf; name that layer"
            )
        if name not in names and not any(fnmatchcase(other, name) for other in names):
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            raise MachineError(
                f"{where}: {name} fits no layer of network {choices.network.name} that takes "
                f"cycles; those are {', '.join(names[:LISTED])}{more}"
            )
    found = {name: _mode(name, patterns) for name in names}
    for name, mode in found.items():
        if not mode:
            raise MachineError(f"{where}: {name} has no mode; name it, or add '\"*\": auto'")
        if mode == "mnf" and name in choices.refused:
            raise choices.refused[name]
    return found


def _mode(name: str, patterns: Mapping[str, str]) -> str:
    if name in patterns:
        return patterns[name]
    return next((mode for key, mode in patterns.items() if fnmatchcase(name, key)), "")
