"""What the runs of study `crossover` tell: variants at each density, and where they are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..energy import Activity, energy
from ..hybrid.assign import Cost, Problem, Tensor, assign, conversions
from ..hybrid.decision import FJ
from ..hybrid.forms import EVENTS, FORM, ZVC
from ..hybrid.machine import HybridMachine
from ..kinds import Memory
from ..slots import BUSY, Cause

Entry = Mapping[str, Any]
"""A layer of a run, see `firemesh.emulator.studies.crossover_job.CrossoverJob`."""


def unit_of(entry: Entry) -> str:
    """Return the layer that an entry goes with."""
    name: str = entry.get("unit", entry["name"])
    return name


def of_mode(entries: Sequence[Entry], mode: str) -> dict[str, list[Entry]]:
    """Return the entries of a mode, by layer; those that tell no mode are of each."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.get("mode", mode) == mode:
            found.setdefault(unit_of(entry), []).append(entry)
    return found


def energy_of(entry: Entry, machine: HybridMachine) -> dict[str, float]:
    """Return pJ by component."""
    side = machine.of_mnf if entry.get("mode") == "mnf" else machine.of_flexnn
    activity = Activity(np.array(entry["bytes"]), np.array(entry["slots"]), entry["flits"])
    return energy(activity, side)


@dataclass(frozen=True)
class Sum:
    """What some entries come to: of a layer, or of a network.

    Parameters
    ----------
    entries : sequence of Entry
    machine : HybridMachine
    """

    entries: Sequence[Entry]
    machine: HybridMachine

    @cached_property
    def cycles(self) -> int:
        """All cycles."""
        return sum(entry["cycles"] for entry in self.entries)

    @cached_property
    def slots(self) -> dict[Cause, int]:
        """Multiplier slots by cause."""
        sums = np.sum([entry["slots"] for entry in self.entries], axis=0)
        return {cause: int(sums[cause]) for cause in Cause}

    @cached_property
    def parts(self) -> dict[Cause, float]:
        """Slots by cause as parts of all slots."""
        total = max(1, sum(self.slots.values()))
        return {cause: count / total for cause, count in self.slots.items()}

    @property
    def utilization(self) -> float:
        """Part of all slots in which a multiplier worked."""
        return sum(self.parts[cause] for cause in BUSY)

    @property
    def useful(self) -> float:
        """Part of all slots in which it multiplied two non-zeros."""
        return self.parts[Cause.EXECUTED]

    @cached_property
    def components(self) -> dict[str, float]:
        """Energy in pJ by component."""
        total: dict[str, float] = {}
        for entry in self.entries:
            for name, pj in energy_of(entry, self.machine).items():
                total[name] = total.get(name, 0.0) + pj
        return total

    @cached_property
    def pj(self) -> float:
        """Energy."""
        return sum(sum(energy_of(entry, self.machine).values()) for entry in self.entries)

    @property
    def dram_bytes(self) -> int:
        """Bytes read from DRAM and written to it."""
        return sum(int(np.sum(entry["bytes"][Memory.DRAM])) for entry in self.entries)

    @property
    def cost(self) -> Cost:
        """What a choice of modes counts."""
        return Cost(self.cycles, round(FJ * self.pj))


@dataclass(frozen=True)
class Counted:
    """A network in both modes at a density: each layer, and each change of form.

    Parameters
    ----------
    entries : sequence of Entry
        Of the run of both modes.
    machine : HybridMachine
    """

    entries: Sequence[Entry]
    machine: HybridMachine

    @cached_property
    def by_mode(self) -> dict[str, dict[str, list[Entry]]]:
        """The layers' entries by mode and layer."""
        return {mode: of_mode(self.entries, mode) for mode in FORM}

    @cached_property
    def converting(self) -> dict[tuple[str, str], Entry]:
        """The conversions' entries by producer and form."""
        return {(e["unit"], e["to"]): e for e in self.entries if e.get("mode") == "convert"}

    @cached_property
    def problem(self) -> Problem:
        """What the choice of modes is between; a tensor is called by its producer."""
        layers = {
            unit: {
                mode: Sum(found[unit], self.machine).cost
                for mode, found in self.by_mode.items()
                if unit in found
            }
            for unit in dict.fromkeys(unit for found in self.by_mode.values() for unit in found)
        }
        tensors = []
        for (unit, form), entry in self.converting.items():
            if form == EVENTS:
                other = self.converting[unit, ZVC]
                costs = (Sum([one], self.machine).cost for one in (entry, other))
                tensors.append(Tensor(unit, unit, tuple(entry["consumers"]), *costs))
        return Problem(layers, tuple(tensors))

    def modes(self, objective: str) -> dict[str, str]:
        """Return the modes with the least total of an objective."""
        return assign(self.problem, objective)

    def changes(self, modes: Mapping[str, str]) -> list[Entry]:
        """Return the conversions that modes need."""
        return [self.converting[change] for change in conversions(self.problem, modes)]

    def chosen(self, modes: Mapping[str, str]) -> dict[str, list[Entry]]:
        """Return the entries of layers in given modes."""
        return {unit: self.by_mode[mode][unit] for unit, mode in modes.items()}


def with_executed(layers: Mapping[str, list[Entry]], like: Counted) -> dict[str, list[Entry]]:
    """Return layers with the pairs of non-zeros of another density.

    Where zeros of activations are multiplied, only what counts as executed depends on the density:
    pairs of two non-zeros are the same in every variant.
    """
    found: dict[str, list[Entry]] = {}
    for unit, entries in layers.items():
        others = {entry["name"]: entry for entry in like.by_mode["flexnn"].get(unit, ())}
        found[unit] = [_with_executed(entry, others.get(entry["name"])) for entry in entries]
    return found


def _with_executed(entry: Entry, other: Entry | None) -> Entry:
    if other is None:
        return entry
    slots, executed = list(entry["slots"]), other["slots"][Cause.EXECUTED]
    slots[Cause.INEFFECTUAL] += slots[Cause.EXECUTED] - executed
    slots[Cause.EXECUTED] = executed
    return {**entry, "slots": slots}


@dataclass(frozen=True)
class Sides:
    """Which of two curves is lower along x, and where that changes.

    Parameters
    ----------
    names : tuple of str
        The lower curve's, from the left; "" where both are equal at every x. One more than places.
    places : tuple of float
        Where both are equal.
    """

    names: tuple[str, ...]
    places: tuple[float, ...]

    @property
    def text(self) -> str:
        """The sides in words, such as ``mnf to 0.23, flexnn``."""
        to = [f"{name} to {x:.2f}" for name, x in zip(self.names, self.places, strict=False)]
        return ", ".join([*to, self.names[-1] or "equal"])


def sides(x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Sides:
    """Return which of two curves is lower, linear between points.

    Where they only touch, the lower one stays the lower; where they are equal at several x and then
    change sides, the place is the middle of these.

    Parameters
    ----------
    x : sequence of float
        Ascending.
    curves : mapping of str to sequence of float
        Two, of values at each x.
    """
    (one, of_one), (other, of_other) = curves.items()
    names: list[str] = []
    places: list[float] = []
    last, equal = (0.0, 0.0), list[float]()
    for at, a, b in zip(x, of_one, of_other, strict=True):
        if a == b:
            equal.append(at)
            continue
        name = one if a < b else other
        if not names or name != names[-1]:
            if names:
                before, step = last
                crossed = before + (at - before) * step / (step - (a - b))
                places.append((equal[0] + equal[-1]) / 2 if equal else crossed)
            names.append(name)
        last, equal = (at, a - b), []
    return Sides(tuple(names) or ("",), tuple(places))
