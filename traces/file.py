"""An open trace file: what is in it as it is, and what is wrong with it in one sentence."""

import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import TraceError
from .partial import partial_of, read_state, shards_of
from .schema import ATTRIBUTES, NETWORK_MEMORIES, OPS, SCHEMA, SCHEMA_VERSION, TABLES, TEXT
from .store import DIGEST, ROWS, digest, merge

LEAST = {"clock_hz": 1, "multipliers": 1, "flit_bits": 1}
MOST = 1 << 40
"""Of an attribute that is a whole number."""
UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError)
"""What h5py raises for a damaged file."""


class TraceFile:
    """An open trace file: attributes, tables and names.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, NDArray[Any]] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._file = self._open()
            self._check()
        except BaseException:
            self.close()
            raise

    # ---- opening

    def _open(self) -> h5py.File:
        folder = self.path if self.path.is_dir() else partial_of(self.path)
        if folder.is_dir() and not self.path.is_file():
            try:
                return self._open_partial(folder)
            except TraceError:
                if not self.path.is_file():  # the run has not come to its end meanwhile
                    raise
        if not self.path.exists():
            raise TraceError(f"{self.path}: no such file; make one with firemesh run --trace")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            if not self.path.stat().st_size:
                why = "the file is empty"
            elif not h5py.is_hdf5(self.path):
                why = "it is not an HDF5 file"
            else:
                why = f"it is damaged ({reason(error)})"
            raise TraceError(
                f"{self.path}: cannot be opened: {why}; make it again with firemesh run --trace"
            ) from None

    def _open_partial(self, folder: Path) -> h5py.File:
        state, attributes = read_state(folder)
        if not state:
            raise TraceError(
                f"{folder}: holds no finished segments yet; run again with --resume to go on"
            )
        shards = shards_of(folder, int(state["shards"]))
        self._temporary = tempfile.TemporaryDirectory(prefix="firemesh-")
        merged = Path(self._temporary.name) / "partial.h5"
        try:
            merge(shards, merged, attributes | {"complete": False})
            return h5py.File(merged, "r")
        except (OSError, ValueError, KeyError) as error:
            raise TraceError(
                f"{folder}: cannot be read ({reason(error)}); run again with --force"
            ) from None

    def _check(self) -> None:
        try:
            self._check_attributes()
            self._check_tables()
            self._check_rows()
        except TraceError:
            raise
        except UNREADABLE as error:
            raise TraceError(
                f"{self.path}: is damaged ({reason(error)}); make the trace again"
            ) from None

    def _check_rows(self) -> None:
        """Refuse tables that lost or gained rows, before any is read."""
        told = self._file.attrs.get(ROWS)
        if not isinstance(told, np.ndarray) or told.dtype.kind not in "iu":
            raise TraceError(f"{self.path}: attribute rows is missing; make the trace again")
        wanted = dict(zip(TABLES, told.tolist(), strict=False))
        for name in TABLES:
            dataset = self._file[name]
            rows, step = len(dataset), dataset.chunks[0] if dataset.chunks else 1
            if rows != wanted.get(name):
                raise TraceError(
                    f"{self.path}: table {name} has {rows} rows, must have {wanted.get(name)}; "
                    "make the trace again"
                )
            if rows and (not dataset.chunks or dataset.id.get_num_chunks() != -(-rows // step)):
                raise TraceError(f"{self.path}: table {name} lacks rows; make the trace again")

    def _check_attributes(self) -> None:
        attributes = self._file.attrs
        schema = attributes.get("schema")
        if not isinstance(schema, str | bytes) or text_of(schema) != SCHEMA:
            raise TraceError(
                f"{self.path}: is no firemesh trace (attribute schema is not {SCHEMA}); "
                "give a file made with firemesh run --trace"
            )
        version = attributes.get("schema_version")
        if not isinstance(version, int | np.integer) or version < 1:
            raise TraceError(
                f"{self.path}: attribute schema_version is no schema version; make the trace again"
            )
        if version > SCHEMA_VERSION:
            raise TraceError(
                f"{self.path}: has schema version {version}, this firemesh reads up to "
                f"{SCHEMA_VERSION}; install a newer firemesh"
            )
        for name, kind in ATTRIBUTES.items():
            value = attributes.get(name)
            kinds = {
                str: str | bytes,
                int: int | np.integer,
                float: float | np.floating,
                bool: bool | np.bool_,
            }[kind]
            if not isinstance(value, kinds):
                raise TraceError(
                    f"{self.path}: attribute {name} is missing or no {kind.__name__}; "
                    "make the trace again"
                )
            if not _is_possible(name, kind, value):
                raise TraceError(
                    f"{self.path}: attribute {name} is {value!r}; make the trace again"
                )

    def _check_tables(self) -> None:
        for name, fields in TABLES.items():
            dataset = self._file.get(name)
            if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
                raise TraceError(f"{self.path}: table {name} is missing; make the trace again")
            kinds = dataset.dtype
            found = [("", kinds)] if kinds.names is None else [(n, kinds[n]) for n in kinds.names]
            same = [field for field, _ in found] == [field for field, _ in fields] and all(
                kind.kind == "S" if wanted == TEXT else kind == np.dtype(wanted)
                for (_, kind), (_, wanted) in zip(found, fields, strict=True)
            )
            if not same:
                raise TraceError(
                    f"{self.path}: table {name} has other fields than schema "
                    f"{SCHEMA_VERSION}; make the trace again"
                )

    def close(self) -> None:
        """Close the file."""
        if getattr(self, "_file", None) is not None:
            self._file.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        """Return the trace."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def is_unchanged(self) -> bool:
        """Whether attributes and stored tables are those that were written."""
        try:
            return text_of(self._file.attrs.get(DIGEST)) == digest(self._file)
        except UNREADABLE:
            return False

    # ---- tables

    def attribute(self, name: str) -> Any:
        """Return an attribute of the file: machine, network, command and so on."""
        if name not in ATTRIBUTES:
            raise TraceError(f"attribute: must be one of {', '.join(ATTRIBUTES)}, got {name}")
        value = self._file.attrs[name]
        return text_of(value) if ATTRIBUTES[name] is str else ATTRIBUTES[name](value)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.attribute("complete"))

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return int(self._file.id.get_filesize())

    def table(self, name: str) -> NDArray[Any]:
        """Return a table as it is in the file, see ``docs/trace-format.md``; text as bytes.

        Raises
        ------
        TraceError
            When there is no such table, or it is damaged.
        """
        if name not in TABLES:
            raise TraceError(f"table: must be one of {', '.join(TABLES)}, got {name}")
        if name.startswith(("columns/", "weights/", "masks/")) and name != "masks/sets":
            return self._read(name)
        if name not in self._kept:
            self._kept[name] = self._read(name)
            self._kept[name].flags.writeable = False
        return self._kept[name]

    def _read(self, name: str) -> NDArray[Any]:
        try:
            rows: NDArray[Any] = self._file[name][...]
        except UNREADABLE as error:
            raise self.damaged(name, error) from None
        return rows

    def damaged(self, name: str, error: BaseException) -> TraceError:
        """Return the error that tells of a damaged table."""
        return TraceError(
            f"{self.path}: table {name} is damaged ({reason(error)}); make the trace again"
        )

    def _names(self, table: str) -> list[str]:
        return [name.decode("utf-8", "replace") for name in self.table(table)["name"]]

    @cached_property
    def layers(self) -> list[str]:
        """Names of the layers, in network order."""
        return self._names("layers")

    @cached_property
    def units(self) -> list[str]:
        """Names of the units, by number."""
        return self._names("units")

    @cached_property
    def memories(self) -> list[str]:
        """Names of the memories, by number; the last two are the doors to the network."""
        names = self._names("memories")
        if tuple(names[-2:]) != NETWORK_MEMORIES or len(set(names)) != len(names):
            raise self.damaged("memories", ValueError("its names are not those of memories"))
        return names

    @cached_property
    def causes(self) -> list[str]:
        """Names of the causes of slots, by number."""
        return self._names("causes")

    @cached_property
    def waits(self) -> list[str]:
        """Names of the reasons why packets wait in routers, by number."""
        return self._names("waits")

    @cached_property
    def segments(self) -> NDArray[Any]:
        """Parts of the run in order of time: frame, layer, wave, cycle0, cycle1."""
        return self.table("segments")

    @cached_property
    def cycles(self) -> int:
        """Cycles of the run so far."""
        return int(self.segments["cycle1"][-1]) if len(self.segments) else 0

    @property
    def ops(self) -> list[str]:
        """Names of the operations: read, write."""
        return list(OPS)

    @cached_property
    def links(self) -> list[str]:
        """Names of the links: ``source>target`` units; a link to itself delivers to the node."""
        table, units = self.table("links"), self.units
        for name in ("source", "target"):
            if len(table) and table[name].max() >= len(units):
                raise self.damaged(
                    "links", ValueError(f"{name} {table[name].max()} does not exist")
                )
        return [f"{units[link['source']]}>{units[link['target']]}" for link in table]


def _is_possible(name: str, kind: type, value: Any) -> bool:
    """Tell whether an attribute can be true: text that is UTF-8, a number in its range."""
    if isinstance(value, bytes):
        return value == text_of(value).encode()
    if kind is float:
        return bool(0 <= value < np.inf)
    return kind is not int or bool(LEAST.get(name, 0) <= value <= MOST)


def text_of(value: Any) -> str:
    """Return an attribute of text, however HDF5's library gives it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def reason(error: BaseException) -> str:
    """Return the first line of an error, without HDF5's inner names."""
    text = str(error).split("\n")[0]
    return text[text.rfind("(") + 1 :].rstrip(")") if text.count("(") == 1 else text
