"""What a legal descriptor is estimated to cost on a layer; `docs/flexnn-schedule.md`."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..energy import active_cycle_pj, table
from .descriptor import Cut
from .dims import Dim, LayerDims
from .expectations import MOST_POSITIONS, expected_maxima, shared_activations, slowest
from .machine import FlexMachine
from .pricing import cut_axis, cut_dim, measure, price, price_rounds
from .problem import Fact, Kind, Problem, Trial
from .rules import skippable  # noqa: F401

LANE_MODES = ("vxv", "mxm")
SPARSITIES = ("dense", "activation", "weight", "both")
BARRIERS = ("vpe", "column", "array")
KINDS = (
    Kind.POINT, Kind.GROUP, Kind.POINT, Kind.POINT,
    Kind.FILTER, Kind.REDUCED, Kind.REDUCED, Kind.REDUCED,
)  # fmt: skip
"""Of each `Dim`."""


@dataclass(frozen=True)
class Densities:
    """Shares of non-zeros.

    Parameters
    ----------
    activations, weights : float
        0 to 1. The ofmap counts as dense as the activations.
    """

    activations: float = 0.5
    weights: float = 1.0


@dataclass(frozen=True)
class Estimate:
    """What a descriptor is estimated to cost.

    Parameters
    ----------
    cycles, energy_pj : float
    rounds : float
    compute_cycles : float
        Of all rounds, in the slowest VPE of each.
    sram_read_bytes, sram_written_bytes : float
        By the array.
    dram_read_bytes, dram_written_bytes : float
    """

    cycles: float
    energy_pj: float
    rounds: float
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
    """Return the ifmap rows (axis 0) or columns of all kernel positions, those of padding less."""
    outputs, kernel = layer.sizes[Dim.OY + axis], layer.sizes[Dim.FY + axis]
    stride, dilation = layer.strides[axis], layer.dilations[axis]
    found = np.arange(outputs)[:, None] * stride + np.arange(kernel) * dilation
    found -= layer.pads[axis]
    return found[(found >= 0) & (found < layer.ifmap[axis])]


def inside(layer: LayerDims) -> float:
    """Return the share of kernel positions that lie on the ifmap, not on its padding."""
    s = layer.sizes
    found = places(layer, 0).size * places(layer, 1).size
    return found / (s[Dim.OY] * s[Dim.FY] * s[Dim.OX] * s[Dim.FX])


def kept(sparsity: str, densities: Densities, pays_below: float) -> tuple[bool, bool]:
    """Return whether activations, and weights, are skipped."""
    return (
        sparsity in ("activation", "both") and densities.activations < pays_below,
        sparsity in ("weight", "both") and densities.weights < pays_below,
    )


def _shares(densities: Densities, pays_below: float, on_ifmap: float) -> np.ndarray:
    rows = []
    for sparsity in SPARSITIES:
        skips_if, skips_fl = kept(sparsity, densities, pays_below)
        act = densities.activations if skips_if else 1.0
        weight = densities.weights if skips_fl else 1.0
        bits_if, bits_fl = skips_if / 8, skips_fl / 8
        pairs = act * (on_ifmap if skips_if else 1.0) * weight
        rows.append([act + bits_if, weight + bits_fl, act + bits_if, act, weight, bits_if, bits_fl,
                     pairs])  # fmt: skip
    return np.array(rows)


def lanes_in_use(size: int, lanes: int) -> set[int]:
    """Return the numbers of lanes that have channels in mode ``vxv``, by block of IC."""
    return {-(-own // -(-own // lanes)) for own in {*range(lanes, size, lanes), size}}


def problem(
    layer: LayerDims, machine: FlexMachine, densities: Densities, having: frozenset[int]
) -> Problem:
    """Return a layer on a machine as kernels take it.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    densities : Densities
    having : set of int
        Lanes that may have positions.
    """
    array, sparsity, sdn, sram = machine.array, machine.sparsity, machine.sdn, machine.sram
    pays, on_ifmap = sparsity.pays_below, inside(layer)
    sizes = layer.sizes
    longest = sizes[Dim.IC] * sizes[Dim.FY] * sizes[Dim.FX]
    positions = max(1, min(longest, machine.rf.banks * machine.rf.bank_bytes, MOST_POSITIONS))
    window_row = np.full((2, len(SPARSITIES), array.lanes + 1), -1, np.int64)
    tables = []
    for s, name in enumerate(SPARSITIES):
        skips_if, skips_fl = kept(name, densities, pays)
        shares = (
            densities.activations * on_ifmap if skips_if else 1.0,
            densities.weights if skips_fl else 1.0,
        )
        for lanes in having:
            empty = sparsity.empty_window_cycles
            window_row[0, s, lanes] = len(tables)
            tables.append(slowest(shares[0] * shares[1], lanes, positions, empty))
            window_row[1, s, lanes] = len(tables)
            tables.append(shared_activations(shares, lanes, positions, empty))
    energies = table(machine.energy)
    byte_pj = {name: access.byte_pj for name, access in energies.access_pj.items()}
    memories = ("storage", "dram", "rf_if", "rf_fl", "rf_of", "bitmap_if", "bitmap_fl", "acc")
    pj = [byte_pj[name] for name in memories]
    pj += [energies.mac_pj, 8 * energies.hop_bit_pj]
    pj.append(energies.idle_fraction * active_cycle_pj(machine, energies))
    is_mesh = sdn.kind == "mesh"
    numbers = [
        array.lanes, machine.rf.banks, machine.rf.bank_bytes, sram.bytes, sram.read_bytes,
        sram.write_bytes, sdn.column_bytes, sdn.drain_bytes, sdn.reduced_per_cycle,
        sdn.round_overhead_cycles, machine.dram.bytes_per_cycle, sram.ports == "shared",
        BARRIERS.index(sparsity.barrier), array.n_vpes, 0,
    ]  # fmt: skip
    if is_mesh:
        numbers[6] = numbers[7] = max(1, machine.noc.flit_bits // 8)
        numbers[14] = array.rows + array.columns
    return Problem(
        np.array(sizes, np.int64),
        layer.geometry(),
        np.array(KINDS, np.int64),
        np.array([np.unique(places(layer, axis)).size for axis in (0, 1)], np.int64),
        _shares(densities, pays, on_ifmap),
        window_row,
        np.array(tables),
        expected_maxima(array.n_vpes),
        np.array(pj),
        np.array(numbers, np.int64),
    )


def trial() -> Trial:
    """Return an empty candidate."""

    def whole(n: int = 8) -> np.ndarray:
        return np.ones(n, np.int64)

    return Trial(
        whole(), whole(), whole(), whole(), np.arange(8), np.arange(8), whole(3), whole(),
        np.ones(8), np.ones(8), np.ones(8), np.ones((2, 3)), whole(), whole(), whole(),
        np.zeros(len(Fact)),
    )  # fmt: skip


def _put(into: np.ndarray, values: Iterable[int]) -> None:
    into[:] = list(values)


def estimate(cut: Cut, machine: FlexMachine, densities: Densities) -> Estimate:
    """Return what a legal descriptor is estimated to cost.

    Parameters
    ----------
    cut : Cut
    machine : FlexMachine
    densities : Densities

    Notes
    -----
    Source: `docs/flexnn-cycles.md`; approximations are those of `docs/flexnn-schedule.md`.
    """
    descriptor, lanes = cut.descriptor, machine.array.lanes
    is_mxm = descriptor.lanes == "mxm"
    dim = Dim.OC if is_mxm else Dim.IC
    own = min(cut.block[dim], cut.layer.sizes[dim])
    having = min(own, lanes) if is_mxm else -(-own // -(-own // lanes))
    given = problem(cut.layer, machine, densities, frozenset((having,)))
    tried = trial()
    pairs = (
        (tried.block, cut.block), (tried.rows, cut.row_parts), (tried.columns, cut.column_parts),
        (tried.tile, cut.tile), (tried.order, cut.order), (tried.tile_order, cut.tile_order),
        (tried.n_tiles, cut.tiles), (tried.inner, cut.blocks()),
        (tried.choice, (is_mxm, SPARSITIES.index(descriptor.sparsity),
                        descriptor.reduction == "chain")),
    )  # fmt: skip
    for into, values in pairs:
        _put(into, values)
    for each in Dim:
        cut_dim(given, tried, int(each))
    cut_axis(given, tried, 0)
    cut_axis(given, tried, 1)
    measure(given, tried)
    price_rounds(given, tried)
    price(given, tried)
    return estimate_of(tried)


def estimate_of(tried: Trial) -> Estimate:
    """Return the estimate in a candidate's facts."""
    facts = tried.facts
    rounds = float(facts[Fact.ROUNDS])
    compute = rounds * float(facts[Fact.COMPUTE])
    written = (Fact.SRAM_READ, Fact.SRAM_WRITTEN, Fact.DRAM_READ, Fact.DRAM_WRITTEN)
    amounts = [float(facts[fact]) for fact in written]
    return Estimate(float(facts[Fact.CYCLES]), float(facts[Fact.ENERGY]), rounds, compute, *amounts)
