"""The command line's ``firemesh trace diff``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_trace_options import AsJson, Cycles, Frame, Layer, Memory, Op, Unit, selection
from .console import console, progress

if TYPE_CHECKING:
    from ..traces.diff.difference import Difference
    from ..traces.diff.streams import Divergence

SAME, DIFFERENT = 0, 1
MOST_LINES = 20
MOST_TEXT = 60
MOST_ROWS = 200
PLURAL = {"access": "accesses", "packet": "packets", "arrival": "arrivals"}
WHERE = {"access": "unit", "packet": "source", "arrival": "unit"}
OF_ONE = {
    "access": ("unit", "layer", "memory", "op"),
    "packet": ("source", "layer", "number"),
    "arrival": ("unit", "layer", "source", "number"),
}
"""What two rows share that are told as one whose other fields differ."""


def diff(
    a: Annotated[Path, typer.Argument(metavar="A.h5", help="Trace file.")],
    b: Annotated[Path, typer.Argument(metavar="B.h5", help="Another.")],
    layer: Layer = None,
    unit: Unit = None,
    memory: Memory = None,
    op: Op = None,
    frame: Frame = None,
    cycles: Cycles = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Count cycles from the begin of each layer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell where two traces begin to differ, and in what; exit code 1 when they do."""
    from ..traces.diff.difference import diff as compare
    from ..traces.opened import open_trace

    chosen = selection(layer, unit, memory, op, frame, cycles)
    with open_trace(a) as first, open_trace(b) as second, progress("") as bar:
        task = bar.add_task("", total=None)
        found = compare(
            first, second, chosen, relative,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        _tell(found)
    raise typer.Exit(SAME if found.is_same else DIFFERENT)


def _tell(found: "Difference") -> None:
    typer.echo(f"a  {found.a}\nb  {found.b}")
    _tell_lines(_attributes(found))
    _tell_lines(_names(found))
    parts = {"access": found.access, "packet": found.packet, "arrival": found.arrival}
    for name, one in parts.items():
        if one is not None:
            _tell_first(name, one, found.compared["relative"])
    alike = [PLURAL[name] for name, one in parts.items() if one is None]
    if alike and found.cycles:
        typer.echo(f"alike: {', '.join(alike)}")
    if any(row["a"] != row["b"] for row in found.cycles):
        typer.echo("cycles")
        _print(("layer", "a", "b", "change"), found.cycles)
    if found.totals:
        typer.echo("totals that differ")
        _print(("layer", "what", "of", "a", "b", "change"), found.totals)
    typer.echo(_summary(found))


def _summary(found: "Difference") -> str:
    of = found.compared
    counts = ", ".join(f"{name} {len(of[name])}" for name in ("layers", "units", "memories"))
    extent = f"compared {counts}; segments {of['segments_a']} and {of['segments_b']}"
    return f"{'same' if found.is_same else 'different'}: {extent}"


def _attributes(found: "Difference") -> list[str]:
    lines = []
    for one in found.attributes:
        told = f"{one['name']}: {_short(one['a'])} -> {_short(one['b'])}"
        lines.append(told if one["counts"] else f"{told} (does not count)")
    return lines


def _names(found: "Difference") -> list[str]:
    """Return a line for each field that differs, and for what only one of them has."""
    lines, alone = [], dict[tuple[str, str], list[str]]()
    for one in found.names:
        if one["field"]:
            what = f"{one['table']} {one['name']}, {one['field']}"
            lines.append(f"{what}: {_short(one['a'])} -> {_short(one['b'])}")
        else:
            alone.setdefault((one["table"], "b" if one["a"] == "-" else "a"), []).append(
                one["name"]
            )
    for (table, side), names in alone.items():
        lines.append(f"{table} only in {side}: {len(names)}, {_short(', '.join(names))}")
    return lines


def _tell_lines(lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        typer.echo(line)
    if len(lines) > MOST_LINES:
        typer.echo(f"... and {len(lines) - MOST_LINES} such lines; see --json")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3]}..."


def _tell_first(name: str, one: "Divergence", is_relative: bool) -> None:
    what = f", {one.row['memory']} {one.row['op']}" if name == "access" else ""
    of = f" of layer {one.row['layer']}" if is_relative else ""
    where = f"cycle {one.cycle:,}{of}, {one.row[WHERE[name]]}{what}"
    typer.echo(f"first {name} that differs: {where}")
    typer.echo(_against(name, one))
    parts = {"both": one.before, "a": one.a, "b": one.b}
    lines = [{"in": side} | row for side, rows in parts.items() for row in rows]
    _print(tuple(lines[0]), lines)


def _against(name: str, one: "Divergence") -> str:
    """Return what the other trace has instead of the first row that differs."""
    other, rows = ("b", one.b) if one.side == "a" else ("a", one.a)
    if not rows:
        return f"{other} has no more"
    if one.a[0]["cycle"] != one.b[0]["cycle"]:
        return f"{other} has none until cycle {rows[0]['cycle']:,}"
    if any(one.a[0][key] != one.b[0][key] for key in OF_ONE[name]):
        return f"{other} does not have it in this cycle"
    fields = [key for key in one.a[0] if one.a[0][key] != one.b[0][key]]
    told = ", ".join(f"{key} {one.a[0][key]} -> {one.b[0][key]}" for key in fields)
    return f"in this cycle: {told}"


def _print(names: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        is_text = isinstance(rows[0][name], str)
        table.add_column(name, justify="left" if is_text else "right")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(_cell(name, row[name]) for name in names))
    with console() as page:
        page.print(table)
    if len(rows) > MOST_ROWS:
        typer.echo(f"... and {len(rows) - MOST_ROWS} rows; see --json")


def _cell(name: str, value: Any) -> str:
    if name == "change":
        return "-" if value is None else f"{100 * value:+.3g} %"
    return f"{value:,}" if isinstance(value, int) and name != "address" else str(value)
