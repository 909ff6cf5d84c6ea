"""Machines of every mode: by preset, YAML file, or as they are."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from .description import MachineError, Noc, load_yaml, read_yaml, sentence
from .flexnn.machine import FlexMachine
from .hybrid.machine import HybridMachine
from .mnf.machine import Machine, Mesh, Pe, Storage

__all__ = ["AnyMachine", "FlexMachine", "HybridMachine", "Machine", "MachineError", "Mesh", "Noc",
           "Pe", "Storage", "flex_machine", "machine", "mnf_machine", "parse", "parse_yaml",
           "preset_text", "presets", "read_yaml", "sentence"]  # fmt: skip

AnyMachine = Machine | FlexMachine | HybridMachine
KINDS: dict[str, type[FlexMachine] | type[HybridMachine]] = {
    "array": FlexMachine,
    "flexnn": HybridMachine,
}
"""Keys that only descriptions of one kind have; without any it is a machine of mode mnf."""


def parse(tree: Any, where: str) -> AnyMachine:
    """Return the machine that a mapping describes: of one mode, or of both.

    Parameters
    ----------
    tree : mapping
        As YAML gives it.
    where : str
        File or preset, for messages.

    Raises
    ------
    MachineError
        With file, key and remedy.
    """
    for key, kind in KINDS.items():
        if isinstance(tree, dict) and key in tree:
            return kind.parse(tree, where)
    return Machine.parse(tree, where)


def parse_yaml(text: str, where: str) -> AnyMachine:
    """Return the machine that a YAML text describes."""
    return parse(load_yaml(text, where), where)


def presets() -> list[str]:
    """Return the names of the shipped machines."""
    folder = files(__package__) / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """Return a preset's YAML text, comments included."""
    return (files(__package__) / "presets" / f"{name}.yaml").read_text("utf-8")


def machine(source: str | Path | AnyMachine) -> AnyMachine:
    """Return a machine by preset name, YAML path or as it is.

    Raises
    ------
    MachineError
        When the name is unknown, or the file is missing or wrong.
    """
    if isinstance(source, AnyMachine):
        return source
    name = str(source)
    if name in presets():
        return parse_yaml(preset_text(name), name)
    if not os.path.exists(name):
        raise MachineError(
            f"{name}: no machine of this name and no such file; "
            f"known machines: {', '.join(presets())}; or give the path of a YAML file"
        )
    return parse(read_yaml(name), name)


def flex_machine(source: str | Path | AnyMachine) -> FlexMachine:
    """Return a machine of mode flexnn, or the part of a hybrid that runs it.

    Raises
    ------
    MachineError
        When it is of another mode, or as `machine` does.
    """
    found = machine(source)
    if isinstance(found, HybridMachine):
        return found.of_flexnn
    if not isinstance(found, FlexMachine):
        raise MachineError(
            f"{found.name}: is a machine of mode mnf; give one of mode flexnn, such as flexnn-edge"
        )
    return found


def mnf_machine(source: str | Path | AnyMachine) -> Machine:
    """Return a machine of mode mnf, or the part of a hybrid that runs it.

    Raises
    ------
    MachineError
        When it is of another mode, or as `machine` does.
    """
    found = machine(source)
    if isinstance(found, HybridMachine):
        return found.of_mnf
    if not isinstance(found, Machine):
        raise MachineError(f"{found.name}: is a machine of mode flexnn; run it with --mode flexnn")
    return found
