"""The command line's analyses of traces: a command of ``firemesh trace`` for each."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..traces.analyses.catalogue import ANALYSES, SELECTION, Analysis, analyse
from . import cli_trace_options as shared
from .console import console, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

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
    "bins": (Annotated[int, typer.Option(metavar="N", help="Of time, at most.")], 100),
    "by": (
        Annotated[str, typer.Option(metavar="component|layer", help="What rows are of.")],
        "component",
    ),
    "of": (
        Annotated[
            str, typer.Option(metavar="busy|executed|accesses|bytes", help="What is compared.")
        ],
        "busy",
    ),
}
"""An analysis' own option -> what typer takes it for, and its default."""
Out = Annotated[
    Path | None, typer.Option(metavar="FILE.csv", help="Write the series, or the table, as CSV.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png|svg", help="Draw it (extra report).")]
GAP = 2
"""Characters between two columns of a table."""
MOST_ROWS = 200
"""Rows of a table that are printed."""


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
    from ..traces.reader import open_trace
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


def shown(value: Any) -> str:
    """Return a cell for people."""
    if isinstance(value, bool) or isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != value:
        return "-"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def print_table(rows: "NDArray[Any]") -> None:
    """Print a structured array, text to the left and numbers to the right.

    Where it is wider than the page, columns that have no room follow below, each part with the
    text columns that the table begins with.
    """
    with console() as page:
        cells = {
            name: [shown(value) for value in rows[name][:MOST_ROWS].tolist()]
            for name in rows.dtype.names or ()
        }
        texts = [name for name in cells if rows.dtype[name].kind == "U"]
        for number, names in enumerate(_parts(cells, set(texts), page.width)):
            if number:
                page.print()
            page.print(_table({name: cells[name] for name in names}, texts))
    if len(rows) > MOST_ROWS:
        typer.echo(f"... and {len(rows) - MOST_ROWS:,} rows; see --out or --json")


def _parts(cells: dict[str, list[str]], texts: set[str], width: int) -> list[list[str]]:
    """Return which columns are printed beside each other."""
    least = {name: _width(name, column) + GAP for name, column in cells.items()}
    names = list(cells)
    n_keys = next((i for i, name in enumerate(names) if name not in texts), len(names))
    keys, parts = names[:n_keys], [names[:n_keys]]
    for name in names[n_keys:]:
        used = sum(least[one] for one in parts[-1])
        if used + least[name] > width and len(parts[-1]) > n_keys:
            parts.append(list(keys))
        parts[-1].append(name)
    return parts


def _width(name: str, column: Sequence[str]) -> int:
    """Return how wide a column is at least: its name may be broken at blanks, its cells not."""
    return max(map(len, [*name.split("_"), *column]))


def _table(cells: dict[str, list[str]], texts: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name, column in cells.items():
        justify: Any = "left" if name in texts else "right"
        least = _width(name, column)
        table.add_column(
            name.replace("_", " "), justify=justify, vertical="bottom", min_width=least
        )
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table
