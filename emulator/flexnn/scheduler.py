"""Searches the best legal descriptors of a layer; `docs/flexnn-schedule.md` defines the set."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..description import MachineError
from .dataflows import DATAFLOWS
from .descriptor import Cut, Descriptor
from .dims import NAMES, REDUCTION, Dim, LayerDims, named
from .estimate import (
    LANE_MODES,
    SPARSITIES,
    Densities,
    Estimate,
    estimate,
    lanes_in_use,
    problem,
    trial,
)
from .machine import FlexMachine
from .partitions import partitions
from .pricing import MOST_VALUES, Options
from .pricing import search as search_parts
from .rules import banks_needed

OBJECTIVES = ("cycles", "energy", "edp")
CANDIDATES = ("default", "all")
FLOWS = (None, "weight", "input", "output", "none", "row")
TILED = (Dim.N, Dim.G, Dim.OY, Dim.OC, Dim.IC)
ORDERS = (
    ("G", "OC", "IC", "FY", "FX", "N", "OY", "OX"),
    ("N", "G", "OY", "OX", "IC", "FY", "FX", "OC"),
    ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX"),
)
"""Orders of blocks: weights, ifmap, ofmap stay."""
TILE_ORDERS = (
    ("G", "OC", "N", "OY", "OX", "IC", "FY", "FX"),
    ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX"),
)
"""Orders of tiles: weights, ifmap stay."""
NESTED = ("N", "G", "FY", "FX", "OC", "IC", "OY", "OX")


@dataclass(frozen=True)
class Candidate:
    """A legal descriptor with its estimate.

    Parameters
    ----------
    descriptor : Descriptor
    estimate : Estimate
    origin : str
        The search it won: ``flexible`` or a fixed dataflow.
    """

    descriptor: Descriptor
    estimate: Estimate
    origin: str


@dataclass(frozen=True)
class Counts:
    """How many there were."""

    partitions: int = 0
    blocks: int = 0
    blocks_over_banks: int = 0
    blocks_bounded: int = 0
    blocks_opened: int = 0
    schedules: int = 0
    schedules_over_sram: int = 0
    schedules_priced: int = 0


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    candidates : tuple of Candidate
        The best first.
    counts : Counts
    """

    candidates: tuple[Candidate, ...]
    counts: Counts


def _numbers(names: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    return np.array([[NAMES.index(name) for name in order] for order in names], np.int64)


def _options(
    machine: FlexMachine,
    mode: int,
    objective: str,
    dataflow: str | None,
    is_all: bool,
    parts: NDArray[np.int64],
    keep: int,
) -> Options:
    reduced = parts[:, :, list(REDUCTION)].prod(axis=(1, 2))
    is_power = reduced & (reduced - 1) == 0
    has_tree = "tree" in machine.array.reductions and dataflow != "row"
    chains = (~is_power | (not has_tree)).astype(np.int64)
    if "chain" not in machine.array.reductions:
        parts = parts[is_power]
        chains = chains[is_power]
    return Options(
        parts=np.ascontiguousarray(parts),
        chains=chains,
        sparsities=np.array([SPARSITIES.index(s) for s in _sparsities(machine)], np.int64),
        orders=_numbers(ORDERS),
        tile_orders=_numbers(TILE_ORDERS),
        tiled=np.array(TILED, np.int64),
        nested=_numbers((NESTED,))[0],
        choice=np.array(
            [mode, OBJECTIVES.index(objective), FLOWS.index(dataflow), int(is_all), 0], np.int64
        ),
        n_values=np.zeros(8, np.int64),
        value=np.zeros((8, MOST_VALUES), np.int64),
        cut=np.zeros((8, MOST_VALUES, 4)),
        span=np.zeros((2, MOST_VALUES, 2, 3)),
        place=np.zeros(8, np.int64),
        tile_n=np.zeros(len(TILED), np.int64),
        tile_value=np.zeros((len(TILED), MOST_VALUES), np.int64),
        tile_place=np.zeros(len(TILED), np.int64),
        cost=np.full(keep, np.inf),
        kept=np.zeros((keep, 38), np.int64),
        counts=np.zeros(8, np.int64),
    )


def _sparsities(machine: FlexMachine) -> list[str]:
    modes = machine.sparsity.modes
    richest = next(s for s in ("both", "activation", "weight", "dense") if s in modes)
    return [richest] + (["dense"] if "dense" in modes and richest != "dense" else [])


def _descriptor(row: NDArray[np.int64], layer: LayerDims, machine: FlexMachine) -> Descriptor:
    block, rows, columns, tile = (tuple(int(v) for v in row[a : a + 8]) for a in (5, 13, 21, 29))
    tree = {
        "block": named(block),
        "rows": named(rows),
        "columns": named(columns),
        "tile": named(tile, layer.sizes),
        "order": ORDERS[row[3]],
        "tile_order": TILE_ORDERS[row[4]],
        "lanes": LANE_MODES[row[0]],
        "banks": {"if": 1, "fl": 1, "of": 1},
        "sparsity": SPARSITIES[row[1]],
        "reduction": ("tree", "chain")[row[2]],
    }
    given = Descriptor.model_validate(tree)
    needed = banks_needed(Cut(given, layer), machine)
    tree["banks"] = dict(zip(("if", "fl", "of"), needed, strict=True))
    return Descriptor.model_validate(tree)


def search(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    objective: str = "cycles",
    dataflow: str | None = None,
    candidates: str = "default",
    keep: int = 8,
) -> Found:
    """Return the best legal descriptors of a layer."""
    flow = dataflow
    if machine.array.dataflow != "flexible":
        flow = machine.array.dataflow
    is_all = candidates == "all"
    lanes = machine.array.lanes
    having = frozenset(lanes_in_use(layer.sizes[Dim.IC], lanes) | {min(layer.sizes[Dim.OC], lanes)})
    given = problem(layer, machine, densities, having)
    cost, kept, counts = np.full(keep, np.inf), np.zeros((keep, 38), np.int64), np.zeros(8, int)
    for mode in machine.array.lane_modes:
        if mode == "mxm" and layer.is_depthwise:
            continue
        parts = partitions(layer, machine, mode, is_all, flow)
        options = _options(
            machine, LANE_MODES.index(mode), objective, flow, is_all, parts, keep
        )._replace(cost=cost, kept=kept)
        search_parts(given, options, trial(), 0, len(options.parts))
        counts += options.counts
    n = int(np.isfinite(cost).sum())
    if n == 0:
        raise MachineError(f"{machine.name}: no descriptor is legal")
    found = []
    for row in kept[:n]:
        descriptor = _descriptor(row, layer, machine)
        cut = Cut(descriptor, layer)
        found.append(Candidate(descriptor, estimate(cut, machine, densities), flow or "flexible"))
    return Found(tuple(found), Counts(*(int(c) for c in counts)))


def candidates_for(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    objective: str = "cycles",
    dataflow: str | None = None,
    keep: int = 8,
) -> list[Candidate]:
    """Return the best estimates and each fixed dataflow's, without duplicates."""
    find = partial(search, layer, machine, densities, objective)
    found = list(find(dataflow, keep=keep).candidates)
    seen = {candidate.descriptor.to_yaml() for candidate in found}
    if dataflow is None and machine.array.dataflow == "flexible":
        for name in DATAFLOWS:
            try:
                best = find(name, keep=1).candidates[0]
            except MachineError:
                continue
            if best.descriptor.to_yaml() not in seen:
                seen.add(best.descriptor.to_yaml())
                found.append(best)
    return found
