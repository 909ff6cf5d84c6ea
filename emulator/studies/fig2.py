"""The MNF paper's Figure 2: utilisation against density, and what takes the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models.architectures import one_layer
from ...models.recipe import Recipe
from ..machine import mnf_machine as machine
from ..slots import BUSY, Cause
from ..tables import percent
from . import figures
from .causes import LOST, WORDS, label, largest
from .job import Job, Run
from .published import layers, layers_source, paper, published
from .sheet import Sheet
from .study import Report, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MACHINE = "mnf-22nm"
LAYER_GRID = (0.1, 0.2, 0.3, 0.5, 1.0)
VGG_GRID = (0.1, 0.3, 0.6, 1.0)
VGG_ROWS_GRID = (0.1, 0.3, 0.5, 0.6, 1.0)
"""With the density up to which the weights of VGG-16 fit the PEs."""

CHOSEN = (
    "chosen, so that everything takes under ten minutes on two quiet cores: densities 0.1, 0.2, "
    "0.3, 0.5 and 1 for the layers; 0.1, 0.3, 0.6 and 1 for vgg16, over rows also 0.5, up to which "
    "its weights fit the PEs, and there no line with dense activations; one image, seed 0; rows "
    "pruned balanced; a layer's outputs are as dense as its inputs"
)


@dataclass(frozen=True)
class Line:
    """Runs over a density, the other one fixed.

    Parameters
    ----------
    axis : {"activations", "rows"}
        The density that varies.
    fixed : float
        The other.
    """

    axis: str
    fixed: float

    def point(self, x: float) -> tuple[float, float]:
        """Return the densities of activations and of rows at a place of the line."""
        return (x, self.fixed) if self.axis == "activations" else (self.fixed, x)

    @property
    def title(self) -> str:
        """For people."""
        other = "rows" if self.axis == "activations" else "activations"
        return f"{other} {self.fixed:g}"


LINES = (
    Line("activations", 0.5),
    Line("activations", 1.0),
    Line("rows", 0.3),
    Line("rows", 1.0),
)


def networks() -> list[str]:
    """Return the names of the layers and networks."""
    return [*layers(), "vgg16"]


def grid(network: str, line: Line) -> tuple[float, ...]:
    """Return the densities of a line; none where there is no such line."""
    if network != "vgg16":
        return LAYER_GRID
    if line == LINES[3]:
        return ()
    return VGG_GRID if line.axis == "activations" else VGG_ROWS_GRID


def job(network: str, activations: float, rows: float) -> Job:
    """Return the run of a point."""
    own = None
    if network in layers():
        own = one_layer(network, **layers()[network], source=layers_source())
    recipe = Recipe(network, weights=f"rows:{rows:g}", activations=activations, own=own)
    return Job(f"{network}-a{activations:g}-r{rows:g}", recipe, machine(MACHINE))


def jobs() -> list[Job]:
    """Return the runs of all points, each once, the longest first."""
    points = {
        (network, *line.point(x))
        for network in networks()
        for line in LINES
        for x in grid(network, line)
    }
    size = {name: n for n, name in enumerate(("layer2", "layer1", "layer3", "vgg16"))}
    order = sorted(points, key=lambda p: (-size[p[0]], -p[1] * p[2], p))
    return [job(*point) for point in order]


def report(runs: dict[str, Run]) -> Report:
    """Tell utilisation and causes of every point."""
    rows = [
        _row(network, line, x, runs[name])
        for network in networks()
        for line in LINES
        for x in grid(network, line)
        if (name := job(network, *line.point(x)).name) in runs
    ]
    drawn = {"fig2": partial(draw, rows)}
    return Report(rows, [_sheet(rows, axis) for axis in _AXES], _notes(rows), drawn)


_AXES = {
    "activations": "over the density of activations",
    "rows": "over the density of weight rows",
}


def _row(network: str, line: Line, x: float, run: Run) -> dict[str, Any]:
    activations, rows = line.point(x)
    parts = run.parts
    return {
        "network": network,
        "axis": line.axis,
        "activations": activations,
        "rows": rows,
        "activations_reached": run.total("active") / run.total("inputs"),
        "weights_reached": run.density,
        "cycles": run.cycles,
        "events": run.total("events"),
        "waves": run.total("waves"),
        "published_utilization": published("utilization").value,
        "utilization": run.utilization,
        **{f"slots_{cause.name.lower()}": parts[cause] for cause in Cause},
    }


def _of(rows: Sequence[dict[str, Any]], network: str, line: Line) -> list[dict[str, Any]]:
    """Return the points of a line."""
    other = "rows" if line.axis == "activations" else "activations"
    return [
        row
        for row in rows
        if row["network"] == network and row["axis"] == line.axis and row[other] == line.fixed
    ]


def _sheet(rows: Sequence[dict[str, Any]], axis: str) -> Sheet:
    cells = []
    for row in (row for row in rows if row["axis"] == axis):
        parts = _parts(row)
        lost = ", ".join(f"{label(cause)} {percent(parts[cause])}" for cause in largest(parts, 3))
        cells.append(
            [
                row["network"],
                lost,
                f"{row['activations']:.2f}",
                f"{row['rows']:.2f}",
                f"{row['cycles'] / 1e6:.3f}",
                percent(row["utilization"]),
            ]
        )
    right = ("density of\nactivations", "density\nof rows", "\nM cycles", "\nutil.")
    title = f"Utilisation of {machine(MACHINE).multipliers} multipliers {_AXES[axis]}"
    return Sheet(title, ("\nnetwork", "\nlost most to"), right, cells)


def _parts(row: dict[str, Any]) -> dict[Cause, float]:
    return {cause: row[f"slots_{cause.name.lower()}"] for cause in Cause}


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    claim = published("utilization")
    best = max(rows, key=lambda row: row["utilization"])
    least = min(rows, key=lambda row: row["utilization"])
    found = [
        f"{row['network']} {percent(row['utilization'])} (activations {row['activations']:g}, "
        f"rows {row['rows']:g})"
        for row in (least, best)
    ]
    seen = [cause for cause in LOST if max(_parts(row)[cause] for row in rows) >= 0.01]
    return [
        f"paper ({claim.source}): near 100 % at every density; emulated: {found[0]} to {found[1]}",
        f"published: {paper()}; layers: {layers_source()}",
        *(f"{label(cause)}: {WORDS[cause]}" for cause in seen),
        CHOSEN,
    ]


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the slots of all lines, a row of panels per network."""
    figures.draw(path, (10, 10), partial(_paint, rows))


def _paint(rows: Sequence[dict[str, Any]], figure: "Figure") -> None:
    shown = [c for c in Cause if max((_parts(row)[c] for row in rows), default=0) >= 0.005]
    panels = figure.subplots(len(networks()), len(LINES), sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for network, of_network in zip(networks(), panels, strict=True):
        for line, axes in zip(LINES, of_network, strict=True):
            found = _of(rows, network, line)
            if not found:
                axes.set_axis_off()
                continue
            _panel(axes, network, line, found, shown)
            names = axes.get_legend_handles_labels()
            handles |= dict(zip(names[1], names[0], strict=True))
    for axes in panels[:, 0]:
        axes.set_ylabel("multiplier slots (%)")
    order = [label(cause) for cause in shown if label(cause) in handles]
    rest = [name for name in handles if name not in order]
    names = [*rest, *reversed(order)]
    panels[-1, -1].legend(
        [handles[name] for name in names], names, loc="center", frameon=False, fontsize=8
    )
    claim = published("utilization").source.removeprefix("published, ")
    figure.suptitle(f"Slots of {MACHINE} against density. Paper, {claim}", fontsize=9)


def _panel(
    axes: "Axes", network: str, line: Line, rows: Sequence[dict[str, Any]], shown: Sequence[Cause]
) -> None:
    x = [row[line.axis] for row in rows]
    figures.stack(axes, x, [_parts(row) for row in rows], shown)
    used = [100 * sum(_parts(row)[cause] for cause in BUSY) for row in rows]
    axes.plot(x, used, "o-", color="black", markersize=3, linewidth=1, label="utilisation")
    claim = 100 * published("utilization").value
    axes.axhline(claim, color="black", linestyle="--", linewidth=1.5, label="paper's claim")
    axes.set_xlim(0.1, 1)
    axes.set_ylim(0, 104)
    axes.set_xticks([0.2, 0.4, 0.6, 0.8, 1])
    axes.set_title(f"{network}, {line.title}", fontsize=9)
    axes.set_xlabel(f"density of {line.axis}")


STUDY = Study(
    name="mnf-fig2",
    title="MNF paper, Figure 2: utilisation of the multipliers against density",
    file="fig2",
    jobs=jobs,
    report=report,
    has_figures=True,
)
