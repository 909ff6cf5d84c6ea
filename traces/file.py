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
from .schema import ATTRIBUTES, OPS, SCHEMA, SCHEMA_VERSION, TABLES, TEXT
from .store import merge
from .writer import partial_of, read_state, shards_of


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
            self._check_attributes()
            self._check_tables()
        except BaseException:
            self.close()
            raise

    # ---- opening

    def _open(self) -> h5py.File:
        folder = self.path if self.path.is_dir() else partial_of(self.path)
        if folder.is_dir() and not self.path.is_file():
            return self._open_partial(folder)
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
        shards = shards_of(folder)
        state, attributes = read_state(folder)
        n = int(state["shards"]) if state else 0
        if not n or n > len(shards):
            raise TraceError(
                f"{folder}: holds no finished segments yet; run again with --resume to go on"
            )
        self._temporary = tempfile.TemporaryDirectory(prefix="firemesh-")
        merged = Path(self._temporary.name) / "partial.h5"
        try:
            merge(shards[:n], merged, attributes | {"complete": False})
            return h5py.File(merged, "r")
        except (OSError, ValueError, KeyError) as error:
            raise TraceError(
                f"{folder}: cannot be read ({reason(error)}); run again with --force"
            ) from None

    def _check_attributes(self) -> None:
        attributes = self._file.attrs
        if "schema" not in attributes or text_of(attributes["schema"]) != SCHEMA:
            raise TraceError(
                f"{self.path}: is no firemesh trace (attribute schema is not {SCHEMA}); "
                "give a file made with firemesh run --trace"
            )
        version = attributes.get("schema_version")
        if not isinstance(version, int | np.integer) or not 1 <= version <= SCHEMA_VERSION:
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
        if name.startswith(("columns/", "weights/")):
            return self._read(name)
        if name not in self._kept:
            self._kept[name] = self._read(name)
            self._kept[name].flags.writeable = False
        return self._kept[name]

    def _read(self, name: str) -> NDArray[Any]:
        try:
            rows: NDArray[Any] = self._file[name][...]
        except (OSError, MemoryError, ValueError) as error:
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
        return self._names("memories")

    @cached_property
    def causes(self) -> list[str]:
        """Names of the causes of slots, by number."""
        return self._names("causes")

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
        return [f"{units[link['source']]}>{units[link['target']]}" for link in table]


def text_of(value: Any) -> str:
    """Return an attribute of text, however HDF5's library gives it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def reason(error: BaseException) -> str:
    """Return the first line of an error, without HDF5's inner names."""
    text = str(error).split("\n")[0]
    return text[text.rfind("(") + 1 :].rstrip(")") if text.count("(") == 1 else text
