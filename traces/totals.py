"""Totals: what a trace's counters, slots, flits and stalls add up to, and their energy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import TraceError
from .file import TraceFile
from .schema import NETWORK_MEMORIES

FIELDS = {
    "counters": {"unit": "units", "memory": "memories", "op": "ops"},
    "slots": {"unit": "units", "cause": "causes"},
    "flits": {"link": "links"},
    "vc_stalls": {"unit": "units", "wait": "waits"},
}
"""Columns of each table by which it can be added up, and the names of their values."""


def totals(
    file: TraceFile, table: str, by: Sequence[str], rows: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Add up a table of counts by frame, layer and columns of its own.

    Parameters
    ----------
    file : TraceFile
    table : {"counters", "slots", "flits", "vc_stalls"}
    by : sequence of str
    rows : structured array, optional
        Some rows of the table, or such as it could have; None for all of it.

    Returns
    -------
    structured array
        The fields of ``by``, ``count`` and, of counters, ``bytes``.
    """
    segments, fields = file.segments, FIELDS[table]
    rows = file.table(table) if rows is None else rows
    unknown = [name for name in by if name not in fields and name not in ("frame", "layer")]
    if unknown or len(set(by)) != len(by):
        known = ", ".join(["frame", "layer", *fields])
        raise TraceError(f"by: must be of {known}, each once, got {', '.join(by)}")
    if len(rows) and rows["segment"].max() >= len(segments):
        raise file.damaged(table, ValueError("it tells of segments that do not exist"))
    keys = []
    for name in by:
        column = segments[name][rows["segment"]] if name in ("frame", "layer") else rows[name]
        keys.append(column.astype(np.int64))
    stacked = np.array(keys, np.int64).reshape(len(by), len(rows))
    groups, which = np.unique(stacked, axis=1, return_inverse=True)
    columns: dict[str, NDArray[Any]] = {}
    for name, values in zip(by, groups, strict=True):
        columns[name] = values
        if name != "frame":
            names = file.layers if name == "layer" else getattr(file, fields[name])
            if len(values) and values.max() >= len(names):
                raise file.damaged(table, ValueError(f"{name} {values.max()} does not exist"))
            columns[name] = np.array(names or [""])[values]
    for name in ("count", "bytes") if table == "counters" else ("count",):
        columns[name] = np.zeros(groups.shape[1], np.int64)
        np.add.at(columns[name], which.ravel(), rows[name].astype(np.int64))
    result = np.empty(groups.shape[1], [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        result[name] = column
    return result


def energy(file: TraceFile, by: Sequence[str]) -> list[dict[str, Any]]:
    """Return energy in pJ by component: each memory, MAC, NoC and idle.

    Parameters
    ----------
    by : sequence of str
        Of frame and layer.
    """
    unknown = [name for name in by if name not in ("frame", "layer")]
    if unknown:
        raise TraceError(f"by: must be of frame, layer, got {unknown[0]}")
    found: dict[tuple[Any, ...], dict[str, float]] = {}

    def add(row: Any, component: str, pj: float) -> None:
        parts = found.setdefault(tuple(row[name].item() for name in by), {})
        parts[component] = parts.get(component, 0.0) + pj

    memories = dict(zip(file.memories, file.table("memories"), strict=True))
    for row in totals(file, "counters", (*by, "memory", "op")):
        if row["memory"] not in NETWORK_MEMORIES:
            price = memories[row["memory"]][f"{row['op']}_byte_pj"]
            add(row, str(row["memory"]), float(row["bytes"] * price))
    causes = dict(zip(file.causes, file.table("causes"), strict=True))
    idle = file.attribute("idle_cycle_pj") / file.attribute("multipliers")
    for row in totals(file, "slots", (*by, "cause")):
        cause = causes[row["cause"]]
        add(row, "mac", float(row["count"] * cause["is_busy"] * file.attribute("mac_pj")))
        add(row, "idle", float(row["count"] * cause["is_idle"] * idle))
    for row in totals(file, "flits", by):
        add(row, "noc", float(row["count"] * file.attribute("flit_pj")))
    return [dict(zip(by, key, strict=True)) | parts for key, parts in found.items()]
