"""FlexNN: every dataflow on every layer, and what skipping zeros saves, beside published limits."""

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

from .flexnn_dataflows import RIGID_FLOWS, Case, Total, cases, layer_row, totals
from .flexnn_figure import draw
from .flexnn_runs import DATAFLOWS, KEEP, MACHINE, NETWORKS, OBJECTIVES, RIGID, TABLE, job, jobs
from .flexnn_speed import Speed, barrier_notes, lost_sheet, row, speed_sheet, speeds
from .flexnn_tables import (
    cycles_sheet,
    law_notes,
    missing_notes,
    parts_sheet,
    rank_notes,
    rigid_sheet,
    savings_sheet,
    shared_notes,
    totals_sheet,
)
from .job import Run
from .published import published
from .sdn_figure import COMPONENTS, key
from .study import Report, Study

CHOSEN = (
    f"chosen: energy table {TABLE}; preset S1, seed 0, one frame; candidate set default. Of each "
    f"objective the {KEEP} best estimates and each fixed dataflow's best are counted by the engine "
    "on the layer's real bitmaps, those of all objectives once. A dataflow's number is its least "
    "count among all counted candidates that keep its restrictions, flexible's the least of all. "
    "Where the ofmap is zero is left out of these counts"
)
SPEED_CHOSEN = (
    "speed-ups: on each variant of the machine the search is for cycles, anew, and the least of "
    f"the {KEEP} best estimates' counts is taken (fixed dataflows' beside them are not counted); a "
    "variant may skip less where it pays. Cycles are those of the runs, with ofmaps compressed. "
    "no slot lost: multiplications of dense over those of two non-zeros"
)
LOOSE = (
    "the restrictions say what order the rounds of an SRAM tile have, and not how tiles follow one "
    "another: where a tile has one block of a dimension, it obeys several dataflows at once, and "
    "WS, OS and IS often are the same descriptor. Every dataflow also has the same flexible "
    "register file and partitions here. Accelerators of one dataflow have less freedom"
)
BUILT = (
    "*: chosen: the dataflow with the one dimension over rows and the one over columns that "
    "arrays built for it have: WS* IC, OC (first TPU), OS* and IS* OY, OX (ShiDianNao, SCNN); "
    "blocks, tiles and register files as flexible has them; best estimates for energy, counted. "
    "Depth-wise and fully connected layers leave most of such an array unused; so may others, as "
    "the search is for energy and an idle VPE takes none in this table"
)


def report(runs: dict[str, Run]) -> Report:
    """Compare dataflows and variants."""
    found: list[Case] = []
    for network in NETWORKS:
        if (name := job(network, DATAFLOWS).name) in runs:
            found += cases(network, runs[name], runs.get(job(network, RIGID).name))
    sums, times = totals(found), speeds(runs)
    rows = [_blank() | {"part": "dataflows"} | _total_row(total) for total in sums]
    rows += [_blank() | {"part": "sparsity"} | row(one) for one in times]
    sheets = []
    if found:
        sheets += [totals_sheet(sums, objective) for objective in OBJECTIVES]
        sheets += [rigid_sheet(sums)] if any(t.flow in RIGID_FLOWS for t in sums) else []
        sheets += [parts_sheet(sums), savings_sheet(found, sums), cycles_sheet(found)]
    if times:
        sheets += [speed_sheet(times), lost_sheet(times)]
    lines = [layer_row(case, flow) for case in found for flow in case.of_flow]
    figure = {"flexnn": partial(draw, sums, times)}
    return Report(
        rows, sheets, _notes(found, sums, times), figure, {"flexnn-layers.csv": _csv(lines)}
    )


def _total_row(total: Total) -> dict[str, Any]:
    return {
        "network": total.network,
        "objective": total.objective,
        "dataflow": total.flow,
        "layers_without": len(total.without),
        "cycles": total.cycles,
        "energy_uj": sum(total.parts.values()) * 1e-6,
        **{key(name): total.parts.get(name, 0.0) * 1e-6 for name in COMPONENTS},
        "saving_of_flexible": total.saving,
        "saving_without_dram": total.chip_saving,
    }


def _blank() -> dict[str, Any]:
    """Return a line without anything: lines of both parts have the same columns."""
    run = Run(1, 0, 1.0, [{"name": "", "cycles": 1, "slots": [1] * 23}], 0.0)
    total = Total("", "", "", 0, {}, (), 0.0, 0.0)
    names = {"part": None} | _total_row(total) | row(Speed("", "", run, None))
    return dict.fromkeys(names)


def _notes(found: Sequence[Case], sums: Sequence[Total], times: Sequence[Speed]) -> list[str]:
    saving, speedup = published("flexnn.energy_saving"), published("flexnn.sparsity_speedup")
    notes = [
        f"{saving.source}; {speedup.source}. On which networks, layers and array is not known",
        f"sizes of {MACHINE} are assumptions: the array, register files, SRAM and widths of the "
        "paper are not known, and nothing was tuned to meet its numbers",
    ]
    if found:
        notes.append(
            "every layer reads ifmap and weights from DRAM and writes its ofmap there, whatever "
            "the dataflow; where SRAM holds what is reused, DRAM's part is the same for all. "
            "Whether the published saving counts DRAM is not known; savings without it are told "
            "too"
        )
        notes += [
            *law_notes(found),
            *missing_notes(sums),
            *rank_notes(found),
            *shared_notes(found),
            LOOSE,
            BUILT,
            CHOSEN,
        ]
    if times:
        notes += [SPEED_CHOSEN, *barrier_notes(times)]
    return notes


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


STUDY = Study(
    name="flexnn",
    title="FlexNN: fixed and flexible dataflows, and two-sided sparsity, on four networks",
    file="flexnn",
    jobs=lambda: list(jobs()),
    report=report,
    has_figures=True,
)
