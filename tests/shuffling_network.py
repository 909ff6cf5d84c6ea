"""A network that delivers packets in any order, as one with many VCs may."""

from firemesh.noc.kernel import first_class, kernel
from firemesh.noc.network import Network
from firemesh.noc.router import Packets, Ports, alone, step_signature
from firemesh.noc.step_simple import SimpleState, make_state
from firemesh.noc.topology import mesh

LOCAL = 4
OK, NO_ROUTE = 0, 1


@kernel
def draw(s: SimpleState) -> int:
    """Return the next number of a linear congruential generator."""
    s.last[0, 0] = (s.last[0, 0] * 1103515245 + 12345) & 0x7FFFFFFF
    return s.last[0, 0] >> 8


@kernel
def is_member(s: SimpleState, number: int, tree: int, node: int) -> bool:
    """Tell whether a node is of a destination set."""
    if tree < 0:
        return s.routes.node_of[number] == node
    return (s.routes.tree[tree, node] >> LOCAL) & 1 != 0


@kernel
def accept(s: SimpleState, ports: Ports, packets: Packets, node: int) -> int:
    """Take an offered packet when every destination's list has room."""
    packet = ports.tx[node]
    number = packets.destinations[packet]
    tree = s.routes.tree_of[packets.source[packet], number]
    if tree < 0 and s.routes.node_of[number] < 0:
        return NO_ROUTE
    for to in range(len(s.order)):
        if is_member(s, number, tree, to) and s.flits[to, 0] == s.fifo.shape[2]:
            return OK
    for to in range(len(s.order)):
        if is_member(s, number, tree, to):
            s.fifo[to, 0, s.flits[to, 0]] = packet
            s.flits[to, 0] += 1
    ports.tx[node] = -1
    return OK


SIGNATURE = step_signature(make_state(*alone(), 1))


@first_class(SIGNATURE)
def shuffle_step(s: SimpleState, ports: Ports, packets: Packets, cycle: int) -> int:
    """Deliver to each ready node any of the packets under way to it, in half of the cycles."""
    for node in range(len(s.order)):
        ports.rx[node] = -1
        if s.flits[node, 0] > 0 and ports.ready[node] and draw(s) % 2:
            s.flits[node, 0] -= 1
            at = draw(s) % (s.flits[node, 0] + 1)
            ports.rx[node] = s.fifo[node, 0, at]
            ports.tail[node] = 1
            s.fifo[node, 0, at] = s.fifo[node, 0, s.flits[node, 0]]
    for node in range(len(s.order)):
        if ports.tx[node] >= 0 and accept(s, ports, packets, node) != OK:
            return NO_ROUTE
    return OK


def shuffling(width: int, height: int, seed: int) -> Network:
    """Return such a network; packets must have one flit."""
    network = Network(mesh(width, height), buffer_flits=256)
    network.step = shuffle_step
    network.state.last[0, 0] = seed
    return network
