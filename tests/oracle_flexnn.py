"""Oracle of a layer in mode `flexnn`, written from docs/flexnn-cycles.md and nothing else.

Slow and obvious: plain Python, nested loops over tiles, rounds, VPEs, windows, lanes, positions;
numpy only holds arrays. Rounds are cut in `oracle_flexnn_ranges` and timed in
`oracle_flexnn_time`; `oracle_flexnn_mesh` tells of loads and drains over the mesh. The descriptor
counts as legal.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import oracle_flexnn_mesh as mesh
from oracle_flexnn_ranges import (
    DIMS,
    REDUCTION,
    TENSORS,
    Mapping,
    differ,
    digits,
    has_work,
    over,
    points,
)
from oracle_flexnn_time import Round, count_waiting, domains_of, set_times

CAUSES = (
    "unused", "executed", "ineffectual", "rounding", "imbalance", "empty", "barrier", "load",
    "dram", "drain_bound", "fill",
)  # fmt: skip
REGISTERS = {"IF": ("rf_if", "bitmap_if"), "FL": ("rf_fl", "bitmap_fl")}


@dataclass
class Outcome:
    """All that a layer did; keys of `counts` and `bytes` are (unit, memory, op)."""

    psums: np.ndarray  # int32[n, g*oc, oh, ow]
    cycles: int
    slots: dict  # cause -> list of the VPEs' slots
    counts: dict  # accesses
    bytes: dict
    rounds: list[Round]
    jobs: list  # (filled[t], length) of each tile, then (cycles, length) of the last job
    hops: int  # bytes on buses
    reduced: int  # adds of 4 bytes
    accesses: list | None = None  # (cycle, unit, memory, op, size), sorted
    links: Counter = field(default_factory=Counter)  # (node, output) -> flits over the mesh


@dataclass
class Window:
    """What a VPE does for one point, of one output channel or of a run of them."""

    lanes: list[list[bool]]  # pairs of each lane, in their order: has it two non-zeros?
    has_positions: list[bool]  # of each lane
    width: int  # w
    n_channels: int  # output channels
    empty_cycles: int

    @property
    def has_pairs(self) -> bool:
        return any(self.lanes)

    @property
    def cycles(self) -> int:
        return max(map(len, self.lanes)) if self.has_pairs else self.empty_cycles


class Layer:
    """The tensors: what is skipped, boxes and windows, sections 4 and 5."""

    def __init__(self, x, w, shape: dict, descriptor: dict, machine: dict, y_nonzero):
        self.x, self.w, self.y = x.tolist(), w.tolist(), y_nonzero.tolist()
        self.ifmap = x.shape[2:]
        self.strides, self.dilations, self.pads = (
            shape[key] for key in ("strides", "dilations", "pads")
        )
        groups = shape["groups"]
        sizes = len(x), groups, *shape["ofmap"], len(w) // groups, *w.shape[1:]
        self.sizes = dict(zip(DIMS, sizes, strict=True))
        self.mode, self.n_lanes = descriptor["lanes"], machine["array"]["lanes"]
        self.empty_cycles = machine["sparsity"]["empty_window_cycles"]
        asked = descriptor["sparsity"]
        self.is_compressed = {
            tensor: asked in (which, "both")
            and np.count_nonzero(values) / values.size < machine["sparsity"]["pays_below"]
            for tensor, which, values in (
                ("IF", "activation", x), ("FL", "weight", w), ("OF", "activation", y_nonzero),
            )
        }  # fmt: skip
        n_filters = self.sizes["OC"]
        self.filters = []  # of each group, in its order
        for g in range(groups):
            own = list(range(g * n_filters, (g + 1) * n_filters))
            if descriptor["balance"]:
                own.sort(key=lambda filter_: (-np.count_nonzero(w[filter_]), filter_))
            self.filters.append(own)
        self.boxes = {}  # what was counted: (tensor, ranges) -> elements, non-zeros

    def activation(self, n, g, oy, ox, ic, fy, fx) -> int:
        row = oy * self.strides[0] + fy * self.dilations[0] - self.pads[0]
        column = ox * self.strides[1] + fx * self.dilations[1] - self.pads[1]
        if not (0 <= row < self.ifmap[0] and 0 <= column < self.ifmap[1]):
            return 0
        return self.x[n][g * self.sizes["IC"] + ic][row][column]

    def span(self, axis: int, outputs, kernel) -> range:
        """Return the ifmap's rows (axis 0) or columns (1) of ranges of outputs and the kernel."""
        stride, dilation, pad = self.strides[axis], self.dilations[axis], self.pads[axis]
        low = outputs[0] * stride + kernel[0] * dilation - pad
        high = (outputs[1] - 1) * stride + (kernel[1] - 1) * dilation - pad + 1
        return range(max(low, 0), min(high, self.ifmap[axis]))

    def elements(self, tensor: str, ranges: dict):
        """Yield all elements of a box."""
        over_range = {d: range(*ranges[d]) for d in TENSORS[tensor]}
        if not all(over_range.values()):
            return
        if tensor == "IF":
            rows = self.span(0, ranges["OY"], ranges["FY"])
            columns = self.span(1, ranges["OX"], ranges["FX"])
            for n, g, ic in itertools.product(*(over_range[d] for d in ("N", "G", "IC"))):
                for row, column in itertools.product(rows, columns):
                    yield self.x[n][g * self.sizes["IC"] + ic][row][column]
        elif tensor == "FL":
            for g, oc, ic, fy, fx in itertools.product(*over_range.values()):
                yield self.w[self.filters[g][oc]][ic][fy][fx]
        else:
            for n, g, oy, ox, oc in itertools.product(*over_range.values()):
                yield self.y[n][self.filters[g][oc]][oy][ox]

    def box(self, tensor: str, ranges: dict) -> tuple[int, int]:
        """Return the number of elements, and of those that are not zero."""
        key = tensor, *(ranges[d] for d in TENSORS[tensor])
        if key not in self.boxes:
            n_elements = n_nonzero = 0
            for value in self.elements(tensor, ranges):
                n_elements += 1
                n_nonzero += value != 0
            self.boxes[key] = n_elements, n_nonzero
        return self.boxes[key]

    def box_bytes(self, tensor: str, ranges: dict) -> int:
        """Return the bytes of a box of IF, FL or OF, or of the psums of its points."""
        if tensor == "psums":
            return 4 * points(ranges)
        e, z = self.box(tensor, ranges)
        return z + over(e, 8) if self.is_compressed[tensor] else e

    def windows(self, ranges: dict, psums: dict):
        """Yield the windows of a VPE in a round, and add their pairs to `psums`."""
        ics, fys, fxs = (range(*ranges[d]) for d in REDUCTION)
        ocs = range(*ranges["OC"])
        at_once = 1 if self.mode == "vxv" else self.n_lanes
        runs = [ocs[i : i + at_once] for i in range(0, len(ocs), at_once)]
        c = over(len(ics), self.n_lanes) if self.mode == "vxv" else len(ics)
        for g, run in itertools.product(range(*ranges["G"]), runs):
            lanes = [[] for _ in range(self.n_lanes)]  # (filter, channel, fy, fx)
            for lane in range(self.n_lanes):
                if self.mode == "vxv":
                    channels, oc = ics[lane * c : (lane + 1) * c], run[0]
                elif lane < len(run):
                    channels, oc = ics, run[lane]
                else:
                    continue
                positions = itertools.product([self.filters[g][oc]], fys, fxs, channels)
                lanes[lane] = list(positions)
            width = len(fys) * len(fxs) * c
            for n, oy, ox in itertools.product(*(range(*ranges[d]) for d in ("N", "OY", "OX"))):
                pairs = [[] for _ in lanes]
                for lane, positions in enumerate(lanes):
                    for k, fy, fx, ic in positions:
                        a = self.activation(n, g, oy, ox, ic, fy, fx)
                        b = self.w[k][ic][fy][fx]
                        if a == 0 and self.is_compressed["IF"]:
                            continue
                        if b == 0 and self.is_compressed["FL"]:
                            continue
                        pairs[lane].append(a != 0 and b != 0)
                        psums[n, k, oy, ox] += a * b
                exists = [bool(positions) for positions in lanes]
                yield Window(pairs, exists, width, len(run), self.empty_cycles)


@dataclass
class Log:
    """Counts of accesses, and the accesses themselves."""

    counts: Counter = field(default_factory=Counter)
    bytes: Counter = field(default_factory=Counter)
    accesses: list = field(default_factory=list)

    def access(self, cycle: int, unit: int, memory: str, op: str, size: int) -> None:
        self.counts[unit, memory, op] += 1
        self.bytes[unit, memory, op] += size
        self.accesses.append((cycle, unit, memory, op, size))

    def words(self, cycle: int, unit: int, memory: str, op: str, n_bytes: int, word: int) -> int:
        """Access `n_bytes`, one word a cycle; return the first cycle thereafter."""
        while n_bytes:
            size = min(word, n_bytes)
            self.access(cycle, unit, memory, op, size)
            cycle, n_bytes = cycle + 1, n_bytes - size
        return cycle


def column_cycles(layer: Layer, mapping: Mapping, this: Round, machine: dict) -> int:
    """Return how long a load takes on the buses of the columns."""
    cycles = [0]
    for column in range(math.prod(mapping.column_parts.values())):
        ranges, b = mapping.column_ranges(this, column), digits(column, mapping.column_parts)
        if has_work(ranges):
            takes = [t for t in this.loads if t != "psums" or not any(b[d] for d in REDUCTION)]
            n_bytes = sum(layer.box_bytes(t, ranges) for t in takes)
            cycles.append(over(n_bytes, machine["sdn"]["column_bytes"]))
    return max(cycles)


def set_loads_and_drains(
    layer: Layer, mapping: Mapping, descriptor: dict, machine: dict, used, links: Counter
) -> None:
    """Set what each round loads and drains, and how long that takes: sections 4 and 8."""
    sdn, sram = machine["sdn"], machine["sram"]
    n_reduced = math.prod(mapping.parts[d] for d in REDUCTION)
    depth = int(math.log2(n_reduced)) if descriptor["reduction"] == "tree" else n_reduced - 1
    spilled = {}  # OF ranges -> the last round that spilled them
    rounds = mapping.rounds
    for r, this in enumerate(rounds):
        before = rounds[r - 1].ranges if r else None
        loads = [t for t in ("IF", "FL") if r == 0 or differ(t, this.ranges, before)]
        key = tuple(this.ranges[d] for d in TENSORS["OF"])
        if r and differ("OF", this.ranges, before) and not this.begins:
            loads.append("psums")
            this.reloads = spilled[key]
        this.loads = tuple(loads)
        n_words = sum(over(layer.box_bytes(t, this.ranges), sram["read_bytes"]) for t in loads)
        if sdn["kind"] == "mesh":
            messages = mesh.loads(layer, mapping, this, machine, used)
            this.load = max(n_words, mesh.cycles(messages, machine, links))
        else:
            this.load = max(n_words, column_cycles(layer, mapping, this, machine))
        if r + 1 < len(rounds) and not differ("OF", this.ranges, rounds[r + 1].ranges):
            continue
        m = points(this.ranges)
        if not this.ends:
            spilled[key] = r
        this.drained_bytes = m if this.ends else 4 * m
        this.tree = depth + over(m, sdn["reduced_per_cycle"]) if n_reduced > 1 else 0
        if sdn["kind"] == "mesh":
            messages = mesh.drains(mapping, this, machine, used, this.ends)
            out = mesh.cycles(messages, machine, links)
        else:
            out = over(this.drained_bytes, sdn["drain_bytes"])
        this.drain = this.tree + max(out, over(this.drained_bytes, sram["write_bytes"]))


def jobs_of(layer: Layer, mapping: Mapping) -> list[list[tuple[str, int]]]:
    """Return (tensor, bytes) of what each DRAM job moves, in its order; the last job is last."""
    tiles = mapping.tiles
    complete = [layer.box_bytes("OF", bounds) if mapping.is_last_tile[t] else None
                for t, bounds in enumerate(tiles)]  # fmt: skip
    n_written, jobs = 0, []
    for t in range(len(tiles) + 1):
        is_last = t == len(tiles)
        job = []
        if not is_last:
            job = [
                (tensor, layer.box_bytes(tensor, tiles[t]))
                for tensor in ("IF", "FL")
                if t == 0 or differ(tensor, tiles[t], tiles[t - 1])
            ]
        upto = t if is_last else max(t - 1, 0)  # tiles before it may be written
        job += [("OF", n) for n in complete[n_written:upto] if n is not None]
        n_written = upto
        jobs.append(job)
    return jobs


def log_jobs(log: Log, jobs, starts: list[int], width: int) -> None:
    for job, cycle in zip(jobs, starts, strict=True):
        for tensor, n_bytes in job:
            dram, storage = ("write", "read") if tensor == "OF" else ("read", "write")
            log.words(cycle, 0, "storage", storage, n_bytes, width)
            cycle = log.words(cycle, 0, "dram", dram, n_bytes, width)


def log_round(log: Log, layer: Layer, mapping: Mapping, this: Round, machine: dict, used) -> int:
    """Log the load and the drain of a round; return the byte hops."""
    sdn, sram = machine["sdn"], machine["sram"]
    cycle, hops = this.begin, this.drained_bytes
    for tensor in this.loads:
        n_bytes = layer.box_bytes(tensor, this.ranges)
        cycle = log.words(cycle, 0, "storage", "read", n_bytes, sram["read_bytes"])
    for v in used:
        ranges = mapping.vpe_ranges(this, v)
        for tensor in this.loads if has_work(ranges) else ():
            if tensor != "psums":
                e, z = layer.box(tensor, ranges)
                is_compressed = layer.is_compressed[tensor]
                registers, bitmap = REGISTERS[tensor]
                writes = [(registers, z if is_compressed else e)]
                writes.append((bitmap, over(e, 8) if is_compressed else 0))
            else:
                writes = [("rf_of", 4 * points(ranges) if mapping.holds_results(v) else 0)]
            for memory, n_bytes in writes:
                hops += n_bytes
                log.words(this.begin, 1 + v, memory, "write", n_bytes, sdn["column_bytes"])
        if this.drain:
            n_bytes, word = 4 * points(ranges), 4 * sdn["drain_bytes"]
            log.words(this.leave, 1 + v, "rf_of", "read", n_bytes, word)
    if this.drain:
        cycle = this.leave + this.tree
        log.words(cycle, 0, "storage", "write", this.drained_bytes, sram["write_bytes"])
    return hops


def log_window(log: Log, layer: Layer, window: Window, cycle: int, unit: int) -> None:
    """Log the accesses of a window that begins in `cycle`."""
    is_mxm = layer.mode == "mxm"
    for pairs in window.lanes:
        for i in range(len(pairs)):
            if not is_mxm:
                log.access(cycle + i, unit, "rf_if", "read", 1)
            log.access(cycle + i, unit, "rf_fl", "read", 1)
            log.access(cycle + i, unit, "acc", "write", 4)
    if window.has_pairs:
        for i in range(window.cycles if is_mxm else 0):
            log.access(cycle + i, unit, "rf_if", "read", 1)
        log.access(cycle + window.cycles - 1, unit, "rf_of", "write", 4 * window.n_channels)
    for tensor, (_, bitmap) in REGISTERS.items():
        if layer.is_compressed[tensor] and window.cycles:
            n_lanes = 1 if is_mxm and tensor == "IF" else layer.n_lanes
            log.access(cycle, unit, bitmap, "read", over(n_lanes * window.width, 8))


def count_window(slots: dict, window: Window, v: int) -> None:
    for pairs, has_positions in zip(window.lanes, window.has_positions, strict=True):
        if not window.has_pairs:
            slots["empty"][v] += window.cycles
            continue
        slots["executed"][v] += sum(pairs)
        slots["ineffectual"][v] += len(pairs) - sum(pairs)
        cause = "imbalance" if has_positions else "rounding"
        slots[cause][v] += window.cycles - len(pairs)


def run_layer(x, w, shape, descriptor, machine, y_nonzero=None, accesses=False) -> Outcome:
    """Run a layer; see docs/flexnn-cycles.md.

    Parameters
    ----------
    x : int[n, g*ic, h, w]
        Activations less their zero point.
    w : int[g*oc, ic, fy, fx]
        Weights less their zero point.
    shape : dict
        strides, dilations, pads (top, left), ofmap, each (y, x); groups.
    descriptor, machine : dict
        A legal descriptor; a missing partition is 1, a missing tile the whole dimension.
    y_nonzero : bool[n, g*oc, oh, ow], optional
        Outputs that are not zero; None: all.
    accesses : bool
        Whether the outcome lists every access.
    """
    if y_nonzero is None:
        y_nonzero = np.ones((len(x), len(w), *shape["ofmap"]), bool)
    layer = Layer(x, w, shape, descriptor, machine, y_nonzero)
    array = machine["array"]
    mapping = Mapping(layer.sizes, descriptor, array["columns"])
    rounds, n_vpes = mapping.rounds, array["rows"] * array["columns"]
    used = [v for v in range(n_vpes) if mapping.is_used(v)]

    psums, slots = Counter(), {cause: [0] * n_vpes for cause in CAUSES}
    work = {}  # (round, VPE) -> windows
    for r, this in enumerate(rounds):
        this.compute, this.is_short = [None] * n_vpes, [False] * n_vpes
        for v in used:
            ranges = mapping.vpe_ranges(this, v)
            if has_work(ranges):
                work[r, v] = list(layer.windows(ranges, psums))
                this.compute[v] = sum(window.cycles for window in work[r, v])
                this.is_short[v] = mapping.is_short(ranges)

    links = Counter()
    set_loads_and_drains(layer, mapping, descriptor, machine, used, links)
    width, overhead = machine["dram"]["bytes_per_cycle"], machine["sdn"]["round_overhead_cycles"]
    jobs = jobs_of(layer, mapping)
    lengths = [sum(over(n_bytes, width) for _, n_bytes in job) for job in jobs]
    domains = domains_of(used, array["columns"], machine["sparsity"]["barrier"])
    is_shared = machine["sram"]["ports"] == "shared"
    filled, done = set_times(rounds, lengths[:-1], domains, overhead, is_shared)
    job_ends = [*filled, done + lengths[-1]]
    cycles = job_ends[-1]

    log, hops = Log(), 0
    starts = [end - length for end, length in zip(job_ends, lengths, strict=True)]
    log_jobs(log, jobs, starts, width)
    for r, this in enumerate(rounds):
        hops += log_round(log, layer, mapping, this, machine, used)
        for number, vpes in enumerate(domains):
            for v in vpes:
                cycle = this.start[number]
                for window in work.get((r, v), ()):
                    log_window(log, layer, window, cycle, 1 + v)
                    count_window(slots, window, v)
                    cycle += window.cycles
    count_waiting(slots, rounds, filled, cycles, domains, overhead, array["lanes"])
    for v in range(n_vpes):
        if v not in used:
            slots["unused"][v] = array["lanes"] * cycles

    n_adds = math.prod(mapping.parts[d] for d in REDUCTION) - 1
    sums = np.zeros(y_nonzero.shape, np.int32)
    for place, value in psums.items():
        sums[place] = (value + 2**31) % 2**32 - 2**31
    return Outcome(
        psums=sums,
        cycles=cycles,
        slots=slots,
        counts=dict(log.counts),
        bytes=dict(log.bytes),
        rounds=rounds,
        jobs=list(zip(job_ends, lengths, strict=True)),
        hops=hops if machine["sdn"]["kind"] == "bus" else 0,
        reduced=sum(n_adds * points(this.ranges) for this in rounds if this.drain),
        accesses=sorted(log.accesses) if accesses else None,
        links=links,
    )
