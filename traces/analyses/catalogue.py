"""The analyses by name."""

from importlib import import_module
from typing import Any, NamedTuple

SELECTION = ("layer", "unit", "memory", "op", "frame", "cycles")


class Analysis(NamedTuple):
    """An analysis: a file of this folder with a function of its name, and ``draw``.

    ``NAME(trace, selection, progress=..., **options)`` returns a
    `firemesh.traces.analyses.finding.Finding`, ``draw(finding, figure)`` paints it on a
    matplotlib figure.

    Parameters
    ----------
    about : str
        One sentence.
    heeds : tuple of str
        Fields of `firemesh.traces.selection.Selection`.
    options : tuple of str
        Its own ones.
    size : (float, float)
        Inches of its figure.
    """

    about: str
    heeds: tuple[str, ...] = SELECTION
    options: tuple[str, ...] = ()
    size: tuple[float, float] = (8.0, 5.0)


ANALYSES = {
    "bandwidth": Analysis(
        "Tell how many bytes each memory reads and writes over time.",
        options=("bins",),
        size=(8, 7),
    ),
}
"""Name -> analysis. Their files are imported when they are asked for, kernels with them."""


def module(name: str) -> Any:
    """Return the module of an analysis."""
    return import_module(f".{name}", __package__)
