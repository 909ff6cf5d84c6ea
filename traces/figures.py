"""Figures with matplotlib: PNG and SVG, the same bytes each time."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TraceError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = (".png", ".svg")
STYLE: Any = {
    "svg.hashsalt": "firemesh",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.5,
    "figure.dpi": 150,
}


def check() -> None:
    """Raise an error when matplotlib is missing.

    Raises
    ------
    TraceError
        That says how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise TraceError(
            "figures need matplotlib; install it with: pip install 'firemesh[report]'"
        ) from None


def draw(path: Path, size: tuple[float, float], paint: Callable[["Figure"], None]) -> None:
    """Draw a figure into a file; the same figure gives the same bytes.

    Parameters
    ----------
    path : Path
        Of a .png or .svg file.
    size : (float, float)
        Inches.
    paint : callable
        Draws on the figure.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        is_svg = path.suffix == ".svg"
        about: dict[str, Any] = {"Date": None} if is_svg else {"Software": None}
        figure.savefig(path, metadata=about)
