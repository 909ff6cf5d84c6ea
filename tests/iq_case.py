"""A case of the virtual-channel router's oracle, run on the kernel cycle by cycle."""

from collections import deque

from firemesh.noc.network import Network
from firemesh.noc.profiles import Profile
from firemesh.noc.router import make_packets
from firemesh.noc.topology import mesh, torus

ROUTINGS = {
    "mesh-xy": (mesh, "xy"),
    "mesh-west-first": (mesh, "west-first"),
    "torus-dateline": (torus, "xy"),
}
BESIDE = ("vcs", "buffer_flits", "ejecting")


def make_network(case) -> Network:
    """Return the network of an oracle's case."""
    topology, routing = ROUTINGS[case.routing]
    settings = case.settings
    return Network(
        topology(case.width, case.height),
        Profile(**{name: value for name, value in settings.items() if name not in BESIDE}),
        routing,
        *(settings[name] for name in BESIDE),
    )


class Run:
    """Steps the kernel through a case.

    Attributes
    ----------
    flits : list of (cycle, node, packet)
        Delivered.
    deliveries : list
        As the oracle's.
    """

    def __init__(self, case) -> None:
        self.case, self.network = case, make_network(case)
        self.packets = make_packets(len(case.packets))
        self.queues = [deque() for _ in range(self.network.n_nodes)]
        self.pending = deque(enumerate(case.packets))
        for number, (_, source, destinations, flits) in enumerate(case.packets):
            self.packets.source[number] = source
            self.packets.destinations[number] = self.network.destinations(source, destinations)
            self.packets.flits[number] = flits
        self.cycle = 0
        self.flits, self.heads, self.injected, self.deliveries = [], {}, {}, []

    def step(self) -> None:
        """Let sources offer, step the network, note what it took and delivered."""
        ports, cycle = self.network.ports, self.cycle
        while self.pending and self.pending[0][1][0] <= cycle:
            number, (_, source, _, _) = self.pending.popleft()
            self.queues[source].append(number)
        for node, queue in enumerate(self.queues):
            if ports.tx[node] < 0 and queue:
                ports.tx[node] = queue.popleft()
            ports.ready[node] = self.case.ready(cycle, node)
        offered, before = ports.tx.copy(), ports.sent.copy()
        self.network.cycle(self.packets, cycle)
        for node, number in enumerate(offered.tolist()):
            if number >= 0 and (ports.tx[node] < 0 or ports.sent[node] > before[node]):
                self.injected.setdefault(number, []).append(cycle)
        for wire, number in enumerate(ports.rx.tolist()):
            if number >= 0:
                self._note(number, wire)
        self.cycle += 1

    def _note(self, number: int, wire: int) -> None:
        ports, cycle = self.network.ports, self.cycle
        node = wire if wire < self.network.n_nodes else 0
        self.flits.append((cycle, node, number))
        head, routers = self.heads.setdefault((number, node), (cycle, int(ports.routers[wire])))
        if ports.tail[wire]:
            sent = self.injected[number]
            times = (self.case.packets[number][0], sent[0], sent[-1], head, cycle, routers)
            self.deliveries.append((number, node, *times))

    def run(self, cycles: int) -> "Run":
        """Step until a cycle."""
        while self.cycle < cycles:
            self.step()
        return self
