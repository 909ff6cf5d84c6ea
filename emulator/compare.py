"""Runs of one network beside each other: totals, multiplier slots and layers, of a frame."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .result_record import DAMAGED, RUN, ComparisonError, MachineRecord, ResultRecord, checked

SCHEMA, SCHEMA_VERSION = "firemesh-comparison", 1
MOST_FIELDS = 3
ABOUT = ("name", "summary", "sources")
"""Fields that tell of a machine and change nothing that it does."""

Values: TypeAlias = tuple[float | None, ...]
"""One for each run; None where a run has none."""


@dataclass(frozen=True)
class Run:
    """A column: what one run comes to.

    Parameters
    ----------
    name : str
        Of the column.
    machine, energy_table, mode : str
    totals : dict
        Of a frame, but for ``frames`` and ``load_cycles``; units are in the names. Multipliers
        are None where a cycle has not always the same number of slots.
    energy_pj : dict
        Of a frame, by component.
    slots : dict
        Part of all multiplier slots, by cause.
    layer_cycles, layer_energy_pj, layer_modes : dict
        By layer, in the run's order; of a frame.
    """

    name: str
    machine: str
    energy_table: str
    mode: str
    totals: Mapping[str, float | None]
    energy_pj: Mapping[str, float]
    slots: Mapping[str, float]
    layer_cycles: Mapping[str, float]
    layer_energy_pj: Mapping[str, float]
    layer_modes: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    """Runs of one network; the first is the one that ratios are to.

    Parameters
    ----------
    network, network_digest : str
    runs : tuple of Run
    notes : tuple of (str, str)
        What to know before numbers are compared: about what, and a sentence.
    """

    network: str
    network_digest: str
    runs: tuple[Run, ...]
    notes: tuple[tuple[str, str], ...]

    def rows(self, field: str) -> dict[str, Values]:
        """Return a field of `Run` that has numbers by name: for each name those of all runs."""
        return _side_by_side([getattr(run, field) for run in self.runs])

    def modes(self, layer: str) -> tuple[str | None, ...]:
        """Return the mode in which each run ran a layer, None where it lacks it."""
        return tuple(run.layer_modes.get(layer) for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        by = {name: self.rows(f"layer_{name}") for name in ("cycles", "energy_pj")}
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "network": self.network,
            "network_digest": self.network_digest,
            "runs": [
                {key: getattr(run, key) for key in ("name", "machine", "mode", "energy_table")}
                for run in self.runs
            ],
            "totals": _plain(self.rows("totals")),
            "energy_pj": _plain(self.rows("energy_pj")),
            "slots": {cause: list(parts) for cause, parts in self.rows("slots").items()},
            "layers": [
                {"name": name, "modes": list(self.modes(name))}
                | {
                    quantity: _plain(values)[name] | {"best": list(best(values[name]))}
                    for quantity, values in by.items()
                }
                for name in by["cycles"]
            ],
            "notes": [{"about": about, "told": told} for about, told in self.notes],
        }


def _plain(rows: Mapping[str, Values]) -> dict[str, dict[str, list[Any]]]:
    return {
        name: {"values": list(values), "ratios": list(ratios(values))}
        for name, values in rows.items()
    }


def ratios(values: Values) -> Values:
    """Return values as multiples of the first; None where either is missing or the first is 0."""
    first = values[0]
    if not first:
        return (None,) * len(values)
    found = (None if value is None else value / first for value in values)
    return tuple(one if one is not None and math.isfinite(one) else None for one in found)


def best(values: Values) -> tuple[bool, ...]:
    """Tell which are the least; none where all that there are are equal."""
    known = [value for value in values if value is not None]
    is_decided = len(set(known)) > 1
    return tuple(is_decided and value == min(known) for value in values)


def _side_by_side(columns: Sequence[Mapping[str, float | None]]) -> dict[str, Values]:
    """Return rows by name; what the first column lacks comes after what it follows elsewhere."""
    names: list[str] = []
    for column in columns:
        place = 0
        for name in column:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return {name: tuple(column.get(name) for column in columns) for name in names}


def _run(result: ResultRecord, name: str) -> Run:
    frames, clock_hz = result.frames, result.machine.clock_hz
    n_slots = sum(result.slots.values())
    multipliers, rest = divmod(n_slots, result.cycles) if result.cycles else (0, 0)
    energy_pj = sum(result.energy_pj.values()) / frames
    totals = {
        "frames": frames,
        "multipliers": multipliers if multipliers and not rest else None,
        "clock_hz": clock_hz,
        "load_cycles": result.load_cycles,
        "cycles": result.cycles / frames,
        "fps": result.fps,
        "utilization": result.utilization,
        "energy_pj": energy_pj,
        "edp_pj_s": energy_pj * result.cycles / frames / clock_hz,
        "dram_bytes": result.dram_bytes / frames,
        "power_mw": result.power_mw,
    }
    return Run(
        name,
        result.machine.name,
        result.machine.energy,
        result.mode,
        totals,
        {component: pj / frames for component, pj in result.energy_pj.items()},
        {cause: count / n_slots if n_slots else 0.0 for cause, count in result.slots.items()},
        {layer.name: layer.cycles / frames for layer in result.layers},
        {layer.name: sum(layer.own_pj.values()) / frames for layer in result.layers},
        {layer.name: layer.mode for layer in result.layers},
    )


def compare(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], places: Sequence[str] | None = None
) -> Comparison:
    """Set runs of one network side by side.

    Parameters
    ----------
    records : sequence of dict
        Two or more, of `read_result` or `firemesh.emulator.result.Result.to_dict`.
    names : sequence of str
        Of their columns.
    places : sequence of str, optional
        What errors call them, such as paths; default: the names.

    Returns
    -------
    Comparison

    Raises
    ------
    ComparisonError
        When there are fewer than two, one is damaged or of no frame, or networks differ.
    """
    if len(records) < 2:
        raise ComparisonError(
            f"compare: takes two results or more, got {len(records)}; {RUN} makes one"
        )
    places = names if places is None else places
    results = [checked(*one) for one in zip(records, places, strict=True)]
    first = results[0]
    for result, place in zip(results, places, strict=True):
        _check_network(result, place, first, places[0])
    try:
        notes = tuple(_notes(results, names))
    except RecursionError:
        raise ComparisonError(f"{', '.join(places)}: lists within lists; {DAMAGED}") from None
    runs = tuple(_run(*one) for one in zip(results, names, strict=True))
    return Comparison(first.network, first.network_digest, runs, notes)


def _check_network(result: ResultRecord, place: str, first: ResultRecord, first_place: str) -> None:
    if result.network_digest == first.network_digest:
        return
    if result.network != first.network:
        raise ComparisonError(
            f"{place}: is a run of {result.network}, {first_place} one of {first.network}, whose "
            "layers are others; compare runs of one network"
        )
    raise ComparisonError(
        f"{place}: is a run of another network of the same name, {first.network}, than "
        f"{first_place} (digests {result.network_digest:.12} and {first.network_digest:.12}); "
        "run both with the same model, layers, weights and seed"
    )


def _notes(results: Sequence[ResultRecord], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    first, first_name = results[0], names[0]
    priced: dict[str, list[str]] = {}
    for result, name in zip(results, names, strict=True):
        priced.setdefault(result.machine.energy, []).append(name)
    if len(priced) > 1:
        by = " and ".join(f"{table} ({', '.join(of)})" for table, of in priced.items())
        yield "energy", f"Energies, EDP and power do not compare: they are priced by {by}."
    if len({result.machine.clock_hz for result in results}) > 1:
        yield "cycles", "Clocks differ: fewer cycles need not be less time; see frames/s."
    if len({result.frames for result in results}) > 1:
        yield "frames", "Numbers of frames differ: each run tells the mean of its own."
    if len({frozenset(layer.name for layer in result.layers) for result in results}) > 1:
        yield "layers", "Some runs lack layers (a dash): pools in the layer before, conversions."
    for result, name in zip(results[1:], names[1:], strict=True):
        other = [one.machine.name for one in results].index(result.machine.name)
        changed = _changed(results[other].machine, result.machine)
        if changed:
            more = f" and {len(changed) - MOST_FIELDS} more" if changed[MOST_FIELDS:] else ""
            told = ", ".join(changed[:MOST_FIELDS]) + more
            yield "machine", f"{result.machine.name} of {name} is not {names[other]}'s: {told}."
        n = min(result.frames, first.frames)
        if _differ(result.outputs[:n], first.outputs[:n]):
            yield (
                "outputs",
                f"{name} has other outputs than {first_name}: its frames are others, or one of "
                "the machines has a threshold.",
            )


def _changed(first: MachineRecord, other: MachineRecord) -> list[str]:
    """Return the fields that two machines have and in which they differ, with both values."""
    a, b = (_fields({k: v for k, v in dict(m).items() if k not in ABOUT}) for m in (first, other))
    told = []
    for field in (name for name in a if name in b):
        values = b[field], a[field]
        n_trees = sum(isinstance(value, dict) for value in values)
        if n_trees < 2 and _differ(*values):
            told.append(field if n_trees else "{}={} instead of {}".format(field, *values))
    return told


def _fields(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return fields by their paths, and parts that hold them."""
    found: dict[str, Any] = {}
    for name, part in tree.items():
        found[f"{path}{name}"] = part
        if isinstance(part, dict):
            found |= _fields(part, f"{path}{name}.")
    return found


def _differ(a: Any, b: Any) -> bool:
    """Tell whether values of two records differ; one may have tuples for JSON's lists."""
    return json.dumps(a) != json.dumps(b)
