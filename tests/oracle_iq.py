"""Oracle of the virtual-channel router, written from docs/noc-router.md and nothing else.

Slow and obvious: plain Python, one class per hardware block, an object for each flit of each copy,
every cycle stepped. At the end of the file: small topologies, routes and random cases.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

# ---------------------------------------------------------------------------------- what goes about


@dataclass(frozen=True, eq=False)
class Packet:
    index: int
    cycle: int
    source: int
    destinations: tuple[int, ...]
    flits: int


@dataclass(frozen=True, eq=False)
class Flit:
    packet: Packet
    index: int
    routers: int = 0  # that this copy has left

    @property
    def is_head(self):
        return self.index == 0

    @property
    def is_tail(self):
        return self.index == self.packet.flits - 1


class Route(NamedTuple):
    """What a packet may do at one node."""

    outputs: frozenset[int]
    mode: str  # "any" one of the outputs, or "all" of them: a multicast
    upper: frozenset[int] | None  # outputs entered on the upper VCs; None: no classes


class Topology(NamedTuple):
    links: list[dict[int, tuple[int, int]]]  # per node: output -> (neighbour, its input)
    outputs: int  # R, towards neighbours; output R ejects, input R is the node's injection


class Delivery(NamedTuple):
    packet: int
    destination: int
    t_create: int
    t_inj_head: int
    t_inj_tail: int
    t_ej_head: int
    t_ej_tail: int
    routers: int


class DeliveredFlit(NamedTuple):
    cycle: int
    node: int
    packet: int
    index: int


class Channel:
    """Brings (vc, flit), or the vc of a credit, 1 + link_delay cycles later."""

    def __init__(self, link_delay):
        self.cycles = 1 + link_delay
        self.under_way = deque()

    def send(self, cycle, thing):
        self.under_way.append((cycle + self.cycles, thing))

    def receive(self, cycle):
        while self.under_way and self.under_way[0][0] <= cycle:
            due, thing = self.under_way.popleft()
            assert due == cycle, "something was left lying on a channel"
            yield thing


# --------------------------------------------------------------------------------------- allocators


class RoundRobin:
    """Picks the first of pointer, pointer + 1, ... cyclically."""

    def __init__(self, size):
        self.size = size
        self.pointer = 0

    def rank(self, index):
        return (index - self.pointer) % self.size

    def pick(self, indices):
        return min(indices, key=self.rank)

    def granted(self, indices):
        self.pointer = (min(indices, key=self.rank) + 1) % self.size


class LeastRecent:
    """Picks the index granted least recently; of equals, as of those never granted, the highest."""

    def __init__(self, size):
        self.grants = 0
        self.last = [0] * size

    def pick(self, indices):
        return min(indices, key=lambda index: (self.last[index], -index))

    def granted(self, indices):
        self.grants += 1
        for index in indices:
            self.last[index] = self.grants


def urgent(priority):
    """Return the keys of the highest priority."""
    highest = max(priority.values())
    return [key for key in priority if priority[key] == highest]


class Allocator:
    """Matches inputs with outputs.

    ``choose(i, pick, offers)`` says which of the offered outputs input i takes: for a unicast
    ``[pick(offers)]``, for a multicast perhaps more.
    """

    def __init__(self, kind, n_inputs, n_outputs):
        assert kind in ("separable_input_first", "islip", "matrix")
        arbiter = LeastRecent if kind == "matrix" else RoundRobin
        self.kind = kind
        self.inputs = [arbiter(n_outputs) for _ in range(n_inputs)]
        self.outputs = [arbiter(n_inputs) for _ in range(n_outputs)]

    def match(self, requests, choose):
        """Return the matched (input, output) of ``requests``, {(input, output): priority}."""
        if self.kind == "islip":
            pairs = self._outputs_first(requests, choose)
        else:
            pairs = self._inputs_first(requests, choose)
        for i in {i for i, _ in pairs}:
            self.inputs[i].granted([o for j, o in pairs if j == i])
        for i, o in pairs:
            self.outputs[o].granted([i])
        return pairs

    def _inputs_first(self, requests, choose):
        picked = {}  # output -> {input: priority}
        for i in sorted({i for i, _ in requests}):
            offers = {o: requests[j, o] for j, o in sorted(requests) if j == i}
            arbiter = self.inputs[i]
            for o in choose(i, lambda some, arbiter=arbiter: arbiter.pick(urgent(some)), offers):
                picked.setdefault(o, {})[i] = offers[o]
        return [(self.outputs[o].pick(urgent(by)), o) for o, by in sorted(picked.items())]

    def _outputs_first(self, requests, choose):
        grants = {}  # input -> {output: None}
        for o in sorted({o for _, o in requests}):
            winner = self.outputs[o].pick([i for i, p in sorted(requests) if p == o])
            grants.setdefault(winner, {})[o] = None
        return [
            (i, o) for i, offers in grants.items() for o in choose(i, self.inputs[i].pick, offers)
        ]


# ------------------------------------------------------------------------------------------- router


@dataclass(eq=False)
class InputVC:
    """One buffer of an input port, and the packet that it handles."""

    port: int
    number: int
    buffer: deque = field(default_factory=deque)
    packet: Packet | None = None  # None: idle
    route: Route | None = None
    routed_at: int | None = None  # its update makes the packet want its outputs
    wants: set = field(default_factory=set)
    owns: dict = field(default_factory=dict)  # output -> VC there
    sent: Counter = field(default_factory=Counter)  # output -> flits that have left for it
    branches: set = field(default_factory=set)  # outputs that every flit leaves for
    answer_at: int = -1  # the last VC request counts in this cycle
    looked_until: dict = field(default_factory=dict)  # output -> the look counts in this cycle

    def next_flit(self, output):
        """Return the flit that comes next for this output, if it is in the buffer."""
        for flit in self.buffer:
            if flit.packet is self.packet and flit.index == self.sent[output]:
                return flit
        return None


@dataclass(eq=False)
class OutputVC:
    credits: int
    owner: Packet | None = None
    owned_since: int = -1  # the update that made the last owner


@dataclass(frozen=True, eq=False)
class VCGrant:
    counts: int
    asked: int
    vc: InputVC
    packet: Packet
    output: int
    number: int  # of the output VC


@dataclass(frozen=True, eq=False)
class SwitchGrant:
    counts: int
    vc: InputVC
    packet: Packet
    output: int


class Router:
    def __init__(self, node, net, n_outputs):
        self.node, self.net = node, net
        V, R = net.vcs, net.topology.outputs  # noqa: N806
        self.inputs = [[InputVC(i, v) for v in range(V)] for i in range(R + 1)]
        self.outputs = [[OutputVC(net.buffer_flits) for _ in range(V)] for _ in range(n_outputs)]
        self.ejecting = range(R, n_outputs)
        self.offsets = [RoundRobin(V) for _ in range(R + 1)]
        self.vc_allocator = Allocator(net.vc_allocator, (R + 1) * V, n_outputs * V)
        self.sw_allocator = Allocator(net.sw_allocator, R + 1, n_outputs)
        self.flits_in = {}  # input -> channel; the network wires these four
        self.credits_out = {}
        self.flits_out = {}  # output -> channel
        self.credits_in = {}
        self.late_credits = deque()  # (cycle, output, vc)
        self.vc_grants = []
        self.switch_grants = []

    # -- arrivals and buffer write

    def arrive(self, cycle):
        for output, channel in self.credits_in.items():
            for vc in channel.receive(cycle):
                self.late_credits.append((cycle + self.net.credit_delay, output, vc))
        while self.late_credits and self.late_credits[0][0] <= cycle:
            _, output, vc = self.late_credits.popleft()
            self.outputs[output][vc].credits += 1
            assert self.outputs[output][vc].credits <= self.net.buffer_flits
        for port, channel in self.flits_in.items():
            for number, flit in channel.receive(cycle):
                vc = self.inputs[port][number]
                vc.buffer.append(flit)
                assert len(vc.buffer) <= self.net.buffer_flits, "a buffer overflows"
                if vc.packet is None:
                    self._begin(vc, cycle + self.net.routing_delay - 1)

    def _begin(self, vc, routed_at):
        head = vc.buffer[0]
        assert head.is_head
        vc.packet = head.packet
        vc.route = self._route(head.packet)
        vc.sent = Counter()
        vc.branches = set(vc.route.outputs) if vc.route.mode == "all" else set()
        vc.routed_at = routed_at
        if self.net.routing_delay == 0:
            self._routed(vc)

    def _route(self, packet):
        outputs, mode, upper = self.net.route(self.node, packet)
        if mode == "any" and self.ejecting[0] in outputs:
            outputs = set(outputs) | set(self.ejecting)
        return Route(frozenset(outputs), mode, upper)

    def _routed(self, vc):
        vc.routed_at = None
        vc.wants = set(vc.route.outputs)

    # -- evaluate

    @property
    def is_idle(self):
        """Whether evaluate and update would find nothing to do."""
        has_flits = any(vc.buffer for port in self.inputs for vc in port)
        return not (has_flits or self.vc_grants or self.switch_grants)

    def evaluate(self, cycle):
        self._allocate_vcs(cycle)
        self._allocate_switch(cycle)

    def _whole(self, packet):
        """Return whether an output VC must have credits for the whole packet."""
        return self.net.switching == "cut-through" or self.net.is_multicast(packet)

    def _fits(self, packet, output, number):
        return not self._whole(packet) or self.outputs[output][number].credits >= packet.flits

    def _allowed(self, vc, output):
        V = self.net.vcs  # noqa: N806
        if vc.route.upper is None or output in self.ejecting:
            return range(V)
        return range(V // 2, V) if output in vc.route.upper else range(V // 2)

    def _could_ask(self, vc, output):
        """Return the VCs of a wanted output that the packet could ask for."""
        return [
            w
            for w in self._allowed(vc, output)
            if self.outputs[output][w].owner is None and self._fits(vc.packet, output, w)
        ]

    def _allocate_vcs(self, cycle):
        V = self.net.vcs  # noqa: N806
        vcs = [vc for port in self.inputs for vc in port]  # by index i*V + v
        requests = {}
        for index, vc in enumerate(vcs):
            if vc.answer_at >= cycle:
                continue
            if vc.wants:
                vc.answer_at = cycle + self.net.vc_alloc_delay - 1
            for output in vc.wants:
                for w in self._could_ask(vc, output):
                    requests[index, output * V + w] = 0

        def choose(index, pick, offers):
            if not self.net.is_multicast(vcs[index].packet):
                return [pick(offers)]
            of_output = {}
            for o in offers:
                of_output.setdefault(o // V, {})[o] = offers[o]
            return [pick(some) for some in of_output.values()]

        counts = cycle + self.net.vc_alloc_delay - 1
        for index, o in self.vc_allocator.match(requests, choose):
            vc = vcs[index]
            self.vc_grants.append(VCGrant(counts, cycle, vc, vc.packet, o // V, o % V))

    def _asks(self, vc, output):
        """Return the priority with which a VC asks for an output of the switch, or None."""
        if output in vc.owns:
            return 1 if self.outputs[output][vc.owns[output]].credits > 0 else None
        could = [self.outputs[output][w].credits > 0 for w in self._could_ask(vc, output)]
        return 0 if any(could) else None

    def _allocate_switch(self, cycle):
        counts = cycle + self.net.sw_alloc_delay - 1
        asking = {}  # (input, output) -> {vc number: priority}
        for port in self.inputs:
            for vc in (vc for vc in port if vc.packet is not None):
                for output in self._looks(vc, cycle):
                    vc.looked_until[output] = counts
                    priority = self._asks(vc, output)
                    if priority is not None:
                        asking.setdefault((vc.port, output), {})[vc.number] = priority
        forward, requests = {}, {}
        for (i, o), priorities in asking.items():
            forward[i, o] = self.inputs[i][self.offsets[i].pick(urgent(priorities))]
            requests[i, o] = priorities[forward[i, o].number]

        def choose(i, pick, offers):
            first = pick(offers)
            vc = forward[i, first]
            if not self.net.is_multicast(vc.packet):
                return [first]
            return [o for o in offers if forward[i, o] is vc and vc.sent[o] == vc.sent[first]]

        for i, o in self.sw_allocator.match(requests, choose):
            vc = forward[i, o]
            self.offsets[i].granted([vc.number])
            self.switch_grants.append(SwitchGrant(counts, vc, vc.packet, o))

    def _looks(self, vc, cycle):
        """Return the outputs for which the switch allocator looks at a VC."""
        outputs = {o for o in vc.owns if vc.next_flit(o)}
        if self.net.speculative:
            outputs |= vc.wants
        return [o for o in sorted(outputs) if vc.looked_until.get(o, -1) < cycle]

    # -- update

    def update(self, cycle):
        for vc in (vc for port in self.inputs for vc in port):
            if vc.routed_at == cycle:
                self._routed(vc)
        for grant in [g for g in self.vc_grants if g.counts == cycle]:
            self.vc_grants.remove(grant)
            self._own(grant, cycle)
        for grant in [g for g in self.switch_grants if g.counts == cycle]:
            self.switch_grants.remove(grant)
            self._leave(grant, cycle)

    def _own(self, grant, cycle):
        vc, to = grant.vc, self.outputs[grant.output][grant.number]
        assert vc.packet is grant.packet and grant.output in vc.wants
        if to.owner is not None or not self._fits(vc.packet, grant.output, grant.number):
            return
        assert to.owner is None
        to.owner, to.owned_since = vc.packet, cycle
        vc.owns[grant.output] = grant.number
        if vc.route.mode == "all":
            vc.wants.remove(grant.output)
        else:
            vc.wants = set()
            vc.branches = {grant.output}

    def _leave(self, grant, cycle):
        vc, output = grant.vc, grant.output
        if vc.packet is not grant.packet or output not in vc.owns:
            return
        number = vc.owns[output]
        to = self.outputs[output][number]
        if to.credits == 0:
            return
        flit = vc.next_flit(output)
        to.credits -= 1
        vc.sent[output] += 1
        copied = Flit(flit.packet, flit.index, flit.routers + 1)
        self.flits_out[output].send(cycle + self.net.st_delay, (number, copied))
        self.net.link_flits[self.node, output] += 1
        if flit.is_tail:
            to.owner = None
            del vc.owns[output]
        if all(vc.sent[branch] > flit.index for branch in vc.branches):
            self._free_place(vc, flit, cycle)

    def _free_place(self, vc, flit, cycle):
        assert vc.buffer[0] is flit
        vc.buffer.popleft()
        self.credits_out[vc.port].send(cycle, vc.number)
        if flit.is_tail:
            vc.packet = None
            if vc.buffer:
                self._begin(vc, cycle + self.net.routing_delay)


# ---------------------------------------------------------------------------------- ends of the net


class Source:
    def __init__(self, node, net):
        self.node, self.net = node, net
        self.queue = deque()
        self.packet = None
        self.next_index = 0
        self.vc = 0
        self.choice = RoundRobin(net.vcs)
        self.free = [net.buffer_flits] * net.vcs
        self.flits_out = Channel(net.link_delay)
        self.credits_in = Channel(net.link_delay)

    def step(self, cycle):
        for vc in self.credits_in.receive(cycle):
            self.free[vc] += 1
        if self.packet is None and self.queue and self.queue[0].cycle <= cycle:
            self._begin()
        if self.packet is not None and self.free[self.vc] > 0:
            self._send(cycle)

    def _begin(self):
        packet = self.queue[0]
        whole = self.net.switching == "cut-through" or self.net.is_multicast(packet)
        needed = packet.flits if whole else 1
        possible = [vc for vc, places in enumerate(self.free) if places >= needed]
        if possible:
            self.packet = self.queue.popleft()
            self.next_index = 0
            self.vc = self.choice.pick(possible)
            self.choice.granted([self.vc])

    def _send(self, cycle):
        flit = Flit(self.packet, self.next_index)
        self.free[self.vc] -= 1
        self.flits_out.send(cycle, (self.vc, flit))
        self.net.injected(cycle, flit)
        self.next_index += 1
        if flit.is_tail:
            self.packet = None


class Sink:
    """What stands behind one ejecting output."""

    def __init__(self, node, net):
        self.node, self.net = node, net
        self.fifos = [deque() for _ in range(net.vcs)]
        self.choice = RoundRobin(net.vcs)
        self.flits_in = Channel(net.link_delay)
        self.credits_out = Channel(net.link_delay)

    def step(self, cycle, ready):
        for vc, flit in self.flits_in.receive(cycle):
            self.fifos[vc].append(flit)
            assert len(self.fifos[vc]) <= self.net.buffer_flits, "a sink overflows"
        filled = [vc for vc, fifo in enumerate(self.fifos) if fifo]
        if filled and ready(cycle, self.node):
            vc = self.choice.pick(filled)
            self.choice.granted([vc])
            self.credits_out.send(cycle, vc)
            self.net.ejected(cycle, self.node, self.fifos[vc].popleft())


class Network:
    """A network of virtual-channel routers, idle at first, stepped by whoever offers packets.

    Parameters
    ----------
    topology : Topology
    routes : callable
        (node, packet) -> (set of outputs, "any" or "all", set of outputs of the upper class or
        None). "all" marks a multicast, and must then be said at every node.
    ejecting : int
        Ejecting outputs of node 0; every other node has one.
    """

    def __init__(
        self,
        topology,
        routes,
        *,
        vcs,
        buffer_flits,
        routing_delay=1,
        vc_alloc_delay=1,
        sw_alloc_delay=1,
        st_delay=1,
        credit_delay=0,
        link_delay=1,
        speculative=False,
        vc_allocator="separable_input_first",
        sw_allocator="separable_input_first",
        switching="wormhole",
        ejecting=1,
    ):
        assert min(vcs, buffer_flits, vc_alloc_delay, sw_alloc_delay, st_delay, ejecting) >= 1
        assert min(routing_delay, credit_delay, link_delay) >= 0
        assert switching in ("wormhole", "cut-through")
        self.topology = Topology(*topology)
        self.routes = routes
        self.vcs = vcs
        self.buffer_flits = buffer_flits
        self.routing_delay = routing_delay
        self.vc_alloc_delay = vc_alloc_delay
        self.sw_alloc_delay = sw_alloc_delay
        self.st_delay = st_delay
        self.credit_delay = credit_delay
        self.link_delay = link_delay
        self.speculative = speculative
        self.vc_allocator = vc_allocator
        self.sw_allocator = sw_allocator
        self.switching = switching
        self.ejecting = ejecting
        self.reset()

    def reset(self):
        """Make the network idle, with all pointers as at first."""
        links, R = self.topology  # noqa: N806
        extra = [self.ejecting if node == 0 else 1 for node in range(len(links))]
        self.routers = [Router(node, self, R + n) for node, n in enumerate(extra)]
        self.sources = [Source(node, self) for node in range(len(links))]
        self.sinks = []
        for node, router in enumerate(self.routers):
            for output, (neighbour, port) in links[node].items():
                flits, back = Channel(self.link_delay), Channel(self.link_delay)
                router.flits_out[output] = self.routers[neighbour].flits_in[port] = flits
                router.credits_in[output] = self.routers[neighbour].credits_out[port] = back
            router.flits_in[R] = self.sources[node].flits_out
            router.credits_out[R] = self.sources[node].credits_in
            for output in range(R, R + extra[node]):
                sink = Sink(node, self)
                router.flits_out[output], router.credits_in[output] = (
                    sink.flits_in,
                    sink.credits_out,
                )
                self.sinks.append(sink)
        self.link_flits = Counter()
        self.delivered = []

    def offer(self, packet):
        """Queue a packet at its source, which looks at it from ``packet.cycle`` on."""
        whole = self.switching == "cut-through" or self.is_multicast(packet)
        if whole and packet.flits > self.buffer_flits:
            raise ValueError(f"packets: packet {packet.index} does not fit whole into a VC")
        self.sources[packet.source].queue.append(packet)

    def step(self, cycle, ready):
        """Step one cycle; return (node, flit) of all delivered, by node and ejecting output."""
        self.delivered = []
        for router in self.routers:
            router.arrive(cycle)
        for sink in self.sinks:
            sink.step(cycle, ready)
        for source in self.sources:
            source.step(cycle)
        for router in self.routers:
            if not router.is_idle:
                router.evaluate(cycle)
                router.update(cycle)
        return self.delivered

    def route(self, node, packet):
        return self.routes(node, packet)

    def is_multicast(self, packet):
        return self.route(packet.source, packet)[1] == "all"

    def injected(self, cycle, flit):
        """Take note of a flit that leaves its source."""

    def ejected(self, cycle, node, flit):
        """Take note of a flit that is delivered."""
        assert node in flit.packet.destinations, "a flit at the wrong node"
        self.delivered.append((node, flit))


class Oracle(Network):
    """A network that is given all packets beforehand; each `run` begins with an idle one."""

    def run(self, packets, ready=None, max_cycles=100_000):
        """Return what was delivered whole before ``max_cycles``, by packet and destination.

        ``packets`` are (cycle, source, destinations, flits) in the order of cycles and sources;
        ``ready(cycle, node)`` says whether the node takes a flit. Afterwards ``link_flits`` holds
        the flits sent for each (node, output), ``flits`` the delivered flits in the order of
        cycles, and ``cycles`` how many were stepped.
        """
        self.reset()
        self._queue([Packet(index, *packet) for index, packet in enumerate(packets)])
        ready = ready or (lambda cycle, node: True)
        expected = sum(len(packet.destinations) for packet in self.packets)
        cycle = 0
        while len(self.deliveries) < expected and cycle < max_cycles:
            self.step(cycle, ready)
            cycle += 1
        self.cycles = cycle
        return sorted(self.deliveries)

    def reset(self):
        super().reset()
        self.flits, self.deliveries, self.inj, self.heads = [], [], {}, {}

    def injected(self, cycle, flit):
        self.inj.setdefault(flit.packet.index, []).append(cycle)

    def ejected(self, cycle, node, flit):
        super().ejected(cycle, node, flit)
        packet = flit.packet
        self.flits.append(DeliveredFlit(cycle, node, packet.index, flit.index))
        if flit.is_head:
            self.heads[packet.index, node] = (cycle, flit.routers)
        if flit.is_tail:
            inj = self.inj[packet.index]
            head, routers = self.heads[packet.index, node]
            times = (packet.cycle, inj[0], inj[-1], head, cycle, routers)
            self.deliveries.append(Delivery(packet.index, node, *times))

    def _queue(self, packets):
        self.packets = packets
        order = [(packet.cycle, packet.source) for packet in packets]
        if order != sorted(order):
            raise ValueError("packets: must be in the order of cycles, then of sources")
        for packet in packets:
            self.offer(packet)


# ---------------------------------------------------------------------------- topologies and routes

X_UP, X_DOWN, Y_UP, Y_DOWN, LOCAL = range(5)
STEPS = {X_UP: (1, 0), X_DOWN: (-1, 0), Y_UP: (0, 1), Y_DOWN: (0, -1)}
OPPOSITE = {X_UP: X_DOWN, X_DOWN: X_UP, Y_UP: Y_DOWN, Y_DOWN: Y_UP}


def mesh(width, height):
    """Return the mesh; node x + width*y."""
    return _grid(width, height, wraps=False)


def torus(width, height):
    """Return the torus; node x + width*y, each ring of 3 nodes or more."""
    assert min(width, height) >= 3
    return _grid(width, height, wraps=True)


def _grid(width, height, wraps):
    links = []
    for node in range(width * height):
        ports = {}
        for output, (dx, dy) in STEPS.items():
            x, y = node % width + dx, node // width + dy
            if wraps or (0 <= x < width and 0 <= y < height):
                ports[output] = (x % width + width * (y % height), OPPOSITE[output])
        links.append(ports)
    return Topology(links, LOCAL)


def mesh_xy(width, height):
    """Return routes along x, then y; a packet with several destinations takes the tree of them."""
    return _mesh_in_order(width, height, "xy")


def mesh_yx(width, height):
    """Return routes along y, then x; otherwise as `mesh_xy`."""
    return _mesh_in_order(width, height, "yx")


def _mesh_in_order(width, height, axes):
    def output(node, destination):
        x, y = node % width, node // width
        to_x, to_y = destination % width, destination // width
        steps = {"x": X_UP if to_x > x else X_DOWN, "y": Y_UP if to_y > y else Y_DOWN}
        left = {"x": x != to_x, "y": y != to_y}
        return next((steps[axis] for axis in axes if left[axis]), LOCAL)

    return _along(mesh(width, height), output, lambda node, output, destination: None)


def torus_dateline(width, height):
    """Return routes along x, then y, the shorter way round, upwards if both are as short.

    An output is of the upper class unless the ring's wrapping link is this one or still ahead.
    """

    def way(at, to, size):
        """Return (links left, is upwards, is the wrap ahead)."""
        up, down = (to - at) % size, (at - to) % size
        return (up, True, at + up >= size) if up <= down else (down, False, at - down < 0)

    def ring(node, destination):
        x = way(node % width, destination % width, width)
        y = way(node // width, destination // width, height)
        return (X_UP, X_DOWN, x) if x[0] else (Y_UP, Y_DOWN, y)

    def output(node, destination):
        up, down, (left, upwards, _) = ring(node, destination)
        if not left:
            return LOCAL
        return up if upwards else down

    def upper(node, output, destination):
        return output != LOCAL and not ring(node, destination)[2][2]

    return _along(torus(width, height), output, upper)


def _along(topology, output, upper):
    """Return the routes of a deterministic routing, and of the trees that it spans."""

    @cache
    def path(source, destination):
        """Return {node: output} on the way, and the node after the last one never asked for."""
        steps, node = {}, source
        while output(node, destination) != LOCAL:
            steps[node] = output(node, destination)
            node = topology.links[node][steps[node]][0]
        return steps | {node: LOCAL}

    @cache
    def route(node, source, destinations):
        outputs, high, low = set(), set(), set()
        for destination in destinations:
            step = path(source, destination).get(node)
            if step is None:
                continue
            outputs.add(step)
            if step != LOCAL:
                (high if upper(node, step, destination) else low).add(step)
        assert outputs, "a packet off its way"
        mode = "all" if len(destinations) > 1 else "any"
        classes = upper(source, output(source, destinations[0]), destinations[0]) is not None
        return Route(frozenset(outputs), mode, frozenset(high - low) if classes else None)

    return lambda node, packet: route(node, packet.source, packet.destinations)


def mesh_west_first(width, height):
    """Return adaptive routes: -x alone while it leads nearer, then any output that does.

    Packets with several destinations take the XY tree.
    """
    tree = mesh_xy(width, height)

    def routes(node, packet):
        if len(packet.destinations) > 1:
            return tree(node, packet)
        dx = packet.destinations[0] % width - node % width
        dy = packet.destinations[0] // width - node // width
        if dx < 0:
            return Route(frozenset({X_DOWN}), "any", None)
        outputs = {X_UP} if dx > 0 else set()
        if dy:
            outputs.add(Y_UP if dy > 0 else Y_DOWN)
        return Route(frozenset(outputs or {LOCAL}), "any", None)

    return routes


# ------------------------------------------------------------------------------------- random cases

ROUTINGS = {
    "mesh-xy": (mesh, mesh_xy),
    "mesh-west-first": (mesh, mesh_west_first),
    "torus-dateline": (torus, torus_dateline),
}
ALLOCATORS = ("separable_input_first", "islip", "matrix")


@dataclass(frozen=True)
class Case:
    """A small network with traffic, in words that any other implementation can build it from."""

    routing: str
    width: int
    height: int
    settings: dict  # keywords of Oracle
    packets: list[tuple[int, int, tuple[int, ...], int]]
    never_ready: tuple[tuple[int, ...], ...]
    """Per node the cycles, modulo `period`, in which it takes no flit; never all of them."""
    period: int

    def topology(self):
        return ROUTINGS[self.routing][0](self.width, self.height)

    def routes(self) -> Callable:
        return ROUTINGS[self.routing][1](self.width, self.height)

    def oracle(self):
        return Oracle(self.topology(), self.routes(), **self.settings)

    def ready(self, cycle, node):
        return cycle % self.period not in self.never_ready[node]

    @property
    def expected(self):
        """(packet, destination) of all deliveries."""
        return [
            (index, destination)
            for index, (_, _, destinations, _) in enumerate(self.packets)
            for destination in sorted(destinations)
        ]


def random_case(rng: random.Random, **fixed) -> Case:
    """Return a random small network with traffic; ``fixed`` settings are kept."""
    routing = rng.choice(tuple(ROUTINGS))
    low = 3 if routing == "torus-dateline" else 1
    width, height = rng.randint(low, 4), rng.randint(max(low, 2), 4)
    if routing == "mesh-xy" and rng.random() < 0.5:
        width, height = height, width
    settings = _random_settings(rng, least_vcs=2 if routing == "torus-dateline" else 1) | fixed
    period = rng.randint(2, 9)
    holds_back = rng.random() < 0.5
    never = [
        tuple(sorted(rng.sample(range(period), rng.randrange(period)))) if holds_back else ()
        for _ in range(width * height)
    ]
    packets = _random_packets(rng, width * height, settings)
    return Case(routing, width, height, settings, packets, tuple(never), period)


def _random_settings(rng, least_vcs):
    return {
        "vcs": rng.randint(least_vcs, 4),
        "buffer_flits": rng.randint(1, 8),
        "routing_delay": rng.choice((0, 0, 1, 1, 2, 3)),
        "vc_alloc_delay": rng.choice((1, 1, 2, 3)),
        "sw_alloc_delay": rng.choice((1, 1, 2, 3)),
        "st_delay": rng.choice((1, 1, 2, 3)),
        "credit_delay": rng.choice((0, 0, 1, 2, 3)),
        "link_delay": rng.choice((1, 1, 1, 2, 3)),
        "speculative": rng.random() < 0.5,
        "vc_allocator": rng.choice(ALLOCATORS),
        "sw_allocator": rng.choice(ALLOCATORS),
        "switching": rng.choice(("wormhole", "cut-through")),
        "ejecting": rng.choice((1, 1, 2, 3, 4)),
    }


def _random_packets(rng, n_nodes, settings):
    rate = rng.choice((0.02, 0.1, 0.3, 1.0))
    multicasts = rng.choice((0.0, 0.2, 0.6, 1.0)) if n_nodes > 1 else 0.0
    to_zero = rng.choice((0.0, 0.0, 0.5))
    buffer_flits = settings["buffer_flits"]
    longest = buffer_flits if settings["switching"] == "cut-through" else rng.choice((1, 3, 12))
    packets = []
    for cycle in range(rng.choice((5, 20, 60))):
        for source in range(n_nodes):
            flits = rng.randint(1, longest)
            if rng.random() >= rate / flits:
                continue
            if rng.random() < multicasts:
                n = rng.randint(2, n_nodes)
                destinations = tuple(sorted(rng.sample(range(n_nodes), n)))
                flits = min(flits, buffer_flits)
            elif rng.random() < to_zero:
                destinations = (0,)
            else:
                destinations = (rng.randrange(n_nodes),)
            packets.append((cycle, source, destinations, flits))
    return packets
