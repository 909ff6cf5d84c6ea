"""What a legal descriptor is estimated to cost on a layer; `docs/flexnn-schedule.md`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import build
from ..energy import active_cycle_pj, table
from .descriptor import Cut, product
from .dims import FL_DIMS, NAMES, OF_DIMS, Dim, LayerDims
from .expectations import MOST_POSITIONS, expected_maxima, shared_activations, slowest
from .machine import FlexMachine
from .pricing import cut_axis, cut_block, price, price_blocks, price_windows
from .problem import Fact, Kind, Problem, Trial

LANE_MODES = ("vxv", "mxm")
SPARSITIES = ("dense", "activation", "weight", "both")
BARRIERS = ("vpe", "column", "array")
KINDS = {
    Dim.N: Kind.POINT, Dim.G: Kind.GROUP, Dim.OY: Kind.POINT, Dim.OX: Kind.POINT,
    Dim.OC: Kind.FILTER, Dim.IC: Kind.REDUCED, Dim.FY: Kind.REDUCED, Dim.FX: Kind.REDUCED,
}  # fmt: skip
ORDERS = (
    ("G", "OC", "IC", "FY", "FX", "N", "OY", "OX"),
    ("N", "G", "OY", "OX", "IC", "FY", "FX", "OC"),
    ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX"),
)
"""Orders of blocks in which weights, ifmap, ofmap stay; by `Kind`."""
TILE_ORDERS = (
    ("G", "OC", "N", "OY", "OX", "IC", "FY", "FX"),
    ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX"),
)
"""Orders of tiles in which weights, ifmap stay where the reduction is not tiled."""
TILED = (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.OC, Dim.IC)
"""Dimensions of which a search cuts tiles."""


@dataclass(frozen=True)
class Densities:
    """Shares of non-zeros.

    Parameters
    ----------
    activations, weights : float
        0 to 1.
    outputs : float or None
        Of the ofmap; None: as of the activations.
    """

    activations: float = 0.5
    weights: float = 1.0
    outputs: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What a descriptor is estimated to cost.

    Parameters
    ----------
    cycles, energy_pj : float
    rounds : int
    compute_cycles : float
        Of the slowest VPE, over all rounds.
    sram_read_bytes, sram_written_bytes : float
        By the array.
    dram_read_bytes, dram_written_bytes : float
    """

    cycles: float
    energy_pj: float
    rounds: int
    compute_cycles: float
    sram_read_bytes: float
    sram_written_bytes: float
    dram_read_bytes: float
    dram_written_bytes: float

    def cost(self, objective: str) -> float:
        """Return what is to be small: ``cycles``, ``energy`` or ``edp`` (their product)."""
        if objective == "cycles":
            return self.cycles
        return self.energy_pj if objective == "energy" else self.energy_pj * self.cycles


def places(layer: LayerDims, axis: int) -> NDArray[np.int64]:
    """Return the ifmap rows (axis 0) or columns of all kernel positions that are no padding."""
    outputs, taps = layer.sizes[Dim.OY + axis], layer.sizes[Dim.FY + axis]
    found = np.arange(outputs)[:, None] * layer.strides[axis]
    found = found + np.arange(taps) * layer.dilations[axis] - layer.pads[axis]
    return np.asarray(found[(found >= 0) & (found < layer.ifmap[axis])], np.int64)


def on_ifmap(layer: LayerDims) -> float:
    """Return the share of kernel positions that are no padding."""
    s = layer.sizes
    found = places(layer, 0).size * places(layer, 1).size
    return found / (s[Dim.OY] * s[Dim.FY] * s[Dim.OX] * s[Dim.FX])


def skipped(sparsity: str, densities: Densities, pays_below: float) -> tuple[bool, bool]:
    """Return whether activations, and weights, are skipped; `docs/flexnn-cycles.md`, section 4."""
    return (
        sparsity in ("activation", "both") and densities.activations < pays_below,
        sparsity in ("weight", "both") and densities.weights < pays_below,
    )


def shares(sparsity: str, densities: Densities, pays_below: float, real: float) -> list[float]:
    """Return a row of `Problem.shares`; ``real``: share of kernel positions without padding."""
    skips_if, skips_fl = skipped(sparsity, densities, pays_below)
    act, weight = (
        share if is_skipped else 1.0
        for share, is_skipped in (
            (densities.activations, skips_if),
            (densities.weights, skips_fl),
        )
    )
    out = densities.activations if densities.outputs is None else densities.outputs
    is_packed = sparsity in ("activation", "both") and out < pays_below
    pairs = act * weight * (real if skips_if else 1.0)
    bits_if, bits_fl = skips_if / 8, skips_fl / 8
    return [act + bits_if, weight + bits_fl, out + 1 / 8 if is_packed else 1.0,
            act, weight, bits_if, bits_fl, pairs]  # fmt: skip


def least_dram(layer: LayerDims, of_shares: list[list[float]]) -> NDArray[np.float64]:
    """Return the bytes of IF, FL and OF that DRAM moves at least: what is needed, once.

    Parameters
    ----------
    layer : LayerDims
    of_shares : list of list of float
        Rows of `Problem.shares`.

    Returns
    -------
    float64[4, 3]
        By sparsity.
    """
    height, width = (np.unique(places(layer, axis)).size for axis in (0, 1))
    sizes = (
        height * width * product(layer.sizes, (Dim.N, Dim.G, Dim.IC)),
        product(layer.sizes, FL_DIMS),
        product(layer.sizes, OF_DIMS),
    )
    return np.array(of_shares)[:, :3] * sizes


def _windows(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    having: tuple[Collection[int], Collection[int]],
) -> dict[str, Any]:
    """Return ``window_row`` and ``windows`` of `Problem`."""
    lanes, logic, sizes = machine.array.lanes, machine.sparsity, layer.sizes
    # a VPE holds the weights of all lanes
    longest = machine.rf.banks * machine.rf.bank_bytes // lanes
    longest = min(longest, sizes[Dim.IC] * sizes[Dim.FY] * sizes[Dim.FX], MOST_POSITIONS)
    rows = np.full((len(LANE_MODES), len(SPARSITIES), lanes + 1), -1, np.int64)
    tables: list[NDArray[np.float64]] = []
    real = on_ifmap(layer)
    for s, name in enumerate(SPARSITIES):
        row = shares(name, densities, logic.pays_below, real)
        act = row[3] * real if row[5] else 1.0
        for mode in range(len(LANE_MODES)):
            for n in having[mode]:
                rows[mode, s, n] = len(tables)
                more = (n, max(longest, 1), logic.empty_window_cycles)
                tables.append(
                    shared_activations((act, row[4]), *more) if mode else slowest(row[7], *more)
                )
    return {"window_row": rows, "windows": np.array(tables)}


def problem(
    layer: LayerDims,
    machine: FlexMachine,
    densities: Densities,
    having: tuple[Collection[int], Collection[int]],
) -> Problem:
    """Return a layer on a machine as kernels take it.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    densities : Densities
    having : two collections of int
        By lane mode, how many lanes of a window may have positions.
    """
    array, sdn, sram, logic = machine.array, machine.sdn, machine.sram, machine.sparsity
    energies = table(machine.energy)
    memories = ("storage", "dram", "rf_if", "rf_fl", "rf_of", "bitmap_if", "bitmap_fl", "acc")
    pj = [energies.access_pj[name].byte_pj for name in memories]
    pj += [energies.mac_pj, 8 * energies.hop_bit_pj]
    pj.append(energies.idle_fraction * active_cycle_pj(machine, energies))
    of_shares = [shares(name, densities, logic.pays_below, on_ifmap(layer)) for name in SPARSITIES]
    least = least_dram(layer, of_shares)
    return build(
        Problem,
        sizes=layer.sizes,
        geometry=layer.geometry(),
        kinds=[int(KINDS[dim]) for dim in Dim],
        least_dram=least,
        least_moved=least.sum(axis=1),
        orders=[[NAMES.index(name) for name in order] for order in ORDERS],
        tile_orders=[[NAMES.index(name) for name in order] for order in TILE_ORDERS],
        is_tiled=[dim in TILED for dim in Dim],
        shares=of_shares,
        **_windows(layer, machine, densities, having),
        maxima=expected_maxima(array.n_vpes),
        pj=pj,
        lanes=array.lanes,
        banks=machine.rf.banks,
        bank_bytes=machine.rf.bank_bytes,
        sram_bytes=sram.bytes,
        read_bytes=sram.read_bytes,
        write_bytes=sram.write_bytes,
        column_bytes=sdn.column_bytes,
        drain_bytes=sdn.drain_bytes,
        reduced_per_cycle=sdn.reduced_per_cycle,
        overhead=sdn.round_overhead_cycles,
        dram_bytes=machine.dram.bytes_per_cycle,
        is_shared=sram.ports == "shared",
        barrier=BARRIERS.index(logic.barrier),
        n_vpes=array.n_vpes,
        flit_bytes=-(-machine.noc.flit_bits // 8) if sdn.kind == "mesh" else 0,
        mesh_hops=array.rows + array.columns,
        is_unicast=machine.noc.multicast == "unicast",
        storage_ports=sdn.storage_ports,
    )


def trial(lanes: int, mode: str) -> Trial:
    """Return an empty candidate of a lane mode."""
    units = [lanes if dim == lane_dim(mode) else 1 for dim in Dim]
    whole: dict[str, Any] = {name: np.ones(len(Dim)) for name in Trial._fields}
    whole["spans"] = np.ones((2, 3))
    choice = [LANE_MODES.index(mode), 0, 0]
    return build(Trial, **whole | {"units": units, "choice": choice, "facts": np.zeros(len(Fact))})


def lane_dim(mode: str) -> Dim:
    """Return the dimension of which each lane of a mode takes another part."""
    return Dim.IC if mode == "vxv" else Dim.OC


def lanes_in_use(block: int, lanes: int, mode: str) -> int:
    """Return the lanes of a window that have positions.

    Parameters
    ----------
    block : int
        Elements of `lane_dim`, as far as they exist.
    lanes : int
    mode : {"vxv", "mxm"}
    """
    return min(block, lanes) if mode == "mxm" else -(-block // -(-block // lanes))


def estimate(cut: Cut, machine: FlexMachine, densities: Densities) -> Estimate:
    """Return what a legal descriptor is estimated to cost.

    Parameters
    ----------
    cut : Cut
    machine : FlexMachine
    densities : Densities

    Notes
    -----
    Source: `docs/flexnn-cycles.md`; `docs/flexnn-schedule.md` states what is approximated.
    """
    descriptor, mode = cut.descriptor, cut.descriptor.lanes
    dim = lane_dim(mode)
    n = lanes_in_use(min(cut.block[dim], cut.layer.sizes[dim]), machine.array.lanes, mode)
    given = problem(cut.layer, machine, densities, ([n], []) if mode == "vxv" else ([], [n]))
    tried = trial(machine.array.lanes, mode)
    tried.choice[1] = SPARSITIES.index(descriptor.sparsity)
    tried.choice[2] = descriptor.reduction == "chain"
    tried.block[:], tried.rows[:], tried.columns[:] = cut.block, cut.row_parts, cut.column_parts
    for each in Dim:
        cut_block(given, tried, int(each))
    for axis in (0, 1):
        cut_axis(given, tried, axis)
    price_windows(given, tried)
    price_blocks(given, tried)
    tried.order[:], tried.tile_order[:] = cut.order, cut.tile_order
    tried.tile[:], tried.n_tiles[:], tried.inner[:] = cut.tile, cut.tiles, cut.blocks()
    price(given, tried)
    return estimate_of(tried)


def estimate_of(tried: Trial) -> Estimate:
    """Return the estimate among a candidate's facts."""
    facts = {fact: float(tried.facts[fact]) for fact in Fact}
    return Estimate(
        facts[Fact.CYCLES],
        facts[Fact.ENERGY],
        round(facts[Fact.ROUNDS]),
        facts[Fact.ROUNDS] * facts[Fact.COMPUTE],
        facts[Fact.SRAM_READ],
        facts[Fact.SRAM_WRITTEN],
        facts[Fact.DRAM_READ],
        facts[Fact.DRAM_WRITTEN],
    )
