"""The analyses by name."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..reader import Trace
    from ..selection import Selection
    from .finding import Finding, Progress

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
    "balance": Analysis(
        "Tell how evenly the PEs share the work of each layer.",
        options=("of",),
        size=(8, 4.5),
    ),
    "banks": Analysis(
        "Tell how accesses spread over the banks of memories, and how many conflict.",
        options=("banks", "ports", "interleave"),
        size=(8, 5),
    ),
    "energy": Analysis(
        "Tell the energy of each component or layer, and power over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins", "by"),
        size=(9, 6),
    ),
    "fifo": Analysis(
        "Tell how many messages wait in the event FIFO of each PE over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins",),
        size=(8, 5),
    ),
    "links": Analysis(
        "Tell how many flits each link of the network carries, and map them.",
        heeds=("layer", "unit", "frame"),
        size=(6, 5),
    ),
    "reuse": Analysis(
        "Tell how soon blocks of memories are touched again, and what caches would hit.",
        options=("block", "bins"),
        size=(8, 5),
    ),
    "utilization": Analysis(
        "Tell what the multipliers of each PE do, and what their slots are lost to, over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins",),
        size=(9, 6),
    ),
}
"""Name -> analysis. Their files are imported when they are asked for, kernels with them."""


def module(name: str) -> Any:
    """Return the module of an analysis."""
    return import_module(f".{name}", __package__)


def analyse(
    trace: "Trace",
    name: str,
    selection: "Selection | None" = None,
    progress: "Progress | None" = None,
    **options: Any,
) -> "Finding":
    """Analyse a trace.

    Parameters
    ----------
    trace : Trace
    name : str
        A key of `ANALYSES`.
    selection : Selection, optional
        Which part; None for the whole.
    progress : callable, optional
        Called with what is done and what there is in all.
    **options
        The analysis' own, see its function.

    Returns
    -------
    Finding

    Raises
    ------
    TraceError
        When there is no such analysis, it cannot heed an option, the selection leaves nothing, or
        the trace is damaged.

    Examples
    --------
    >>> import firemesh
    >>> with firemesh.open_trace(firemesh.sample_trace()) as trace:
    ...     found = firemesh.analyse(trace, "bandwidth", bins=10)
    >>> found.rows["memory"][0], int(found.rows["bytes"][0])
    (np.str_('storage'), 3192)
    """
    from ..errors import TraceError
    from ..selection import ALL
    from .finding import silent

    if name not in ANALYSES:
        raise TraceError(f"analysis: must be one of {', '.join(ANALYSES)}, got {name}")
    analysis, selection = ANALYSES[name], selection or ALL
    for field in SELECTION:
        if field not in analysis.heeds and getattr(selection, field) is not None:
            raise TraceError(f"{field}: cannot be heeded by {name}; leave it out")
    for option in options:
        if option not in analysis.options:
            known = ", ".join(analysis.options) or "no options"
            raise TraceError(f"{option}: is no option of {name}, which has {known}")
    find = getattr(module(name), name)
    found: Finding = find(trace, selection, progress=progress or silent, **options)
    if not len(found.rows):
        raise TraceError(
            f"{trace.path}: the selection leaves nothing for {name}; see firemesh trace stats for "
            "the accesses that there are"
        )
    return found
