"""The trace file's tables, field by field; ``docs/trace-format.md`` explains them.

A trace is an HDF5 file of flat tables. Each is one dataset, chunked, with shuffle, gzip 4 and
fletcher32. Accesses are not stored one by one: a row of a list stands for all accesses of an event,
a chunk of filters or a packet, and `firemesh.traces.expand` tells them.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from .errors import TraceError

SCHEMA = "firemesh-trace"
SCHEMA_VERSION = 4

OPS = ("read", "write")
NETWORK_MEMORIES = ("noc_inject", "noc_eject")
"""Not memories, but the node's doors to the network; an address is a packet, a size its flits."""

PACKET_SHIFT = 32
"""A packet's address is ``source << 32 | number``; numbers count the packets of a source from 0."""

OWN, INHERITED = 0, -1
"""What a list says of a column: it has its own; it has its leader's; ``-2 - v``: ``v`` in each row.

Own columns lie in the column's table one after another, in the order of the lists.
"""


class Column(NamedTuple):
    """A column of list rows: a dataset in ``columns/``.

    Parameters
    ----------
    dtype : str
    is_delta : bool
        Whether rows hold the difference to the list's row before.
    default : int or None
        What a list without the column and without a leader has; None when row ``i`` has ``i``.
    """

    dtype: str
    is_delta: bool
    default: int | None


COLUMNS = {
    "of": Column("<i4", True, None),
    "slack": Column("<i4", False, 0),
    "pattern": Column("<i4", False, 0),
    "run": Column("<i4", True, -1),
    "base": Column("<i8", True, 0),
    "queue": Column("<i4", True, None),
    "kind": Column("<i4", False, 0),
    "value": Column("<i4", False, 0),
    "span": Column("<i4", False, 0),
    "window_a": Column("<i4", True, 0),
    "windows_a": Column("<i4", False, 1),
    "window_b": Column("<i4", True, 0),
    "windows_b": Column("<i4", False, 1),
}
"""Columns of list rows, by name.

``of`` row of the leader; ``slack`` cycles beyond the rule; ``pattern`` pattern of an entry of kind
0; ``run`` the run that is walked, -1 for none; ``base`` address; ``queue`` the queue that the row
is appended to; ``kind`` kind of packet; ``value`` the code of the event or output less its zero
point; ``span`` bytes of the row; ``window_a``, ``windows_a`` first window of mask set A and how
many, and ``window_b``, ``windows_b`` of B. ``of`` and ``queue`` are not inherited; a list with
``kind`` is one of packets sent.
"""


class Walk(IntEnum):
    """What rows of a list are: field ``walks``."""

    ENTRY = 0
    """One entry."""
    RUN = 1
    """The entries of a run."""
    SPAN = 2
    """So many bytes, entry after entry."""
    MASKS = 3
    """The pairs of set bits of two masks, window after window."""


MASK_KINDS = 4
"""Patterns of a row of masks: each pair; a window's first cycle, its last, each of its cycles."""

TEXT = "S"
"""A string field; as long as the longest text of the table, in UTF-8."""

Fields = list[tuple[str, str]]

TABLES: dict[str, Fields] = {
    "units": [("id", "<u2"), ("name", TEXT), ("kind", TEXT), ("x", "<i2"), ("y", "<i2")],
    "memories": [
        ("id", "u1"),
        ("name", TEXT),
        ("unit_kind", TEXT),
        ("bytes", "<u8"),
        ("word_bytes", "<u4"),
        ("banks", "<u4"),
        ("bank_bytes", "<u8"),
        ("read_ports", "<u4"),
        ("write_ports", "<u4"),
        ("read_byte_pj", "<f8"),
        ("write_byte_pj", "<f8"),
    ],
    "links": [("id", "<u4"), ("source", "<u2"), ("target", "<u2")],
    "causes": [("id", "u1"), ("name", TEXT), ("is_busy", "u1"), ("is_idle", "u1")],
    "waits": [("id", "u1"), ("name", TEXT)],
    "kinds": [("id", "u1"), ("name", TEXT)],
    "streams": [("id", "u1"), ("name", TEXT), ("doc", TEXT)],
    "layers": [
        ("id", "<u2"),
        ("name", TEXT),
        ("op", TEXT),
        ("mode", TEXT),
        ("channels", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("filters", "<u4"),
        ("ofmap_height", "<u4"),
        ("ofmap_width", "<u4"),
        ("kernel_y", "<u4"),
        ("kernel_x", "<u4"),
        ("stride_y", "<u4"),
        ("stride_x", "<u4"),
        ("pad_y", "<i4"),
        ("pad_x", "<i4"),
        ("dilation_y", "<u4"),
        ("dilation_x", "<u4"),
        ("groups", "<u4"),
        ("tile", TEXT),
        ("output", TEXT),
        ("output_address", "<u8"),
    ],
    "waves": [
        ("layer", "<u2"),
        ("wave", "<u2"),
        ("channel_wave", "<u2"),
        ("block", "<u2"),
        ("first_channel", "<u4"),
        ("end_channel", "<u4"),
        ("first_row", "<u4"),
        ("end_row", "<u4"),
        ("first_output", "<u4"),
        ("end_output", "<u4"),
        ("fires", "u1"),
    ],
    "filter_groups": [
        ("layer", "<u2"),
        ("unit", "<u2"),
        ("channel_wave", "<u2"),
        ("number", "<u4"),
        ("conv_group", "<u4"),
        ("first", "<u4"),
        ("size", "<u4"),
    ],
    "segments": [
        ("frame", "<u4"),
        ("layer", "<u2"),
        ("wave", "<u2"),
        ("cycle0", "<u8"),
        ("cycle1", "<u8"),
    ],
    "counters": [
        ("segment", "<u4"),
        ("unit", "<u2"),
        ("memory", "u1"),
        ("op", "u1"),
        ("count", "<u8"),
        ("bytes", "<u8"),
    ],
    "slots": [("segment", "<u4"), ("unit", "<u2"), ("cause", "u1"), ("count", "<u8")],
    "flits": [("segment", "<u4"), ("link", "<u4"), ("count", "<u8")],
    "vc_stalls": [("segment", "<u4"), ("unit", "<u2"), ("wait", "u1"), ("count", "<u8")],
    "lists": [
        ("segment", "<u4"),
        ("stream", "u1"),
        ("walks", "u1"),
        ("queues", "u1"),
        ("least", "u1"),
        ("empty", "u1"),
        ("lag", "<i4"),
        ("rows", "<u4"),
        ("leader", "<i4"),
        ("members", "<u4"),
        ("of", "<i8"),
        ("pattern", "<i8"),
        ("run", "<i8"),
        ("base", "<i8"),
        ("queue", "<i8"),
        ("kind", "<i8"),
        ("value", "<i8"),
        ("span", "<i8"),
        ("window_a", "<i8"),
        ("windows_a", "<i8"),
        ("window_b", "<i8"),
        ("windows_b", "<i8"),
        ("mask_a", "<i4"),
        ("mask_b", "<i4"),
        ("pattern_offset", "<u4"),
        ("step", "<i8"),
        ("queue_step", "<i8"),
        ("run_step", "<i8"),
        ("modulo", "<u8"),
    ],
    "members": [
        ("unit", "<u2"),
        ("slack", "<i4"),
        ("ahead", "<u4"),
        ("run_offset", "<i4"),
        ("base_offset", "<i8"),
        ("stalls", "<u4"),
    ],
    "stalls": [("row", "<u4"), ("entry", "<u4"), ("cycles", "<u4")],
    **{f"columns/{name}": [("", column.dtype)] for name, column in COLUMNS.items()},
    "runs/first": [("", "<u4")],
    "runs/kind": [("", "<u4")],
    "runs/a": [("", "<u4")],
    "runs/b": [("", "<u4")],
    "patterns/first": [("", "<u4")],
    "patterns/period": [("", "<u4")],
    "patterns/items": [
        ("memory", "u1"),
        ("op", "u1"),
        ("size", "<u2"),
        ("cycle", "<i4"),
        ("address", "<i8"),
        ("a_step", "<i8"),
        ("b_step", "<i8"),
        ("count", "<u4"),
        ("cycle_step", "<i4"),
        ("address_step", "<i8"),
        ("operand", "<i8"),
        ("operand_a_step", "<i8"),
        ("operand_step", "<i8"),
    ],
    "masks/sets": [
        ("lanes", "<u2"),
        ("sections", "<u2"),
        ("bits", "<u4"),
        ("windows", "<u4"),
        ("first_word", "<u8"),
        ("first_address", "<u8"),
        ("first_section", "<u8"),
    ],
    "masks/words": [("", "<u8")],
    "masks/address": [("", "<i8")],
    "masks/section": [("", "<i8")],
    "weights/rows": [
        ("layer", "<u2"),
        ("block", "<u2"),
        ("unit", "<u2"),
        ("address", "<u8"),
        ("first", "<u8"),
        ("count", "<u8"),
    ],
    "weights/values": [("", "<i2")],
}
"""Fields of each table; a table with one field without a name is a plain array."""

ATTRIBUTES = {
    "schema": str,
    "schema_version": int,
    "program_version": str,
    "machine": str,
    "network": str,
    "network_digest": str,
    "input_digest": str,
    "mode": str,
    "command": str,
    "seed": int,
    "clock_hz": int,
    "multipliers": int,
    "flit_bits": int,
    "mac_pj": float,
    "flit_pj": float,
    "idle_cycle_pj": float,
    "frames": int,
    "complete": bool,
    "values": bool,
}
"""Attributes of the file and their types.

``multipliers`` are those of a PE; ``mac_pj`` is the energy of a multiplier's slot that is busy,
``flit_pj`` of a flit over a link, ``idle_cycle_pj`` of a PE's cycle with idle slots.
"""

ACCESS = np.dtype(
    [
        ("cycle", "<u8"),
        ("address", "<u8"),
        ("unit", "<u2"),
        ("layer", "<u2"),
        ("size", "<u2"),
        ("memory", "u1"),
        ("op", "u1"),
    ]
)
"""An access as readers get it, 24 bytes; address and size in bytes."""


PACKET = np.dtype(
    [
        ("created", "<u8"),
        ("number", "<u4"),
        ("source", "<u2"),
        ("layer", "<u2"),
        ("flits", "<u2"),
        ("kind", "u1"),
        ("value", "<i4"),
    ]
)
"""A packet as readers get it; with its source its number is its own in a segment."""

DELIVERY = np.dtype(
    [
        ("cycle", "<u8"),
        ("number", "<u4"),
        ("source", "<u2"),
        ("unit", "<u2"),
        ("layer", "<u2"),
        ("flits", "<u2"),
    ]
)
"""A packet's arrival at a unit."""


def dtype_of(name: str) -> np.dtype[Any]:
    """Return a table's dtype, string fields of length 1."""
    fields = TABLES[name]
    if fields[0][0] == "":
        return np.dtype(fields[0][1])
    return np.dtype([(field, "S1" if kind == TEXT else kind) for field, kind in fields])


def table(which: str, /, **columns: Any) -> "np.ndarray[Any, np.dtype[Any]]":
    """Return a table with the given columns, broadcast against each other; text as str.

    Raises
    ------
    TraceError
        When a value does not fit its field.
    """
    fields = dict(TABLES[which])
    if set(fields) != set(columns):
        raise ValueError(f"{which}: fields differ: {sorted(set(fields) ^ set(columns))}")
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    for name, array in arrays.items():
        if fields[name] == TEXT:
            arrays[name] = np.char.encode(array.astype("U"), "utf-8")
    kinds = [
        (name, f"S{max(1, arrays[name].itemsize)}" if kind == TEXT else kind)
        for name, kind in fields.items()
    ]
    result = np.empty(max(array.size for array in arrays.values()), kinds)
    for name, array in arrays.items():
        result[name] = array
        if array.size and array.dtype.kind in "iu" and (result[name] != array).any():
            raise TraceError(
                f"trace: {name} of {which} goes up to {array.max()}, more than {fields[name]} "
                "holds; use a smaller machine or layer, or run without --trace"
            )
    return result
