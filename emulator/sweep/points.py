"""The points of a study: a run each, with a digest of everything that decides its result."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ... import __version__
from ...models.architectures import ARCHITECTURES
from ...models.layers import ModelError
from ...models.recipe import Recipe
from ...models.zoo import DATA, ZOO
from ..description import MachineError
from ..energy import table
from ..machine import AnyMachine
from ..machine import machine as find
from ..modes import MODES, find_machine, side_of
from ..studies.job import code_digest
from .study_file import MachineEntry, NetworkEntry, StudyFile, several
from .weight_rows import rows_of

SCHEMA_VERSION = 1
"""Of the rows; points of another version are computed anew."""

SYNTHETIC = ("presets", "weights", "activations", "seeds", "rows_of")
SEARCHED = ("objective", "dataflow", "keep")


@dataclass(frozen=True)
class Asked:
    """What the study asks of a point: columns of its rows, see `columns.POINT`."""

    network: str
    layers: str | None
    input: str | None
    frames: int | Literal["all"] | None
    rows_of: str | None = None
    preset: str | None = None
    weights: str | None = None
    activations: float | None = None
    seed: int | None = None
    machine: str = ""
    changes: str = "{}"
    mode: str = ""
    objective: str | None = None
    dataflow: str | None = None
    keep: int | None = None
    multipliers: int = 0
    clock_hz: int = 0
    energy_table: str = ""


@dataclass(frozen=True)
class Point:
    """A run of a study; all that a worker needs.

    Parameters
    ----------
    asked : Asked
    recipe : Recipe or None
        Of a synthetic network.
    network, input : str, str or None
        Name in the zoo or path of a file; path of a file with frames.
    files : tuple of (str, str)
        Files that are read, and the digest of what is in them.
    machine : str
        Of the machine after changes, as YAML.
    modes : tuple of (str, str), or None
        Of a file that names layers: layer or pattern, and mode.
    """

    asked: Asked
    recipe: Recipe | None
    network: str
    input: str | None
    files: tuple[tuple[str, str], ...]
    machine: str = ""
    modes: tuple[tuple[str, str], ...] | None = None
    identity: str = ""
    """Everything that decides the result, as JSON."""

    @property
    def digest(self) -> str:
        """Of the identity."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:24]


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


def points(study: StudyFile, folder: Path, where: str) -> list[Point]:
    """Return all points of a study, each once; those of a network stand together.

    Parameters
    ----------
    study : StudyFile
    folder : Path
        That paths in it are relative to.
    where : str
        The study's file, for messages.

    Raises
    ------
    MachineError
        When a network, machine, mode or density cannot be used; with file, key and remedy.
    """
    try:
        settings = list(_settings(study, folder))
        networks = list(_networks(study, folder))
    except (MachineError, ModelError) as error:
        raise MachineError(f"{where}: {error}") from None
    _check_search(study, settings, where)
    found: dict[str, Point] = {}
    for point in networks:
        for setting in settings:
            one = _at(point, setting, study)
            found.setdefault(one.digest, one)
    return list(found.values())


def _settings(study: StudyFile, folder: Path) -> Iterator[Setting]:
    """Yield the machines after changes, each in each of its modes."""
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
        base = find(_placed(entry.machine, folder, entry.machine.endswith((".yaml", ".yml"))))
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


def _networks(study: StudyFile, folder: Path) -> Iterator[Point]:
    """Yield points that know their network and frames, but no machine."""
    used = False
    for n, entry in enumerate(study.networks):
        where = f"networks[{n}]"
        try:
            if entry.network in ARCHITECTURES:
                used = True
                yield from _synthetic(study, entry, folder)
            else:
                yield _stored(study, entry, folder)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
    for key in SYNTHETIC:
        if getattr(study, key) is not None and not used:
            raise ModelError(
                f"{key}: is of synthetic networks ({', '.join(ARCHITECTURES)}); networks names "
                "none of them"
            )


def _synthetic(study: StudyFile, entry: NetworkEntry, folder: Path) -> Iterator[Point]:
    def of(key: str, default: Any) -> Any:
        own = getattr(entry, key)
        given = own if own is not None else getattr(study, key)
        return default if given is None else given

    path = None if entry.input is None else _placed(entry.input, folder, True)
    rows = of("rows_of", None)
    axes = of("seeds", (0,)), of("presets", ("S1",)), of("weights", (None,))
    frames = of("frames", 1)
    if path is None and not (isinstance(frames, int) and frames <= 1000):
        raise ModelError(f"frames: must be 1..1000 of a synthetic network, got {frames}")
    for seed, preset, weights, share in product(*axes, of("activations", (None,))):
        recipe = Recipe(entry.network, preset, seed, weights, share, entry.layers)
        if rows is not None:
            recipe = replace(recipe, rows=rows_of(recipe.architecture, _placed(rows, folder)))
        asked = Asked(entry.network, entry.layers, entry.input, frames, rows, preset, weights,
                      share, seed)  # fmt: skip
        yield Point(asked, recipe, entry.network, path, _read(path))


def _stored(study: StudyFile, entry: NetworkEntry, folder: Path) -> Point:
    for key in SYNTHETIC:
        if getattr(entry, key) is not None:
            raise ModelError(
                f"{key}: is of synthetic networks; {entry.network} has its own weights"
            )
    known = ZOO.get(entry.network)
    path = None if entry.input is None else _placed(entry.input, folder, True)
    network = entry.network if known else _placed(entry.network, folder, True)
    files = _read(None if known else network, path)
    if not known and path is None:
        raise ModelError(f"input: {entry.network} brings no images; name a .npy or .npz file")
    frames = entry.frames if entry.frames is not None else study.frames
    asked = Asked(entry.network, entry.layers, entry.input, frames)
    return Point(asked, None, network, path, files)


def _placed(name: str, folder: Path, is_path: bool | None = None) -> str:
    """Return a name, or the whole path of a file that is relative to the study's folder."""
    if is_path is None:
        is_path = name.endswith((".yaml", ".yml"))
    return str((folder / name).resolve()) if is_path else name


def _read(*paths: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((path, file_digest(path)) for path in paths if path is not None)


def file_digest(path: str) -> str:
    """Return a digest of what is in a file.

    Raises
    ------
    ModelError
        When it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); name a file, or one of the networks "
            f"{', '.join(ZOO)}"
        ) from None


def _check_search(study: StudyFile, settings: Sequence[Setting], where: str) -> None:
    given = [key for key in SEARCHED if getattr(study, key) is not None]
    if given and all(setting.mode == "mnf" for setting in settings):
        raise MachineError(
            f"{where}: {given[0]}: is of modes flexnn and auto; no machine here runs one of them"
        )


def _at(point: Point, setting: Setting, study: StudyFile) -> Point:
    """Return a network's point on a machine."""
    machine = setting.machine
    searched = {key: getattr(study, key) for key in SEARCHED if setting.mode != "mnf"}
    asked = replace(
        point.asked,
        machine=machine.name,
        changes=setting.changes,
        mode=setting.mode,
        multipliers=machine.multipliers,
        clock_hz=machine.clock_hz,
        energy_table=machine.energy,
        **searched,
    )
    whole = replace(point, asked=asked, machine=setting.yaml, modes=setting.modes)
    return replace(whole, identity=_identity(whole, setting))


def _identity(point: Point, setting: Setting) -> str:
    """Return everything that decides a point's rows, as JSON without paths' folders."""
    network = [digest for _, digest in point.files] or _data_digests(point.network)
    tree = {
        "schema": SCHEMA_VERSION,
        "version": __version__,
        "code": code_digest(),
        "asked": asdict(point.asked),
        "recipe": None if point.recipe is None else asdict(point.recipe),
        "files": network,
        **setting.identity,
    }
    return json.dumps(tree, sort_keys=True)


@cache
def _data_digests(network: str) -> list[str]:
    """Return digests of a trained network of the zoo and its images."""
    entry = ZOO[network]
    names = () if entry.is_synthetic else (entry.file, entry.dataset)
    return [file_digest(str(DATA / name)) for name in names]
