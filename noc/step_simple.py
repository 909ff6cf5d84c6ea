"""The simple router's kernel: input FIFOs, credits, one cycle per hop.

Each input shows its oldest flit, which asks for every output that it has not been copied to yet
(asynchronous replication). Every flit carries its packet's header, so flits of several packets may
interleave on a link and nothing can be held half-way: no virtual channels are needed.
`docs/mnf-cycles.md` defines every cycle.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import first_class, kernel
from .router import Flit, Links, Packets, Ports, Routes, StepStatus, alone, step_signature

LOCAL = 4
N_PORTS = 5
ALL_PORTS = (1 << N_PORTS) - 1


class SimpleState(NamedTuple):
    """State of all simple routers of a network."""

    links: Links
    """Behind an output lies the input of number ``output ^ 1``."""
    routes: Routes
    outputs: NDArray[Any]
    """int64[n]: outputs of a router; those from 4 on deliver to the node."""
    order: NDArray[Any]
    """int64[n]: in which order the kernel visits routers; results do not depend on it."""
    fifo: NDArray[Any]
    """int64[n, 5, depth]: flits (`firemesh.noc.router.Flit`); a ring."""
    head: NDArray[Any]
    """int64[n, 5]: ring position of the oldest flit."""
    flits: NDArray[Any]
    """int64[n, 5]: flits in the FIFO."""
    credits: NDArray[Any]
    """int64[n, 4]: free places in the FIFO behind an output."""
    pending: NDArray[Any]
    """uint16[n, 5]: outputs that the oldest flit still asks for; 0 before it has been looked at."""
    last: NDArray[Any]
    """int64[n, outputs]: input at which an output's round robin begins."""
    grant: NDArray[Any]
    """int64[n, outputs]: input that each output takes in this cycle, -1 for none."""
    load: NDArray[Any]
    """int64[n]: flits in the router's FIFOs."""
    link_flits: NDArray[Any]
    """int64[n, 5]: flits sent so far by each output; those that deliver are one."""


def make_state(links: Links, routes: Routes, depth: int, more_outputs: int = 0) -> SimpleState:
    """Return empty routers with FIFOs of ``depth`` flits.

    Router 0 has ``more_outputs`` outputs more than the others that deliver to its node.
    """
    neighbour = links.neighbour
    n = len(neighbour)
    outputs = np.full(n, N_PORTS)
    outputs[0] += more_outputs
    return SimpleState(
        links=links,
        routes=routes,
        outputs=outputs,
        order=np.arange(n),
        fifo=np.zeros((n, N_PORTS, depth), np.int64),
        head=np.zeros((n, N_PORTS), np.int64),
        flits=np.zeros((n, N_PORTS), np.int64),
        credits=np.where(neighbour >= 0, depth, 0).astype(np.int64),
        pending=np.zeros((n, N_PORTS), np.uint16),
        last=np.zeros((n, N_PORTS + more_outputs), np.int64),
        grant=np.full((n, N_PORTS + more_outputs), -1, np.int64),
        load=np.zeros(n, np.int64),
        link_flits=np.zeros((n, N_PORTS), np.int64),
    )


@kernel
def outputs_of(s: SimpleState, packets: Packets, packet: int, node: int) -> int:
    """Return the mask of outputs that a packet asks for at a node, 0 when it has no route."""
    number, r = packets.destinations[packet], s.routes
    if number < 0 or number >= len(r.node_of):
        return 0
    if r.node_of[number] >= 0:
        return int(np.int64(r.ports[node, r.node_of[number]]))
    tree = r.tree_of[packets.source[packet], number]
    return int(np.int64(r.tree[tree, node])) if tree >= 0 else 0


@kernel
def decide(s: SimpleState, ports: Ports, packets: Packets, node: int) -> int:
    """Grant each free output of a router to one input, from the state at the cycle's start."""
    asked = 0
    for i in range(N_PORTS):
        if s.flits[node, i] == 0:
            continue
        if s.pending[node, i] == 0:
            packet = s.fifo[node, i, s.head[node, i]] >> Flit.PACKET
            outputs = outputs_of(s, packets, packet, node)
            if outputs == 0:
                return StepStatus.NO_ROUTE
            s.pending[node, i] = outputs
        asked |= s.pending[node, i]
    delivered = 0
    for o in range(s.outputs[node]):
        s.grant[node, o] = -1
        port = min(o, LOCAL)
        if (asked >> port) & 1 == 0:
            continue
        is_free = ports.ready[node] != 0 if port == LOCAL else s.credits[node, o] > 0
        if not is_free:
            continue
        i = s.last[node, o]
        for _ in range(N_PORTS):
            is_taken = port == LOCAL and (delivered >> i) & 1
            if s.flits[node, i] > 0 and (s.pending[node, i] >> port) & 1 and not is_taken:
                s.grant[node, o] = i
                s.last[node, o] = i + 1 if i + 1 < N_PORTS else 0
                if port == LOCAL:
                    delivered |= 1 << i
                break
            i = i + 1 if i + 1 < N_PORTS else 0
    return StepStatus.OK


@kernel
def append(s: SimpleState, node: int, port: int, flit: int) -> None:
    """Put a flit behind the others of a FIFO; the sender has made sure of its place."""
    at = s.head[node, port] + s.flits[node, port]
    depth = s.fifo.shape[2]
    s.fifo[node, port, at - depth if at >= depth else at] = flit
    s.flits[node, port] += 1
    s.load[node] += 1


@kernel
def move(s: SimpleState, ports: Ports, node: int) -> None:
    """Carry out the grants of a router: copy flits on, drop what has been copied everywhere."""
    touched = 0
    for o in range(s.outputs[node]):
        i = s.grant[node, o]
        if i < 0:
            continue
        s.grant[node, o] = -1
        flit = s.fifo[node, i, s.head[node, i]] + Flit.ROUTER
        s.link_flits[node, min(o, LOCAL)] += 1
        if o >= LOCAL:
            wire = node if o == LOCAL else len(s.outputs) + o - N_PORTS
            ports.rx[wire] = flit >> Flit.PACKET
            ports.tail[wire] = flit & Flit.TAIL
            ports.routers[wire] = (flit >> 1) & Flit.ROUTERS
        else:
            s.credits[node, o] -= 1
            append(s, s.links.neighbour[node, o], o ^ 1, flit)
        s.pending[node, i] &= ALL_PORTS ^ (1 << min(o, LOCAL))
        touched |= 1 << i
    for i in range(N_PORTS):
        if (touched >> i) & 1 and s.pending[node, i] == 0:
            following = s.head[node, i] + 1
            s.head[node, i] = following if following < s.fifo.shape[2] else 0
            s.flits[node, i] -= 1
            s.load[node] -= 1
            if i != LOCAL:
                s.credits[s.links.neighbour[node, i], i ^ 1] += 1


SIGNATURE = step_signature(make_state(*alone(), 1))


@first_class(SIGNATURE)
def step(s: SimpleState, ports: Ports, packets: Packets, cycle: int) -> int:
    """Advance all routers by one cycle: first every router decides, then every flit moves.

    Parameters
    ----------
    s : SimpleState
    ports : Ports
        Reads ``ready`` and ``tx``, writes the others and clears taken ``tx``.
    packets : Packets
    cycle : int
        Not used by this router: its cycles are all alike.

    Returns
    -------
    int
        A `firemesh.noc.router.StepStatus`.
    """
    room = s.fifo.shape[2]
    for wire in range(len(ports.rx)):
        ports.rx[wire] = -1
    for node in s.order:
        if s.load[node] > 0:
            status = decide(s, ports, packets, node)
            if status != StepStatus.OK:
                return status
    for node in s.order:
        offered = ports.tx[node]
        has_room = s.flits[node, LOCAL] < room
        if s.load[node] > 0:
            move(s, ports, node)
        if offered >= 0 and has_room:
            flit = int(np.int64(offered)) << Flit.PACKET
            ports.sent[node] += 1
            if ports.sent[node] == packets.flits[offered]:
                flit |= Flit.TAIL
                ports.sent[node] = 0
                ports.tx[node] = -1
            append(s, node, LOCAL, flit)
    return StepStatus.OK
