"""Accelergy's inputs, version 0.4: what a machine consists of, and how often each part acts.

A folder of ``architecture.yaml``, ``action_counts.yaml`` and ``ERT.yaml``, the energies that the
trace itself has. Counts are those of the engine; only a window of cycles is gone through.
"""

from pathlib import Path
from typing import Any

import yaml

from ..reader import Trace
from .accelergy_counts import (
    Counts,
    bytes_of,
    link_counts,
    mac_counts,
    memory_counts,
    totals,
    why_memories_only,
)
from .accelergy_parts import CHIP, PE, SYSTEM, Component, components, path, pe_numbers
from .exporter import Exporter, Options, Progress, Report
from .records import Records

VERSION = 0.4
TECHNOLOGY = "45nm"
"""A trace does not tell it; to be changed."""


class _Quoted(str):
    """Text that is written in double quotes: Accelergy evaluates what is not."""


class _Writer(yaml.SafeDumper):
    """Writes `_Quoted`, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True."""
        return True


_Writer.add_representer(
    _Quoted, lambda out, text: out.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def write_accelergy(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a folder of YAML files; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options)
    records.refuse_doors()
    counts = memory_counts(records, bytes_of(records, progress))
    note = why_memories_only(options.selection)
    if not note:
        counts |= mac_counts(records) | link_counts(records)
    parts = list(components(trace))
    out.mkdir()
    for name, content in (
        ("architecture", _architecture(trace, parts)),
        ("action_counts", _action_counts(counts)),
        ("ERT", _energies(trace, parts)),
    ):
        text = yaml.dump({name: content}, Dumper=_Writer, sort_keys=False, width=100)
        (out / f"{name}.yaml").write_text(text, "utf-8")
    facts = records.facts() | {
        "addresses": [],
        "note": note,
        "technology": TECHNOLOGY,
        "PE": {str(number): trace.units[unit] for unit, number in pe_numbers(trace).items()},
        "link": dict(enumerate(trace.links)),
        "consumer_command": "accelergy architecture.yaml action_counts.yaml -o RESULT, or with the "
        "energies of the trace: accelergy ERT.yaml action_counts.yaml -o RESULT",
    }
    return Report(totals(counts), facts)


def _architecture(trace: Trace, parts: list[Component]) -> dict[str, Any]:
    n_pes = len(pe_numbers(trace))

    def local(place: str) -> list[dict[str, Any]]:
        return [_described(part) for part in parts if part.place == place]

    pes = {"name": _Quoted(f"{PE}[0..{n_pes - 1}]"), "local": local(PE)}
    chip = {"name": _Quoted(CHIP), "local": local(CHIP), "subtree": [pes]}
    shared = {
        "technology": _Quoted(TECHNOLOGY),
        "global_cycle_seconds": 1 / int(trace.attribute("clock_hz")),
    }
    system: dict[str, Any] = {"name": _Quoted(SYSTEM), "attributes": shared}
    if local(SYSTEM):
        system["local"] = local(SYSTEM)
    return {"version": VERSION, "subtree": [system | {"subtree": [chip]}]}


def _described(part: Component) -> dict[str, Any]:
    attributes = {
        name: _Quoted(value) if isinstance(value, str) else value
        for name, value in part.attributes.items()
    }
    return {
        "name": _Quoted(part.name),
        "class": _Quoted(part.kind),
        "required_actions": [_Quoted(action) for action in part.energies],
        "attributes": attributes,
    }


def _action_counts(counts: Counts) -> dict[str, Any]:
    local = [
        {
            "name": _Quoted(path),
            "action_counts": [
                {"name": _Quoted(action), "counts": count} for action, count in actions.items()
            ],
        }
        for path, actions in counts.items()
    ]
    return {"version": VERSION, "local": local}


def _energies(trace: Trace, parts: list[Component]) -> dict[str, Any]:
    pes = f"0..{len(pe_numbers(trace)) - 1}"
    tables = [
        {
            "name": _Quoted(path(part.place, part.name, pes)),
            "actions": [
                {"name": _Quoted(action), "arguments": {}, "energy": price}
                for action, price in part.energies.items()
            ],
        }
        for part in parts
    ]
    return {"version": VERSION, "tables": tables}


ACCELERGY = Exporter(
    write_accelergy,
    "Accelergy's architecture, action counts and energies, a folder of YAML files",
    consumer="Accelergy 0.4",
    keeps="components of the machine, accesses of words, multiplications, flits over links",
    loses="cycles, addresses, sizes (bytes are rounded up to words), layers, idle cycles",
    is_folder=True,
)
