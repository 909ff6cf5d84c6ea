"""The engine: the one clock that steps network, PEs and storage PE together."""

from enum import IntEnum
from typing import Any

from ...noc.kernel import kernel, outer_kernel
from ...noc.router import SENTENCES as STEP_SENTENCES
from ...noc.router import Packets, Ports, StepStatus
from ..kinds import Kind, Memory
from .state import Clock, Columns, Flow, LayerArrays, Multicast, Params, PeState

EVENT_BYTES = 8
PATIENCE_CYCLES = 10_000


class EngineStatus(IntEnum):
    """Why `advance` came back."""

    DONE = 0
    """The layer's last cycle is over."""
    UNTIL = 1
    GROW = 2
    """A column table is nearly full."""
    WEDGED = 3
    NO_ROUTE = 4
    """This and the next are the network's `StepStatus` after WEDGED."""
    TOO_LONG = 5


SENTENCES = {
    EngineStatus.WEDGED: f"nothing has moved for {PATIENCE_CYCLES} cycles: the network is wedged; "
    "use a deadlock-free routing or deeper FIFOs",
    EngineStatus.NO_ROUTE: STEP_SENTENCES[StepStatus.NO_ROUTE],
    EngineStatus.TOO_LONG: STEP_SENTENCES[StepStatus.TOO_LONG],
}


@kernel
def collect(
    q: Params, s: PeState, ports: Ports, packets: Packets, out: Columns, cycle: int
) -> bool:
    """Take the flits delivered to storage: outputs are written, PEs' end-of-data counted."""
    n_nodes, is_active = len(ports.tx), False
    for port in range(1 + len(ports.rx) - n_nodes):
        wire = 0 if port == 0 else n_nodes + port - 1
        number = ports.rx[wire]
        if number < 0:
            continue
        is_active = True
        if ports.tail[wire] == 0:
            continue
        at = out.received[0]
        out.received_cycle[0, at] = cycle - q.origin
        out.received_packet[0, at] = number
        out.received[0] = at + 1
        if packets.kind[number] == Kind.FIRED:
            out.counts[0, Memory.STORAGE, 1] += 1
            out.bytes[0, Memory.STORAGE, 1] += EVENT_BYTES
            s.flow[Flow.ARRIVED] += 1
        else:
            s.flow[Flow.ENDS] += 1
            s.flow[Flow.ANNOUNCED] += packets.item[number]
    return is_active


@kernel
def inject(
    q: Params, la: LayerArrays, s: PeState, ports: Ports, packets: Packets, out: Columns, cycle: int
) -> bool:
    """Offer the next packet of the messages; return whether there was one."""
    message = s.flow[Flow.MESSAGE]
    if ports.tx[0] >= 0 or message >= q.n_messages:
        return False
    group = la.message_set[message]
    first = la.set_first[group]
    copies = 1
    if q.multicast == Multicast.TREE:
        destinations = la.set_tree[group]
    elif q.multicast == Multicast.CHAIN:
        destinations = la.single[la.chain_next[group, 0]]
    else:
        copies = la.set_first[group + 1] - first
        destinations = la.single[la.set_member[first + s.flow[Flow.COPY]]]
    number = s.clock[Clock.PACKETS]
    s.clock[Clock.PACKETS] += 1
    packets.source[number] = 0
    packets.destinations[number] = destinations
    packets.flits[number] = q.event_flits
    packets.kind[number] = Kind.EVENT if message < q.n_events else Kind.END
    packets.item[number] = message
    packets.created[number] = cycle
    ports.tx[0] = number
    if message < q.n_events:
        out.counts[0, Memory.STORAGE, 0] += 1
        out.bytes[0, Memory.STORAGE, 0] += EVENT_BYTES
    s.flow[Flow.COPY] += 1
    if s.flow[Flow.COPY] == copies:
        s.flow[Flow.MESSAGE] += 1
        s.flow[Flow.COPY] = 0
    return True


@kernel
def is_full(q: Params, s: PeState, packets: Packets, out: Columns) -> bool:
    """Tell whether one more cycle could overflow a column table."""
    n_nodes = len(out.received)
    most = 0
    for node in range(n_nodes):
        most = max(most, out.received[node])
    for p in range(out.bursts.shape[1]):
        for kind in range(out.bursts.shape[0]):
            if out.bursts[kind, p] + q.most_rows >= out.burst_cycle.shape[2]:
                return True
    return bool(
        most + n_nodes > out.received_cycle.shape[1]
        or s.clock[Clock.PACKETS] + n_nodes > len(packets.source)
        or out.fired[0] + n_nodes > len(out.fired_output)
    )


@outer_kernel
def advance(
    step: Any, net: Any, cycle_of_pes: Any, q: Params, la: LayerArrays, s: PeState,
    ports: Ports, packets: Packets, out: Columns, until: int,
) -> int:  # fmt: skip
    """Run a layer until it is done, or until cycle ``until``.

    Parameters
    ----------
    step : first-class function
        The router's kernel, see `firemesh.noc.router`.
    net : NamedTuple
        The router's state.
    cycle_of_pes : first-class function
        `firemesh.emulator.mnf.pe.cycle_of_pes`.
    q, la, s, ports, packets, out
        Layer, state, wires and columns.
    until : int
        Cycle before which to return.

    Returns
    -------
    int
        An `EngineStatus`; ``s.clock[Clock.CYCLE]`` is the next cycle.
    """
    n_active = 0
    for p in range(len(la.is_active)):
        n_active += la.is_active[p]
    while s.clock[Clock.CYCLE] < until:
        if is_full(q, s, packets, out):
            return EngineStatus.GROW
        cycle = s.clock[Clock.CYCLE]
        status = step(net, ports, packets, cycle)
        if status != 0:
            return int(EngineStatus.WEDGED + status)
        is_active = cycle_of_pes(q, la, s, ports, packets, out, cycle) != 0
        is_active |= collect(q, s, ports, packets, out, cycle)
        is_active |= inject(q, la, s, ports, packets, out, cycle)
        s.clock[Clock.CYCLE] = cycle + 1
        if is_active:
            s.clock[Clock.ACTIVE] = cycle
        elif cycle - s.clock[Clock.ACTIVE] > PATIENCE_CYCLES:
            return EngineStatus.WEDGED
        if s.flow[Flow.ENDS] == n_active and s.flow[Flow.ANNOUNCED] == s.flow[Flow.ARRIVED]:
            return EngineStatus.DONE
    return EngineStatus.UNTIL
