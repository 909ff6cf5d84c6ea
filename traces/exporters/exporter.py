"""What every exporter takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..reader import Trace

Progress = Callable[[int, int], None]
"""Called with segments done and segments in all."""


@dataclass(frozen=True)
class Options:
    """What of a trace to export, and in which form.

    Parameters
    ----------
    layer : str, optional
        Only this layer.
    frame : int, optional
        Only this frame.
    relative : bool
        Cycle 0 is the first of what is exported, not the first of the run.
    split : bool
        A multicast is written as one packet for each destination.
    form : str, optional
        Of those that the format has; None for its first.
    """

    layer: str | None = None
    frame: int | None = None
    relative: bool = False
    split: bool = False
    form: str | None = None


@dataclass(frozen=True)
class Report:
    """What was written.

    Parameters
    ----------
    counts : dict
        How many of each thing, such as ``packets``.
    facts : dict
        What a user of the file must know, fit for JSON: choices, losses, options to call with.
    """

    counts: dict[str, int]
    facts: dict[str, Any] = field(default_factory=dict)


Export = Callable[[Trace, Path, Options, Progress], Report]
"""``export(trace, out, options, progress)`` writes ``out``, which no one reads before it returns.

It raises `firemesh.traces.errors.TraceError` where the trace or an option does not suit.
"""


class Exporter(NamedTuple):
    """A format, as a row of `firemesh.traces.exporters.export.EXPORTERS`.

    Parameters
    ----------
    write : callable
    about : str
        What the format is, in a few words.
    suffix : str
        That the file's name must have; empty for any.
    options : tuple of str
        Fields of `Options` that it heeds, beyond layer and frame.
    forms : tuple of str
        Values of ``form``.
    """

    write: Export
    about: str
    suffix: str = ""
    options: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
