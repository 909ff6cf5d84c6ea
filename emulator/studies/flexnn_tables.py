"""Tables and sentences of study `flexnn` about its dataflows."""

from collections.abc import Sequence
from itertools import chain

from ..slots import Cause
from .causes import label, largest
from .flexnn_dataflows import FIXED, FLEXIBLE, FLOWS, RIGID_FLOWS, SHORT, Case, Option, Total
from .flexnn_runs import OBJECTIVES
from .published import published
from .sdn_figure import COMPONENTS
from .sheet import Sheet

LEAST = 0.001
"""Saving of which a cause is told."""

UNITS = {
    "energy": ("Energy in uJ, each layer's least-energy candidate of each dataflow", 1e-6, 1),
    "cycles": ("Thousand cycles, likewise for cycles", 1e-3, 0),
    "edp": (
        "Energy times cycles in uJ x million cycles, likewise for the layers' product",
        1e-12,
        1,
    ),
}
"""Title, factor and decimals of an objective's table."""


def percent(part: float) -> str:
    """Return a part in per cent, with a decimal."""
    return f"{100 * part:.1f} %"


def totals_sheet(found: Sequence[Total], objective: str) -> Sheet:
    """Return the cost of each dataflow on each network."""
    title, factor, decimals = UNITS[objective]
    cells = []
    for network in dict.fromkeys(total.network for total in found):
        of_flow = {t.flow: t for t in found if (t.network, t.objective) == (network, objective)}
        marks = {flow: f" (-{len(t.without)})" if t.without else "" for flow, t in of_flow.items()}
        numbers = [
            f"{of_flow[flow].cost * factor:,.{decimals}f}{marks[flow]}"
            if of_flow[flow].cost
            else "-"
            for flow in FLOWS
        ]
        whole = [of_flow[f].saving for f in FIXED if not of_flow[f].without]
        savings = [value for value in whole if value is not None]
        span = [percent(min(savings)), percent(max(savings))] if savings else ["", ""]
        cells.append([network, *numbers, *span])
    right = (*(f"\n{SHORT[flow]}" for flow in FLOWS), "saves of\nbest fixed", "\nof worst")
    return Sheet(title, ("\nnetwork",), right, cells)


def rigid_sheet(found: Sequence[Total]) -> Sheet:
    """Return the energy of dataflows with the partitions of arrays that were built for them."""
    cells = []
    for network in dict.fromkeys(total.network for total in found):
        of_flow = {t.flow: t for t in found if (t.network, t.objective) == (network, "energy")}
        if set(RIGID_FLOWS) <= set(of_flow):
            flexible = of_flow[FLEXIBLE]
            shown = [_rigid_cells(of_flow[name], flexible) for name in RIGID_FLOWS]
            cells.append([network, *chain(*shown), f"{flexible.cost * 1e-6:,.0f}"])
    right = chain(*((f"{SHORT[name]}\nuJ", "\nsaves", "\ncycles") for name in RIGID_FLOWS))
    title = (
        "Energy with the partitions of arrays built for a dataflow (*), what flexible saves of it, "
        "and cycles over flexible's"
    )
    return Sheet(title, ("\nnetwork",), (*right, "flex.\nuJ"), cells)


def _rigid_cells(total: Total, flexible: Total) -> list[str]:
    """Return energy, what flexible saves of it, and cycles over flexible's."""
    mark = f" (-{len(total.without)})" if total.without else ""
    saved = "" if total.saving is None else percent(total.saving)
    times = "" if total.without else f"x{total.cycles / flexible.cycles:.2f}"
    return [f"{sum(total.parts.values()) * 1e-6:,.0f}{mark}", saved, times]


def parts_sheet(found: Sequence[Total]) -> Sheet:
    """Return what the energy of flexible goes to on each network."""
    own = [t for t in found if t.objective == "energy" and t.flow == FLEXIBLE]
    shown = [name for name in COMPONENTS if any(t.parts.get(name, 0.0) > 0 for t in own)]
    cells = [
        [t.network, *(percent(t.parts.get(name, 0.0) / t.cost) if t.cost else "" for name in shown)]
        for t in own
    ]
    right = [name.replace(" ", "\n") if " " in name else f"\n{name}" for name in shown]
    return Sheet("What flexible's energy goes to", ("\nnetwork",), right, cells)


def savings_sheet(cases: Sequence[Case], totals: Sequence[Total]) -> Sheet:
    """Return the largest savings of energy over each dataflow, on a layer and on a network."""
    cells = []
    for flow in (*FIXED, *RIGID_FLOWS):
        layer = largest_saving(cases, flow)
        of_flow = [t for t in totals if t.objective == "energy" and t.flow == flow]
        network = max(of_flow, key=lambda t: t.saving or 0.0, default=None)
        if layer is None or network is None or network.saving is None:
            continue
        saved = layer.saving(flow) or 0.0
        name, part = energy_cause(layer.of_flow[flow], layer.flexible)
        where = f"{layer.network} {layer.layer}"
        cause = f"{name} ({100 * part:.0f} % of it)" if saved >= LEAST else "-"
        chip = "" if network.chip_saving is None else percent(network.chip_saving)
        on = [network.network, percent(network.saving), chip]
        cells.append([SHORT[flow], where, cause, percent(saved), *on])
    limit = percent(published("flexnn.energy_saving").value)
    title = f"Largest savings of energy by flexible (published: up to {limit})"
    left = ("\nover", "\non layer", "\nmost of it in")
    return Sheet(title, left, ("\nsaving", "\nnetwork", "\nsaving", "without\nDRAM"), cells)


def largest_saving(cases: Sequence[Case], flow: str, objective: str = "energy") -> Case | None:
    """Return the layer on which flexible saves most of a dataflow."""
    able = [c for c in cases if c.objective == objective and c.of_flow.get(flow) is not None]
    return max(able, key=lambda case: case.saving(flow) or 0.0, default=None)


def energy_cause(fixed: Option | None, flexible: Option) -> tuple[str, float]:
    """Return the component that makes most of a difference, and its part of what is saved."""
    assert fixed is not None
    saved = {name: pj - flexible.parts[name] for name, pj in fixed.parts.items()}
    name = max(saved, key=lambda one: saved[one])
    return name, saved[name] / max(fixed.pj - flexible.pj, 1e-9)


def cycles_sheet(cases: Sequence[Case]) -> Sheet:
    """Return where flexible saves most cycles of each dataflow, and what these lost most to."""
    cells = []
    for flow in FIXED:
        case = largest_saving(cases, flow, "cycles")
        option = case.of_flow[flow] if case else None
        if case is None or option is None:
            continue
        words = [_lost(option), f"flexible: {_lost(case.flexible)}"]
        saved = percent(case.saving(flow) or 0.0)
        cells.append([SHORT[flow], f"{case.network} {case.layer}", "; ".join(words), saved])
    left = ("over", "on layer", "slots lost most to")
    return Sheet("Largest savings of cycles by flexible", left, ("saving",), cells)


def _lost(option: Option) -> str:
    slots = option.tree["slots"]
    total = max(1, sum(slots))
    parts = {cause: slots[cause] / total for cause in Cause}
    return ", ".join(f"{label(c)} {100 * parts[c]:.0f} %" for c in largest(parts, 1)) or "nothing"


def missing_notes(totals: Sequence[Total]) -> list[str]:
    """Say of which layers a dataflow has no legal descriptor."""
    notes = []
    for total in totals:
        if total.objective == OBJECTIVES[0] and total.without:
            names = ", ".join(total.without[:4]) + (", ..." if len(total.without) > 4 else "")
            notes.append(
                f"{SHORT[total.flow]} has no legal descriptor on {len(total.without)} of "
                f"{total.network}'s layers ({names}); (-n): the sum is over the others, and it is "
                "compared with flexible over the same"
            )
    return notes


def shared_notes(cases: Sequence[Case]) -> list[str]:
    """Say how much WS, OS and IS differ, and where flexible's candidates obey them."""
    found = [case for case in cases if case.objective == OBJECTIVES[0]]
    three = [[case.of_flow[flow] for flow in ("weight", "output", "input")] for case in found]
    same = sum(len({id(one) for one in each}) == 1 for each in three)
    return [
        f"on {same} of {len(found)} layers the best WS, OS and IS for energy are one descriptor; "
        "the candidate set has the orders of WS, OS and IS alone, so flexible's best is one of "
        "theirs: the choice between the three, layer by layer, is all that it can gain over them"
    ]


def law_notes(cases: Sequence[Case]) -> list[str]:
    """Say whether flexible is at most the best fixed dataflow on every layer."""
    broken = [sentence for case in cases for sentence in case.violations()]
    if broken:
        return broken
    layers = len({(case.network, case.layer) for case in cases})
    return [
        f"checked: on each of {layers} layers, for each of {len(OBJECTIVES)} objectives, flexible "
        "is at most the best fixed dataflow, by the engine's counts; for energy in the run itself "
        "too"
    ]


def rank_notes(cases: Sequence[Case]) -> list[str]:
    """Say how far estimates are from counts, and how often no fixed dataflow is as good."""
    beyond = {
        objective: sum(
            _best_fixed(case) > case.flexible.cost(objective) * (1 + 1e-9)
            for case in cases
            if case.objective == objective
        )
        for objective in OBJECTIVES
    }
    told = ", ".join(f"{n} for {objective}" for objective, n in beyond.items())
    notes = [f"layers on which flexible is better than every fixed dataflow: {told}"]
    ratios = sorted(
        case.flexible.cycles / case.flexible.tree["estimate"][0]
        for case in cases
        if case.objective == "cycles" and "estimate" in case.flexible.tree
    )
    if ratios:
        middle = ratios[len(ratios) // 2]
        notes.append(
            f"counted cycles of the winners for cycles are {ratios[0]:.2f} to {ratios[-1]:.2f} "
            f"times the estimate, median {middle:.2f}: estimates take zeros as independent, and "
            "here whole rows of weights are pruned and channels differ in density"
        )
    return notes


def _best_fixed(case: Case) -> float:
    costs = [one.cost(case.objective) for f in FIXED if (one := case.of_flow[f]) is not None]
    return min(costs, default=float("inf"))
