"""Parquet files of a trace's rows: accesses, packets, or arrivals.

A row group holds rows of one layer of one frame, and at most `ROWS_OF_GROUP`, so that memory stays
bounded and a reader that asks for a layer, a frame or some cycles skips the others.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import TraceError
from .reader import Trace
from .schema import ACCESS, DELIVERY, PACKET
from .selection import Wanted, numbers

ROWS_OF_GROUP = 1 << 18
COMPRESSION, LEVEL = "zstd", 1
BATCH = 1 << 16
"""Values that a column's encoder takes at once; a larger group of rows is not written faster."""
REPEATING = ("address",)
"""Columns of numbers that a dictionary makes smaller; others are written as they are."""

COLUMNS = {
    "accesses": ("cycle", "frame", "layer", "unit", "memory", "op", "address", "size"),
    "packets": ("created", "frame", "layer", "wave", "source", "number", "flits", "kind", "value"),
    "deliveries": ("cycle", "frame", "layer", "wave", "unit", "source", "number", "flits"),
}
"""Columns of each form of file, in order; those of `names_of` are names, the others numbers."""

ROWS: dict[str, np.dtype[Any]] = {"accesses": ACCESS, "packets": PACKET, "deliveries": DELIVERY}
OF_SEGMENT: dict[str, np.dtype[Any]] = {"frame": np.dtype("<u4"), "wave": np.dtype("<u2")}
"""Columns that rows of a trace do not have, but their segments."""

Part = tuple[int, NDArray[Any]]
"""The number of a segment, and rows of it."""


def names_of(trace: Trace) -> dict[str, list[str]]:
    """Return the columns that are names -> their names by number."""
    units = trace.units
    return {
        "layer": trace.layers,
        "unit": units,
        "source": units,
        "memory": trace.memories,
        "op": trace.ops,
        "kind": trace._names("kinds"),
    }


def column_dtype(form: str, name: str) -> np.dtype[Any]:
    """Return the dtype of a column; of one of names, of their numbers."""
    kind: np.dtype[Any] = OF_SEGMENT[name] if name in OF_SEGMENT else ROWS[form][name]
    return kind


def segment_of(trace: Trace, block: NDArray[Any]) -> int:
    """Return the segment of a block of accesses, which is never of two."""
    return int(np.searchsorted(trace.segments["cycle0"], block["cycle"][0], "right")) - 1


def packet_parts(trace: Trace, layer: Wanted, frame: int | None) -> Iterator[Part]:
    """Yield the packets of each segment."""
    for number in trace._segment_numbers(frame, numbers(trace.layers, layer, "layer")):
        yield int(number), trace._packets_of(int(number))


def delivery_parts(trace: Trace, layer: Wanted, frame: int | None) -> Iterator[Part]:
    """Yield the arrivals of packets, block by block, of dtype `firemesh.traces.schema.DELIVERY`."""
    for number in trace._segment_numbers(frame, numbers(trace.layers, layer, "layer")):
        for rows in trace._arrivals(int(number)):
            yield int(number), rows


def write_parquet(trace: Trace, path: Path, form: str, parts: Iterator[Part]) -> int:
    """Write rows of a trace; return how many row groups they make.

    Parameters
    ----------
    trace : Trace
    path : Path
    form : str
        A key of `COLUMNS`.
    parts : iterator
        Segment and rows, in the order in which they are written.

    Raises
    ------
    TraceError
        When pyarrow is missing; it comes with the extra ``tables``.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise TraceError(
            "parquet: needs pyarrow, which is not installed; pip install 'firemesh[tables]'"
        ) from None
    names = names_of(trace)
    schema = _schema(pyarrow, form, names).with_metadata(_facts(trace))
    words = {name: _words(pyarrow, names[name]) for name in COLUMNS[form] if name in names}
    groups = 0
    with parquet.ParquetWriter(
        path, schema, compression=COMPRESSION, compression_level=LEVEL, write_batch_size=BATCH,
        use_dictionary=[name for name in COLUMNS[form] if name in names or name in REPEATING],
    ) as file:  # fmt: skip
        for group in _groups(trace, parts):
            file.write_table(_table(pyarrow, schema, trace, group, words))
            groups += 1
    return groups


def _facts(trace: Trace) -> dict[str, str]:
    """Return what the file tells of the run, in the metadata of its schema."""
    facts = ("network", "network_digest", "command", "clock_hz", "program_version")
    return {f"firemesh.{name}": str(trace.attribute(name)) for name in facts}


def _schema(pyarrow: Any, form: str, names: Mapping[str, list[str]]) -> Any:
    fields = []
    for name in COLUMNS[form]:
        if name in names:
            kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        else:
            kind = pyarrow.from_numpy_dtype(column_dtype(form, name))
        fields.append(pyarrow.field(name, kind, nullable=False))
    return pyarrow.schema(fields)


def _groups(trace: Trace, parts: Iterator[Part]) -> Iterator[list[Part]]:
    """Yield the parts of each row group."""
    kept: list[Part] = []
    size = 0
    for number, rows in parts:
        if kept and not _is_together(trace, kept[-1][0], number):
            yield kept
            kept, size = [], 0
        while size + len(rows) >= ROWS_OF_GROUP:
            first, rows = np.split(rows, [ROWS_OF_GROUP - size])
            yield [*kept, (number, first)]
            kept, size = [], 0
        if len(rows):
            kept.append((number, rows))
            size += len(rows)
    if kept:
        yield kept


def _is_together(trace: Trace, one: int, other: int) -> bool:
    """Return whether two segments are of the same layer of the same frame."""
    segments = trace.segments
    return all(segments[name][one] == segments[name][other] for name in ("frame", "layer"))


def _words(pyarrow: Any, names: list[str]) -> Any:
    texts = [name.encode("utf-8") for name in names]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(texts))]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(texts), buffers)


def _table(
    pyarrow: Any, schema: Any, trace: Trace, group: list[Part], words: Mapping[str, Any]
) -> Any:
    """Return a row group; arrays are made of buffers, for `pyarrow.array` imports pandas, 40 MB."""
    segments = trace.segments[[number for number, _ in group]]
    rows, lengths = np.concatenate([part for _, part in group]), [len(part) for _, part in group]

    def array(kind: Any, numbers: NDArray[Any]) -> Any:
        return pyarrow.Array.from_buffers(kind, len(numbers), [None, pyarrow.py_buffer(numbers)])

    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name in words:
            number = array(kind.index_type, rows[name].astype(np.int32))
            columns.append(pyarrow.DictionaryArray.from_arrays(number, words[name]))
        elif name in OF_SEGMENT:
            columns.append(array(kind, np.repeat(segments[name], lengths)))
        else:
            columns.append(array(kind, np.ascontiguousarray(rows[name])))
    return pyarrow.Table.from_arrays(columns, schema=schema)
