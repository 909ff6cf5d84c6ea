"""SCALE-Sim's traces: a folder ``layer0``, ``layer1``, ... for each layer, of six files of rows.

``docs/trace/scalesim.md`` says which memory is which operand, and what an element is. A file has as
many columns as the busiest cycle needs, so accesses are told twice: once to count, once to write.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .scalesim_operands import (
    DRAM,
    OFFSETS,
    Elements,
    Ints,
    Source,
    accesses,
    check_room,
    elements,
)
from .scalesim_plan import Part, Plan
from .scalesim_rows import most_at_once, whole_cycles, write_rows
from .scalesim_topology import config, topology
from .tally import AccessTally


class Measured(NamedTuple):
    """What a file will hold.

    Parameters
    ----------
    tally : AccessTally
        Of accesses.
    elements : int
    most : int
        Elements in a cycle.
    base : int64[n_units]
        First element of each unit's memory.
    first_byte : int
        Address of the operand's first element in DRAM; 0 for an SRAM.
    """

    tally: AccessTally
    elements: int
    most: int
    base: Ints
    first_byte: int


def write_scalesim(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a folder of traces; see `firemesh.traces.exporters.exporter.Export`."""
    plan = Plan(trace, options.selection)
    text, notes = topology(trace, plan.layers)
    out.mkdir()
    (out / "topology.csv").write_text(text, "utf-8")
    (out / "scale.cfg").write_text(config(trace, plan.parts[0].mode), "utf-8")
    layers, seen = [], []
    for done, part in enumerate(plan.parts):
        progress(done, len(plan.parts))
        found = [_measure(plan, part, source) for source in part.sources]
        _check(plan, part, found)
        layers.append(_write(plan, part, found, out / part.folder))
        seen += [(part, *pair) for pair in zip(part.sources, found, strict=True)]
    progress(len(plan.parts), len(plan.parts))
    facts = _facts(plan) | _totals(plan, seen)
    facts |= {
        "layers": layers,
        "topology": notes,
        "consumer_command": "scalesim -c scale.cfg -t topology.csv -p OUT  # its own traces of "
        "the same layers, to compare with",
    }
    return Report({"layers": len(layers), "elements": facts["written"]["records"]}, facts)


def _blocks(plan: Plan, part: Part, source: Source) -> Iterator[Any]:
    mine = replace(plan.selection, layer=part.layer, frame=part.frame)
    return accesses(plan.trace, mine, source)


def _measure(plan: Plan, part: Part, source: Source) -> Measured:
    """Go through an operand's accesses of a layer before they are written."""
    trace, tally = plan.trace, AccessTally()
    is_dram = source in DRAM
    base = np.zeros(len(trace.units), np.int64) if is_dram else plan.bases[source][0]
    total, low, high = 0, 1 << 62, 0

    def parts() -> Iterator[Elements]:
        nonlocal total, low, high
        for block in _blocks(plan, part, source):
            tally.add(block)
            low = min(low, int(block["address"].min()))
            high = max(high, int((block["address"] + block["size"]).max()))
            found = elements(source, base, part.begin, block)
            total += int(found.n.sum())
            yield found

    most = max((most_at_once(whole) for whole in whole_cycles(parts())), default=0)
    if not is_dram or not total:
        return Measured(tally, total, most, base, 0)
    size = source.element_bytes
    check_room(trace, source, -(-high // size) - low // size, "in dram", "layer")
    base = base + OFFSETS[source.operand] - low // size
    return Measured(tally, total, most, base, low // size * size)


def _check(plan: Plan, part: Part, found: list[Measured]) -> None:
    """Compare what went by with what the engine counted, if that is known."""
    seen = sum(one.tally.count for one in found)
    if plan.selection.cycles is None and seen != plan.counted(part):
        raise TraceError(
            f"{plan.trace.path}: holds other accesses than were counted; see firemesh trace "
            "verify, and make the trace again"
        )


def _write(plan: Plan, part: Part, found: list[Measured], folder: Path) -> dict[str, Any]:
    """Write the files of a layer; return what the side file tells of it."""
    folder.mkdir(parents=True)
    files: dict[str, Any] = {}
    widest = max(1, *(one.most for one in found[-len(DRAM) :]))
    for source, one in zip(part.sources, found, strict=True):
        is_dram = source in DRAM
        name = f"{source.operand.upper()}_{'DRAM' if is_dram else 'SRAM'}_TRACE.csv"
        width = widest if is_dram else max(1, one.most)
        parts = (
            elements(source, one.base, part.begin, block) for block in _blocks(plan, part, source)
        )
        with open(folder / name, "wb") as file:
            write_rows(file, whole_cycles(parts), part.low, part.high, width, not is_dram)
            if is_dram and not one.elements:
                file.write(b"%d" % part.low + b",-1" * width + b"\n")
        files[name] = {"memory": source.memory, "op": source.op, "accesses": one.tally.count}
        files[name] |= {"element_bytes": source.element_bytes, "elements": one.elements}
        files[name] |= {"columns": width} | ({"first_byte": one.first_byte} if is_dram else {})
    layer = {"folder": part.folder, "layer": plan.trace.layers[part.layer], "frame": part.frame}
    layer |= {"mode": part.mode, "cycle_0_is_cycle_of_run": part.begin}
    return layer | {"cycles": [part.low, part.high], "files": files}


def _totals(plan: Plan, seen: list[tuple[Part, Source, Measured]]) -> dict[str, Any]:
    """Return the totals of the selection, in the run's cycles, and of files, in the layers'."""
    used = [one for one in seen if one[2].elements]
    if not used:
        raise TraceError(
            f"{plan.trace.path}: holds no accesses that are operands in the selected cycles; see "
            "firemesh trace stats"
        )
    ends = [
        [end - shift for one in used for end in (one[2].tally.first_cycle, one[2].tally.last_cycle)
         for shift in (0, one[0].begin)[place : place + 1] if end is not None]
        for place in (0, 1)
    ]  # fmt: skip
    return {
        "selected": {
            "accesses": sum(one.tally.count for _, _, one in used),
            "reads": sum(one.tally.reads for _, _, one in used),
            "writes": sum(one.tally.writes for _, _, one in used),
            "bytes": sum(one.tally.bytes for _, _, one in used),
            "first_cycle": min(ends[0]),
            "last_cycle": max(ends[0]),
        },
        "written": {
            "records": sum(one.elements for _, _, one in used),
            "reads": sum(one.elements for _, source, one in used if source.op == "read"),
            "writes": sum(one.elements for _, source, one in used if source.op == "write"),
            "bytes": sum(one.elements * source.element_bytes for _, source, one in used),
            "first_cycle": min(ends[1]),
            "last_cycle": max(ends[1]),
        },
    }


def _facts(plan: Plan) -> dict[str, Any]:
    """Return what the side file tells of trace, selection and operands."""
    trace = plan.trace
    operands = []
    for source, (base, units) in plan.bases.items():
        places = {
            "units": [trace.units[unit] for unit in units],
            "first_element": OFFSETS[source.operand],
        }
        each = int(base[units[1]] - base[units[0]]) if len(units) > 1 else None
        operands.append(source._asdict() | places | {"elements_of_each_unit": each})
    return {
        "selection": plan.selection.facts(),
        "machine_clock_hz": int(trace.attribute("clock_hz")),
        "clock_hz": int(trace.attribute("clock_hz")),
        "operands": operands,
    }


SCALESIM = Exporter(
    write_scalesim,
    "SCALE-Sim's traces, a folder a layer, with topology.csv and scale.cfg",
    consumer="SCALE-Sim's scripts, and what reads its IFMAP/FILTER/OFMAP_SRAM/DRAM_TRACE.csv",
    keeps="cycle of the layer, operand, element; by it unit and address",
    loses="sizes (elements are told one by one), memories that are no operand, psums that are "
    "read, weights that come in",
    is_folder=True,
)
