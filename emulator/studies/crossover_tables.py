"""Tables of study `crossover`: of the network at each density, of each layer, of equal points."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..energy import COMPONENTS
from ..slots import Cause
from ..tables import percent
from .causes import label, largest
from .crossover_points import Counted, Entry, Sides, Sum, sides
from .sdn_figure import key
from .sheet import Sheet

AUTOS = {"auto": "cycles", "auto-energy": "energy", "auto-edp": "edp"}
"""Choices of modes, and what each makes least."""

VARIANTS = ("mnf", "dense", "activation", "weight", "both", *AUTOS)
PURE = {"mnf": "mnf", "flexnn": "both"}
"""The modes, and the variants in which they are as the machine is."""

PARTS = (*COMPONENTS, "MAC", "NoC", "idle")
NUMBERS: Mapping[str, Callable[[Sum], float]] = {
    "cycles": lambda total: total.cycles,
    "energy": lambda total: total.pj,
}
"""In what modes are compared."""

UJ, MB, MILLION = 1e-6, 1e-6, 1e-6
NETWORK = "network"


@dataclass(frozen=True)
class Point:
    """All variants at a density.

    Parameters
    ----------
    density : float
    counted : Counted
        Both modes, and what changes of form take.
    layers : mapping
        Variant -> layer -> its entries; of variants that have run.
    """

    density: float
    counted: Counted
    layers: Mapping[str, Mapping[str, list[Entry]]]

    @cached_property
    def modes(self) -> dict[str, dict[str, str]]:
        """Of each choice each layer's mode."""
        return {name: self.counted.modes(objective) for name, objective in AUTOS.items()}

    @cached_property
    def changes(self) -> dict[str, list[Entry]]:
        """Of each choice its conversions."""
        return {name: self.counted.changes(modes) for name, modes in self.modes.items()}

    @cached_property
    def totals(self) -> dict[str, Sum]:
        """The network in each variant, in the order of tables."""
        layers = {name: dict(found) for name, found in self.layers.items()}
        layers |= {name: self.counted.chosen(modes) for name, modes in self.modes.items()}
        found = {}
        for name in VARIANTS:
            if name in layers:
                entries = [entry for part in layers[name].values() for entry in part]
                found[name] = self._sum([*entries, *self.changes.get(name, ())])
        return found

    @cached_property
    def of_layers(self) -> dict[str, dict[str, Sum]]:
        """Layer -> variant -> what it comes to, without conversions."""
        units = dict.fromkeys(unit for found in self.layers.values() for unit in found)
        return {
            unit: {
                name: self._sum(self.layers[name][unit])
                for name in VARIANTS
                if unit in self.layers.get(name, {})
            }
            for unit in units
        }

    def conversion(self, unit: str) -> Sum | None:
        """Return what changing the form of a layer's output takes; the same in both directions."""
        found = [e for (name, _), e in self.counted.converting.items() if name == unit]
        return self._sum(found[:1]) if found else None

    def _sum(self, entries: Sequence[Entry]) -> Sum:
        return Sum(entries, self.counted.machine)


def _numbers(total: Sum) -> dict[str, Any]:
    """Return the columns of a CSV file that are of every sum."""
    return {
        "cycles": total.cycles,
        "energy_uj": total.pj * UJ,
        **{key(name): total.components.get(name, 0.0) * UJ for name in PARTS},
        "utilization": total.utilization,
        "useful": total.useful,
        "executed": total.slots[Cause.EXECUTED],
        **{f"slots_{cause.name.lower()}": part for cause, part in total.parts.items()},
        "dram_bytes": total.dram_bytes,
    }


def point_row(point: Point, name: str, total: Sum) -> dict[str, Any]:
    """Return the line of the network in a variant."""
    modes, changes = point.modes.get(name), point.changes.get(name, [])
    return {
        "density": point.density,
        "variant": name,
        **_numbers(total),
        "layers_mnf": _n_mnf(modes) if modes is not None else None,
        "conversions": len(changes),
        "conversion_cycles": sum(entry["cycles"] for entry in changes),
        "conversion_uj": Sum(changes, point.counted.machine).pj * UJ,
    }


def _n_mnf(modes: Mapping[str, str]) -> int:
    return sum(mode == "mnf" for mode in modes.values())


def layer_rows(point: Point) -> Iterator[dict[str, Any]]:
    """Yield the lines of each layer in each variant, with what the choices took."""
    for unit, of_variant in point.of_layers.items():
        mnf, both = (of_variant.get(name) for name in PURE.values())
        change = point.conversion(unit)
        chosen = {f"{name.replace('-', '_')}_mode": m.get(unit) for name, m in point.modes.items()}
        for name, total in of_variant.items():
            yield {
                "density": point.density,
                "layer": unit,
                "variant": name,
                **_numbers(total),
                **chosen,
                "mnf_less_flexnn_cycles": mnf.cycles - both.cycles if mnf and both else None,
                "mnf_less_flexnn_uj": (mnf.pj - both.pj) * UJ if mnf and both else None,
                "conversion_cycles": change.cycles if change else None,
                "conversion_uj": change.pj * UJ if change else None,
            }


def matrix_sheets(points: Sequence[Point]) -> list[Sheet]:
    """Return one table of each number, of the network: a line per density, a column per variant."""
    numbers: dict[str, Callable[[Sum], str]] = {
        "Million cycles": lambda total: f"{total.cycles * MILLION:.2f}",
        "Energy in uJ": lambda total: f"{total.pj * UJ:,.0f}",
        "Slots in which a multiplier worked": lambda total: percent(total.utilization),
        "Slots with a product of two non-zeros": lambda total: percent(total.useful),
        "Megabytes read from DRAM and written to it": lambda t: f"{t.dram_bytes * MB:.1f}",
    }
    names = [name for name in VARIANTS if any(name in point.totals for point in points)]
    heads = [f"\n{name}" if "-" not in name else name.replace("-", "-\n") for name in names]
    return [
        Sheet(
            title,
            ("\ndensity",),
            heads,
            [
                [
                    f"{point.density:.1f}",
                    *(tell(point.totals[name]) if name in point.totals else "" for name in names),
                ]
                for point in points
            ],
        )
        for title, tell in numbers.items()
    ]


def modes_sheet(points: Sequence[Point]) -> Sheet:
    """Return how many layers each choice runs in mode mnf, and what it gains."""
    cells = []
    for point in points:
        line = [f"{point.density:.1f}"]
        for name, objective in AUTOS.items():
            modes, changes = point.modes[name], point.changes[name]
            costs = [_cost(point.totals[pure], objective) for pure in PURE.values()]
            gain = 1 - _cost(point.totals[name], objective) / min(costs)
            line += [f"{_n_mnf(modes)} of {len(modes)}", str(len(changes)), percent(gain)]
        cells.append(line)
    right = [text for name in AUTOS for text in (f"{name}:\nin mnf", "conver-\nsions", "\ngains")]
    title = "Layers in mode mnf, changes of form, and what is gained over the better pure mode"
    return Sheet(title, ("\ndensity",), right, cells)


def _cost(total: Sum, objective: str) -> float:
    if objective == "edp":
        return total.cycles * total.pj
    return NUMBERS[objective](total)


def compared(points: Sequence[Point], unit: str, objective: str) -> list[tuple[float, ...]]:
    """Return density, and what either mode takes, of a layer or the network, as far as known."""
    number, found = NUMBERS[objective], []
    for point in points:
        sums = point.totals if unit == NETWORK else point.of_layers.get(unit, {})
        if set(PURE.values()) <= set(sums):
            found.append((point.density, *(number(sums[name]) for name in PURE.values())))
    return found


def equal_points(points: Sequence[Point]) -> dict[str, dict[str, Sides]]:
    """Return network and layers -> "cycles" or "energy" -> which mode takes less, and where."""
    units = dict.fromkeys(unit for point in points for unit in point.of_layers)
    found: dict[str, dict[str, Sides]] = {}
    for unit in (NETWORK, *units):
        for objective in NUMBERS:
            if known := compared(points, unit, objective):
                x, *curves = zip(*known, strict=True)
                found.setdefault(unit, {})[objective] = sides(
                    x, dict(zip(PURE, curves, strict=True))
                )
    return found


def crossings(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the lines of network and layers with the densities at which both modes are equal."""
    return [
        {
            "layer": unit,
            "of": objective,
            "lower": " ".join(found.names),
            "equal_at": " ".join(f"{place:.4f}" for place in found.places),
        }
        for unit, of in equal_points(points).items()
        for objective, found in of.items()
    ]


def crossings_sheets(points: Sequence[Point]) -> list[Sheet]:
    """Return which mode takes less, and up to which density."""
    first, last = (f"{points[n].density:.1f}" for n in (0, -1))
    sheets = []
    for objective in NUMBERS:
        cells = []
        for unit, of in equal_points(points).items():
            known = compared(points, unit, objective)
            ends = [f"{mnf / flexnn:.2f}" for _, mnf, flexnn in (known[0], known[-1])]
            cells.append([unit, of[objective].text, *ends])
        title = f"Mode with least {objective}, to which density; and mnf over flexnn (both)"
        sheets.append(
            Sheet(title, ("layer", "least in"), (f"ratio at {first}", f"at {last}"), cells)
        )
    return sheets


def lost_sheet(points: Sequence[Point]) -> Sheet:
    """Return what the slots of both modes were lost to."""
    cells = []
    for point in points:
        texts = [_lost(point.totals[name].parts) for name in PURE.values() if name in point.totals]
        cells.append([f"{point.density:.1f}", *texts])
    left = ("density", *PURE)
    return Sheet("Per cent of slots lost, the causes with most", left, (), cells)


def _lost(parts: dict[Cause, float]) -> str:
    found = largest(parts, 4, 0.02)
    return ", ".join(f"{label(cause)} {100 * parts[cause]:.0f}" for cause in found) or "-"


def component_sheets(points: Sequence[Point]) -> list[Sheet]:
    """Return what the energy of each mode goes to."""
    sheets = []
    for mode, variant in PURE.items():
        parts = [(point.density, point.totals[variant].components) for point in points]
        shown = [name for name in PARTS if any(part.get(name, 0) for _, part in parts)]
        cells = [
            [f"{density:.1f}", *(f"{part.get(name, 0.0) * UJ:,.0f}" for name in shown)]
            for density, part in parts
        ]
        heads = [name.replace(" ", "\n") if " " in name else f"\n{name}" for name in shown]
        sheets.append(Sheet(f"Energy of mode {mode} in uJ", ("\ndensity",), heads, cells))
    return sheets


def share_notes(points: Sequence[Point]) -> list[str]:
    """Say whether the products of two non-zeros are as many in every variant."""
    broken = [
        f"ERROR: density {point.density:g}, {unit}: products of two non-zeros differ between "
        f"variants: {', '.join(f'{name} {n:,}' for name, n in executed.items())}"
        for point in points
        for unit, of in point.of_layers.items()
        if len(set((executed := {v: s.slots[Cause.EXECUTED] for v, s in of.items()}).values())) > 1
    ]
    if broken or not points:
        return broken
    n = sum(len(point.of_layers) for point in points)
    return [f"checked: every variant has the same products of two non-zeros, in {n} layers' runs"]
