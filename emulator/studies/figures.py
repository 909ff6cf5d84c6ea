"""Causes in figures: colours and hatching, and their parts one on another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...traces.analyses.figure import CAUSES
from ...traces.figures import STYLE as STYLE
from ...traces.figures import check as check
from ...traces.figures import draw as draw
from ..slots import LABELS, Cause

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[Cause, tuple[str, str]] = {cause: CAUSES[cause.name.lower()] for cause in Cause}
"""Colour and hatching of a cause: M. Okabe and K. Ito's colours, which the colour-blind tell
apart; causes of one kind have one colour."""


def stack(
    axes: "Axes", x: Sequence[float], parts: Sequence[dict[Cause, float]], shown: Sequence[Cause]
) -> None:
    """Draw parts of all slots over x, one on another, in the order of the causes.

    Parameters
    ----------
    axes : Axes
    x : sequence of float
        Ascending.
    parts : sequence of dict
        For each x.
    shown : sequence of Cause
        Those that are drawn; what is missing to 100 % stays white.
    """
    low = [0.0] * len(x)
    for cause in shown:
        high = [base + 100 * part[cause] for base, part in zip(low, parts, strict=True)]
        colour, hatch = COLOURS[cause]
        axes.fill_between(
            x, low, high, facecolor=colour, hatch=hatch, edgecolor="#444444" if hatch else "white",
            linewidth=0.3, label=LABELS[cause],
        )  # fmt: skip
        low = high
