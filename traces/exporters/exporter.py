"""What every exporter takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..progress import Progress as Progress
from ..reader import Trace
from ..selection import ALL, Selection


@dataclass(frozen=True)
class Options:
    """What of a trace to export, and in which form.

    Parameters
    ----------
    selection : Selection
        Which accesses or packets.
    relative : bool
        Cycle 0 is the first of what is exported, not the first of the run.
    clock_hz : int, optional
        Of the consumer, whose cycles the file counts; None for the machine's.
    burst_bytes : int, optional
        Accesses are cut at multiples of it; None for what the format takes by default.
    merge : bool
        An access to the burst of the one before it is no record of its own.
    split : bool
        A multicast is written as one packet for each destination.
    form : str, optional
        Of those that the format has; None for its first.
    """

    selection: Selection = ALL
    relative: bool = False
    clock_hz: int | None = None
    burst_bytes: int | None = None
    merge: bool = False
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
    consumer : str
        The programs that read it.
    keeps, loses : str
        What of an access or packet they get to know, and what not.
    what : {"accesses", "packets", "both"}
    suffix : str
        That the file's name must have; empty for any.
    is_folder : bool
        Whether it is a folder of files.
    options : tuple of str
        Fields of `Options` that it heeds, beyond the selection.
    ignores : tuple of str
        Fields of `firemesh.traces.selection.Selection` that it cannot heed.
    forms : tuple of str
        Values of ``form``.
    folder_forms : tuple of str
        Those that are a folder of files where others are a file.
    """

    write: Export
    about: str
    consumer: str
    keeps: str
    loses: str
    what: str = "accesses"
    suffix: str = ""
    is_folder: bool = False
    options: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    folder_forms: tuple[str, ...] = ()
