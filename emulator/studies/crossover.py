"""Where multiply-and-fire and FlexNN cross: VGG-16 on one machine, at nine densities."""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from ...encoders.events import Window
from ...models.architecture import Architecture
from ...models.architectures import ARCHITECTURES
from ...models.recipe import Recipe, WeightRows
from ..flexnn.plan import KEPT
from ..hybrid.machine import HybridMachine
from ..machine import machine
from ..mnf.mapping import candidates
from ..shape import ConvShape
from .crossover_figure import draw
from .crossover_job import CrossoverJob
from .crossover_points import Counted, of_mode, with_executed
from .crossover_tables import (
    AUTOS,
    Point,
    component_sheets,
    crossings,
    crossings_sheets,
    layer_rows,
    lost_sheet,
    matrix_sheets,
    modes_sheet,
    point_row,
    share_notes,
)
from .job import Run
from .study import Report, Study

MACHINE, TABLE = "hybrid-256", "eyeriss"
NETWORK, WEIGHTS = "vgg16", 0.5
DENSITIES = tuple(n / 10 for n in range(1, 10))

SKIPS: Mapping[str, tuple[str, ...]] = {
    "dense": ("dense",),
    "activation": ("dense", "activation"),
    "weight": ("dense", "weight"),
}
"""What mode flexnn may skip in variants beside "both", the machine as it is."""

ONCE = ("dense", "weight")
"""Variants whose cycles and accesses do not depend on the activations' density."""

BOTH = "modes"
"""The run of both modes on the machine as it is."""


@cache
def found_machine(variant: str = BOTH) -> HybridMachine:
    """Return the preset, with what mode flexnn may skip in a variant."""
    found = machine(MACHINE).replace(energy=TABLE)
    if variant in SKIPS:
        found = found.replace(flexnn__sparsity__modes=SKIPS[variant])
    assert isinstance(found, HybridMachine)
    return found


def weight_rows(architecture: Architecture, hybrid: HybridMachine) -> WeightRows:
    """Return the weight rows of mode mnf's PEs, whose tiles follow from the layers' shapes.

    Parameters
    ----------
    architecture : Architecture
        A chain of convolutions, as far as it has any.
    hybrid : HybridMachine
    """
    channels, size, _ = architecture.shape
    tiles = []
    for spec in architecture.convolutions:
        after = (size + 2 * spec.pad - spec.kernel) // spec.stride + 1
        sides = ((side, side) for side in (spec.kernel, spec.stride, 1, spec.pad, after))
        shape = ConvShape(spec.filters, channels, size, size, spec.groups, Window(*sides))
        tiles.append((spec.name, candidates(shape, hybrid.of_mnf)[0].tile))
        channels, size = spec.filters, after
        if spec.pool:
            size = (size + 2 * spec.pool.pad - spec.pool.kernel) // spec.pool.stride + 1
    return WeightRows(hybrid.n_pes, hybrid.pe_multipliers, tuple(tiles))


def job(variant: str, density: float) -> CrossoverJob:
    """Return the run of both modes, or of a variant of mode flexnn, at a density."""
    rows = weight_rows(ARCHITECTURES[NETWORK], found_machine())
    recipe = Recipe(NETWORK, weights=f"rows:{WEIGHTS}", activations=density, rows=rows)
    modes = ("mnf", "flexnn") if variant == BOTH else ("flexnn",)
    return CrossoverJob(f"{variant}-{density}", recipe, found_machine(variant), modes=modes)


def densities(variant: str) -> tuple[float, ...]:
    """Return the densities at which a variant runs: one, where that says all."""
    return DENSITIES[len(DENSITIES) // 2 :][:1] if variant in ONCE else DENSITIES


def jobs() -> list[CrossoverJob]:
    """Return the runs of both modes at all densities, then those of the variants."""
    return [job(variant, d) for variant in (BOTH, *SKIPS) for d in densities(variant)]


def points(runs: Mapping[str, Run]) -> list[Point]:
    """Return what is known at each density at which both modes have run."""
    return [_point(d, runs) for d in DENSITIES if job(BOTH, d).name in runs]


def _point(density: float, runs: Mapping[str, Run]) -> Point:
    counted = Counted(runs[job(BOTH, density).name].layers, found_machine())
    layers = {"mnf": counted.by_mode["mnf"], "both": counted.by_mode["flexnn"]}
    for variant in SKIPS:
        at = densities(variant)[0] if variant in ONCE else density
        run = runs.get(job(variant, at).name)
        if run is not None:
            found = of_mode(run.layers, "flexnn")
            layers[variant] = found if at == density else with_executed(found, counted)
    return Point(density, counted, layers)


def report(runs: dict[str, Run]) -> Report:
    """Set modes, variants and the choice between the modes beside each other."""
    found = points(runs)
    rows = [
        point_row(point, name, total) for point in found for name, total in point.totals.items()
    ]
    sheets = []
    if found:
        sheets += matrix_sheets(found)
        sheets += [modes_sheet(found), *crossings_sheets(found)]
        sheets += [lost_sheet(found), *component_sheets(found)]
    texts = {
        "crossover-layers.csv": _csv([row for point in found for row in layer_rows(point)]),
        "crossover-points.csv": _csv(crossings(found)),
    }
    figure = {"crossover": partial(draw, found)} if found else {}
    return Report(rows, sheets, _notes(found), figure, texts)


def _notes(found: Sequence[Point]) -> list[str]:
    hybrid = found_machine()
    pays = hybrid.flexnn.sparsity.pays_below
    return [
        f"{MACHINE}: mode mnf and mode flexnn have the same mesh, {hybrid.n_pes} PEs of "
        f"{hybrid.pe_multipliers} multipliers, bytes of SRAM and storage ports; its sizes are "
        "assumed",
        "density: target share of activations that are not zero, of every layer's input but the "
        "image's, which is dense",
        "dense, activation, weight, both: what mode flexnn may skip; a tensor is skipped and "
        f"compressed only where less than {pays:g} of it is not zero, so activations are not at "
        "densities above",
        "multiplied: slots in which a multiplier worked; of two non-zeros: those whose weight and "
        "activation both are not zero, the same products in both modes (checked below). Mode mnf "
        "never multiplies an activation of zero, a multiplied zero there is a weight; where mode "
        "flexnn skips nothing, zeros of the padding are multiplied too",
        f"{' and '.join(ONCE)} ran at density {densities(ONCE[0])[0]:g} alone: where activations "
        "are neither skipped nor compressed, cycles and accesses do not depend on them (two "
        "densities gave the same cycles and energy); which multiplications are of two non-zeros "
        "is taken from the run of both modes at each density",
        *share_notes(found),
        "a layer of mode flexnn is followed by its max-pool on the host unit, whose cycles and "
        "accesses are the layer's here; mode mnf pools as it fires",
        f"{', '.join(AUTOS)}: the least cycles, energy, or product of both, over all choices of a "
        "mode for each layer, changes of form between layers of different modes included; each of "
        "them is at most the better pure mode, in its own objective",
        f"chosen: of mode flexnn's descriptors the engine counts the {KEPT['mesh']} best estimates "
        "for cycles, and the best of these runs; for energy others may be better",
        f"chosen: {NETWORK}'s convolutions; weights {WEIGHTS:g}, pruned by the rows of this "
        f"machine's PEs; energy table {TABLE}; one image, seed 0",
        "equal points are linear between densities",
    ]


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


STUDY = Study(
    name="crossover",
    title="Where multiply-and-fire and FlexNN cross: VGG-16 against the activations' density",
    file="crossover",
    jobs=lambda: list(jobs()),
    report=report,
    has_figures=True,
)
