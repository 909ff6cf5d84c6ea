"""Eyeriss' comparison of dataflows: row stationary beside the others on AlexNet's convolutions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..energy import Activity, energy, table
from ..kinds import Memory
from .eyeriss_rs_figure import draw
from .eyeriss_rs_job import (
    BATCH,
    BUFFER_BYTES,
    FEWER,
    MOST_ROUNDS,
    PES,
    RF_BYTES,
    SETUPS,
    dims_of,
    job,
    jobs,
    split,
)
from .flexnn_dataflows import FIXED, SHORT
from .job import Run
from .published import published
from .sheet import Sheet
from .study import Report, Study

TABLE = "eyeriss"
LEVELS = {
    "DRAM": ("DRAM",),
    "buffer": ("storage",),
    "array": ("NoC",),
    "RF": ("register file", "accumulator", "sparsity"),
    "MAC": ("MAC",),
}
"""Levels of the published figure, and the components that make them."""

REFERENCE = "row"
TITLES = {
    "same": f"every dataflow with {RF_BYTES} bytes a PE and {BUFFER_BYTES // 1024} KB of buffer",
    "split": "the others without reuse in register files: 12 bytes a PE, "
    f"{split().sram.bytes / 1024:.0f} KB of buffer; RS as before",
}
"""Set-ups in words."""


def report(runs: dict[str, Run]) -> Report:
    """Tell energy per multiply-accumulate by level."""
    layers = [
        row
        for setup in SETUPS
        for layer in dims_of()
        if job(layer, setup).name in runs
        for row in _layer_rows(layer, setup, runs[job(layer, setup).name])
    ]
    whole = _network_rows(layers)
    sheets = [_levels_sheet(whole, setup) for setup in SETUPS if _of(whole, setup)]
    sheets += [_layers_sheet(layers)]
    figure = {"eyeriss-rs": partial(draw, whole, TITLES)}
    return Report([*whole, *layers], sheets, _notes(whole, layers), figure)


def _layer_rows(layer: str, setup: str, run: Run) -> list[dict[str, Any]]:
    """Return a line for each dataflow of a convolution."""
    macs = dims_of()[layer].macs / BATCH
    return [_layer_row(layer, setup, macs, entry) for entry in run.layers]


def _layer_row(layer: str, setup: str, macs: float, entry: dict[str, Any]) -> dict[str, Any]:
    priced = job(layer, setup).machine.replace(energy=TABLE)
    done = Activity(np.array(entry["bytes"]), np.array(entry["slots"]), entry["flits"])
    parts, frames = energy(done, priced), entry.get("frames", BATCH)
    buffer, moved = entry.get("psum", (0, 0))
    energies = table(TABLE)
    # three of a psum's four bytes
    wide = buffer * energies.access_pj[Memory.STORAGE.name.lower()].byte_pj
    wide = 0.75 * (wide + moved * 8 * energies.hop_bit_pj)
    counted = sum(parts.values())
    by_level = {
        f"{level}_pj": sum(parts[name] for name in names) / frames
        for level, names in LEVELS.items()
    }
    return {
        "setup": setup,
        "layer": layer,
        "dataflow": entry["name"],
        "schedule": entry["tile"],
        "frames": frames,
        "macs": macs,
        **by_level,
        "counted_pj": counted / frames,
        "narrow_psums_pj": (counted - wide) / frames,
        "estimated_pj": entry.get("estimate", (0.0, counted))[1] / BATCH,
        "counted_over_estimate": counted / entry.get("counted_estimate", counted),
        "cycles": entry["cycles"] / frames,
        "rs_advantage": None,
        "rs_advantage_estimated": None,
        "rs_advantage_narrow_psums": None,
    }


ADVANTAGES = {
    "rs_advantage": "counted_pj",
    "rs_advantage_estimated": "estimated_pj",
    "rs_advantage_narrow_psums": "narrow_psums_pj",
}
"""What each advantage is a ratio of."""


def _network_rows(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each dataflow over the convolutions that it and RS can run."""
    found = []
    references = {
        row["layer"]: row
        for row in layers
        if (row["setup"], row["dataflow"]) == ("same", REFERENCE)
    }
    for setup, flow in dict.fromkeys((row["setup"], row["dataflow"]) for row in layers):
        own = [row for row in layers if (row["setup"], row["dataflow"]) == (setup, flow)]
        whole = dict(own[0])
        for key in own[0]:
            if key == "macs" or key == "cycles" or key.endswith("_pj"):
                whole[key] = sum(row[key] for row in own)
        whole |= {
            "layer": "all" if len(own) == len(dims_of()) else ", ".join(r["layer"] for r in own),
            "schedule": None,
            "frames": min(row["frames"] for row in own),
            "counted_over_estimate": None,
        }
        beside = [references[row["layer"]] for row in own if row["layer"] in references]
        if len(beside) == len(own):
            for name, key in ADVANTAGES.items():
                whole[name] = whole[key] / sum(row[key] for row in beside)
        found.append(whole)
    return found


def _of(rows: Sequence[dict[str, Any]], setup: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["setup"] == setup]


def _levels_sheet(whole: Sequence[dict[str, Any]], setup: str) -> Sheet:
    """Return energy per multiply-accumulate of a set-up, by level."""
    rows = _of(whole, setup)
    if setup != "same":
        rows += [row for row in _of(whole, "same") if row["dataflow"] == REFERENCE]
    low, high = (published(f"eyeriss.rs_{name}").value for name in ("least", "most"))
    cells = []
    for row in rows:
        times = ["" if row[name] is None else f"{row[name]:.2f}" for name in ADVANTAGES]
        cells.append(
            [
                SHORT.get(row["dataflow"], row["dataflow"]),
                *(f"{row[f'{level}_pj'] / row['macs']:.2f}" for level in LEVELS),
                f"{row['counted_pj'] / row['macs']:.2f}",
                f"{row['estimated_pj'] / row['macs']:.2f}",
                *times,
            ]
        )
    right = (
        *(f"\n{level}" for level in LEVELS),
        "\nall",
        "\nestimate",
        "over RS,\ncounted",
        "\nestimated",
        "psums of\n8 bits",
    )
    title = f"Energy per MAC (a MAC = 1; published: {low:g} to {high:g} times RS): {TITLES[setup]}"
    return Sheet(title, ("\ndataflow",), right, cells)


def _layers_sheet(layers: Sequence[dict[str, Any]]) -> Sheet:
    """Return energy per multiply-accumulate of each convolution."""
    cells = []
    for setup, layer in dict.fromkeys((row["setup"], row["layer"]) for row in layers):
        own = {r["dataflow"]: r for r in layers if (r["setup"], r["layer"]) == (setup, layer)}
        numbers = [
            f"{own[flow]['counted_pj'] / own[flow]['macs']:.2f}" if flow in own else "-"
            for flow in FIXED
        ]
        row = own.get(REFERENCE)
        cells.append([setup, layer, row["schedule"] if row else "", *numbers])
    left = ("set-up", "layer", "schedule of RS")
    return Sheet("Energy per MAC by layer", left, [SHORT[flow] for flow in FIXED], cells)


def _notes(whole: Sequence[dict[str, Any]], layers: Sequence[dict[str, Any]]) -> list[str]:
    limits = [published(f"eyeriss.rs_{name}") for name in ("least", "most")]
    ratios = [row["counted_over_estimate"] for row in layers]
    notes = [
        f"{limits[0].source}; with the same total area, 256 PEs, batch 16. There every "
        "dataflow has its own split of the area into register files and buffer, which the slides "
        "do not give",
        f"assumed: {PES[0]} x {PES[1]} PEs of one multiplier; {RF_BYTES} bytes a PE are Eyeriss' "
        f"own 0.5 KB, {BUFFER_BYTES // 1024} KB of buffer are chosen (its chip has 108 KB); the "
        "rest is as in eyeriss-168. split: the same bytes in all, not the same area; 12 bytes are "
        "the smallest register file that the machine runs with",
        f"dense operands of 8 bits, psums of 32, table {TABLE}: a psum costs a register file one "
        "access, but buffer and array four operands. Published operands and psums have one width; "
        "'psums of 8 bits' counts them as one operand everywhere, with the same schedules",
        f"descriptors: the best estimates for energy, {BATCH} frames. Counted by the engine: all "
        f"{BATCH} frames, or {FEWER} with a search of their own where it would be over "
        f"{MOST_ROUNDS:,} rounds (frames in the CSV file), which reuse weights less; counts are "
        f"{min(ratios):.3f} to {max(ratios):.3f} times their estimates",
        "the restrictions of WS, OS and IS bind the order of rounds within an SRAM tile only, and "
        "any blocks and partitions are theirs: with large register files they reuse all three "
        "tensors there, as RS does, and are the same descriptor where one tile has few blocks. The "
        "published WS, OS and NLR reuse one tensor, or none, in the PEs",
        "split: a PE holds one activation, one weight and one psum, so the four are nearly alike; "
        "that they lie in the published range does not make each the design that was published. "
        "This machine writes every operand into a register file, also where it is used once",
    ]
    return notes + _causes(whole)


def _causes(whole: Sequence[dict[str, Any]]) -> list[str]:
    """Say of each set-up where RS is within what was published, and what makes the difference."""
    reference = next((r for r in whole if (r["setup"], r["dataflow"]) == ("same", REFERENCE)), None)
    if reference is None:
        return []
    low, high = (published(f"eyeriss.rs_{name}").value for name in ("least", "most"))
    notes = []
    for row in whole:
        times = row["rs_advantage"]
        if row["dataflow"] == REFERENCE or times is None:
            continue
        more = {
            level: row[f"{level}_pj"] / row["macs"] - reference[f"{level}_pj"] / reference["macs"]
            for level in LEVELS
        }
        most = max(more, key=lambda level: abs(more[level]))
        place = "below" if times < low else "above" if times > high else "within"
        notes.append(
            f"{row['setup']}, {SHORT[row['dataflow']]}: {times:.2f} times RS, {place} the "
            f"published range; the largest difference is {most}, {more[most]:+.2f} per MAC"
        )
    return notes


STUDY = Study(
    name="eyeriss-rs",
    title="Eyeriss: row stationary beside other dataflows, AlexNet's convolutions",
    file="eyeriss-rs",
    jobs=lambda: list(jobs()),
    report=report,
    has_figures=True,
    workers=1,
)
