"""What figures of analyses share: colours, layers marked over time, numbers on axes."""

from typing import TYPE_CHECKING, Any

from .finding import Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999")
"""M. Okabe and K. Ito's, which the colour-blind tell apart, and a grey."""
DARK = "#333333"
HATCHES = ("", "///", "...", "xxx")
"""For more parts than there are colours."""
CAUSES: dict[str, tuple[str, str]] = {
    "executed": ("#0072B2", ""),
    "ineffectual": ("#56B4E9", ""),
    "border": ("#F0E442", ""),
    "tile": ("#F0E442", "//"),
    "channel": ("#F0E442", ".."),
    "fire": ("#D55E00", ""),
    "fire_port": ("#E69F00", ""),
    "hazard": ("#CC79A7", "//"),
    "bank": ("#CC79A7", ".."),
    "peer": ("#CC79A7", ""),
    "inject": ("#CC79A7", "xx"),
    "decode": ("#009E73", ""),
    "drain": ("#999999", ""),
    "weights": (DARK, ""),
    "unused": ("#DDDDDD", ""),
    "rounding": ("#F0E442", "xx"),
    "imbalance": ("#D55E00", "//"),
    "empty": ("#009E73", "//"),
    "barrier": ("#D55E00", ".."),
    "load": ("#CC79A7", "++"),
    "dram": (DARK, "//"),
    "drain_bound": ("#E69F00", "//"),
    "fill": ("#999999", "//"),
}
"""Colour and hatching of a cause of slots, by its name; causes of one kind have one colour."""
CHARACTER, LINE = 0.065, 0.13
"""Inches of a small letter, and of a line of them."""
MOST_NAMES, MOST_LETTERS, ROW_LETTERS = 32, 19, 60
"""Names below an axis, letters of a name, and of names beside each other, at most."""
SMALL = 7
"""Points of small letters."""


def look_of(number: int) -> tuple[str, str]:
    """Return colour and hatching of the nth part of a stack."""
    return COLOURS[number % len(COLOURS)], HATCHES[number // len(COLOURS) % len(HATCHES)]


def part_look(colour: str, hatch: str) -> dict[str, Any]:
    """Return what matplotlib draws a part of a stack with."""
    lines = "#BBBBBB" if colour == DARK else "#444444"
    return {"facecolor": colour, "hatch": hatch, "edgecolor": lines if hatch else colour}


def outlined() -> list[Any]:
    """Return what makes a black line stand out, also from dark parts of a stack."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=3, foreground="white"), Normal()]


def mark_layers(axes: "Axes", found: Finding, with_names: bool = True) -> None:
    """Mark where layers begin on an axis of cycles, and write their names above the axes.

    A name that does not fit above its layer stands upright; where even that has no room it is
    left out.

    Parameters
    ----------
    axes : Axes
        That have the whole width of the figure; cycles of the run go to the right.
    found : Finding
        With the fact ``layers``, see `firemesh.traces.analyses.window.layer_spans`.
    with_names : bool
        Of axes above each other only the first need names.
    """
    spans = found.facts["layers"]
    low, high = spans[0]["first_cycle"], spans[-1]["end_cycle"]
    figure: Any = axes.get_figure(root=True)
    room = 0.8 * float(figure.get_size_inches()[0])
    free = -float("inf")
    for span in spans:
        begin, end = span["first_cycle"], span["end_cycle"]
        if begin > low:
            axes.axvline(begin, color="#BBBBBB", linewidth=0.6, zorder=0.5)
        if not with_names:
            continue
        name, inches = short(span["layer"]), room * (end - begin) / (high - low)
        is_flat = inches > CHARACTER * len(name)
        middle, half = (begin + end) / 2, 0.5 * LINE * (high - low) / room
        if is_flat or middle - half >= free:
            axes.annotate(
                name, (middle, 1), (0, 2), xycoords=axes.get_xaxis_transform(),
                textcoords="offset points", rotation=0 if is_flat else 90, ha="center",
                va="bottom", fontsize=SMALL, color="#555555", annotation_clip=False,
            )  # fmt: skip
            free = end if is_flat else middle + half
    axes.set_xlim(low, high)


def end_of(found: Finding) -> int:
    """Return the cycle behind the last one of what a finding looks at."""
    end: int = found.facts["layers"][-1]["end_cycle"]
    return end


def short(name: str) -> str:
    """Return a name with its middle left out where it is too long for a figure."""
    half = (MOST_LETTERS - 1) // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[-half:]}"


def time_axis(axes: "Axes") -> None:
    """Label an axis of cycles."""
    axes.set_xlabel("cycle")
    short_numbers(axes.xaxis)


def short_numbers(axis: Any, unit: str = "") -> None:
    """Write the numbers of an axis short: 2 M for 2,000,000, and the unit behind them."""
    from matplotlib.ticker import EngFormatter

    axis.set_major_formatter(EngFormatter(unit, sep=" "))


def title(figure: Any, text: str) -> None:
    """Write a title above all that is on a figure."""
    figure.suptitle(text, x=0.01, ha="left", fontsize="medium")


def name_units(axes: "Axes", names: Any) -> None:
    """Write names of units below an axis on which they stand at 0, 1, ...; some, if they are many.

    Parameters
    ----------
    axes : Axes
    names : array of str
    """
    step = -(-len(names) // MOST_NAMES)
    shown = [short(name) for name in names[::step]]
    is_upright = max(map(len, shown), default=0) * len(shown) > ROW_LETTERS
    axes.set_xticks(range(0, len(names), step), shown)
    axes.tick_params(axis="x", length=0, rotation=90 if is_upright else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)
