"""Tables in HDF5: shards as they are written, and the file that they are merged into.

A shard holds some rows of each table, at the places in their chunks that they will have in the
file: its first chunk begins with rows that belong to shards before. So merging moves whole chunks
as they are, and packs anew only those in which two shards meet; the file does not show where.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import DamageError
from .schema import TABLES, dtype_of

LIBVER = ("v110", "v110")
"""HDF5's file format since 1.10, in which headers and indices have checksums.

Texts are of fixed length: HDF5's heap for others has none.
"""

CHUNK_BYTES = 1 << 16
GZIP_LEVEL = 4
FIRST_ROW, ROWS, DIGEST = "first_row", "rows", "digest"
MOST_OPEN = 32
"""Shards that are open at a time."""

Attributes = Mapping[str, Any]
Table = NDArray[Any]


def chunk_rows(dtype: np.dtype[Any]) -> int:
    """Return the rows of a table's chunk: a power of two, of at most `CHUNK_BYTES`."""
    return 1 << (CHUNK_BYTES // dtype.itemsize).bit_length() - 1


def _make(file: h5py.File, name: str, dtype: np.dtype[Any], rows: int) -> h5py.Dataset:
    return file.create_dataset(
        name,
        shape=(rows,),
        maxshape=(None,),
        dtype=dtype,
        chunks=(chunk_rows(dtype),),
        shuffle=True,
        compression="gzip",
        compression_opts=GZIP_LEVEL,
        fletcher32=True,
    )


def _set(file: h5py.File, attributes: Attributes) -> None:
    for name, value in attributes.items():
        if isinstance(value, str):
            text = value.encode()
            kind = h5py.string_dtype("utf-8", max(1, len(text)))
            file.attrs.create(name, np.array(text, kind), dtype=kind)
        else:
            file.attrs[name] = value


def shard_image(tables: Mapping[str, Table], first: Mapping[str, int]) -> bytes:
    """Return a shard as the bytes of an HDF5 file.

    Parameters
    ----------
    tables : dict
        Rows of some tables.
    first : dict
        Rows of each table in the shards before.
    """
    with h5py.File("shard", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        for name, rows in tables.items():
            lead = first[name] % chunk_rows(rows.dtype)
            dataset = _make(file, name, rows.dtype, lead + len(rows))
            dataset[lead:] = rows
            dataset.attrs[FIRST_ROW] = first[name]
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


class Place(NamedTuple):
    """Rows of a table that a shard holds."""

    first: int
    end: int
    shard: int


class _Shards:
    """Shards, few of them open at a time: a run of hours has more than a process may open."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._open: dict[int, h5py.File] = {}

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open = {}

    def file(self, number: int) -> h5py.File:
        file = self._open.pop(number, None)
        if file is None:
            if len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            file = h5py.File(self._paths[number], "r")
        self._open[number] = file
        return file

    def places(self) -> dict[str, list[Place]]:
        """Return which rows of each table the shards hold."""
        found: dict[str, list[Place]] = {name: [] for name in TABLES}
        end = dict.fromkeys(TABLES, 0)
        for number, path in enumerate(self._paths):
            with self.reading(number):
                for name, dataset in _tables(self.file(number)):
                    first = int(dataset.attrs[FIRST_ROW])
                    if first != end[name]:
                        raise DamageError(f"{path.name} does not go on from the shard before")
                    end[name] = first + len(dataset) - first % dataset.chunks[0]
                    if end[name] > first:
                        found[name].append(Place(first, end[name], number))
        return found

    @contextmanager
    def reading(self, number: int) -> Iterator[None]:
        """Tell what cannot be read of a shard."""
        try:
            yield
        except (OSError, KeyError, AttributeError, RuntimeError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            text = str(error).split("\n")[0]
            raise DamageError(f"{self._paths[number].name} is damaged ({text})") from None


def _tables(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    for name in TABLES:
        if name in file:
            yield name, file[name]


def _merge_table(file: h5py.File, name: str, places: list[Place], shards: _Shards) -> None:
    if not places:
        _make(file, name, dtype_of(name), 0)
        return
    with shards.reading(places[0].shard):
        dtype = shards.file(places[0].shard)[name].dtype
    rows, step, at = places[-1].end, chunk_rows(dtype), 0
    target = _make(file, name, dtype, rows)
    for start in range(0, rows, step):
        end = min(start + step, rows)
        while places[at].end <= start:
            at += 1
        first, last, shard = places[at]
        lead = first - first % step
        if first <= start and last >= end:
            with shards.reading(shard):
                mask, data = shards.file(shard)[name].id.read_direct_chunk((start - lead,))
            target.id.write_direct_chunk((start,), data, mask)
            continue
        block = np.empty(end - start, dtype)
        for first, last, shard in places[at:]:
            if first >= end:
                break
            a, b, lead = max(first, start), min(last, end), first - first % step
            with shards.reading(shard):
                block[a - start : b - start] = shards.file(shard)[name][a - lead : b - lead]
        target[start:end] = block


def digest(file: h5py.File) -> str:
    """Return a SHA-256 of a trace file's attributes and stored chunks, but for itself."""
    state = hashlib.sha256()
    for name in sorted(file.attrs):
        if name != DIGEST:
            value = np.asarray(file.attrs[name])
            state.update(f"{name} {value.dtype.kind} {value.tolist()}\n".encode())
    for name in TABLES:
        dataset = file[name]
        state.update(f"{name} {dataset.dtype} {len(dataset)}\n".encode())
        for start in range(0, len(dataset), dataset.chunks[0] if dataset.chunks else 1):
            state.update(dataset.id.read_direct_chunk((start,))[1])
    return state.hexdigest()


def merge(paths: list[Path], target: Path, attributes: Attributes) -> None:
    """Merge shards into a file.

    Parameters
    ----------
    paths : list of Path
        Shards, in order.
    target : Path
        The file to make; synchronised with the disk on return.
    attributes : dict
        Of the file.

    Raises
    ------
    DamageError
        When a shard is damaged or missing.
    OSError
        When the file cannot be written.
    """
    shards = _Shards(paths)
    try:
        # Without a cache chunks are written in order, so that the file does not show which of
        # them were packed anew.
        with h5py.File(target, "w", libver=LIBVER, rdcc_nbytes=0) as file:
            _set(file, attributes)
            places = shards.places()
            for name in TABLES:
                _merge_table(file, name, places[name], shards)
            file.attrs[ROWS] = np.array([len(file[name]) for name in TABLES], "<u8")
            file.flush()
            _set(file, {DIGEST: digest(file)})
    except (OSError, RuntimeError) as error:  # HDF5 also fails when it closes what it cannot write
        first = error.__context__ if isinstance(error.__context__, OSError) else error
        number = getattr(first, "errno", None) or errno.EIO
        raise OSError(number, os.strerror(number)) from None
    finally:
        shards.close()
    with open(target, "rb+") as written:
        os.fsync(written.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, even when the process is killed."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
