"""Totals of two traces that differ, by layer."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import OPS
from .sides import Common, Side

TABLES = {"slots": "cause", "vc_stalls": "wait"}
"""Other things than accesses that are counted by unit -> what they are told by."""
WORDS = {"slots": "slots", "vc_stalls": "stalls"}
ORDER = ("accesses", "bytes", "slots", "stalls")
Key = tuple[str, str, str]
"""Layer, what, and its unit of measurement."""


def change(a: int, b: int) -> float | None:
    """Return ``b / a - 1``; None where ``a`` is 0."""
    return b / a - 1 if a else None


def totals(
    a: Side, b: Side, common: Common, cycles: tuple[int, int] | None
) -> list[dict[str, Any]]:
    """Return accesses, bytes, slots and stalls by layer that differ.

    Accesses are those that the engine counted, which `firemesh trace verify` compares with those
    in the lists; in a window of cycles they are counted one by one, and slots and stalls are left
    out.

    Returns
    -------
    list of dict
        ``layer``, ``what`` (memory and op, or cause, or wait), ``of`` (accesses, bytes, slots,
        stalls), ``a``, ``b``, and ``change``, ``b / a - 1``, None where ``a`` is 0.
    """
    count = _counted if cycles is None else _expanded
    first, second = count(a, common), count(b, common)
    place = {name: number for number, name in enumerate(common.layers)}
    keys = sorted(
        set(first) | set(second), key=lambda key: (place[key[0]], ORDER.index(key[2]), key[1])
    )
    return [
        dict(layer=key[0], what=key[1], of=key[2], a=first[key], b=second[key])
        | {"change": change(first[key], second[key])}
        for key in keys
        if first[key] != second[key]
    ]


def _counted(side: Side, common: Common) -> Counter[Key]:
    trace, found = side.trace, Counter[Key]()
    rows = _rows(side, "counters", memory=len(trace.memories), op=len(OPS))
    of = np.array([op in common.ops for op in OPS])
    memories = np.array([name in common.memories for name in trace.memories])
    rows = rows[memories[rows["memory"]] & of[rows["op"]]]
    layer = trace.segments["layer"]
    for row in rows:
        what = f"{trace.memories[row['memory']]} {OPS[row['op']]}"
        name = trace.layers[layer[row["segment"]]]
        found[name, what, "accesses"] += int(row["count"])
        found[name, what, "bytes"] += int(row["bytes"])
    for table, field in TABLES.items():
        names = trace.causes if field == "cause" else trace.waits
        rows = _rows(side, table, **{field: len(names)})
        for row in rows:
            key = trace.layers[layer[row["segment"]]], names[row[field]], WORDS[table]
            found[key] += int(row["count"])
    return found


def _rows(side: Side, table: str, **most: int) -> NDArray[Any]:
    """Return the rows of compared segments and units; fields must be below ``most``."""
    rows = side.trace.table(table)
    for name, n in {"unit": len(side.units), **most}.items():
        if len(rows) and rows[name].max() >= n:
            raise side.trace.damaged(table, ValueError(f"{name} {rows[name].max()} does not exist"))
    wanted = np.isin(rows["segment"], side.segments) & (side.units[rows["unit"]] >= 0)
    found: NDArray[Any] = rows[wanted]
    return found


def _expanded(side: Side, common: Common) -> Counter[Key]:
    """Count accesses and bytes one by one."""
    trace, found = side.trace, Counter[Key]()
    shape = len(trace.layers), len(trace.memories), len(OPS)
    size = int(np.prod(shape))
    count, moved = np.zeros(size, np.int64), np.zeros(size)
    shapes = trace._shapes(common.memories, common.ops)
    units = set(np.flatnonzero(side.units >= 0).tolist())
    for number in side.segments.tolist() if common.memories else ():
        for block in trace._expanded(number, shapes, units, "cycle", side.low, side.high):
            key = np.ravel_multi_index([block[name] for name in ("layer", "memory", "op")], shape)
            count += np.bincount(key, minlength=size)
            moved += np.bincount(key, block["size"], minlength=size)
    for place in np.flatnonzero(count).tolist():
        layer, memory, op = np.unravel_index(place, shape)
        what = trace.layers[int(layer)], f"{trace.memories[int(memory)]} {OPS[int(op)]}"
        found[*what, "accesses"], found[*what, "bytes"] = int(count[place]), int(moved[place])
    return found


def cycles_of(a: Side, b: Side, common: Common) -> list[dict[str, Any]]:
    """Return the cycles of each layer in both, over the frames and cycles that are selected.

    Returns
    -------
    list of dict
        ``layer``, ``segments_a``, ``segments_b``, ``a``, ``b`` (cycles), ``change``.
    """
    found = []
    sides = [_cycles(side, len(common.layers)) for side in (a, b)]
    for number, layer in enumerate(common.layers):
        (parts_a, of_a), (parts_b, of_b) = (side[number] for side in sides)
        if parts_a or parts_b:
            row = {"layer": layer, "segments_a": parts_a, "segments_b": parts_b}
            found.append(row | {"a": of_a, "b": of_b, "change": change(of_a, of_b)})
    return found


def _cycles(side: Side, n: int) -> list[tuple[int, int]]:
    """Return segments and cycles of each layer in common."""
    found = [(0, 0)] * n
    for _, layer, _, begin, end in side.trace.segments[side.segments].tolist():
        number = int(side.layers[layer])
        parts, cycles = found[number]
        found[number] = parts + 1, cycles + min(end, side.high) - max(begin, side.low)
    return found
