"""Tables for people: what each layer takes in either mode, what was chosen, and by how much."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..tables import plain_table, si
from .assign import Cost
from .decision import FJ, Decision
from .forms import FORM

SECOND = {"mnf": "flexnn", "flexnn": "mnf"}
UNITS = {"cycles": "cycles", "energy": "energy", "edp": "energy times cycles"}


def _value(cost: Cost, objective: str) -> float:
    """Return what an objective makes small."""
    if objective == "cycles":
        return cost.cycles
    return cost.energy_fj * (cost.cycles if objective == "edp" else 1)


def _both(cost: Cost | None) -> list[str]:
    """Return cycles and energy in words; dashes where a mode was not tried, or does not fit."""
    if cost is None:
        return ["-", "-"]
    return [f"{cost.cycles:,}", si(cost.energy_fj / FJ * 1e-12, "J", 3)]


def _gain(chosen: Cost, other: Cost | None, objective: str) -> str:
    """Return how much less the first takes, as a part of the second."""
    if other is None:
        return "-"
    before = _value(other, objective)
    return f"{100 * (1 - _value(chosen, objective) / before):+.1f} %" if before else "-"


def _layers(decision: Decision) -> Table:
    right = ("mnf\ncycles", "\nenergy", "flexnn\ncycles", "\nenergy", "\nsaves")
    table = plain_table("Modes, one frame", ("\nlayer", "\nchosen"), right)
    for name, costs in decision.problem.layers.items():
        mode = decision.modes[name]
        cells = [text for each in FORM for text in _both(costs.get(each))]
        saved = _gain(costs[mode], costs.get(SECOND[mode]), decision.objective)
        style = "cyan" if mode == "mnf" else ""
        table.add_row(name, mode, *cells, saved, style=style)
    return table


def _conversions(decision: Decision) -> Table:
    table = plain_table("Conversions", ("tensor", "to"), ("cycles", "energy"))
    tensors = {tensor.name: tensor for tensor in decision.problem.tensors}
    for name, form in decision.conversions:
        table.add_row(name, form, *_both(tensors[name].cost(form)))
    return table


def _totals(decision: Decision) -> Table:
    table = plain_table("Assignments", ("modes",), ("cycles", "energy", "chosen saves"))
    for mode in FORM:
        cost = decision.pure(mode)
        saved = "-" if cost is None else _gain(decision.total, cost, decision.objective)
        table.add_row(f"all {mode}", *_both(cost), saved)
    table.add_row("chosen", *_both(decision.total), "")
    table.add_row("of it, conversions", *_both(decision.of_conversions()), "")
    return table


def show_decision(decision: Decision, console: Console) -> None:
    """Print what was chosen."""
    console.print(_layers(decision))
    if decision.conversions:
        console.print(_conversions(decision))
    console.print(_totals(decision))
    what = UNITS[decision.objective]
    note = (
        f"Chosen for the least {what} of the first frame, conversions included; a layer that saves "
        "less than nothing spares a conversion."
    )
    console.print(Text(note))
