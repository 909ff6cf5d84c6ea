"""Searches the best legal descriptors of a layer; `docs/flexnn-schedule.md` defines the set.

The search is complete: nothing of the set that is legal is better than what it returns, by the
estimate. Kernels of `branches` go through the set; this file makes their arrays and reads them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import build
from ..description import MachineError
from .branches import Branches, Count, Flow, Objective, Row, Values
from .branches import search as go_through
from .dataflows import DATAFLOWS
from .descriptor import Cut, Descriptor
from .dims import NAMES, REDUCTION, Dim, LayerDims, named
from .estimate import (
    LANE_MODES,
    ORDERS,
    SPARSITIES,
    TILE_ORDERS,
    TILED,
    Densities,
    Estimate,
    estimate,
    lane_dim,
    lanes_in_use,
    problem,
    skipped,
    trial,
)
from .machine import FlexMachine
from .partitions import partitions
from .pricing import cut_axis, cut_block, price, price_blocks, price_windows
from .problem import Problem
from .rules import banks_needed

OBJECTIVES = tuple(objective.name.lower() for objective in Objective)
FLEXIBLE = "flexible"
FLOWS = tuple(flow.name.lower() for flow in Flow)
SAME_BLOCKS = ("weight", "input", "output")
"""Dataflows that any blocks may have: restrictions of orders alone."""
SETS = {"default": Values.DEFAULT, "all": Values.ALL}
"""Candidate sets by name."""
NESTED = ("N", "G", "FY", "FX", "OC", "IC", "OY", "OX")
"""Dimensions in the order in which the kernel chooses their blocks."""
AXES = (Row.ROWS, Row.COLUMNS)
TIE = 1e-6
"""What all of the energy weighs against the cycles where these are sought, and the reverse."""
PARTITIONS_AT_ONCE = 64
"""Between two looks at the clock, or at Ctrl-C."""


@dataclass(frozen=True)
class Candidate:
    """A legal descriptor with its estimate.

    Parameters
    ----------
    descriptor : Descriptor
    estimate : Estimate
    origin : str
        The search that found it: ``flexible``, or a fixed dataflow.
    """

    descriptor: Descriptor
    estimate: Estimate
    origin: str


@dataclass(frozen=True)
class Counts:
    """How many candidates a search saw, and what became of them.

    Parameters
    ----------
    partitions : int
        Of all lane modes.
    branches : int
        Sets of blocks whose smallest does not fit the register file, left out whole.
    blocks : int
        Blocks with partitions and a sparsity: over the banks, too large for the SRAM in the
        smallest tiles, bounded or opened.
    blocks_over_banks, blocks_over_sram, blocks_bounded, blocks_opened : int
    schedules : int
        Opened blocks with tiles and orders: bounded, over the SRAM, or priced.
    schedules_bounded, schedules_over_sram, schedules_priced : int
    """

    partitions: int
    branches: int
    blocks: int
    blocks_over_banks: int
    blocks_over_sram: int
    blocks_bounded: int
    blocks_opened: int
    schedules: int
    schedules_bounded: int
    schedules_over_sram: int
    schedules_priced: int


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    candidates : tuple of Candidate
        The best first; at least one.
    counts : Counts
    """

    candidates: tuple[Candidate, ...]
    counts: Counts


class Kept:
    """The best candidates of some dataflows so far, as the kernel has them.

    Parameters
    ----------
    flows : sequence of str
        Of which more than one have the same blocks.
    most : sequence of int
        How many are kept of each.
    """

    def __init__(self, flows: Sequence[str], most: Sequence[int]) -> None:
        self.flows, self.most = tuple(flows), tuple(most)
        self.cost = np.full((len(flows), max(most)), np.inf)
        self.rows = np.zeros((len(flows), max(most), Row.END), np.int64)

    def begin_with(self, other: "Kept") -> None:
        """Take the best of each dataflow of another search into the first list.

        Where there is no reduction, it is called a tree, as the search does where it may.
        """
        for costs, rows in zip(other.cost, other.rows, strict=True):
            last = self.most[0] - 1
            if costs[0] < self.cost[0, last]:
                self.cost[0, last], self.rows[0, last] = costs[0], rows[0]
                parts = [int(rows[0, first + dim]) for first in AXES for dim in REDUCTION]
                if max(parts) == 1:
                    self.rows[0, last, Row.CHAIN] = 0
                order = np.argsort(self.cost[0], kind="stable")
                self.cost[0], self.rows[0] = self.cost[0, order], self.rows[0, order]

    def best(self, flow: str) -> NDArray[np.int64]:
        """Return the rows that were found, the best first."""
        i = self.flows.index(flow)
        n = int(np.isfinite(self.cost[i]).sum())
        return np.array(self.rows[i, :n])


class Search:
    """A search of a layer's descriptors.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    densities : Densities
    objective : {"cycles", "energy", "edp"}
    candidates : {"default", "all"}
    tick : callable
        Called now and then; may raise to end the search.

    Raises
    ------
    MachineError
        When objective or set are unknown.
    """

    def __init__(
        self,
        layer: LayerDims,
        machine: FlexMachine,
        densities: Densities,
        objective: str = "cycles",
        candidates: str = "default",
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        check_name("objective", objective, OBJECTIVES)
        check_name("candidates", candidates, SETS)
        self.layer, self.machine, self.densities = layer, machine, densities
        self.objective, self.candidates, self.tick = objective, candidates, tick
        self.counts = np.zeros(len(Count), np.int64)
        lanes = machine.array.lanes
        having = [
            {
                lanes_in_use(own, lanes, mode)
                for size in (layer.sizes[lane_dim(mode)],)
                for own in (*range(lanes, size, lanes), size)
            }
            for mode in LANE_MODES
        ]
        self.problem: Problem = problem(layer, machine, densities, (having[0], having[1]))

    def run(self, kept: Kept) -> None:
        """Go through the candidates of some dataflows, and keep the best."""
        for mode in self.machine.array.lane_modes:
            if mode == "mxm" and self.layer.is_depthwise:
                continue
            branches = self._branches(mode, kept)
            tried, n = trial(self.machine.array.lanes, mode), len(branches.partitions)
            kernels = cut_block, cut_axis, price_windows, price_blocks, price
            for begin in range(0, n, PARTITIONS_AT_ONCE):
                end = min(begin + PARTITIONS_AT_ONCE, n)
                go_through(self.problem, branches, tried, begin, end, *kernels)
                self.tick()
            self.counts += branches.counts

    def _branches(self, mode: str, kept: Kept) -> Branches:
        """Return the arrays of a search through a lane mode."""
        flow = kept.flows[0]
        layer, kind, array = self.layer, SETS[self.candidates], self.machine.array
        parts = partitions(layer, self.machine, mode, kind == Values.ALL, flow)
        reduced = parts[:, :, list(REDUCTION)].prod(axis=(1, 2))
        is_power = reduced & (reduced - 1) == 0
        trees = is_power if "tree" in array.reductions and flow != "row" else reduced == 1
        if "chain" not in array.reductions:
            parts, trees = parts[trees], trees[trees]
        most = 2 * isqrt(max(layer.sizes)) + 3
        weights = self.weights()
        return build(
            Branches,
            partitions=parts.reshape(-1, 2, len(Dim)),
            # the dataflow's rule names the chain, whether there is a reduction or not
            chains=np.ones(len(parts)) if flow == "row" else ~trees,
            sparsities=[SPARSITIES.index(name) for name in self.sparsities()],
            nested=[NAMES.index(name) for name in NESTED],
            tiled=TILED,
            n_values=np.zeros(len(Dim)),
            value=np.zeros((len(Dim), most)),
            at=np.zeros(len(Dim)),
            cut=np.zeros((len(Dim), most, 4)),
            span=np.zeros((2, most, 2, 3)),
            n_tile_values=np.zeros(len(TILED)),
            tile_value=np.zeros((len(TILED), most)),
            tile_at=np.zeros(len(TILED)),
            weights=weights,
            counts=np.zeros(len(Count)),
            values=kind,
            objective=OBJECTIVES.index(self.objective),
            flows=[FLOWS.index(name) for name in kept.flows],
            n_kept=kept.most,
            cost=kept.cost,
            kept=kept.rows,
        )

    def weights(self) -> tuple[float, float]:
        """Return the weights of cycles and energy: the other one of two decides ties."""
        # of a layer that keeps all multipliers busy, with a few accesses a multiplication
        ratio = 4 * self.machine.multipliers
        if self.objective == "cycles":
            return 1.0, TIE / ratio
        return TIE * ratio, 1.0

    def sparsities(self) -> list[str]:
        """Return what may be skipped, the most first.

        Of modes that skip the same at these densities, that which needs the fewest bitmaps.
        """
        modes = self.machine.sparsity.modes
        found: dict[tuple[bool, bool], str] = {}
        for name in SPARSITIES:
            if name in modes:
                found.setdefault(
                    skipped(name, self.densities, self.machine.sparsity.pays_below), name
                )
        return [name for _, name in sorted(found.items(), reverse=True)]

    def descriptor(self, row: NDArray[np.int64]) -> Descriptor:
        """Return the descriptor of a row of `Kept.rows`, with the banks that it needs."""
        n = len(Dim)
        block, rows, columns, tile = (
            tuple(int(value) for value in row[first : first + n])
            for first in (Row.BLOCK, Row.ROWS, Row.COLUMNS, Row.TILE)
        )
        tree: dict[str, Any] = {
            "block": named(block),  # type: ignore[arg-type]
            "rows": named(rows),  # type: ignore[arg-type]
            "columns": named(columns),  # type: ignore[arg-type]
            "tile": named(tile, self.layer.sizes),  # type: ignore[arg-type]
            "order": ORDERS[row[Row.ORDER]],
            "tile_order": TILE_ORDERS[row[Row.TILE_ORDER]],
            "lanes": LANE_MODES[row[Row.MODE]],
            "banks": {"if": 1, "fl": 1, "of": 1},
            "sparsity": SPARSITIES[row[Row.SPARSITY]],
            "reduction": "chain" if row[Row.CHAIN] else "tree",
        }
        needed = banks_needed(Cut(Descriptor.model_validate(tree), self.layer), self.machine)
        tree["banks"] = dict(zip(("if", "fl", "of"), needed, strict=True))
        return Descriptor.model_validate(tree)

    def found(self, kept: Kept, flow: str) -> list[Candidate]:
        """Return what was kept of a dataflow."""
        found = []
        for row in kept.best(flow):
            descriptor = self.descriptor(row)
            cut = Cut(descriptor, self.layer)
            priced = estimate(cut, self.machine, self.densities)
            found.append(Candidate(descriptor, priced, flow))
        return found


def check_name(field: str, given: str, known: Sequence[str] | dict[str, Any]) -> None:
    """Raise when a name is unknown.

    Raises
    ------
    MachineError
        Names those that are known.
    """
    if given not in known:
        raise MachineError(f"{field}: must be one of {', '.join(known)}, got {given!r}")


def search(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    objective: str = "cycles",
    dataflow: str | None = None,
    candidates: str = "default",
    keep: int = 8,
    tick: Callable[[], None] = lambda: None,
) -> Found:
    """Return the best legal descriptors of a layer by their estimates.

    Without a dataflow those of the fixed ones are among the candidates.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
        Of a machine with one dataflow only this is searched.
    densities : Densities
    objective : {"cycles", "energy", "edp"}
    dataflow : {"weight", "input", "output", "none", "row"}, optional
    candidates : {"default", "all"}
        The set that is searched.
    keep : int
        Most that are returned.
    tick : callable
        Called now and then; may raise to end the search.

    Returns
    -------
    Found

    Raises
    ------
    MachineError
        When a name is unknown, or nothing of the set is legal.
    """
    found, _ = _search(layer, machine, densities, objective, dataflow, candidates, keep, tick)
    return found


def candidates_for(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    objective: str = "cycles",
    dataflow: str | None = None,
    keep: int = 8,
    candidates: str = "default",
    tick: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Return the best estimates, and each fixed dataflow's best one where none is asked for.

    Parameters as for `search`. A descriptor that is several of these is returned once.
    """
    found, fixed = _search(layer, machine, densities, objective, dataflow, candidates, keep, tick)
    best = list(found.candidates)
    for candidate in fixed:
        if candidate.descriptor not in [other.descriptor for other in best]:
            best.append(candidate)
    return best


def _search(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    objective: str,
    dataflow: str | None,
    candidates: str,
    keep: int,
    tick: Callable[[], None],
) -> tuple[Found, list[Candidate]]:
    """Return what was found, and the fixed dataflows' best ones where none is asked for."""
    if dataflow is not None:
        check_name("dataflow", dataflow, DATAFLOWS)
    if keep < 1:
        raise MachineError(f"keep: must be at least 1, got {keep}")
    only = machine.array.dataflow if machine.array.dataflow != FLEXIBLE else None
    if only and dataflow not in (None, only):
        raise MachineError(f"dataflow: {machine.name} has {only}, got {dataflow!r}")
    flow = only or dataflow or FLEXIBLE
    seeker = Search(layer, machine, densities, objective, candidates, tick)
    if flow != FLEXIBLE:
        kept = Kept((flow,), (keep,))
        seeker.run(kept)
        return _found(seeker, kept, flow), []
    kept = Kept((FLEXIBLE, *SAME_BLOCKS), (keep, *(1 for _ in SAME_BLOCKS)))
    fixed = []
    for name in DATAFLOWS:
        if name not in SAME_BLOCKS:
            alone = Kept((name,), (1,))
            seeker.run(alone)
            kept.begin_with(alone)
            fixed += seeker.found(alone, name)
    seeker.counts[:] = 0
    seeker.run(kept)
    for name in SAME_BLOCKS:
        fixed += seeker.found(kept, name)
    return _found(seeker, kept, FLEXIBLE), fixed


def _found(seeker: Search, kept: Kept, flow: str) -> Found:
    candidates = seeker.found(kept, flow)
    if not candidates:
        raise MachineError(_nothing(seeker.layer, seeker.machine, flow))
    return Found(tuple(candidates), Counts(*(int(n) for n in seeker.counts)))


def _nothing(layer: LayerDims, machine: FlexMachine, flow: str) -> str:
    """Return what to tell when no candidate is legal."""
    rf, sizes = machine.rf, " ".join(f"{dim.name}={layer.sizes[dim]}" for dim in Dim)
    return (
        f"{machine.name}: no descriptor of dataflow {flow} fits a layer with {sizes} into "
        f"{rf.banks} sub-banks of {rf.bank_bytes} bytes and {machine.sram.bytes} bytes of SRAM; "
        "give more of rf.banks, rf.bank_bytes or sram.bytes"
    )
