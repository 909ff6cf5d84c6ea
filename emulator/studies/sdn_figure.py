"""The figure of study `flexnn-sdn`: cycles, slots and energy of layers over networks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..slots import LABELS, Cause
from . import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]
COMPONENTS = {
    "NoC": "#CC79A7",
    "DRAM": "#333333",
    "storage": "#0072B2",
    "register file": "#56B4E9",
    "accumulator": "#009E73",
    "sparsity": "#F0E442",
    "MAC": "#D55E00",
    "idle": "#999999",
}
"""Colours of what energy goes to, of every machine of mode flexnn."""


def key(component: str) -> str:
    """Return the name of a component's energy in a row."""
    return f"{component.lower().replace(' ', '_')}_uj"


def draw(rows: Rows, titles: dict[str, str], about: str, path: Path) -> None:
    """Draw cycles, slots and energy of each layer over all networks.

    Parameters
    ----------
    rows : sequence of dict
        Of the study's report.
    titles : dict
        Layer -> its panels' title.
    about : str
        Title of the whole.
    path : Path
    """
    figures.draw(path, (10, 8), partial(_paint, rows, titles, about))


def _paint(rows: Rows, titles: dict[str, str], about: str, figure: "Figure") -> None:
    panels = figure.subplots(3, len(titles), sharex="col", squeeze=False)
    for column, layer in enumerate(titles):
        of_layer = [row for row in rows if row["layer"] == layer]
        if not of_layer:
            for axes in panels[:, column]:
                axes.set_axis_off()
            continue
        _paint_cycles(panels[0, column], of_layer)
        _paint_slots(panels[1, column], of_layer)
        _paint_energy(panels[2, column], of_layer)
        panels[0, column].set_title(titles[layer], fontsize=9)
    for axes, label in zip(
        panels[:, 0], ("cycles", "multiplier slots (%)", "energy (µJ)"), strict=True
    ):
        axes.set_ylabel(label)
    _legend(panels[1], [LABELS[cause] for cause in Cause])
    _legend(panels[2], list(reversed(COMPONENTS)))
    figure.suptitle(about, fontsize=10)


def _legend(panels: "Sequence[Axes]", names: Sequence[str]) -> None:
    """Name the parts of bars beside the last panel, in the order in which they lie."""
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    shown = [name for name in reversed(names) if name in found]
    panels[-1].legend(
        [found[name] for name in shown], shown, loc="center left", bbox_to_anchor=(1.02, 0.5),
        frameon=False, fontsize=8,
    )  # fmt: skip


def _paint_cycles(axes: "Axes", rows: Rows) -> None:
    places = range(len(rows))
    axes.bar(places, [row["cycles"] for row in rows], color="#56B4E9", width=0.7)
    axes.set_yscale("log")
    top = max(row["cycles"] for row in rows)
    axes.set_ylim(min(row["cycles"] for row in rows) / 2, 4 * top)
    for place, row in zip(places, rows, strict=True):
        axes.text(place, row["cycles"] * 1.1, _times(row), ha="center", fontsize=8)


def _times(row: dict[str, Any]) -> str:
    return "" if row["times_bus"] is None else f"x{row['times_bus']:.1f}"


def _paint_slots(axes: "Axes", rows: Rows) -> None:
    low = [0.0] * len(rows)
    for cause in Cause:
        parts = [100 * row[f"slots_{cause.name.lower()}"] for row in rows]
        if max(parts) < 0.5:
            continue
        colour, hatch = figures.COLOURS[cause]
        axes.bar(
            range(len(rows)), parts, bottom=low, color=colour, hatch=hatch, width=0.7,
            edgecolor="#444444" if hatch else "white", linewidth=0.3, label=LABELS[cause],
        )  # fmt: skip
        low = [base + part for base, part in zip(low, parts, strict=True)]
    axes.set_ylim(0, 100)


def _paint_energy(axes: "Axes", rows: Rows) -> None:
    low = [0.0] * len(rows)
    for name, colour in reversed(COMPONENTS.items()):
        parts = [row[key(name)] for row in rows]
        if max(parts) > 0:
            axes.bar(range(len(rows)), parts, bottom=low, color=colour, width=0.7, label=name)
            low = [base + part for base, part in zip(low, parts, strict=True)]
    axes.set_xticks(range(len(rows)), [row["network"].replace(" ", "\n") for row in rows])
