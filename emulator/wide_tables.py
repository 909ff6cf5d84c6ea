"""Tables for people: columns that have no room beside the others follow below."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from .console import console

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP = 2
"""Characters between two columns."""
MOST_ROWS = 200
"""Rows that are printed."""
Cells = Mapping[str, Sequence[str]]


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

    Where it is wider than the page, names of columns are broken; columns that still have no room
    follow below, each part with the text columns that the table begins with.
    """
    names = rows.dtype.names or ()
    cells = {name: [shown(one) for one in rows[name][:MOST_ROWS].tolist()] for name in names}
    texts = {name for name in names if rows.dtype[name].kind == "U"}
    with console() as page:
        for number, part in enumerate(_parts(cells, texts, page.width)):
            if number:
                page.print()
            for line in _lines(part, texts):
                page.print(line, soft_wrap=True, highlight=False)
    if len(rows) > MOST_ROWS:
        typer.echo(f"... and {len(rows) - MOST_ROWS:,} rows; see --out or --json")


def _parts(cells: Cells, texts: set[str], width: int) -> list[dict[str, list[str]]]:
    """Return columns that are printed beside each other, with the lines of their heads."""
    columns = {name: [name.replace("_", " "), *column] for name, column in cells.items()}
    if sum(max(map(len, column)) + GAP for column in columns.values()) - GAP <= width:
        return [columns]
    least = {name: max(map(len, [*name.split("_"), *column])) for name, column in cells.items()}
    n_keys = next((i for i, name in enumerate(cells) if name not in texts), len(cells))
    names = list(cells)
    parts = [names[:n_keys]]
    for name in names[n_keys:]:
        used = sum(least[one] + GAP for one in parts[-1])
        if used + least[name] > width and len(parts[-1]) > n_keys:
            parts.append(names[:n_keys])
        parts[-1].append(name)
    return [_under_heads({name: cells[name] for name in part}, least, width) for part in parts]


def _under_heads(cells: Cells, least: Mapping[str, int], width: int) -> dict[str, list[str]]:
    """Return columns with their heads above them, broken into as few lines as there is room for."""
    wide = {name: least[name] for name in cells}
    spare = width - sum(wide.values()) - GAP * (len(wide) - 1)
    while True:
        heads = {name: textwrap.wrap(name.replace("_", " "), wide[name]) for name in cells}
        n = max(map(len, heads.values()), default=0)
        wider = {}
        for name in cells:
            wider[name] = wide[name]
            while len(textwrap.wrap(name.replace("_", " "), wider[name])) >= max(n, 2):
                wider[name] += 1
        spare -= sum(wider.values()) - sum(wide.values())
        if n <= 1 or spare < 0:
            break
        wide = wider
    return {name: [""] * (n - len(heads[name])) + heads[name] + [*cells[name]] for name in cells}


def _lines(columns: Cells, texts: set[str]) -> list[str]:
    """Return columns beside each other, line by line."""
    padded = []
    for name, column in columns.items():
        width = max(map(len, column), default=0)
        padded.append([c.ljust(width) if name in texts else c.rjust(width) for c in column])
    return [(" " * GAP).join(cells).rstrip() for cells in zip(*padded, strict=True)]
