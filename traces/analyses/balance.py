"""Balance: how evenly the work of each layer is shared by the PEs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TraceError
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection
from .counted import counters_of, counts, note_of_cut, pes_of, slots_of
from .figure import SMALL, name_units, short, title
from .finding import Finding, table
from .window import Floats, Ints, Window, about, cycles_inside, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "busy": "cycles in which the PE multiplies or fires",
    "executed": "slots that multiply",
    "accesses": "accesses to memories",
    "bytes": "bytes read and written",
}
"""What can be compared between PEs."""
LEAST_SPAN = 0.1
"""Of the colours around the mean."""
WIDEST = 16
"""PEs of which the figure writes each number."""
ROUNDING = 1e-9
"""By which equal amounts, taken in proportion to cycles, may differ; of the amount."""


def balance(
    trace: Trace, selection: Selection = ALL, of: str = "busy", progress: Progress = silent
) -> Finding:
    """Return how evenly PEs share the work of each layer.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Its memory and op are heeded where accesses or bytes are compared.
    of : {"busy", "executed", "accesses", "bytes"}
        What is compared, see `MEASURES`.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by layer: ``cycles``, ``pes`` that have any, ``mean``, ``max_over_mean``,
        ``min_over_mean``, ``cv`` (standard deviation over mean), the ``busiest`` PE, and
        ``wait_cycles`` and ``wait_share``, those in which a PE on average is not busy because the
        busiest of its wave still is. Series by layer and PE: all measures.

    Raises
    ------
    TraceError
        When there is no such measure, memories are selected where none are compared, or all
        amounts are 0.
    """
    _check(selection, of)
    part = window(trace, selection)
    units = pes_of(trace, selection)
    layers, which = np.unique(trace.segments["layer"][part.segments], return_inverse=True)
    of_segment = np.zeros(len(trace.segments), np.int64)
    of_segment[part.segments] = which.ravel()
    busy, executed = _slots(trace, selection, part, units)
    counted = _counters(trace, selection, part, units, progress)
    amounts = {"busy": _by_layer(busy, which), "executed": _by_layer(executed, which)}
    for number, name in enumerate(("accesses", "bytes")):
        amounts[name] = np.zeros((len(layers), len(units)))
        rows, unit = counted
        np.add.at(amounts[name], (of_segment[rows["segment"]], unit),
                  rows[("count", "bytes")[number]].astype(np.float64))  # fmt: skip
    length = _by_layer(cycles_inside(trace, part)[:, None], which)[:, 0]
    wait = _by_layer((busy.max(axis=1) - busy.mean(axis=1))[:, None], which)[:, 0]
    facts = about(trace, selection) | {"cycles": part.cycles, "of": of, "counts": MEASURES[of]}
    facts |= note_of_cut(trace, part, "slots")
    facts |= {"wait_cycles": float(wait.sum()), "wait_share": float(wait.sum() / length.sum())}
    names = [trace.layers[layer] for layer in layers], [trace.units[unit] for unit in units]
    return _finding(facts, of, *names, amounts, length, wait)


def _check(selection: Selection, of: str) -> None:
    if of not in MEASURES:
        raise TraceError(f"of: must be one of {', '.join(MEASURES)}, got {of}")
    for name in ("memory", "op"):
        if getattr(selection, name) is not None and of in ("busy", "executed"):
            raise TraceError(
                f"{name}: slots are of no {'memory' if name == 'memory' else 'operation'}; "
                "leave it out, or compare accesses or bytes"
            )


def _slots(trace: Trace, selection: Selection, part: Window, units: Ints) -> tuple[Floats, Floats]:
    """Return float64[segments, units]: busy cycles, and slots that multiply."""
    rows, amount = slots_of(trace, selection, part)
    causes = trace.table("causes")
    at = np.searchsorted(part.segments, rows["segment"]), np.searchsorted(units, rows["unit"])
    found = []
    for wanted in (causes["is_idle"] == 0, causes["name"] == b"executed"):
        total = np.zeros((len(part.segments), len(units)))
        np.add.at(total, at, amount * wanted[rows["cause"]])
        found.append(total)
    return found[0] / trace.attribute("multipliers"), found[1]


def _counters(
    trace: Trace, selection: Selection, part: Window, units: Ints, progress: Progress
) -> tuple[Any, Ints]:
    """Return rows of counters of PEs, and the place of each row's PE among them."""
    rows = counters_of(trace, selection, part, progress)
    rows = rows[np.isin(rows["unit"], units)]
    return rows, np.searchsorted(units, rows["unit"])


def _by_layer(amount: Floats, which: Ints) -> Floats:
    total = np.zeros((int(which.max()) + 1, amount.shape[1]))
    np.add.at(total, which.ravel(), amount)
    return total


def _finding(
    facts: dict[str, Any],
    of: str,
    layers: list[str],
    units: list[str],
    amounts: dict[str, Floats],
    length: Floats,
    wait: Floats,
) -> Finding:
    mine = amounts[of]
    kept = np.flatnonzero(mine.sum(axis=1) > 0)
    if not len(kept):
        raise TraceError(f"of: {of} of all selected PEs is 0; select what they work in")
    mean, total = mine[kept].mean(axis=1), mine.sum(axis=0)
    facts |= {"max_over_mean": float(total.max() / total.mean())}
    rows = table(
        layer=np.array(layers)[kept], cycles=counts(length[kept]), pes=(mine[kept] > 0).sum(axis=1),
        mean=mean, max_over_mean=mine[kept].max(axis=1, initial=0) / mean,
        min_over_mean=mine[kept].min(axis=1, initial=np.inf) / mean,
        cv=mine[kept].std(axis=1) / mean, busiest=np.array(units)[_most(mine[kept])],
        wait_cycles=wait[kept], wait_share=wait[kept] / length[kept],
    )  # fmt: skip
    series = table(
        layer=np.repeat(layers, len(units)), unit=np.tile(units, len(layers)),
        **{name: counts(amount.ravel()) for name, amount in amounts.items()},
    )  # fmt: skip
    return Finding("balance", rows, facts, series, draw, (8, 4.5))


def _most(amounts: Floats) -> Ints:
    """Return int64[layers]: the first PE that has the most, but for rounding."""
    most = amounts.max(axis=1, keepdims=True, initial=0)
    first: Ints = (amounts >= most * (1 - ROUNDING)).argmax(axis=1)
    return first


def draw(found: Finding, figure: "Figure") -> None:
    """Draw a map of layers and PEs, each over its layer's mean, and bars of cycles of waiting."""
    series, rows, of = found.series, found.rows, found.facts["of"]
    assert series is not None
    layers, units = rows["layer"].tolist(), list(dict.fromkeys(series["unit"].tolist()))
    mine = series[np.isin(series["layer"], layers)][of].reshape(len(layers), len(units))
    ratio = mine / mine.mean(axis=1, keepdims=True)
    field, bars = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
    norm = _around_one(max(LEAST_SPAN, float(np.abs(ratio - 1).max(initial=0))))
    colours = field.imshow(ratio, cmap="PuOr_r", norm=norm, aspect="auto")
    for (layer, unit), value in np.ndenumerate(ratio):
        if len(units) <= WIDEST:
            tone = "black" if 0.15 < norm(value) < 0.85 else "white"
            field.text(unit, layer, f"{value:.2f}", color=tone, ha="center", va="center", size=7)
    field.set_yticks(range(len(layers)), [short(name) for name in layers])
    field.tick_params(length=0)
    field.spines[:].set_visible(False)
    name_units(field, units)
    bars.barh(np.arange(len(layers)), 100 * rows["wait_share"], color="#0072B2")
    bars.tick_params(axis="y", length=0, labelleft=False)
    bars.set_title(
        "% of cycles a PE waits\nfor the busiest of its wave", fontsize=SMALL, loc="left"
    )
    figure.colorbar(
        colours,
        ax=bars,
        label=f"{of} / mean of the layer",
        format="%.2f",
        ticks=np.interp(range(5), (0, 2, 4), (norm.vmin, 1, norm.vmax)),
    )
    title(figure, f"{found.facts['network']}: {found.facts['counts']}, of each PE")


def _around_one(span: float) -> Any:
    from matplotlib.colors import TwoSlopeNorm

    return TwoSlopeNorm(1, max(0.0, 1 - span), 1 + span)
