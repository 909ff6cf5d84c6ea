"""What two traces say of themselves: attributes, the machine's description, tables of names."""

from typing import Any

import numpy as np
import yaml

from ..reader import Trace
from ..schema import ATTRIBUTES
from .sides import Common

PROVENANCE = ("command", "program_version", "schema_version", "values")
"""Attributes that tell how a trace was made, not what happened; they do not make it differ."""
NAMED = ("units", "memories", "layers", "causes", "waits", "kinds")
"""Tables whose rows have names."""
COMPARED = ("units", "memories", "layers")
"""Those of which fields of rows with the same name are compared too."""
MISSING = "-"


def attributes(a: Trace, b: Trace) -> list[dict[str, Any]]:
    """Return attributes that differ; of the machine the keys of its description that do.

    Returns
    -------
    list of dict
        ``name``, ``a``, ``b``, and ``counts``: whether it makes the traces differ.
    """
    found = []
    for name in ATTRIBUTES:
        values = a.attribute(name), b.attribute(name)
        if values[0] == values[1]:
            continue
        counts = name not in PROVENANCE
        if name == "machine":
            found += _machine(*values)
        else:
            found.append({"name": name, "a": values[0], "b": values[1], "counts": counts})
    return found


def _machine(a: str, b: str) -> list[dict[str, Any]]:
    """Return the keys of two descriptions in YAML that differ."""
    try:
        first, second = _flat(yaml.safe_load(a)), _flat(yaml.safe_load(b))
    except yaml.YAMLError:
        return [{"name": "machine", "a": a, "b": b, "counts": True}]
    keys = list(dict.fromkeys([*first, *second]))
    return [
        {"name": f"machine {key}", "a": first.get(key, MISSING), "b": second.get(key, MISSING)}
        | {"counts": True}
        for key in keys
        if first.get(key, MISSING) != second.get(key, MISSING)
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return what a description holds by the path of its keys, such as ``pe.fire_lanes``."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= _flat(part, f"{name}.{key}" if name else str(key))
    return found


def names(a: Trace, b: Trace, common: Common) -> list[dict[str, Any]]:
    """Return names that only one trace has, and fields in which rows of a name differ.

    Returns
    -------
    list of dict
        ``table``, ``name``, ``field`` (empty where one has no such row), ``a``, ``b``.
    """
    found = []
    for table in NAMED:
        rows = [_by_name(trace, table) for trace in (a, b)]
        for name in dict.fromkeys([*rows[0], *rows[1]]):
            if not (name in rows[0] and name in rows[1]):
                told = [name if name in of else MISSING for of in rows]
                found.append(_row(table, name, "", *told))
            elif table in COMPARED and (table != "layers" or name in common.layers):
                found += _fields(table, name, *(of[name] for of in rows))
    links = [set(trace.links) for trace in (a, b)]
    for name in sorted(links[0] ^ links[1]):
        found.append(_row("links", name, "", *(name if name in of else MISSING for of in links)))
    return found


def _row(table: str, name: str, field: str, a: Any, b: Any) -> dict[str, Any]:
    return {"table": table, "name": name, "field": field, "a": a, "b": b}


def _by_name(trace: Trace, table: str) -> dict[str, np.void]:
    rows = trace.table(table)
    return {row["name"].decode("utf-8", "replace"): row for row in rows}


def _fields(table: str, name: str, a: np.void, b: np.void) -> list[dict[str, Any]]:
    found = []
    for field in a.dtype.names or ():
        first, second = a[field].item(), b[field].item()
        if field not in ("id", "name") and first != second:
            found.append(_row(table, name, field, _plain(first), _plain(second)))
    return found


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
