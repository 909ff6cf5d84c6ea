"""Oracle of a layer in mode `mnf`, written from docs/mnf-cycles.md and nothing else.

Routers with virtual channels are those of `oracle_iq`.

Slow and obvious: plain Python, one class per hardware block, every cycle stepped. A block reads a
copy of its state at the start of the cycle (`start`) and changes `self`. What an event touches and
what a row holds are found by enumeration, not by the closed forms of the page.
"""

from __future__ import annotations

import copy
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import oracle_iq

STORAGE = 0
LOCAL = 4  # router port of the node itself
# Output port -> (dx, dy, input port of the neighbour).
NEIGHBOURS = {0: (1, 0, 1), 1: (-1, 0, 0), 2: (0, 1, 3), 3: (0, -1, 2)}


@dataclass(frozen=True)
class OracleMachine:
    """A mesh with the storage PE at node 0 and PEs at nodes 1 and up."""

    width: int
    height: int
    modules: int
    lanes: int
    tile: tuple[int, int]
    psum_bank_bytes: int
    event_fifo: int
    row_fifo: int
    mac_fifo: int
    forward_fifo: int
    fire_fifo: int
    weight_latency: int
    forwarding: bool
    fire_lanes: int  # psums per cycle: 1, lanes or modules*lanes
    buffer_flits: int
    multicast: str  # "tree", "chain" or "unicast"
    flit_bits: int
    event_format: str  # "full" or "compact"
    event_order: str  # "row", "channel" or "raster"
    weights: str  # "rows", "dense" or "ideal"
    row_layout: str = "tile"  # or "linear", which ignores `tile`
    weight_packet_rows: int = 8
    storage_ports: int = 1
    routing: str = "xy"  # "yx", or "west-first" where there are virtual channels
    router: dict | None = None  # settings of `oracle_iq.Network`; None: the simple router


@dataclass(frozen=True)
class OracleLayer:
    """A convolution with its requantisation and its fused max pool (floor mode) or None."""

    ifmap: tuple[int, int, int]  # C, H, W
    weight: np.ndarray  # int[k, c/groups, r, s], zero point subtracted
    bias: np.ndarray  # int32[k]
    multiplier: np.ndarray  # float32[k]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    dilations: tuple[int, int]
    groups: int
    zero_point_in: int
    zero_point_out: int
    type_low: int
    type_high: int
    low: int
    high: int
    pool: tuple | None  # (kh, kw), (sy, sx), (top, left, bottom, right), (dh, dw)
    threshold: int


@dataclass(frozen=True)
class WeightRow:
    """A weight row that comes in from DRAM."""

    node: int
    channel: int
    address: int  # row of the weight SRAM
    dram_row: int


@dataclass(frozen=True)
class OracleWave:
    """What the PEs work on at a time; ranges are half-open."""

    number: int
    groups: tuple[int, int]  # filter groups of each PE
    channels: tuple[int, int]  # of each convolution group
    rows: tuple[int, int]  # of the ofmap
    outputs: tuple[int, int]  # rows, after pooling
    begins: bool  # the first chunk: psums begin with 0
    fires: bool  # the last chunk
    row_base: Counter = field(default_factory=Counter)
    pointer_base: Counter = field(default_factory=Counter)
    bias_base: Counter = field(default_factory=Counter)
    arriving: tuple[WeightRow, ...] = ()  # by PE and address


@dataclass
class OracleState:
    """What lives across waves and layers; missing keys count as 0."""

    next_input: Counter = field(default_factory=Counter)  # (node, output) -> first input to look at
    network: oracle_iq.Network | None = None  # of routers with virtual channels
    stepped: int | None = None  # its last cycle
    messages: Counter = field(default_factory=Counter)  # PE -> messages written since the start
    row_base: Counter = field(default_factory=Counter)
    pointer_base: Counter = field(default_factory=Counter)
    bias_base: Counter = field(default_factory=Counter)
    psums: dict = field(default_factory=dict)  # PE -> address -> psum, between chunks
    arrivals: Counter = field(default_factory=Counter)  # storage's list -> entries of this layer

    def copied(self) -> OracleState:
        """Return a copy, whose network is the same object: to copy it takes longer than a wave."""
        return copy.deepcopy(self, {id(self.network): self.network})


@dataclass
class OracleResult:
    """All that happened in the cycles `cycle0` to `cycle1`, the latter excluded.

    Arrays hold the rows of the band, and 0 for filters of other channel waves.
    """

    cycle0: int
    cycle1: int
    psums: np.ndarray  # int64[K, OH, OW], int32 values before the bias
    codes: np.ndarray  # int64[K, OH, OW], before pooling
    output: np.ndarray  # int64[K, PH, PW]
    fired: list  # (arrival_cycle, k, py, px, code, storage_address)
    accesses: list  # (cycle, node, memory, op, address, size), sorted
    slots: dict  # (node, cause) -> count
    packets: list  # (number, kind, src, created_cycle, flits, ((dst, delivered_cycle), ...))
    link_flits: dict  # (node, output port) -> flits; port 4 counts deliveries
    loads: list  # packets of weights, like `packets`
    state: OracleState


@dataclass
class Message:
    """An event (c, y, x, code) or an end-of-data (count), and the chain it is handed along."""

    kind: str  # "event", "end", "fired", "fired_end", "weights"
    at: tuple[int, int, int] = (0, 0, 0)
    code: int = 0
    count: int = 0
    chain: tuple[int, ...] = ()
    rows: tuple[WeightRow, ...] = ()


@dataclass
class Packet:
    """A message on the network; `route` maps a simple router to the outputs it leaves by."""

    number: int
    message: Message
    src: int
    dsts: tuple[int, ...]
    created: int
    flits: int
    route: dict[int, set[int]] = field(default_factory=dict)
    delivered: dict[int, int] = field(default_factory=dict)  # node -> cycle of the last flit


@dataclass
class Flit:
    """A flit in one input FIFO, with the outputs it has not yet been copied to."""

    packet: Packet
    is_last: bool
    outputs: set[int]


@dataclass
class Row:
    """A stored weight row of one input channel.

    `positions` holds, by number and in this order, those that exist: the tap (ky, kx) and the
    weights of the existing filters by k_local.
    """

    channel: int
    positions: dict[int, tuple[tuple[int, int], dict[int, int]]]
    address: int = 0


def wrap32(value: int) -> int:
    """Wrap an integer to int32."""
    return (value + 2**31) % 2**32 - 2**31


def field_bits(n: int) -> int:
    """Bits of a field with `n` values: ceil(log2 n)."""
    return (n - 1).bit_length()


def out_size(n: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Size of the output of a convolution or floor-mode pool along one axis."""
    return (n + before + after - dilation * (kernel - 1) - 1) // stride + 1


class Axis:
    """One axis of the layer: which kernel indices meet which outputs, and where psums lie."""

    def __init__(self, n_in, kernel, stride, dilation, before, after, tile):
        self.n_in, self.kernel, self.stride, self.dilation = n_in, kernel, stride, dilation
        self.pad, self.tile = before, tile
        self.n_out = out_size(n_in, kernel, stride, before, after, dilation)
        g = math.gcd(stride, dilation)
        self.e, self.u = dilation // g, stride // g

    def band(self, first: int, end: int) -> Axis:
        """Return the axis with the outputs `first` to `end`, counted from 0."""
        part = copy.copy(self)
        part.n_out, part.pad = end - first, self.pad - self.stride * first
        return part

    @property
    def n_words(self) -> int:
        """NY or NX."""
        return self.e * math.ceil(self.n_out / (self.e * self.tile))

    def meets(self, at: int) -> dict[int, int]:
        """Kernel index -> output index, for all products of the activation at `at`."""
        return {
            k: o
            for o in range(self.n_out)
            for k in range(self.kernel)
            if self.stride * o + self.dilation * k == at + self.pad
        }

    def phase(self, k: int) -> int:
        return (k * self.dilation) % self.stride

    def run(self, k: int) -> tuple[int, int]:
        """(run, place in the run) of a kernel index."""
        return divmod(k // self.u, self.tile)

    def word(self, o: int) -> int:
        return (o // (self.e * self.tile)) * self.e + o % self.e

    def bank(self, o: int) -> int:
        return (o // self.e) % self.tile


class Mapping:
    """Where the filters, weights, psums and outputs of a layer, or of one wave of it, are."""

    def __init__(self, machine: OracleMachine, layer: OracleLayer, wave: OracleWave | None = None):
        self.machine, self.layer, self.wave = machine, layer, wave
        (_, h, w), (k, _, r, s) = layer.ifmap, layer.weight.shape
        (sy, sx), (dy, dx), (top, left, bottom, right) = layer.strides, layer.dilations, layer.pads
        self.is_linear = machine.row_layout == "linear"
        self.is_ideal = machine.weights == "ideal"
        if self.is_linear and self.is_ideal:
            raise ValueError("OracleMachine.weights: ideal needs row_layout tile")
        tile = (1, 1) if self.is_linear else machine.tile
        self.y = Axis(h, r, sy, dy, top, bottom, tile[0])
        self.x = Axis(w, s, sx, dx, left, right, tile[1])
        self.whole_y = self.y
        row_size = machine.modules * machine.lanes
        self.n_positions = machine.modules if self.is_linear else math.prod(tile)
        self.n_filters = row_size // self.n_positions  # F
        # Positions of a stored row, and filters of each.
        self.row_shape = (row_size, 1) if self.is_ideal else (self.n_positions, self.n_filters)
        self.held = {}  # active PE -> its filter groups, each (convolution group, filters)
        turn = 0
        for group in range(layer.groups):
            filters = [f for f in range(k) if f // (k // layer.groups) == group]
            for first in range(0, len(filters), self.n_filters):
                node = 1 + turn % (machine.width * machine.height - 1)
                held = self.held.setdefault(node, [])
                held.append((group, filters[first : first + self.n_filters]))
                turn += 1
        self.taps = self._taps()
        self.windows = self._windows()
        self.pooled = (k, *[1 + max(window[axis] for window in self.windows) for axis in (0, 1)])
        if wave:
            self._restrict(wave)

    @property
    def n_words(self) -> int:
        """Words of a filter group in a bank."""
        if self.is_linear:
            return math.ceil(self.y.n_out * self.x.n_out / self.machine.modules)
        return self.y.n_words * self.x.n_words

    def _restrict(self, wave: OracleWave) -> None:
        """Leave the wave's filter groups and its band, whose psum rows count from 0."""
        parts = {node: held[slice(*wave.groups)] for node, held in self.held.items()}
        self.held = {node: held for node, held in parts.items() if held}
        self.y = self.y.band(*wave.rows)
        windows = {}
        for output, window in self.windows.items():
            if output[0] in range(*wave.outputs):
                assert all(y in range(*wave.rows) for y, _ in window), "a band lacks a row"
                windows[output] = [(y - wave.rows[0], x) for y, x in window]
        self.windows = windows

    def filters_of(self, node: int) -> dict[int, int]:
        """Return k_local -> filter."""
        return {
            fg * self.n_filters + f: k
            for fg, (_, filters) in enumerate(self.held.get(node, ()))
            for f, k in enumerate(filters)
        }

    def _windows(self):
        """Output position -> the psum positions of its pooling window."""
        positions = list(np.ndindex(self.y.n_out, self.x.n_out))
        if self.layer.pool is None:
            return {position: [position] for position in positions}
        (kh, kw), (sy, sx), (top, left, bottom, right), (dh, dw) = self.layer.pool
        n_y = out_size(self.y.n_out, kh, sy, top, bottom, dh)
        n_x = out_size(self.x.n_out, kw, sx, left, right, dw)
        windows = {}
        for py, px in np.ndindex(n_y, n_x):
            ys = [py * sy - top + i * dh for i in range(kh)]
            xs = [px * sx - left + i * dw for i in range(kw)]
            windows[py, px] = [(y, x) for y, x in positions if y in ys and x in xs]
            if not windows[py, px]:
                raise ValueError(f"OracleLayer.pool: window ({py}, {px}) holds no psum")
        return windows

    def groups_of(self, node: int) -> list[int]:
        """List the convolution groups of a PE in ascending order."""
        return sorted({group for group, _ in self.held.get(node, ())})

    def holders(self, c: int) -> tuple[int, ...]:
        """PEs that hold filters of the convolution group of channel `c`."""
        group = c // (self.layer.ifmap[0] // self.layer.groups)
        return tuple(n for n in sorted(self.held) if group in self.groups_of(n))

    def touches(self, event) -> bool:
        c, y, x, code, _ = event
        n_c = self.layer.ifmap[0] // self.layer.groups
        if not self.holders(c) or (self.wave and c % n_c not in range(*self.wave.channels)):
            return False
        return code != self.layer.zero_point_in and bool(self.y.meets(y)) and bool(self.x.meets(x))

    def _taps(self) -> dict[tuple, tuple]:
        """Kernel indices (ky, kx) -> (phase, run or run pair, position in the row)."""
        places, n_taps = {}, Counter()
        for ky, kx in np.ndindex(self.layer.weight.shape[2:]):
            phase = self.y.phase(ky) * self.x.stride + self.x.phase(kx)
            (ry, a), (rx, b) = self.y.run(ky), self.x.run(kx)
            run, position = (ry, rx), a * self.x.tile + b
            if self.is_linear:
                run, position = divmod(n_taps[phase], self.n_positions)
            n_taps[phase] += 1
            places[ky, kx] = phase, run, position
        return places

    def stored_rows(self, node: int) -> list[Row]:
        """Stored rows of a PE in order."""
        tables = defaultdict(dict)  # (channel, phase, filter group, run) -> position -> contents
        n_c = self.layer.weight.shape[1]
        channels = range(*self.wave.channels) if self.wave else range(n_c)
        for fg, (group, filters) in enumerate(self.held[node]):
            for (ky, kx), (phase, run, position) in self.taps.items():
                for c in channels:
                    column = [int(w) for w in self.layer.weight[filters, c, ky, kx]]
                    weights = {fg * self.n_filters + f: w for f, w in enumerate(column)}
                    tables[group * n_c + c, phase, fg, run][position] = (ky, kx), weights
        tables = {key: dict(sorted(tables[key].items())) for key in sorted(tables)}
        if self.is_ideal:
            tables = self.packed(tables)
        is_dense = self.machine.weights == "dense"
        return [
            Row(channel, positions)
            for (channel, *_), positions in tables.items()
            if is_dense or any(any(weights.values()) for _, weights in positions.values())
        ]

    def packed(self, tables) -> dict[tuple, dict]:
        """Pack the non-zero weights of each (channel, phase) anew, each as its own position."""
        singles = defaultdict(list)
        for key, positions in tables.items():
            for tap, weights in positions.values():
                singles[key[:2]] += [(tap, {k_local: w}) for k_local, w in weights.items() if w]
        size = self.row_shape[0]
        return {
            (*key, first // size): dict(enumerate(some[first : first + size]))
            for key, some in singles.items()
            for first in range(0, len(some), size)
        }

    def psum_place(self, oy: int, ox: int) -> tuple[int, int]:
        """Bank of a position, and its word there in filter group 0."""
        if self.is_linear:
            word, bank = divmod(oy * self.x.n_out + ox, self.n_positions)
            return bank, word
        bank = self.y.bank(oy) * self.x.tile + self.x.bank(ox)
        return bank, self.y.word(oy) * self.x.n_words + self.x.word(ox)

    def psum_address(self, k_local: int, oy: int, ox: int) -> int:
        """Byte address of a psum in the psum memory of its PE."""
        (fg, f), lanes = divmod(k_local, self.n_filters), self.machine.lanes
        bank, word = self.psum_place(oy, ox)
        module = bank * (self.n_filters // lanes) + f // lanes
        word += fg * self.n_words
        if (word + 1) * 4 * lanes > self.machine.psum_bank_bytes:
            raise ValueError(f"OracleMachine.psum_bank_bytes: too few for word {word}")
        return module * self.machine.psum_bank_bytes + word * 4 * lanes + 4 * (k_local % lanes)

    def scan_steps(self, node: int) -> list[SimpleNamespace]:
        """All steps of the fire phase: chunk [(k_local, k)], positions read, outputs completed."""
        m = self.machine
        if self.wave and not self.wave.fires:
            return []
        blocks = defaultdict(list)  # in raster order of positions, or by word
        for position in np.ndindex(self.y.n_out, self.x.n_out):
            whole = m.fire_lanes == m.modules * m.lanes
            blocks[self.psum_place(*position)[1] if whole else position].append(position)
        order = sorted(blocks)
        step_of = {position: i for i, b in enumerate(order) for position in blocks[b]}
        completed = defaultdict(list)
        for output, window in self.windows.items():
            completed[max(step_of[position] for position in window)].append(output)
        size = {1: 1, m.lanes: m.lanes, m.modules * m.lanes: self.n_filters}[m.fire_lanes]
        steps = []
        for fg, (_, filters) in enumerate(self.held[node]):
            slots = [(fg * self.n_filters + f, k) for f, k in enumerate(filters)]
            for first in range(0, len(slots), size):
                chunk = slots[first : first + size]
                for i, block in enumerate(order):
                    positions, outputs = blocks[block], sorted(completed[i])
                    step = {"chunk": chunk, "positions": positions, "outputs": outputs}
                    steps.append(SimpleNamespace(is_first=i == 0, **step))
        return steps

    def event_flits(self) -> int:
        """Flits of a packet from storage to PEs."""
        c, h, w = self.layer.ifmap
        fields = [c, h, w]
        if self.machine.event_format == "full":
            axes = self.x, self.whole_y
            jumps = [max([1] + [len(a.meets(i)) for i in range(a.n_in)]) for a in axes]
            n_outputs = self.whole_y.n_out * self.x.n_out
            fields = [c, self.y.kernel * self.x.kernel, n_outputs, *jumps]
        bits = 2 + 8 + sum(field_bits(n) for n in fields)
        if self.machine.multicast == "tree":
            bits += self.machine.width * self.machine.height
        return math.ceil(bits / self.machine.flit_bits)

    def fired_flits(self) -> int:
        """Flits of a packet from a PE to storage."""
        return math.ceil((2 + 8 + sum(map(field_bits, self.pooled))) / self.machine.flit_bits)

    def code(self, psum: int, k: int) -> int:
        """Output code of a psum before pooling."""
        layer, zero = self.layer, self.layer.zero_point_out
        acc = np.float32(wrap32(psum + int(layer.bias[k])))
        product = float(acc * np.float32(layer.multiplier[k]))
        product = min(max(product, layer.type_low - zero), layer.type_high - zero)
        code = min(max(round(product) + zero, layer.low), layer.high)
        if layer.low >= zero and code - zero <= layer.threshold:
            return zero
        return code


class Network:
    """The mesh of simple routers, and the tx registers of the nodes."""

    def __init__(self, machine: OracleMachine, state: OracleState, log: Log):
        self.machine, self.next_input, self.log = machine, state.next_input, log
        self.nodes = range(machine.width * machine.height)
        self.fifos = {(node, port): [] for node in self.nodes for port in range(5)}
        self.tx = {node: [] for node in self.nodes}  # flits of the offered packet still to go
        self.ready = {}  # declared in the cycle before

    def offer(self, cycle: int, src: int, dsts, message: Message, flits: int) -> None:
        """Place a packet in the tx register of `src`."""
        packet = self.new_packet(cycle, src, dsts, message, flits)
        packet.route = self.route(src, dsts)
        self.tx[src] = [Flit(packet, i == flits - 1, set(packet.route[src])) for i in range(flits)]

    def new_packet(self, cycle: int, src: int, dsts, message: Message, flits: int) -> Packet:
        """Note a packet that is offered."""
        assert not self.tx[src], f"tx of node {src} is occupied in cycle {cycle}"
        is_weights = isinstance(message, Message) and message.kind == "weights"
        packets = self.log.loads if is_weights else self.log.packets
        packet = Packet(len(packets), message, src, tuple(sorted(dsts)), cycle, flits)
        packets.append(packet)
        return packet

    def route(self, src: int, dsts) -> dict[int, set[int]]:
        """Union of the paths along one axis, then the other: router -> outputs."""
        is_x_first = {"xy": True, "yx": False}[self.machine.routing]
        outputs = defaultdict(set)
        for dst in dsts:
            y, x = divmod(src, self.machine.width)
            dst_y, dst_x = divmod(dst, self.machine.width)
            while (x, y) != (dst_x, dst_y):
                if x != dst_x and (is_x_first or y == dst_y):
                    port = 0 if dst_x > x else 1
                else:
                    port = 2 if dst_y > y else 3
                outputs[x + self.machine.width * y].add(port)
                x, y = x + NEIGHBOURS[port][0], y + NEIGHBOURS[port][1]
            outputs[dst].add(LOCAL)
        return dict(outputs)

    def step(self, cycle: int) -> dict[int, Flit]:
        """Move flits for one cycle; return the delivered flits of each node."""
        n_flits = {key: len(fifo) for key, fifo in self.fifos.items()}  # at the start of the cycle
        asks = {key: set(fifo[0].outputs) if fifo else set() for key, fifo in self.fifos.items()}
        arrivals, delivered = [], defaultdict(list)
        for node in self.nodes:
            for output in range(LOCAL + (self.machine.storage_ports if node == STORAGE else 1)):
                port = min(output, LOCAL)
                below = None if port == LOCAL else self.downstream(node, port)
                free = self.ready[node] if port == LOCAL else self.has_room(n_flits, below)
                first = self.next_input[node, output]
                asking = [i % 5 for i in range(first, first + 5) if port in asks[node, i % 5]]
                if not free or not asking:
                    continue
                flit = self.fifos[node, asking[0]][0]
                flit.outputs.remove(port)
                self.next_input[node, output] = (asking[0] + 1) % 5
                self.log.link_flits[node, port] += 1
                if port == LOCAL:
                    asks[node, asking[0]].remove(port)
                    delivered[node].append(flit)
                    if flit.is_last:
                        flit.packet.delivered[node] = cycle
                else:
                    onward = set(flit.packet.route[below[0]])
                    arrivals.append((below, Flit(flit.packet, flit.is_last, onward)))
        for fifo in self.fifos.values():
            if fifo and not fifo[0].outputs:
                fifo.pop(0)
        for node in self.nodes:
            if self.tx[node] and self.has_room(n_flits, (node, LOCAL)):
                arrivals.append(((node, LOCAL), self.tx[node].pop(0)))
        for key, flit in arrivals:
            self.fifos[key].append(flit)
        return delivered

    def downstream(self, node: int, output: int) -> tuple[int, int]:
        """(router, input port) at the other end of a link."""
        dx, dy, port = NEIGHBOURS[output]
        return node + dx + self.machine.width * dy, port

    def has_room(self, n_flits, key) -> bool:
        return n_flits.get(key, self.machine.buffer_flits) < self.machine.buffer_flits


ROUTES = {
    "xy": oracle_iq.mesh_xy,
    "yx": oracle_iq.mesh_yx,
    "west-first": oracle_iq.mesh_west_first,
}


class VcNetwork(Network):
    """The mesh of routers with virtual channels; the nodes meet it as they do the simple one."""

    def __init__(self, machine: OracleMachine, state: OracleState, log: Log):
        if state.network is None:
            size = machine.width, machine.height
            state.network = oracle_iq.Network(
                oracle_iq.mesh(*size),
                ROUTES[machine.routing](*size),
                ejecting=machine.storage_ports,
                **machine.router,
            )
        self.machine, self.state, self.net, self.log = machine, state, state.network, log
        self.ready = {}
        self.under_way = []  # packets by their index in `net`

    @property
    def tx(self) -> dict[int, bool]:
        """Whether a packet, or some of its flits, wait at a node."""
        return {s.node: bool(s.queue) or s.packet is not None for s in self.net.sources}

    @property
    def fifos(self) -> dict[tuple, list]:
        """Flits at the inputs of routers, at nodes and on links."""
        found = {
            (router.node, vc.port, vc.number): vc.buffer
            for router in self.net.routers
            for port in router.inputs
            for vc in port
        }
        for router in self.net.routers:
            for output, channel in router.flits_out.items():
                found[router.node, "link", output] = channel.under_way
        for i, sink in enumerate(self.net.sinks):
            found |= {(sink.node, "sink", i, vc): fifo for vc, fifo in enumerate(sink.fifos)}
        return found

    def offer(self, cycle: int, src: int, dsts, message: Message, flits: int) -> None:
        packet = self.new_packet(cycle, src, dsts, message, flits)
        self.net.offer(oracle_iq.Packet(len(self.under_way), cycle, src, packet.dsts, packet.flits))
        self.under_way.append(packet)

    def step(self, cycle: int) -> dict[int, list[Flit]]:
        for idle in range(cycle if self.state.stepped is None else self.state.stepped + 1, cycle):
            assert not self.net.step(idle, lambda *_: True), "flits in cycles that are left out"
        self.state.stepped = cycle
        delivered = defaultdict(list)
        for node, flit in self.net.step(cycle, lambda _, node: self.ready[node]):
            packet = self.under_way[flit.packet.index]
            delivered[node].append(Flit(packet, flit.is_tail, set()))
            if flit.is_tail:
                packet.delivered[node] = cycle
        for (node, output), n in self.net.link_flits.items():
            self.log.link_flits[node, min(output, LOCAL)] += n
        self.net.link_flits.clear()
        return delivered


class StoragePE:
    """Sends the layer's messages and receives what fires."""

    def __init__(self, machine, mapping: Mapping, network, log: Log, state, events, base: int):
        self.machine, self.mapping, self.network, self.log = machine, mapping, network, log
        self.base = base
        self.n_events = Counter()  # active PE -> events it is sent
        self.to_send = []  # (destinations, message, storage address to read or None)
        for c, y, x, code, address in filter(mapping.touches, events):
            self.n_events.update(mapping.holders(c))
            self.queue(mapping.holders(c), Message("event", (c, y, x), code), address)
        for count in sorted({self.n_events[node] for node in mapping.held}):
            members = [node for node in sorted(mapping.held) if self.n_events[node] == count]
            self.queue(members, Message("end", count=count), None)
        self.n_ends, self.n_expected = 0, 0
        self.arrivals = state.arrivals  # first entry of a list of the fired tensor -> entries

    def queue(self, dsts, message: Message, address) -> None:
        """Append the packets of a message."""
        if self.machine.multicast == "tree":
            self.to_send.append((dsts, message, address))
        elif self.machine.multicast == "unicast":
            self.to_send.extend(((dst,), message, address) for dst in dsts)
        else:
            width = self.machine.width
            snake = [
                x + width * y
                for y in range(self.machine.height)
                for x in (range(width) if y % 2 == 0 else reversed(range(width)))
            ]
            message.chain = tuple(node for node in snake if node in dsts)
            self.to_send.append((message.chain[:1], message, address))

    def step(self, cycle: int, flits: list[Flit]) -> None:
        for flit in flits:
            if flit.is_last:
                self.receive(cycle, flit.packet.message)
        if self.to_send and not self.network.tx[STORAGE]:
            dsts, message, address = self.to_send.pop(0)
            if message.kind == "event":
                self.log.access(cycle, STORAGE, "storage", "read", address, 8)
            self.network.offer(cycle, STORAGE, dsts, message, self.mapping.event_flits())

    def receive(self, cycle: int, message: Message) -> None:
        if message.kind == "fired_end":
            self.n_ends += 1
            self.n_expected += message.count
            return
        (n_c, n_y, n_x), (c, y, x) = self.mapping.pooled, message.at
        first = {"row": y * n_c * n_x, "channel": c * n_y * n_x, "raster": (y * n_x + x) * n_c + c}
        first = first[self.machine.event_order]  # entry of the list
        address = self.base + 8 * (first + self.arrivals[first])
        self.arrivals[first] += 1
        self.log.access(cycle, STORAGE, "storage", "write", address, 8)
        self.log.fired.append((cycle, c, y, x, message.code, address))

    @property
    def is_finished(self) -> bool:
        all_ended = self.n_ends == len(self.mapping.held)
        return all_ended and len(self.log.fired) == self.n_expected


class PE:
    """Router interface, load, dispatcher, MAC cluster and fire of one PE."""

    # What one part of the PE changes and another one looks at: copied at the start of a cycle.
    STATE = ("events", "forwards", "rows_left", "in_flight", "row_fifo", "mac_fifo", "reads")
    STATE += ("steps", "groups", "n_taken", "end_count", "is_done")

    def __init__(self, node, machine, mapping: Mapping, network, log, state, n_events: int):
        self.node, self.machine, self.mapping = node, machine, mapping
        self.network, self.log, self.state = network, log, state
        self.n_events = n_events  # that it is sent in this layer
        self.is_active = node in mapping.held
        self.rows = mapping.stored_rows(node) if self.is_active else []
        for i, row in enumerate(self.rows):
            row.address = mapping.wave.row_base[node] + i
        self.events = []  # (message, its number in the run)
        self.forwards = []
        self.rows_left = []  # of the current event: (row, position -> output, operand)
        self.in_flight = []  # (cycle of the read, row)
        self.row_fifo, self.mac_fifo = [], []
        self.issued = []  # the last three rows: (cycle of the last reads, word addresses)
        self.reads = []  # of the row issued last: (cycle, byte address, {psum address: product})
        self.writes = []  # (cycle, byte address, size, {psum address: value})
        self.memory = defaultdict(int, state.psums.pop(node, {}))  # psum address -> psum
        self.steps = mapping.scan_steps(node) if self.is_active else []
        self.groups = []  # of outputs that wait to be sent
        self.n_taken, self.end_count, self.n_sent = 0, None, 0
        self.is_firing, self.is_done = False, False
        network.ready[node] = self.is_active

    def step(self, cycle: int, flit: Flit | None, ready: dict[int, bool]) -> None:
        """Act in one cycle; `ready` is what all nodes declared in the cycle before."""
        start = SimpleNamespace(**{name: copy.copy(getattr(self, name)) for name in self.STATE})
        if self.is_active:
            self.receive(cycle, flit)
            self.forward(cycle, start)
            self.load(cycle, start)
            self.dispatch(start)
            issued = self.issue(cycle, start)
            self.read(cycle)
            scanned = self.fire(cycle, start)
            self.commit(cycle)
            self.network.ready[self.node] = (
                len(self.events) < self.machine.event_fifo
                and len(self.forwards) < self.machine.forward_fifo
            )
            if issued:
                self.count_row(*issued[:2])
                return
        cause = self.lost(start, scanned, ready) if self.is_active else "unused"
        self.log.slots[self.node, cause] += self.machine.modules * self.machine.lanes

    def receive(self, cycle: int, flit: Flit | None) -> None:
        if flit is None or not flit.is_last:
            return
        message, n = flit.packet.message, self.state.messages[self.node]
        self.state.messages[self.node] += 1
        self.events.append((message, n))
        address = 8 * (n % self.machine.event_fifo)
        self.log.access(cycle, self.node, "event_fifo", "write", address, 8)
        if message.chain and message.chain[-1] != self.node:
            self.forwards.append(message)
        assert len(self.events) <= self.machine.event_fifo
        assert len(self.forwards) <= self.machine.forward_fifo

    def forward(self, cycle: int, start) -> None:
        if start.forwards and not self.network.tx[self.node]:
            message = self.forwards.pop(0)
            successor = message.chain[message.chain.index(self.node) + 1]
            flits = self.mapping.event_flits()
            self.network.offer(cycle, self.node, (successor,), message, flits)

    def load(self, cycle: int, start) -> None:
        m = self.machine
        if start.rows_left and len(start.in_flight) + len(start.row_fifo) < m.row_fifo:
            work = self.rows_left.pop(0)
            self.in_flight.append((cycle, work))
            row, size = work[0], m.modules * m.lanes
            self.log.access(cycle, self.node, "weight", "read", row.address * size, size)
            self.log.access(cycle, self.node, "index", "read", row.address * 2, 2)
        if not self.rows_left and start.events:
            message, n = self.events.pop(0)
            self.log.access(cycle, self.node, "event_fifo", "read", 8 * (n % m.event_fifo), 8)
            if message.kind == "end":
                self.end_count = message.count
            else:
                self.n_taken += 1
                self.rows_left = self.decode(cycle, message)
        for when, work in tuple(self.in_flight):
            if when + m.weight_latency == cycle:
                self.in_flight.remove((when, work))
                self.row_fifo.append(work)

    def decode(self, cycle: int, message: Message) -> list[tuple]:
        """Read the pointer of an event and list the rows that it touches."""
        layer, (c, y, x) = self.mapping.layer, message.at
        by_y, by_x = self.mapping.y.meets(y), self.mapping.x.meets(x)
        (phase,) = {self.mapping.taps[ky, kx][0] for ky in by_y for kx in by_x}
        n_c = layer.ifmap[0] // layer.groups
        channel = self.mapping.groups_of(self.node).index(c // n_c) * n_c + c % n_c
        pointer = channel * layer.strides[0] * layer.strides[1] + phase
        address = 4 * (self.mapping.wave.pointer_base[self.node] + pointer)
        self.log.access(cycle, self.node, "pointer", "read", address, 4)
        work = []
        for row in self.rows:
            outputs = {
                i: (by_y[ky], by_x[kx])
                for i, ((ky, kx), _) in row.positions.items()
                if row.channel == c and ky in by_y and kx in by_x
            }
            if outputs:
                work.append((row, outputs, message.code - layer.zero_point_in))
        return work

    def dispatch(self, start) -> None:
        if start.row_fifo and len(start.mac_fifo) < self.machine.mac_fifo:
            self.mac_fifo.append(self.row_fifo.pop(0))

    def issue(self, cycle: int, start) -> tuple | None:
        """Issue the oldest row unless it is held; return it if it was issued."""
        if start.reads or not start.mac_fifo:
            return None
        row, outputs, operand = start.mac_fifo[0]
        wanted, words = defaultdict(dict), set()  # `wanted` in order of position
        for i, output in outputs.items():
            for k_local, weight in row.positions[i][1].items():
                address = self.mapping.psum_address(k_local, *output)
                word = address - 4 * (k_local % self.machine.lanes)
                wanted[address if self.mapping.is_ideal else word][address] = weight * operand
                words.add(word)
        recent = [old for when, old in self.issued if when in (cycle - 1, cycle - 2)]
        if not self.machine.forwarding and words & set().union(*recent):
            return None
        n_wanted = Counter()  # module -> words wanted before; with ideal the bank rule is lifted
        for address, products in wanted.items():
            module = address // self.machine.psum_bank_bytes
            when = cycle if self.mapping.is_ideal else cycle + n_wanted[module]
            self.reads.append((when, address, products))
            n_wanted[module] += 1
        self.issued = [*self.issued[-2:], (max(when for when, _, _ in self.reads), words)]
        return self.mac_fifo.pop(0)

    def read(self, cycle: int) -> None:
        """Do the psum reads of this cycle for the row issued last."""
        size = 4 if self.mapping.is_ideal else 4 * self.machine.lanes
        for when, address, products in self.reads:
            if when == cycle:
                self.log.access(cycle, self.node, "psum", "read", address, size)
                values = {a: wrap32(self.psum(a) + product) for a, product in products.items()}
                self.writes.append((cycle + 2, address, size, values))
        self.reads = [read for read in self.reads if read[0] > cycle]

    def psum(self, address: int) -> int:
        """Read a psum; forwarding gives what earlier rows have not written yet."""
        value = self.memory[address]
        if self.machine.forwarding:
            for _, _, _, values in self.writes:
                value = values.get(address, value)
        return value

    def commit(self, cycle: int) -> None:
        """Do the psum writes of this cycle; reads of this cycle have been done."""
        for when, address, size, values in self.writes:
            if when == cycle:
                self.memory |= values
                self.log.access(cycle, self.node, "psum", "write", address, size)
        self.writes = [write for write in self.writes if write[0] > cycle]

    def fire(self, cycle: int, start) -> bool:
        """Scan, send and end; return whether a scan step was done."""
        all_taken = start.end_count is not None and start.end_count == start.n_taken
        rows = start.rows_left + start.in_flight + start.row_fifo + start.mac_fifo
        is_written = all(when <= cycle - 3 for when, _ in self.issued)
        if all_taken and not rows and is_written:
            self.is_firing = True
        if not self.is_firing or start.is_done:
            return False
        scans = bool(start.steps) and len(start.groups) < self.machine.fire_fifo
        if scans:
            self.scan(cycle, self.steps.pop(0))
        flits = self.mapping.fired_flits()
        if start.groups and not self.network.tx[self.node]:
            message = self.groups[0].pop(0)
            if not self.groups[0]:
                self.groups.pop(0)
            self.n_sent += 1
            self.network.offer(cycle, self.node, (STORAGE,), message, flits)
        if not start.steps and not start.groups and not self.network.tx[self.node]:
            message = Message("fired_end", count=self.n_sent)
            self.network.offer(cycle, self.node, (STORAGE,), message, flits)
            self.is_done = True
        return scans

    def scan(self, cycle: int, step) -> None:
        """Read the psums of a step, and make a group of the outputs that it completes."""
        m, log = self.machine, self.log
        if step.is_first:
            address = 4 * (self.mapping.wave.bias_base[self.node] + step.chunk[0][0])
            log.access(cycle, self.node, "bias", "read", address, 4 * len(step.chunk))
        size = 4 if m.fire_lanes == 1 else 4 * m.lanes
        cleared = defaultdict(dict)
        for oy, ox in step.positions:
            for k_local, k in step.chunk:
                address = self.mapping.psum_address(k_local, oy, ox)
                log.psums[k, oy, ox] = self.memory[address]
                log.codes[k, oy, ox] = self.mapping.code(self.memory[address], k)
                cleared[address if size == 4 else address - 4 * (k_local % m.lanes)][address] = 0
        for address, zeros in cleared.items():
            log.access(cycle, self.node, "psum", "read", address, size)
            self.writes.append((cycle + 1, address, size, zeros))
        group = []
        for py, px in step.outputs:
            for _, k in step.chunk:
                code = max(log.codes[k, oy, ox] for oy, ox in self.mapping.windows[py, px])
                log.output[k, py, px] = code
                if code != self.mapping.layer.zero_point_out:
                    group.append(Message("fired", (k, py, px), code))
        if group:
            self.groups.append(group)

    def count_row(self, row: Row, outputs) -> None:
        """Count the slots of a row that was issued."""
        n_positions, n_filters = self.mapping.row_shape
        for i in range(n_positions):
            _, weights = row.positions.get(i, (None, {}))
            for weight in [*weights.values(), *[None] * (n_filters - len(weights))]:
                if i not in row.positions:
                    cause = "tile"
                elif i not in outputs:
                    cause = "border"
                elif weight is None:
                    cause = "channel"
                else:
                    cause = "executed" if weight else "ineffectual"
                self.log.slots[self.node, cause] += 1

    def lost(self, start, scanned: bool, ready: dict[int, bool]) -> str:
        """Cause of a cycle without an issued row, in a PE with filters."""
        has_rows = bool(start.rows_left or start.in_flight or start.row_fifo)
        others = [node for node in self.mapping.held if node != self.node]
        if start.reads:
            return "bank"
        if self.is_firing and not start.is_done:
            return "fire" if scanned else "fire_port"
        if start.mac_fifo:
            return "hazard"
        if start.n_taken == self.n_events and not has_rows:
            return "drain"
        if start.events or has_rows:
            return "decode"
        if start.n_taken == 0:
            return "drain"
        return "inject" if all(ready[node] for node in others) else "peer"


class Log:
    """Everything that is counted while the layer runs."""

    def __init__(self, mapping: Mapping):
        self.accesses, self.packets, self.loads, self.fired = [], [], [], []
        self.slots, self.link_flits = Counter(), Counter()
        self.psums, self.codes, self.output = {}, {}, {}  # (k, y, x) -> value
        self.mapping = mapping

    def access(self, cycle, node, memory, op, address, size) -> None:
        self.accesses.append((cycle, node, memory, op, address, size))

    def result(self, cycle0: int, cycle1: int, state: OracleState) -> OracleResult:
        k, n_y, n_x = len(self.mapping.layer.weight), self.mapping.y.n_out, self.mapping.x.n_out
        psums, codes = np.zeros((2, k, n_y, n_x), np.int64)
        first = min(y for y, _ in self.mapping.windows)
        n_rows = 1 + max(y for y, _ in self.mapping.windows) - first
        output = np.zeros((k, n_rows, self.mapping.pooled[2]), np.int64)
        for place, value in self.psums.items():
            psums[place] = value
        for place, value in self.codes.items():
            codes[place] = value
        for (f, y, x), value in self.output.items():
            output[f, y - first, x] = value
        counts = dict(self.slots), _told(self.packets), dict(self.link_flits), _told(self.loads)
        arrays = psums, codes, output
        return OracleResult(
            cycle0, cycle1, *arrays, self.fired, sorted(self.accesses), *counts, state
        )


def _told(packets: list[Packet]) -> list[tuple]:
    """Return packets as a result holds them."""
    for p in packets:
        assert sorted(p.delivered) == list(p.dsts), f"packet {p.number} was not delivered"
    return [
        (p.number, p.message.kind, p.src, p.created, p.flits, tuple(sorted(p.delivered.items())))
        for p in packets
    ]


def load_weights(machine, layer: OracleLayer, wave: OracleWave, network, log, events, cycle) -> int:
    """Bring in the weight rows that lack, from `cycle` on; return the first cycle thereafter."""
    fired = {c for c, _, _, code, _ in events if code != layer.zero_point_in}
    lacking = [row for row in wave.arriving if row.channel in fired]
    waiting = []  # rows of each packet
    for row in lacking:
        is_same = waiting and waiting[-1][-1].node == row.node
        if not is_same or len(waiting[-1]) == machine.weight_packet_rows:
            waiting.append([])
        waiting[-1].append(row)
    size = machine.modules * machine.lanes
    nodes = range(1, machine.width * machine.height)
    network.ready = dict.fromkeys([STORAGE, *nodes], True)
    received, n_missing = Counter(), len(lacking)  # `received`: packet -> flits
    while n_missing:
        for node, (flit,) in network.step(cycle).items():
            packet = flit.packet
            received[packet.number] += 1
            for j, row in enumerate(packet.message.rows):
                if received[packet.number] == -(
                    -(j + 1) * packet.flits // len(packet.message.rows)
                ):
                    log.access(cycle, node, "weight", "write", row.address * size, size)
                    n_missing -= 1
        if waiting and not network.tx[STORAGE]:
            rows = waiting.pop(0)
            flits = max(math.ceil(8 * len(rows) * size / machine.flit_bits), len(rows))
            message = Message("weights", rows=tuple(rows))
            network.offer(cycle, STORAGE, (rows[0].node,), message, flits)
            for j, row in enumerate(rows):
                when = cycle + j * flits // len(rows)
                log.access(when, STORAGE, "dram", "read", row.dram_row * size, size)
        for node in nodes:
            log.slots[node, "weights"] += size
        cycle += 1
    return cycle


def run_layer(
    machine: OracleMachine,
    layer: OracleLayer,
    events: list[tuple[int, int, int, int, int]],
    cycle0: int = 0,
    state: OracleState | None = None,
    output_base: int = 0,
    limit: int = 100_000,
) -> OracleResult:
    """Run one layer, in one wave, from cycle `cycle0` on.

    Parameters
    ----------
    events : list of (c, y, x, code, storage_address)
        In the order in which storage reads them; those that reach no neuron are skipped.
    state : OracleState, optional
        What the layer before left; it is not changed, but a network with virtual channels, which
        goes on.
    output_base : int
        Byte address of the region of the fired tensor in storage.
    limit : int
        Cycles after which the layer counts as deadlocked.

    Raises
    ------
    RuntimeError
        The layer did not end within `limit` cycles.
    """
    state = state.copied() if state else OracleState()
    mapping = Mapping(machine, layer)
    n_groups = max(map(len, mapping.held.values()))
    ranges = (0, layer.weight.shape[1]), (0, mapping.y.n_out), (0, mapping.pooled[1])
    bases = Counter(state.row_base), Counter(state.pointer_base), Counter(state.bias_base)
    wave = OracleWave(0, (0, n_groups), *ranges, True, True, *bases)
    for node in mapping.held:
        n_c = layer.ifmap[0] // layer.groups
        n_pointers = len(mapping.groups_of(node)) * n_c * math.prod(layer.strides)
        state.row_base[node] += len(mapping.stored_rows(node))
        state.pointer_base[node] += n_pointers
        state.bias_base[node] += len(mapping.held[node]) * mapping.n_filters
    return run_wave(machine, layer, wave, events, cycle0, state, output_base, limit)


def run_wave(
    machine: OracleMachine,
    layer: OracleLayer,
    wave: OracleWave,
    events: list[tuple[int, int, int, int, int]],
    cycle0: int = 0,
    state: OracleState | None = None,
    output_base: int = 0,
    limit: int = 100_000,
) -> OracleResult:
    """Run one wave of a layer; see `run_layer`."""
    state = state.copied() if state else OracleState()
    if wave.number == 0:
        state.arrivals = Counter()
    mapping = Mapping(machine, layer, wave)
    log = Log(mapping)
    network = (VcNetwork if machine.router else Network)(machine, state, log)
    cycle = load_weights(machine, layer, wave, network, log, events, cycle0)
    network.ready = {STORAGE: True}
    storage = StoragePE(machine, mapping, network, log, state, events, output_base)
    nodes = range(1, machine.width * machine.height)
    parts = machine, mapping, network, log, state
    assert not (wave.begins and state.psums), "psums are left from the wave before"
    pes = [PE(node, *parts, storage.n_events[node]) for node in nodes]
    while not storage.is_finished:
        if cycle - cycle0 >= limit:
            held = {
                (pe.node, name): len(value) if isinstance(value, list) else value
                for pe in pes
                for name, value in vars(pe).items()
                if name in PE.STATE
            }
            flits = {key: len(fifo) for key, fifo in network.fifos.items() if fifo}
            left = f"{len(storage.to_send)} packets to send, flits {flits}, PEs {held}"
            raise RuntimeError(f"run_layer: no end after {limit} cycles: {left}")
        delivered = network.step(cycle)
        ready = dict(network.ready)
        for pe in pes:
            pe.step(cycle, next(iter(delivered[pe.node]), None), ready)
        storage.step(cycle, delivered[STORAGE])
        cycle += 1
    for pe in pes:
        n_slots = sum(n for (node, _), n in log.slots.items() if node == pe.node)
        assert n_slots == machine.modules * machine.lanes * (cycle - cycle0)
        assert not pe.writes
        if wave.fires:
            assert not any(pe.memory.values()), f"psums of PE {pe.node} not cleared"
            continue
        state.psums[pe.node] = dict(pe.memory)
        for k_local, k in mapping.filters_of(pe.node).items():
            for oy, ox in np.ndindex(mapping.y.n_out, mapping.x.n_out):
                log.psums[k, oy, ox] = pe.memory[mapping.psum_address(k_local, oy, ox)]
    n_filters = sum(len(mapping.filters_of(node)) for node in nodes)
    assert len(log.psums) == n_filters * mapping.y.n_out * mapping.x.n_out
    assert len(log.output) == n_filters * len(mapping.windows) * wave.fires
    assert not any(network.fifos.values()) and not any(network.tx.values())
    return log.result(cycle0, cycle, state)
