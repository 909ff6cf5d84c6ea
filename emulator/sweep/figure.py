"""Figures of sweeps, by the name that a study file gives."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..studies import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
"""Rows of `columns.COLUMNS` of points that did not fail."""

FORMS = ("png", "svg")
SPARSITY = "sparsity.modes"

Style = tuple[str, str, float, bool]
"""Colour, marker, its size, and whether it is filled."""

STYLES: Mapping[str, Style] = {
    "mnf": ("#D55E00", "o", 4, True),
    "flexnn, dense": ("#777777", "v", 9, False),
    "flexnn, weight": ("#E69F00", "^", 4, True),
    "flexnn, activation": ("#56B4E9", "s", 8, False),
    "flexnn, both": ("#0072B2", "D", 4, True),
}
"""Lines that other figures have too, in M. Okabe and K. Ito's colours; those that may lie below
another, where a tensor is dense, have large hollow markers."""

OTHERS = ("#009E73", "#CC79A7", "#000000", "#F0E442", "#D55E00", "#0072B2", "#E69F00", "#56B4E9")


def lines(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows by machine, mode and changes, under a name that tells what differs."""
    n_machines = len({row["machine"] for row in rows})
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        words = [] if n_machines == 1 else [row["machine"]]
        words.append(row["mode"])
        for name, value in json.loads(row["changes"]).items():
            is_skipped = name.endswith(SPARSITY) and isinstance(value, list) and value
            words.append(str(value[-1]) if is_skipped else f"{name} {value}")
        found.setdefault(", ".join(words), []).append(row)
    return found


def useful(rows: Rows) -> dict[float, float]:
    """Return the part of slots that multiplied two non-zeros, by density of activations."""
    executed: dict[float, int] = {}
    slots: dict[float, int] = {}
    for row in rows:
        x = _density(row)
        executed[x] = executed.get(x, 0) + row["slots_executed"]
        slots[x] = slots.get(x, 0) + row["slots"]
    return {x: executed[x] / slots[x] for x in sorted(slots) if slots[x]}


def _density(row: Mapping[str, Any]) -> float:
    asked = row["activations"]
    return float(row["activation_density"] or 0.0) if asked is None else float(asked)


def utilization(rows: Rows, title: str, path: Path) -> None:
    """Draw useful slots against the density of activations.

    There is a panel for each network and rule of weights, and a line for each machine and mode.

    Parameters
    ----------
    rows : sequence of mapping
    title : str
    path : Path
        Of a .png or .svg file.
    """
    weights = list(dict.fromkeys(row["weights"] for row in rows))
    networks = list(dict.fromkeys(_network(row) for row in rows))
    size = max(5.0, 1.2 + 3.1 * len(weights)), 1.3 + 2.5 * len(networks)
    figures.draw(path, size, partial(_paint, rows, title, networks, weights))


def _network(row: Mapping[str, Any]) -> str:
    return str(row["network"]) + (f" {row['layers']}" if row["layers"] else "")


def _paint(
    rows: Rows, title: str, networks: Sequence[str], weights: Sequence[str], figure: "Figure"
) -> None:
    panels = figure.subplots(len(networks), len(weights), sharex=True, sharey=True, squeeze=False)
    rest = cycle(OTHERS)
    names = lines(rows)
    styles = {name: STYLES.get(name) or (next(rest), "x", 5, True) for name in names}
    handles: dict[str, Any] = {}
    for network, of_network in zip(networks, panels, strict=True):
        for rule, axes in zip(weights, of_network, strict=True):
            for name, of_line in names.items():
                here = [r for r in of_line if _network(r) == network and r["weights"] == rule]
                if found := useful(here):
                    handles[name] = _line(axes, found, styles[name])
            _dress(axes, f"{network}, weights {rule or 'of the preset'}")
    for axes in panels[:, 0]:
        axes.set_ylabel("slots that multiply\ntwo non-zeros (%)")
    for axes in panels[-1, :]:
        axes.set_xlabel("density of activations")
    figure.suptitle(title, fontsize=10)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=5, frameon=False
    )


def _line(axes: "Axes", found: Mapping[float, float], style: Style) -> Any:
    colour, marker, size, is_filled = style
    return axes.plot(
        list(found),
        [100 * part for part in found.values()],
        color=colour,
        marker=marker,
        markersize=size,
        markerfacecolor=colour if is_filled else "none",
        linewidth=1.4 if is_filled else 2.6,
        clip_on=False,
    )[0]


def _dress(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_ylim(0, 100)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.grid(True, color="#DDDDDD", linewidth=0.5)


FIGURES: Mapping[str, Callable[[Rows, str, Path], None]] = {"utilization": utilization}


def draw(name: str, rows: Rows, title: str, folder: Path, stem: str) -> list[str]:
    """Draw a study's figure in each form; return the files' names.

    Parameters
    ----------
    name : str
        In `FIGURES`.
    rows : sequence of mapping
    title : str
    folder : Path
    stem : str
        Of the files' names.
    """
    if not rows:
        return []
    names = [f"{stem}.{form}" for form in FORMS]
    for file in names:
        FIGURES[name](rows, title, folder / file)
    return names
