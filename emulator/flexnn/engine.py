"""Runs a layer on the array of VPEs: rounds, time, counters; `docs/flexnn-cycles.md`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kinds import Memory
from ..slots import Cause
from .descriptor import Cut
from .dims import OF_DIMS, Dim
from .files import Shape, files, room
from .fills import load
from .jobs import Jobs, jobs
from .machine import FlexMachine
from .mesh import Mesh, Traffic, no_traffic
from .moves import Layer, moves, prepare
from .products import Products, multiply, products, psums
from .rounds import Rounds
from .timeline import Course, Mark, run_rounds
from .transfers import transfers
from .windows import compute
from .wires import Load

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Finish = Callable[[NDArray[np.int32]], Bools]
"""``finish(psum)`` returns which outputs int32[n, k, oy, ox] make are not zero."""
READ, WRITE = 0, 1


@dataclass(frozen=True)
class LayerRun:
    """What a layer left behind.

    Parameters
    ----------
    layer : Layer
    psum : int32[n, k, oy, ox]
    cycles : int
    slots : int64[v, causes]
    counts, bytes : int64[1 + v, memories, 2]
        Accesses and bytes, read and written, of storage and of each VPE.
    loads : int64[n_rounds, len(Load)]
    marks : int64[n_rounds, len(Mark)]
        Cycles from the layer's first on.
    filled : int64[n_tiles + 1]
        When each tile is in SRAM, and when the last DRAM job ends.
    jobs : Jobs
    traffic : Traffic
        Over the mesh.
    taken : int32[n_rounds, domains]
        Cycles of each domain in each round, without overheads and waits.
    start : int64[n_rounds, domains]
        When each domain begins each round; empty unless it was asked for, as ``each`` is.
    each : int32[n_rounds, v]
        Cycles of each VPE in each round.
    domain : int64[v]
    """

    layer: Layer
    psum: NDArray[np.int32]
    cycles: int
    slots: Ints
    counts: Ints
    bytes: Ints
    loads: Ints
    marks: Ints
    filled: Ints
    jobs: Jobs
    traffic: Traffic
    taken: NDArray[np.int32] = field(repr=False)
    start: Ints = field(repr=False)
    each: NDArray[np.int32] = field(repr=False)
    domain: Ints = field(repr=False)

    @property
    def pairs(self) -> int:
        """Pairs that were multiplied."""
        return int(self.slots[:, [Cause.EXECUTED, Cause.INEFFECTUAL]].sum())

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return len(self.loads)


def _domains(machine: FlexMachine) -> Ints:
    """Return int64[v]: the domain of each VPE."""
    array, barrier = machine.array, machine.sparsity.barrier
    vpe = np.arange(array.n_vpes)
    if barrier == "vpe":
        return vpe
    return vpe % array.columns if barrier == "column" else np.zeros_like(vpe)


class _Counters:
    """What is counted while rounds are worked on."""

    def __init__(self, n_vpes: int) -> None:
        self.slots = np.zeros((n_vpes, len(Cause)), np.int64)
        self.count = np.zeros((n_vpes, len(Memory), 2), np.int64)
        self.size = np.zeros_like(self.count)


def run_layer(
    cut: Cut,
    machine: FlexMachine,
    x: NDArray[np.int16],
    weight: NDArray[np.int16],
    finish: Finish | None = None,
    keeps_starts: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> LayerRun:
    """Run a layer.

    Parameters
    ----------
    cut : Cut
        A legal descriptor on the layer.
    machine : FlexMachine
    x : int16[n, c, h, w]
        Activations less their zero point.
    weight : int16[k, c of a group, r, s]
        Weights less their zero points.
    finish : callable, optional
        Tells which outputs are not zero; without it psums are not computed, and all outputs count
        as non-zero.
    keeps_starts : bool
        Whether to keep when each domain begins each round.
    tick : callable
        Called now and then; may raise to end the run.

    Returns
    -------
    LayerRun
    """
    layer = prepare(cut, machine, x, weight)
    domain = _domains(machine)
    counters = _Counters(machine.array.n_vpes)
    made = products(cut, layer.x) if finish is not None else None
    mesh = Mesh(layer) if machine.sdn.kind == "mesh" else None
    parts = list(_work(layer, domain, counters, made, keeps_starts, mesh, tick))
    columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
    taken, loads, what, leaves, tile, of_block, each = columns
    if finish is None or made is None:
        of = (cut.layer.sizes[Dim.N], len(weight), cut.layer.sizes[Dim.OY], cut.layer.sizes[Dim.OX])
        psum, y = np.zeros(of, np.int32), np.ones(of, bool)
    else:
        psum = psums(cut, layer.x, made)
        y = finish(psum)
    found = jobs(layer.loops, machine, layer.x, y)
    course = Course(
        taken,
        np.ascontiguousarray(loads[:, Load.CYCLES]),
        np.ascontiguousarray(loads[:, Load.DRAIN]),
        tile,
        np.ascontiguousarray(what[:, 2]),
        (leaves == 4).astype(np.uint8),
        of_block,
        layer.loops.first_round,
        found.cycles,
        machine.sdn.round_overhead_cycles,
        int(machine.sram.ports == "shared"),
    )
    cycles, marks, filled, waits, start = _timed(course, keeps_starts)
    slots = counters.slots + waits[domain] * machine.array.lanes
    is_unused = ~layer.places.is_used
    slots[is_unused] = 0
    slots[is_unused, Cause.UNUSED] = cycles * machine.array.lanes
    counts, size = _all_counters(layer, counters, loads, found)
    return LayerRun(
        layer,
        psum,
        cycles,
        slots,
        counts,
        size,
        loads,
        marks,
        filled,
        found,
        mesh.traffic if mesh else no_traffic(machine.n_nodes),
        taken,
        start,
        each,
        domain,
    )


def _timed(course: Course, keeps_starts: bool) -> tuple[int, Ints, Ints, Ints, Ints]:
    """Return cycles, marks, filled, waits and starts; see `firemesh.emulator.flexnn.timeline`."""
    n_rounds, n_domains = course.taken.shape
    marks = np.zeros((n_rounds, len(Mark)), np.int64)
    filled = np.zeros(len(course.job), np.int64)
    waits = np.zeros((n_domains, len(Cause)), np.int64)
    start = np.zeros((n_rounds if keeps_starts else 0, n_domains), np.int64)
    spilled = np.zeros(int(course.of_block.max()) + 1, np.int64)
    end = np.zeros(n_domains, np.int64)
    cycles = run_rounds(course, marks, filled, spilled, end, waits, start)
    return int(cycles), marks, filled, waits, start


def shape_of(layer: Layer, domain: Ints) -> Shape:
    """Return the numbers of a layer that the kernels of windows take."""
    machine, is_mxm = layer.machine, layer.cut.descriptor.lanes == "mxm"
    return Shape(
        layer.wires.sizes, layer.wires.block, layer.wires.geometry, layer.places.vpe,
        layer.places.is_used, domain, machine.array.lanes, int(is_mxm), *layer.x.padded,
        machine.sparsity.empty_window_cycles,
    )  # fmt: skip


def _work(
    layer: Layer,
    domain: Ints,
    counters: _Counters,
    made: Products | None,
    keeps: bool,
    mesh: Mesh | None,
    tick: Any,
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Work through all rounds; yield what time and trace need, some rounds at a time."""
    cut, machine, x = layer.cut, layer.machine, layer.x
    held = files(cut, machine, layer.places, x)
    shape, space = shape_of(layer, domain), room(held)
    n_vpes, n_domains = machine.array.n_vpes, int(domain.max()) + 1
    no_spans, none = np.zeros((0, 1, 6), np.int32), np.zeros((0, 0), np.int32)
    for what in moves(layer):
        tick()
        rounds, n = what.rounds, len(what.rounds)
        loads = np.zeros((n, len(Load)), np.int64)
        transfers(
            layer.wires, x, rounds.low, rounds.high, what.what, what.leaves,
            4 * machine.sdn.drain_bytes, counters.count, counters.size, loads, no_spans,
        )  # fmt: skip
        _cycles(layer, loads, mesh.cycles(what, tick) if mesh else None)
        taken = np.zeros((n, n_domains), np.int32)
        each = np.zeros((n, n_vpes), np.int32) if keeps else none
        compute(
            load, shape, x, held, space, rounds.low, rounds.high, what.what, counters.slots,
            counters.count, counters.size, taken, each,
        )  # fmt: skip
        if made is not None:
            multiply(shape, x, made, rounds.low, rounds.high)
        blocks = _of_blocks(cut, rounds)
        yield taken, loads, what.what, what.leaves, rounds.tile, blocks, each


def _of_blocks(cut: Cut, rounds: Rounds) -> Ints:
    """Return int64[n]: number of each round's OF block."""
    number = np.zeros(len(rounds), np.int64)
    for dim in OF_DIMS:
        blocks = -(-cut.layer.sizes[dim] // cut.steps[dim])
        number = number * blocks + rounds.low[:, dim] // cut.steps[dim]
    return number


def _cycles(layer: Layer, loads: Ints, distributed: Ints | None) -> None:
    """Tell the cycles of loads and drains; ``distributed`` int64[n, 2] are those of the mesh."""
    sram, sdn = layer.machine.sram, layer.machine.sdn
    size, points = loads[:, Load.DRAINED], loads[:, Load.POINTS]
    if distributed is None:
        buses = -(-loads[:, Load.COLUMN] // sdn.column_bytes), -(-size // sdn.drain_bytes)
        distributed = np.stack(buses, axis=1)
    read = (-(-loads[:, [Load.IF, Load.FL, Load.PSUM]] // sram.read_bytes)).sum(axis=1)
    loads[:, Load.CYCLES] = np.maximum(read, distributed[:, 0])
    if layer.wires.reduced > 1:
        tree = layer.wires.depth - (-points // sdn.reduced_per_cycle)
        loads[:, Load.TREE] = np.where(size > 0, tree, 0)
    out = np.maximum(distributed[:, 1], -(-size // sram.write_bytes))
    loads[:, Load.DRAIN] = loads[:, Load.TREE] + out


def _all_counters(layer: Layer, counters: _Counters, loads: Ints, found: Jobs) -> tuple[Ints, Ints]:
    """Return accesses and bytes of storage and VPEs, int64[1 + v, memories, 2]."""
    machine = layer.machine
    n = machine.n_units
    counts, size = np.zeros((2, n, len(Memory), 2), np.int64)
    counts[1:], size[1:] = counters.count, counters.size
    is_bus = machine.sdn.kind == "bus"
    if not is_bus:
        counts[:, Memory.BUS, READ] = size[:, Memory.BUS, READ] = 0
    array = loads[:, [Load.IF, Load.FL, Load.PSUM]]
    drained = loads[:, Load.DRAINED]
    width = machine.dram.bytes_per_cycle
    written = np.concatenate(found.written)
    for memory, op, bytes_, word in (
        (Memory.STORAGE, READ, array, machine.sram.read_bytes),
        (Memory.STORAGE, WRITE, drained, machine.sram.write_bytes),
        (Memory.BUS, READ, drained * is_bus, machine.sram.write_bytes),
        (Memory.STORAGE, WRITE, found.read, width),
        (Memory.STORAGE, READ, written, width),
        (Memory.DRAM, READ, found.read, width),
        (Memory.DRAM, WRITE, written, width),
    ):
        counts[0, memory, op] += int((-(-bytes_ // word)).sum())
        size[0, memory, op] += int(bytes_.sum())
    return counts, size
