"""Study files: which networks, machines, modes, densities and seeds a sweep goes through."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from ..description import MachineError, Part, load_yaml, read_yaml
from .figure import FIGURES

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
FIELD = re.compile(r"[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)*")
START = "`firemesh sweep utilization-vs-sparsity --show` prints one to start from"

Item = TypeVar("Item")


def several(value: Any) -> tuple[Any, ...]:
    """Return a value, or the values of a list, as a tuple.

    Raises
    ------
    ValueError
        When the list is empty or holds a value twice.
    """
    if not isinstance(value, list):
        return (value,)
    if not value:
        raise ValueError("must be a value or a list of values, got an empty list")
    for n, one in enumerate(value):
        if any(one == other and type(one) is type(other) for other in value[:n]):
            raise ValueError(f"holds {one!r:.80} twice; leave one out")
    return tuple(value)


Several = Annotated[tuple[Item, ...], BeforeValidator(several)]
"""What is a value or a list of values in YAML."""


def _entry(key: str) -> BeforeValidator:
    """Let a name stand for an entry that says nothing else."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class NetworkEntry(Part):
    """A network, and what is said for it alone, in place of what the study says."""

    network: str
    layers: str | None = None
    input: str | None = None
    frames: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    rows_of: str | None = None
    presets: Several[str] | None = None
    weights: Several[str | None] | None = None
    activations: Several[float | None] | None = None
    seeds: Several[int] | None = None


class MachineEntry(Part):
    """A machine, what is changed in it, and its modes in place of the study's."""

    machine: str
    modes: Several[str] | None = None
    set: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, value in self.set.items():
            if not FIELD.fullmatch(field):
                raise ValueError(f"set: must hold fields such as pe.fire_lanes, got {field!r:.80}")
            try:
                several(value)
            except ValueError as error:
                raise ValueError(f"set.{field}: {error}") from None
        return self


class StudyFile(Part):
    """A study as its file tells it; `firemesh.emulator.sweep.points` makes points of it."""

    name: str
    title: str = ""
    networks: Several[Annotated[NetworkEntry, _entry("network")]]
    machines: Several[Annotated[MachineEntry, _entry("machine")]]
    modes: Several[str] | None = None
    presets: Several[str] | None = None
    weights: Several[str | None] | None = None
    activations: Several[float | None] | None = None
    seeds: Several[int] | None = None
    frames: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    rows_of: str | None = None
    objective: Literal["cycles", "energy", "edp"] | None = None
    dataflow: Literal["weight", "output", "input", "none", "row"] | None = None
    keep: int | None = Field(None, ge=0, le=1000)
    figure: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                f"name: must be of letters, digits, '-', '_' and '.', got {self.name!r:.80}"
            )
        if self.figure is not None and self.figure not in FIGURES:
            raise ValueError(f"figure: must be one of {', '.join(FIGURES)}, got {self.figure!r}")
        return self


def ready_studies() -> list[str]:
    """Return the names of the studies that come with the package."""
    folder = files(__package__) / "ready"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def ready_text(name: str) -> str:
    """Return a ready study's YAML text, comments included."""
    return (files(__package__) / "ready" / f"{name}.yaml").read_text("utf-8")


def read_study(source: str) -> tuple[StudyFile, Path]:
    """Return a study by name or path, and the folder that paths in it are relative to.

    Raises
    ------
    MachineError
        When there is none, or with file, key and remedy.
    """
    if source in ready_studies():
        return parse_study(load_yaml(ready_text(source), source), source), Path()
    path = Path(source)
    is_file = path.suffix in (".yaml", ".yml") or len(source) < 255 and path.exists()
    if not source or not is_file:
        raise MachineError(
            f"{source or 'an empty name'}: no study of this name and no such file; ready studies: "
            f"{', '.join(ready_studies())}; or give the path of a YAML file"
        )
    tree = read_yaml(source)
    if isinstance(tree, dict):
        tree.setdefault("name", path.stem)
    return parse_study(tree, source), path.parent


def parse_study(tree: Any, where: str) -> StudyFile:
    """Return the study that a mapping describes.

    Parameters
    ----------
    tree : mapping
        As YAML gives it.
    where : str
        File, for messages.

    Raises
    ------
    MachineError
        With file, key and remedy.
    """
    if not isinstance(tree, Mapping):
        raise MachineError(
            f"{where}: must be a YAML mapping with networks and machines, got "
            f"{type(tree).__name__}; {START}"
        )
    try:
        return StudyFile.model_validate(dict(tree))
    except ValidationError as error:
        raise MachineError(_sentence(error, where)) from None


def _sentence(error: ValidationError, where: str) -> str:
    """Return what to tell of the first thing that is wrong."""
    first = error.errors()[0]
    keys = [key for key in first["loc"] if not str(key).startswith(("constrained-", "literal["))]
    place = f"{where}: {path_of(keys)}".removesuffix(": ")
    given = first["input"]
    if first["type"] in ("extra_forbidden", "invalid_key"):
        entries: dict[Any, type[BaseModel]] = {"networks": NetworkEntry, "machines": MachineEntry}
        model = entries[keys[0]] if len(keys) > 2 else StudyFile
        return f"{place}: unknown key; known here: {', '.join(model.model_fields)}"
    if first["type"] == "missing":
        return f"{place}: missing; add this key"
    if first["type"] == "value_error":
        told = str(first["ctx"]["error"])
        has_key = re.match(r"[a-z_.]+: ", told) is not None
        return f"{place}.{told}" if keys and has_key else f"{place}: {told}"
    if first["type"] in ("model_type", "dict_type"):
        return f"{place}: must be a mapping of fields, got {given!r:.80}"
    rule = first["msg"].replace("Input should be", "must be")
    return f"{place}: {rule}, got {given!r:.80}"


def path_of(keys: list[Any]) -> str:
    """Return where a key is, such as ``networks[1].layers``."""
    path = ""
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else str(key)
    return path
