"""Tables in HDF5: shards as they are written, and the file that they are merged into.

A shard holds some rows of each table, at the places in their chunks that they will have in the
file: its first chunk begins with rows that belong to shards before. So merging moves whole chunks
as they are, and packs anew only those in which two shards meet; the file does not show where.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .schema import TABLES, dtype_of

LIBVER = ("v110", "v110")
"""HDF5's file format since 1.10, in which headers and indices have checksums.

Texts are of fixed length: HDF5's heap for others has none.
"""

CHUNK_BYTES = 1 << 16
GZIP_LEVEL = 4
FIRST_ROW = "first_row"

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


def shard_image(
    tables: Mapping[str, Table], first: Mapping[str, int], attributes: Attributes
) -> bytes:
    """Return a shard as the bytes of an HDF5 file.

    Parameters
    ----------
    tables : dict
        Rows of some tables.
    first : dict
        Rows of each table in the shards before.
    attributes : dict
    """
    with h5py.File("shard", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        _set(file, attributes)
        for name, rows in tables.items():
            lead = first[name] % chunk_rows(rows.dtype)
            dataset = _make(file, name, rows.dtype, lead + len(rows))
            dataset[lead:] = rows
            dataset.attrs[FIRST_ROW] = first[name]
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _places(shards: list[h5py.File], name: str) -> Iterator[tuple[int, int, h5py.Dataset]]:
    """Yield the rows of a table that each shard holds: first, end, dataset."""
    for shard in shards:
        if name in shard:
            dataset = shard[name]
            first = int(dataset.attrs[FIRST_ROW])
            yield first, first + len(dataset) - first % dataset.chunks[0], dataset


def _merge_table(file: h5py.File, name: str, shards: list[h5py.File]) -> None:
    places = [place for place in _places(shards, name) if place[1] > place[0]]
    dtype = places[0][2].dtype if places else dtype_of(name)
    rows, step = places[-1][1] if places else 0, chunk_rows(dtype)
    target = _make(file, name, dtype, rows)
    for start in range(0, rows, step):
        end = min(start + step, rows)
        inside = [place for place in places if place[0] < end and place[1] > start]
        first, last, source = inside[0]
        at = start - (first - first % step)
        if len(inside) == 1 and first <= start and last >= end:
            mask, data = source.id.read_direct_chunk((at,))
            target.id.write_direct_chunk((start,), data, mask)
            continue
        block = np.empty(end - start, dtype)
        for first, last, source in inside:
            a, b, lead = max(first, start), min(last, end), first - first % step
            block[a - start : b - start] = source[a - lead : b - lead]
        target[start:end] = block


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
    """
    shards = [h5py.File(path, "r") for path in paths]
    try:
        with h5py.File(target, "w", libver=LIBVER) as file:
            _set(file, attributes)
            for name in TABLES:
                _merge_table(file, name, shards)
    finally:
        for shard in shards:
            shard.close()
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
