"""The figure of study `crossover`: both modes against density, and which one each layer takes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import figures
from .crossover_points import Sum
from .crossover_tables import NETWORK, PURE, Point, equal_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "mnf": ("mnf", {"color": "#D55E00", "marker": "o"}),
    "dense": ("flexnn, dense", {"color": "#777777", "marker": "v"}),
    "weight": ("flexnn, weight", {"color": "#E69F00", "marker": "^"}),
    "activation": ("flexnn, activation", {"color": "#56B4E9", "marker": "s"}),
    "both": ("flexnn, both", {"color": "#0072B2", "marker": "D"}),
    "auto": ("auto", {"color": "black", "linestyle": "--", "linewidth": 1}),
}
"""Name and style of a variant's line; M. Okabe and K. Ito's colours."""

PANELS: Mapping[str, tuple[Callable[[Sum], float], str]] = {
    "million cycles": (lambda total: total.cycles * 1e-6, "log"),
    "energy (mJ)": (lambda total: total.pj * 1e-9, "log"),
    "slots that multiply\ntwo non-zeros (%)": (lambda total: 100 * total.useful, "linear"),
}
"""Number and scale; the first are those of `MAPS`."""

MAPS: Mapping[str, tuple[str, str, Callable[[Sum], float]]] = {
    "cycles": ("cycles: mnf / flexnn", "auto", lambda total: total.cycles),
    "energy": ("energy: mnf / flexnn", "auto-energy", lambda total: total.pj),
}
"""Title, the choice that is marked, and the number."""

MOST = 4.0
"""Ratio, or its inverse, from which colours are the same."""


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw variants of the network against density, and below the ratio of both modes by layer.

    Parameters
    ----------
    points : sequence of Point
        Ascending in density.
    path : Path
    """
    figures.draw(path, (10, 7.2), partial(_paint, points))


def _paint(points: Sequence[Point], figure: "Figure") -> None:
    halves: Any = figure.subfigures(2, 1, height_ratios=(4, 5))
    above, below = halves
    panels = above.subplots(1, len(PANELS), squeeze=False)[0]
    equal = equal_points(points).get(NETWORK, {})
    for axes, (title, (number, scale)) in zip(panels, PANELS.items(), strict=True):
        _paint_lines(axes, points, number, scale)
        axes.set_ylabel(title)
        axes.set_xlabel("density of activations")
    for axes, name, (number, _) in zip(panels, MAPS, PANELS.values(), strict=False):
        if name in equal:
            _mark(axes, points, equal[name].places, number)
    handles, labels = panels[0].get_legend_handles_labels()
    above.legend(
        handles, labels, loc="outside upper center", ncols=len(LINES), frameon=False, fontsize=8
    )
    maps = below.subplots(1, len(MAPS), squeeze=False)[0]
    images = [_paint_map(axes, points, name) for axes, name in zip(maps, MAPS, strict=True)]
    maps[0].set_ylabel("layer")
    bar = below.colorbar(images[0], ax=list(maps), ticks=[-2, -1, 0, 1, 2], pad=0.01)
    bar.ax.set_yticklabels(["1/4", "1/2", "1", "2", "4"])
    bar.set_label("below 1 mnf takes less, above 1 flexnn")


def _paint_lines(
    axes: "Axes", points: Sequence[Point], number: Callable[[Sum], float], scale: str
) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale(scale)
    for name, (label, style) in LINES.items():
        known = [(p.density, number(p.totals[name])) for p in points if name in p.totals]
        if known:
            x, y = zip(*known, strict=True)
            axes.plot(x, y, markersize=4, label=label, **style)
    if scale == "linear":
        axes.set_ylim(0, 100)
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([point.density for point in points])
    axes.grid(True, color="#DDDDDD", linewidth=0.5)


def _mark(
    axes: "Axes", points: Sequence[Point], places: Sequence[float], number: Callable[[Sum], float]
) -> None:
    """Mark where both modes are equal."""
    x = [point.density for point in points]
    for place in places:
        after = next(n for n, density in enumerate(x) if density >= place)
        part = (place - x[after - 1]) / (x[after] - x[after - 1])
        low, high = (number(points[n].totals[PURE["mnf"]]) for n in (after - 1, after))
        at = low + part * (high - low)
        axes.plot([place], [at], "o", markersize=11, markerfacecolor="none", color="black")
        axes.annotate(
            f"equal at {place:.2f}", (place, at), (8, -16), textcoords="offset points", fontsize=8
        )


def _paint_map(axes: "Axes", points: Sequence[Point], name: str) -> Any:
    """Draw the ratio of both modes by layer and density; frame what the choice runs in mode mnf."""
    from matplotlib.patches import Rectangle

    title, choice, number = MAPS[name]
    units = list(dict.fromkeys(unit for point in points for unit in point.of_layers))
    ratios = [[_ratio(point, unit, number) for point in points] for unit in units]
    image = axes.imshow(
        [[max(-2.0, min(2.0, log2(ratio))) for ratio in row] for row in ratios],
        cmap="PuOr", vmin=-log2(MOST), vmax=log2(MOST), aspect="auto",
    )  # fmt: skip
    for line, row in enumerate(ratios):
        for column, ratio in enumerate(row):
            is_dark = abs(log2(ratio)) > 0.7 * log2(MOST)
            axes.text(
                column, line, f"{ratio:.2f}", color="white" if is_dark else "black",
                fontsize=7, ha="center", va="center",
            )  # fmt: skip
            if points[column].modes[choice].get(units[line]) == "mnf":
                box = (column - 0.46, line - 0.46), 0.92, 0.92
                axes.add_patch(Rectangle(*box, fill=False, edgecolor="black", linewidth=1.8))
    axes.set_xticks(range(len(points)), [f"{point.density:.1f}" for point in points])
    axes.set_yticks(range(len(units)), units, fontsize=8)
    axes.set_xlabel("density of activations")
    axes.set_title(f"{title}; framed: {choice} takes mnf", fontsize=9)
    return image


def _ratio(point: Point, unit: str, number: Callable[[Sum], float]) -> float:
    mnf, both = (point.of_layers.get(unit, {}).get(name) for name in PURE.values())
    if mnf is None or both is None or not number(both):
        return 1.0
    return max(1e-6, number(mnf) / number(both))
