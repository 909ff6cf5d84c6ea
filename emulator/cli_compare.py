"""The command line's ``firemesh compare``."""

import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .console import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from .compare import Comparison, Values

TOTALS = {
    "frames": ("frames", 1.0),
    "multipliers": ("multipliers", 1.0),
    "clock_hz": ("clock, MHz", 1e-6),
    "load_cycles": ("loading, cycles", 1.0),
    "cycles": ("cycles a frame", 1.0),
    "fps": ("frames/s", 1.0),
    "utilization": ("utilisation, %", 100.0),
    "energy_pj": ("energy, µJ a frame", 1e-6),
    "edp_pj_s": ("EDP, µJ ms", 1e-3),
    "dram_bytes": ("DRAM, B a frame", 1.0),
    "power_mw": ("power, mW", 1.0),
}
"""Name of a total -> how it is called, with its unit, and that unit in the total's."""
BY = {
    "cycles": ("cycles", "cycles a frame, * fewest", 1.0),
    "energy": ("energy_pj", "µJ a frame, * least", 1e-6),
}
OF_LAYERS = ("cycles", "layers")
"""What notes are about that stand under the table of layers."""
SMALLEST_SLOTS = 0.0005
LEAST_WIDTH, LABEL_WIDTH = 12, 20
"""Of a column, and of labels, below which their text is not folded."""
NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """A value in a table, its ratio to the first run's, and what stands between them."""

    value: str
    word: str = ""
    ratio: str = ""
    is_best: bool = False


Rows = list[tuple[str, list[Cell]]]
"""Label of a row, and a cell for each run."""


def compare(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE.json",
            show_default=False,
            help="Two or more that run --json printed, of one network; ratios are to the first.",
        ),
    ] = None,
    by: Annotated[
        Literal["cycles", "energy"], typer.Option(help="What the table of layers tells.")
    ] = "cycles",
    layers: Annotated[
        str,
        typer.Option(metavar="N|all", help="Show only the N layers that take most in some run."),
    ] = "all",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON, with cycles and energy of all layers.")
    ] = False,
) -> None:
    """Set results of one network side by side: totals, multiplier slots, layers."""
    from .compare import compare as set_side_by_side
    from .result_record import read_result

    paths = files or []
    n_layers = _count(layers)
    records = [read_result(path) for path in paths]
    found = set_side_by_side(records, column_names(paths), [str(path) for path in paths])
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1, allow_nan=False))
        return
    with console() as page:
        _show(found, page, by, n_layers)


def _count(layers: str) -> int | None:
    """Return how many layers to show, None for all."""
    from .result_record import ComparisonError

    if layers == "all":
        return None
    if not (layers.isascii() and layers.isdigit() and int(layers[:9])):
        raise ComparisonError(f"--layers: must be all or a number from 1, got {layers}")
    return int(layers[:9])


def column_names(paths: Sequence[Path]) -> list[str]:
    """Return each file's stem, with as many folders as tell files of one stem apart."""
    wholes = [PurePath(os.path.abspath(path)) for path in paths]
    shown = []
    for number, whole in enumerate(wholes):
        alike = {other for other in wholes if other.stem == whole.stem}
        earlier = wholes[:number].count(whole)
        shown.append(next(_names(whole, alike)) + (f" ({earlier + 1})" if earlier else ""))
    return shown


def _names(path: PurePath, alike: set[PurePath]) -> Iterator[str]:
    """Yield names of a file that no other has, the shortest first."""
    for is_whole in (False, True):
        parts = {one: (one if is_whole else one.with_suffix("")).parts for one in alike}
        for n in range(1, max(map(len, parts.values())) + 1):
            if len({ends[-n:] for ends in parts.values()}) == len(alike):
                yield "/".join(parts[path][-n:])


def _show(found: "Comparison", page: "Console", by: str, n_layers: int | None) -> None:
    from rich.text import Text

    first = found.runs[0].name
    page.print(
        Text.assemble((found.network, "bold"), f", {len(found.runs)} runs; ratios are to {first}")
    )
    names = [run.name for run in found.runs]
    _print(page, "Totals", names, _totals(found))
    _tell(page, [told for about, told in found.notes if about not in OF_LAYERS])
    slots = [
        (cause.replace("_", " "), [Cell(_percent(part)) for part in parts])
        for cause, parts in found.rows("slots").items()
        if any(part and part > SMALLEST_SLOTS for part in parts)
    ]
    _print(page, "Multiplier slots, %", names, slots)
    quantity, unit, scale = BY[by]
    _print(page, f"Layers, {unit}", names, _layers(found, quantity, scale, n_layers))
    _tell(page, [told for about, told in found.notes if about in (by, "layers")])


def _tell(page: "Console", sentences: Sequence[str]) -> None:
    from rich.text import Text

    for told in sentences:
        page.print(Text(told))
    if sentences:
        page.print()


def _totals(found: "Comparison") -> Rows:
    rows: Rows = [
        ("machine", [Cell(run.machine) for run in found.runs]),
        ("mode", [Cell(run.mode) for run in found.runs]),
    ]
    for name, values in found.rows("totals").items():
        label, scale = TOTALS[name]
        if name == "load_cycles" and not any(values):
            continue
        rows.append((label, _cells(values, scale)))
        if name == "energy_pj":
            rows += [
                (f"  {component}", _cells(energies, scale))
                for component, energies in found.rows("energy_pj").items()
                if any(energies)
            ]
            rows.append(("  priced by", [Cell(run.energy_table) for run in found.runs]))
    return rows


def _cells(values: "Values", scale: float) -> list[Cell]:
    from .compare import ratios

    return [
        Cell(_number(value, scale), "", _ratio(ratio))
        for value, ratio in zip(values, ratios(values), strict=True)
    ]


def _layers(found: "Comparison", quantity: str, scale: float, n_layers: int | None) -> Rows:
    from .compare import best, ratios

    values = found.rows(f"layer_{quantity}")
    heavy = sorted(values, key=lambda name: -max(v or 0.0 for v in values[name]))[:n_layers]
    rows = [(name, found.modes(name), row) for name, row in values.items() if name in heavy]
    others = [row for name, row in values.items() if name not in heavy]
    n_runs = len(found.runs)
    if others:
        rows.append((f"{len(others)} others", (None,) * n_runs, _sums(others, n_runs)))
    rows.append(("all", (None,) * n_runs, _sums(list(values.values()), n_runs)))
    return [
        (
            name,
            [
                Cell(_number(value, scale), mode or "", _ratio(ratio), is_best)
                for value, mode, ratio, is_best in zip(
                    row, modes, ratios(row), best(row), strict=True
                )
            ],
        )
        for name, modes, row in rows
    ]


def _sums(rows: Sequence["Values"], n_runs: int) -> "Values":
    return tuple(sum(row[run] or 0.0 for row in rows) for run in range(n_runs))


def _number(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return NOTHING
    value *= scale
    if value >= 1e15:
        return f"{value:.4g}"
    return f"{value:,.0f}" if value >= 999.95 or value % 1 == 0 else f"{value:#.4g}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return NOTHING
    if 100 <= ratio < 1e6:
        return f"{ratio:,.0f}x"
    return f"{ratio:.2f}x" if 0.01 <= ratio < 100 or not ratio else f"{ratio:.1e}x"


def _percent(part: float | None) -> str:
    return NOTHING if part is None else f"{100 * part:.1f}"


def _print(page: "Console", title: str, names: Sequence[str], rows: Rows) -> None:
    """Print a table of as many runs as fit beside each other, then one of those that follow."""
    from rich.table import Table
    from rich.text import Text

    from .tables import plain_table

    def table(first: int, end: int) -> Table:
        drawn = plain_table(f"{title} (continued)" if first else title, (), ())
        drawn.add_column("", no_wrap=True)
        columns = [_column(names[n], [cells[n] for _, cells in rows]) for n in range(first, end)]
        for header, _ in columns:
            drawn.add_column(Text(header), justify="right", no_wrap=True)
        for number, (label, _) in enumerate(rows):
            folded = "\n".join(textwrap.wrap(label, max(LABEL_WIDTH, page.width // 3)))
            drawn.add_row(Text(folded), *(cells[number] for _, cells in columns))
        return drawn

    def fits(drawn: Table) -> bool:
        return page.measure(drawn, options=page.options.update(width=10**6)).maximum <= page.width

    first = 0
    while rows and first < len(names):
        end = first + 1
        while end < len(names) and fits(table(first, end + 1)):
            end += 1
        page.print(table(first, end))
        first = end


def _column(name: str, cells: Sequence[Cell]) -> tuple[str, list["Text"]]:
    """Return a run's header, over as many lines as keep it narrow, and its cells, aligned."""
    from rich.text import Text

    word, ratio = (max(len(getattr(c, part)) for c in cells) for part in ("word", "ratio"))
    shown = []
    for cell in cells:
        parts = [("*" if cell.is_best else "") + cell.value]
        parts += [cell.word.ljust(word)] if word else []
        parts += [cell.ratio.rjust(ratio)] if ratio else []
        shown.append(Text(" ".join(parts), style="green" if cell.is_best else ""))
    width = max([LEAST_WIDTH, *(len(text) for text in shown)])
    return "\n".join(textwrap.wrap(name, width) or [name]), shown
