"""The folder ``NAME.partial/``: what there is of a trace that is being written."""

import json
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from .errors import TraceError
from .schema import SCHEMA
from .store import write_atomically

PARTIAL = ".partial"
STATE, RUN, LOCK, MERGED = "state.npz", "run.json", "lock", "merged.h5"
SHARDS = "[0-9][0-9][0-9][0-9][0-9]*.h5"
NEEDED = {"shards", "tables", "rows"}
"""What the state of every commit holds."""

State = dict[str, NDArray[Any]]


def partial_of(path: Path) -> Path:
    """Return the folder that holds a trace while it is written."""
    return path.with_name(path.name + PARTIAL)


def shard_of(folder: Path, number: int) -> Path:
    """Return the path of a shard."""
    return folder / f"{number:05d}.h5"


def shards_of(folder: Path, number: int) -> list[Path]:
    """Return the first shards.

    Raises
    ------
    TraceError
        When one is missing.
    """
    shards = [shard_of(folder, i) for i in range(number)]
    for shard in shards:
        if not shard.is_file():
            raise TraceError(
                f"{folder}: is damaged ({shard.name} is missing); begin anew with --force"
            )
    return shards


def has_commits(folder: Path) -> bool:
    """Tell whether something was committed to a folder."""
    return (folder / STATE).exists() or any(folder.glob(SHARDS))


def remove_shards(folder: Path, number: int) -> None:
    """Remove all shards but the first ones."""
    kept = {shard_of(folder, i) for i in range(number)}
    for shard in folder.glob(SHARDS):
        if shard not in kept:
            shard.unlink()


def remove(folder: Path) -> None:
    """Remove a folder, its state after its shards, and nothing that others put there."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.match(SHARDS) or path.suffix == ".new" or path.name == MERGED:
                path.unlink()
        for name in (STATE, RUN, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def write_state(folder: Path, state: State) -> None:
    """Write what a run needs to go on."""
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **state)
    write_atomically(folder / STATE, buffer.getvalue())


def write_run(folder: Path, attributes: dict[str, Any]) -> None:
    """Write the attributes of the run."""
    write_atomically(folder / RUN, json.dumps(attributes, indent=1).encode())


def read_state(folder: Path) -> tuple[State, dict[str, Any]]:
    """Return what the last commit kept, and the attributes of its run; nothing without commits.

    Raises
    ------
    TraceError
        When either is damaged.
    """
    if not (folder / STATE).exists():
        return {}, {}
    try:
        arrays = np.load(BytesIO((folder / STATE).read_bytes()))
        if not isinstance(arrays, NpzFile):
            raise ValueError(f"{STATE} is no archive")
        state = {name: arrays[name] for name in arrays.files}
        attributes = json.loads((folder / RUN).read_text("utf-8"))
        if not isinstance(attributes, dict) or attributes.get("schema") != SCHEMA:
            raise ValueError(f"{RUN} does not tell the run")
        if not set(state) >= NEEDED:
            raise ValueError(f"{STATE} is of something else")
    except (OSError, ValueError, KeyError, EOFError, UnpicklingError, BadZipFile) as error:
        raise TraceError(f"{folder}: is damaged ({error}); begin anew with --force") from None
    return state, attributes
