"""The command line's analyses of traces: a command of ``firemesh trace`` for each."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..traces.analyses.catalogue import ANALYSES, SELECTION, Analysis, analyse
from . import cli_trace_options as shared
from .console import progress
from .wide_tables import print_table, shown

if TYPE_CHECKING:
    from ..traces.analyses.finding import Finding

SELECTING: dict[str, Any] = {
    "layer": shared.Layer,
    "unit": shared.Unit,
    "memory": shared.Memory,
    "op": shared.Op,
    "frame": shared.Frame,
    "cycles": shared.Cycles,
}
OPTIONS: dict[str, tuple[Any, Any]] = {
    "banks": (
        Annotated[int | None, typer.Option(metavar="N", help="As if memories had so many.")],
        None,
    ),
    "bins": (Annotated[int, typer.Option(metavar="N", help="Of time, at most.")], 100),
    "block": (
        Annotated[
            int | None, typer.Option(metavar="BYTES", help="Of a block; default: a memory's word.")
        ],
        None,
    ),
    "by": (
        Annotated[str, typer.Option(metavar="component|layer", help="What rows are of.")],
        "component",
    ),
    "interleave": (
        Annotated[
            int | None,
            typer.Option(metavar="BYTES", help="As if so many lay in a bank, and so on around."),
        ],
        None,
    ),
    "of": (
        Annotated[
            str, typer.Option(metavar="busy|executed|accesses|bytes", help="What is compared.")
        ],
        "busy",
    ),
    "ports": (
        Annotated[int | None, typer.Option(metavar="N", help="As if banks had so many.")],
        None,
    ),
}
"""An analysis' own option -> what typer takes it for, and its default."""
Out = Annotated[
    Path | None, typer.Option(metavar="FILE.csv", help="Write the series, or the table, as CSV.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png|svg", help="Draw it (extra report).")]


def add_analyses(group: typer.Typer) -> None:
    """Add a command for each analysis to a group."""
    for name, analysis in ANALYSES.items():
        group.command(name)(_command(name, analysis))


def _command(name: str, analysis: Analysis) -> Callable[..., None]:
    """Return the function that typer makes a command of, with the analysis' options."""

    def run(path: Path, as_json: bool, out: Path | None, plot: Path | None, **given: Any) -> None:
        selected = {field: given.pop(field) for field in analysis.heeds}
        _run(name, path, selected, given, as_json, out, plot)

    kinds: dict[str, tuple[Any, Any]] = {"path": (shared.File, inspect.Parameter.empty)}
    kinds |= {field: (SELECTING[field], None) for field in SELECTION if field in analysis.heeds}
    kinds |= {option: OPTIONS[option] for option in analysis.options}
    kinds |= {"out": (Out, None), "plot": (Plot, None), "as_json": (shared.AsJson, False)}
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(option, named, default=default, annotation=kind)
            for option, (kind, default) in kinds.items()
        ]
    )
    run.__annotations__ = {option: kind for option, (kind, _) in kinds.items()}
    run.__doc__ = analysis.about
    run.__name__ = name
    return run


def _run(
    name: str,
    path: Path,
    selected: dict[str, Any],
    given: dict[str, Any],
    as_json: bool,
    out: Path | None,
    plot: Path | None,
) -> None:
    from ..traces.analyses.finding import records
    from ..traces.opened import open_trace
    from .outputs import check_figure, check_outputs, write_table

    check_outputs({"--out": out, "--plot": plot}, [path])
    check_figure("--plot", plot)
    wanted = shared.selection(**selected)
    with open_trace(path) as trace, progress("") as bar:
        task = bar.add_task("", total=None)
        found = analyse(
            trace, name, wanted,
            lambda done, total: bar.update(task, completed=done, total=total), **given,
        )  # fmt: skip
    if out:
        write_table(out, records(found.rows if found.series is None else found.series))
    if plot:
        found.plot(plot)
    _tell(found, as_json)


def _tell(found: "Finding", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1, allow_nan=False))
        return
    for key, value in found.facts.items():
        if isinstance(value, str | int | float) and key != "clock_hz":
            typer.echo(f"{key.replace('_', ' '):14} {shown(value)}")
    print_table(found.rows)
