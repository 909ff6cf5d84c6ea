"""The points of a study: a run each, with a digest of everything that decides its result."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ... import __version__
from ...models.architectures import ARCHITECTURES
from ...models.layers import ModelError
from ...models.recipe import Recipe
from ...models.zoo import DATA, ZOO
from ..description import MachineError
from ..studies.job import code_digest
from .settings import Setting, placed, settings_of
from .study_file import NetworkEntry, StudyFile
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
        settings = list(settings_of(study, folder))
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

    path = None if entry.input is None else placed(entry.input, folder, True)
    rows = of("rows_of", None)
    axes = of("seeds", (0,)), of("presets", ("S1",)), of("weights", (None,))
    frames = of("frames", 1)
    if path is None and not (isinstance(frames, int) and frames <= 1000):
        raise ModelError(f"frames: must be 1..1000 of a synthetic network, got {frames}")
    for seed, preset, weights, share in product(*axes, of("activations", (None,))):
        recipe = Recipe(entry.network, preset, seed, weights, share, entry.layers)
        if rows is not None:
            recipe = replace(recipe, rows=rows_of(recipe.architecture, placed(rows, folder)))
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
    path = None if entry.input is None else placed(entry.input, folder, True)
    network = entry.network if known else placed(entry.network, folder, True)
    files = _read(None if known else network, path)
    if not known and path is None:
        raise ModelError(f"input: {entry.network} brings no images; name a .npy or .npz file")
    frames = entry.frames if entry.frames is not None else study.frames
    asked = Asked(entry.network, entry.layers, entry.input, frames)
    return Point(asked, None, network, path, files)


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
            f"{path}: cannot be read ({error.strerror}); name a file that there is, or as network "
            f"one of {', '.join(ZOO)}"
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
