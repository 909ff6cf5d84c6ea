"""The figure of study `flexnn`: energy of the dataflows by component, and speed-ups."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import figures
from .flexnn_dataflows import FIXED, FLEXIBLE, RIGID_FLOWS, SHORT, Total
from .flexnn_runs import MACHINE, NETWORKS, VARIANTS
from .flexnn_speed import DENSE, TITLES, Speed
from .published import published
from .sdn_figure import COMPONENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDER = (*FIXED, *RIGID_FLOWS, FLEXIBLE)
COLOURS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7")
"""Of the variants that skip something."""


def draw(totals: Sequence[Total], speeds: Sequence[Speed], path: Path) -> None:
    """Draw energy of each dataflow on each network, and below what skipping zeros saves.

    Parameters
    ----------
    totals : sequence of Total
    speeds : sequence of Speed
    path : Path
    """
    figures.draw(path, (11, 7), partial(_paint, totals, speeds))


def _paint(totals: Sequence[Total], speeds: Sequence[Speed], figure: "Figure") -> None:
    grid = figure.add_gridspec(2, len(NETWORKS), height_ratios=(3, 2))
    handles: dict[str, Any] = {}
    for column, network in enumerate(NETWORKS):
        axes = figure.add_subplot(grid[0, column])
        of_flow = {t.flow: t for t in totals if (t.network, t.objective) == (network, "energy")}
        _paint_energy(axes, network, of_flow)
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if column == 0:
            axes.set_ylabel("energy (flexible = 1)")
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=8,
        frameon=False,
        fontsize=8,
    )
    _paint_speed(figure.add_subplot(grid[1, :]), speeds)
    title = f"{MACHINE}: dataflows and two-sided sparsity (sizes assumed)"
    figure.suptitle(f"{title}; *: with the partitions of an array built for it", fontsize=10)


def _paint_energy(axes: "Axes", network: str, of_flow: dict[str, Total]) -> None:
    axes.set_title(network)
    if FLEXIBLE not in of_flow:
        axes.set_axis_off()
        return
    flows = [flow for flow in ORDER if flow in of_flow]
    low, scale = [0.0] * len(flows), [_scale(of_flow[flow]) for flow in flows]
    for name, colour in reversed(COMPONENTS.items()):
        parts = [of_flow[f].parts.get(name, 0.0) * k for f, k in zip(flows, scale, strict=True)]
        if max(parts) > 0:
            axes.bar(range(len(flows)), parts, bottom=low, color=colour, width=0.75, label=name)
            low = [base + part for base, part in zip(low, parts, strict=True)]
    for place, (flow, top) in enumerate(zip(flows, low, strict=True)):
        mark = f"\n-{len(of_flow[flow].without)}" if of_flow[flow].without else ""
        text = f"{top:.2f}{mark}" if top else "none"
        axes.text(place, top + 0.01 * max(low), text, ha="center", va="bottom", fontsize=6)
    names = [SHORT[flow] if flow != FLEXIBLE else "flex." for flow in flows]
    axes.set_xticks(range(len(flows)), names, fontsize=6.5)


def _scale(total: Total) -> float:
    """Return what makes flexible's energy over the same layers 1."""
    return 1 / total.flexible_cost if total.flexible_cost else 0.0


def _paint_speed(axes: "Axes", speeds: Sequence[Speed]) -> None:
    names = [name for name in VARIANTS if name != DENSE]
    width = 0.8 / len(names)
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        times = {one.network: one.times for one in speeds if one.variant == name}
        heights = [times.get(network) or 0.0 for network in NETWORKS]
        places = [n + (number - (len(names) - 1) / 2) * width for n in range(len(NETWORKS))]
        axes.bar(places, heights, width, color=colour, label=TITLES[name])
        for place, height in zip(places, heights, strict=True):
            if height:
                axes.text(place, height, f"{height:.2f}", ha="center", va="bottom", fontsize=7)
    limit = published("flexnn.sparsity_speedup").value
    axes.axhline(limit, color="black", linestyle="--", linewidth=1, label="published, up to")
    axes.axhline(1, color="#999999", linewidth=0.8)
    axes.set_xticks(range(len(NETWORKS)), NETWORKS)
    axes.set_ylabel("speed-up over dense")
    axes.legend(frameon=False, fontsize=8, ncols=6, loc="upper left")
    axes.set_ylim(0, max(limit, axes.get_ylim()[1]) * 1.2)
