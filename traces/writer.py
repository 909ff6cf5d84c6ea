"""The trace writer: buffers, commits, and the file at the end.

While a run goes on, ``NAME.partial/`` holds what is finished, one shard for each commit and the
run's own state of the last one. Killed at any moment, it loses what came after that.
"""

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import DamageError, TraceError
from .lists import Lists
from .masks import Masks
from .partial import (
    LOCK,
    MERGED,
    STATE,
    State,
    has_commits,
    partial_of,
    read_state,
    remove,
    remove_shards,
    shard_of,
    shards_of,
    write_run,
    write_state,
)
from .schema import SCHEMA, SCHEMA_VERSION
from .store import merge, shard_image, write_atomically

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

COMMIT_SECONDS = 2.0
"""At most one commit in this time."""
COMMIT_BYTES = 1 << 28
"""Buffered bytes at which a commit does not wait for its time."""


class TraceWriter:
    """Writes a trace.

    Parameters
    ----------
    path : Path
        The file to be.
    attributes : dict
        Of the file, but for ``complete``; a run is resumed only with equal ones.
    force : bool
        Whether to replace what is at the path.
    resume : bool
        Whether to go on from what an earlier run left.

    Attributes
    ----------
    state : dict
        Arrays that were given to the last commit of the run that is resumed; else empty.

    Raises
    ------
    TraceError, OSError
        When the path cannot be used, or another run writes to it.
    """

    def __init__(
        self, path: Path, attributes: dict[str, Any], force: bool = False, resume: bool = False
    ) -> None:
        if path.is_dir():
            raise TraceError(f"{path}: is a folder; name a file for the trace")
        self._path, self._folder = path, partial_of(path)
        self._attributes = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **attributes}
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._rows: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._bytes = 0
        self._shards = 0
        self._time = time.monotonic()
        self.state: State = {}
        self._lock: IO[str] | None = None
        self._check_path(force, resume)
        self._take_lock()
        try:
            self._check_path(force, resume)
            self._begin(force, resume)
        except OSError as error:
            self.abandon()
            raise self._failed(error) from None
        except BaseException:
            self.abandon()
            raise

    def _check_path(self, force: bool, resume: bool) -> None:
        if self._path.exists() and not self._path.is_file():
            raise TraceError(f"{self._path}: is no file; name another for the trace")
        self._is_merged = resume and self._is_finished()
        if self._path.exists() and not (force or self._is_merged):
            raise TraceError(f"{self._path}: exists; name another file, or replace it with --force")
        if not self._path.parent.is_dir():
            raise TraceError(
                f"{self._path}: folder {self._path.parent} does not exist; make it first"
            )

    def _is_finished(self) -> bool:
        """Whether this run was killed while it removed its folder."""
        if not (self._folder / STATE).exists() or not self._path.is_file():
            return False
        try:
            with h5py.File(self._path, "r") as file:
                found = {name: file.attrs.get(name) for name in self._attributes}
                is_complete = bool(file.attrs.get("complete"))
        except OSError:
            return False
        texts = {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}
        return is_complete and all(texts[n] == value for n, value in self._attributes.items())

    def _take_lock(self) -> None:
        while True:
            self._folder.mkdir(exist_ok=True)
            self._lock = open(self._folder / LOCK, "w")
            if fcntl is None:
                return
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                self._lock = None
                raise TraceError(
                    f"{self._path}: another run is writing this trace; wait for it, or name "
                    "another file"
                ) from None
            try:  # a run that ended meanwhile removed what was opened
                if os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self._lock.name)):
                    return
            except FileNotFoundError:
                pass
            self._lock.close()

    def _begin(self, force: bool, resume: bool) -> None:
        if has_commits(self._folder) and not (resume or force):
            raise TraceError(
                f"{self._folder}: holds the unfinished trace of an earlier run; go on from it with "
                "--resume, or begin anew with --force"
            )
        if resume:
            self._resume()
        if not self._shards:  # without its state, what is left belongs to no run
            (self._folder / STATE).unlink(missing_ok=True)
        remove_shards(self._folder, self._shards)
        if not self._shards:
            write_run(self._folder, self._attributes)

    def _resume(self) -> None:
        state, before = read_state(self._folder)
        if not state:
            return
        differing = [n for n, value in self._attributes.items() if before.get(n) != value]
        if differing:
            raise TraceError(
                f"{self._folder}: is the unfinished trace of another run, with another "
                f"{', '.join(differing)}; repeat that run to go on, or begin anew with --force"
            )
        self._shards = int(state.pop("shards"))
        if not self._is_merged:
            shards_of(self._folder, self._shards)
        names = state.pop("tables").tolist()
        self._rows = dict(zip(names, state.pop("rows").tolist(), strict=True))
        self._committed = dict(self._rows)
        self.state = state

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run's commit is gone on from."""
        return self._shards > 0

    def rows(self, table: str) -> int:
        """Return the number of rows of a table so far."""
        return self._rows.get(table, 0)

    def append(self, table: str, rows: NDArray[Any]) -> None:
        """Append rows to a table."""
        self._parts.setdefault(table, []).append(rows)
        self._rows[table] = self._rows.get(table, 0) + len(rows)
        self._bytes += rows.nbytes

    def lists(self, segment: int) -> Lists:
        """Return the lists of a new segment, to fill."""
        return Lists(segment, self.rows("lists"), self.append)

    @property
    def masks(self) -> Masks:
        """The mask sets, to add to; a set's lists may be added after it, up to the same commit."""
        return Masks(self.rows, self.append)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._bytes > COMMIT_BYTES or time.monotonic() - self._time > COMMIT_SECONDS

    def commit(self, state: State) -> None:
        """Bring what was appended to the disk, with what the run needs to go on from here.

        Raises
        ------
        TraceError
            When the disk is full or fails; the commits before are kept.
        """
        tables = {name: _joined(parts) for name, parts in self._parts.items()}
        first = {name: self._committed.get(name, 0) for name in tables}
        image = shard_image(tables, first)
        names = sorted(self._rows)
        own = {
            "shards": np.array(self._shards + 1),
            "tables": np.array(names),
            "rows": np.array([self._rows[name] for name in names], np.int64),
        }
        try:
            write_atomically(shard_of(self._folder, self._shards), image)
            write_state(self._folder, state | own)
        except OSError as error:
            if not (self._folder / STATE).exists():  # nothing to go on from
                with suppress(OSError):
                    remove_shards(self._folder, 0)
            raise self._failed(error) from None
        self._shards += 1
        self._committed = dict(self._rows)
        self._parts, self._bytes = {}, 0
        self._time = time.monotonic()

    def _failed(self, error: OSError) -> TraceError:
        kept = (
            f"what was finished before is in {self._folder}; make room and go on with --resume"
            if self._shards
            else "make room, or name another place"
        )
        return TraceError(f"{self._path}: cannot be written ({error.strerror or error}); {kept}")

    def finish(self, state: State) -> None:
        """Commit, merge the shards into the file, and remove the folder.

        Raises
        ------
        TraceError
            When the disk is full or fails; the shards are kept.
        """
        if not self._is_merged:
            self.commit(state)
            self._merge()
        remove(self._folder)
        self.abandon()

    def _merge(self) -> None:
        shards = shards_of(self._folder, self._shards)
        new = self._folder / MERGED
        try:
            needed = sum(shard.stat().st_size for shard in shards)
            if shutil.disk_usage(self._folder).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            merge(shards, new, self._attributes | {"complete": True})
            os.replace(new, self._path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise self._failed(error) from None
        except DamageError as error:
            new.unlink(missing_ok=True)
            raise TraceError(f"{self._folder}: {error}; begin anew with --force") from None

    def abandon(self) -> None:
        """Let go of the folder; what was committed stays."""
        if self._lock is not None:
            if self._folder.is_dir() and not has_commits(self._folder):
                remove(self._folder)
            self._lock.close()
            self._lock = None


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return rows of one table, one after another; numpy looks at every field of every part."""
    if len(parts) == 1:
        return parts[0]
    return np.frombuffer(b"".join(part.tobytes() for part in parts), parts[0].dtype)
