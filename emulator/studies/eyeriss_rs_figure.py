"""The figure of study `eyeriss-rs`: energy per multiply-accumulate, stacked by level."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import figures
from .flexnn_dataflows import FIXED, SHORT
from .published import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "MAC": "#D55E00",
    "RF": "#56B4E9",
    "array": "#CC79A7",
    "buffer": "#0072B2",
    "DRAM": "#333333",
}
"""Of the levels, from the bottom of a bar."""


def draw(whole: Sequence[dict[str, Any]], titles: Mapping[str, str], path: Path) -> None:
    """Draw energy per multiply-accumulate of each dataflow in each set-up.

    Parameters
    ----------
    whole : sequence of dict
        Lines over all layers, of the study's report.
    titles : dict
        Set-up -> its panel's title.
    path : Path
    """
    figures.draw(path, (9, 4.5), partial(_paint, whole, titles))


def _paint(whole: Sequence[dict[str, Any]], titles: Mapping[str, str], figure: "Figure") -> None:
    panels = figure.subplots(1, len(titles), sharey=True)
    for axes, (setup, title) in zip(panels, titles.items(), strict=True):
        rows = [row for row in whole if row["setup"] == setup]
        if setup != "same":
            rows += [r for r in whole if (r["setup"], r["dataflow"]) == ("same", FIXED[-1])]
        _paint_setup(axes, rows)
        axes.set_title(title.replace("; ", ";\n").replace(" and ", "\nand "), fontsize=9)
    panels[0].set_ylabel("energy per MAC (a MAC = 1)")
    panels[-1].legend(
        *(part[::-1] for part in panels[0].get_legend_handles_labels()),
        loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
    )  # fmt: skip
    low, high = (published(f"eyeriss.rs_{name}").value for name in ("least", "most"))
    figure.suptitle(
        f"AlexNet's convolutions, 256 PEs; above: times RS (published {low:g} to {high:g})",
        fontsize=10,
    )


def _paint_setup(axes: "Axes", rows: Sequence[dict[str, Any]]) -> None:
    low = [0.0] * len(rows)
    for level, colour in COLOURS.items():
        parts = [row[f"{level}_pj"] / row["macs"] for row in rows]
        axes.bar(range(len(rows)), parts, bottom=low, color=colour, width=0.7, label=level)
        low = [base + part for base, part in zip(low, parts, strict=True)]
    for place, (row, top) in enumerate(zip(rows, low, strict=True)):
        times = row["rs_advantage"]
        text = "" if times is None else f"{times:.2f}"
        axes.text(place, top, text, ha="center", va="bottom", fontsize=8)
    names = [SHORT.get(row["dataflow"], row["dataflow"]) for row in rows]
    axes.set_xticks(range(len(rows)), names)
