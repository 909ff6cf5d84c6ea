"""The analyses by name."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..progress import Progress
    from ..reader import Trace
    from ..selection import Selection
    from .finding import Finding

SELECTION = ("layer", "unit", "memory", "op", "frame", "cycles")


class Analysis(NamedTuple):
    """An analysis: a file of this folder with a function of its name.

    ``NAME(trace, selection, progress=..., **options)`` returns a
    `firemesh.traces.analyses.finding.Finding`, which knows how it is drawn.

    Parameters
    ----------
    about : str
        One sentence.
    heeds : tuple of str
        Fields of `firemesh.traces.selection.Selection`.
    options : tuple of str
        Its own ones.
    """

    about: str
    heeds: tuple[str, ...] = SELECTION
    options: tuple[str, ...] = ()


ANALYSES = {
    "bandwidth": Analysis(
        "Tell how many bytes each memory reads and writes over time.",
        options=("bins",),
    ),
    "balance": Analysis(
        "Tell how evenly the PEs share the work of each layer.",
        options=("of",),
    ),
    "banks": Analysis(
        "Tell how accesses spread over the banks of memories, and how many conflict.",
        options=("banks", "ports", "interleave"),
    ),
    "energy": Analysis(
        "Tell the energy of each component or layer, and power over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins", "by"),
    ),
    "fifo": Analysis(
        "Tell how many messages wait in the event FIFO of each PE over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins",),
    ),
    "links": Analysis(
        "Tell how many flits each link of the network carries, and map them.",
        heeds=("layer", "unit", "frame"),
    ),
    "reuse": Analysis(
        "Tell how soon blocks of memories are touched again, and what caches would hit.",
        options=("block", "bins"),
    ),
    "utilization": Analysis(
        "Tell what the multipliers of each PE do, and what their slots are lost to, over time.",
        heeds=("layer", "unit", "frame", "cycles"),
        options=("bins",),
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
    from ..progress import silent
    from ..selection import ALL

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
