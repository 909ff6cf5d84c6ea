"""Arguments and options that the commands of ``firemesh trace`` share."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..traces.selection import Selection, Wanted

File = Annotated[
    Path, typer.Argument(metavar="FILE.h5", help="Trace file, as run --trace writes it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Layer = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Only these layers; default: all.")
]
Unit = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Only these units, such as pe1,storage.")
]
Memory = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Only these memories, such as weight,psum.")
]
Op = Annotated[str | None, typer.Option(metavar="read|write", help="Only reads or writes.")]
Frame = Annotated[
    int | None, typer.Option(metavar="N", help="Only this frame, from 0; default: all.")
]
Cycles = Annotated[
    str | None, typer.Option(metavar="FROM:TO", help="Only these cycles of the run, TO excluded.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def selection(
    layer: str | None = None,
    unit: str | None = None,
    memory: str | None = None,
    op: str | None = None,
    frame: int | None = None,
    cycles: str | None = None,
) -> "Selection":
    """Return what the options select."""
    from ..traces.selection import Selection

    return Selection(
        _names(layer), _names(unit), _names(memory), _names(op),
        frame, None if cycles is None else _window(cycles),
    )  # fmt: skip


def _names(wanted: str | None) -> "Wanted":
    if wanted is None:
        return None
    return tuple(name.strip() for name in wanted.split(","))


def _window(cycles: str) -> tuple[int, int]:
    from ..traces.errors import TraceError

    found = re.fullmatch(r"(\d{1,18}):(\d{1,18})", cycles.replace("_", "").replace(",", ""))
    if found is None or int(found[1]) >= int(found[2]):
        raise TraceError(
            f"--cycles: must be FROM:TO with FROM below TO, such as 0:10000, got {cycles}"
        )
    return int(found[1]), int(found[2])
