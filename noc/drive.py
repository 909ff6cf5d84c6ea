"""The kernel that drives a network alone: unbounded queues at the sources, sinks that take all."""

from enum import IntEnum
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .kernel import kernel, outer_kernel
from .router import Packets, Ports

PATIENCE_CYCLES = 10_000
"""Cycles without an injection, a delivery or a flit sent after which packets are stuck."""


class DriveStatus(IntEnum):
    """Why `drive` came back."""

    DONE = 0
    FULL = 1
    """The table of deliveries must be emptied."""
    GROW = 2
    """There are not slots enough."""
    WEDGED = 3
    REFUSED = 3
    """Added to the status of a router's step that failed."""


class Clock(IntEnum):
    """Entries of `Load.clock`."""

    CYCLE = 0
    """The next cycle."""
    NEXT = 1
    """Next packet of the chunk."""
    ALIVE = 2
    """Packets created and not delivered everywhere."""
    ROWS = 3
    """Rows of `Load.delivery`."""
    MOVED = 4
    """Last cycle with an injection or a delivery, or in which flits were seen to be sent."""
    FREE = 5
    """Entries of `Load.free`."""
    FREE_HEADS = 6
    """Entries of `Load.free_heads`."""
    SERIAL = 7
    """Packets created."""
    SENT = 8
    """Flits that outputs had sent when it was last looked at."""


class Slot(IntEnum):
    """Columns of `Load.slot`: a packet that is under way, or in its source's queue."""

    SERIAL = 0
    """Its number in order of creation."""
    HEAD = 1
    """Cycle in which its head left the source, -1 before."""
    TAIL = 2
    LEFT = 3
    """Destinations that it has not reached."""
    FIRST = 4
    """Cycle of the head's delivery, -1 before; of a multicast the row of `Load.heads`."""
    NEXT = 5
    """Slot behind it in its source's queue, -1 for none."""


class Row(IntEnum):
    """Columns of `Load.delivery`."""

    SERIAL = 0
    SOURCE = 1
    NODE = 2
    FLITS = 3
    CREATED = 4
    INJECTED_HEAD = 5
    INJECTED_TAIL = 6
    EJECTED_HEAD = 7
    EJECTED_TAIL = 8
    ROUTERS = 9


class Load(NamedTuple):
    """Sources and sinks of a network of n nodes; arrays of a capacity that the driver grows."""

    queue: NDArray[Any]
    """int64[n, 2]: first and last slot of each source's queue, -1 for none."""
    hand: NDArray[Any]
    """int64[n]: slot of the packet that the source offers, -1 for none."""
    slot: NDArray[Any]
    """int64[slots, 6]: columns of `Slot`."""
    free: NDArray[Any]
    """int64[slots]: free slots; a stack."""
    heads: NDArray[Any]
    """int64[rows, n]: cycle of the delivery of a multicast's head at each node, -1 before."""
    free_heads: NDArray[Any]
    """int64[rows]: free rows of it; a stack."""
    members: NDArray[Any]
    """int64[sets]: nodes of a destination set."""
    ejected: NDArray[Any]
    """int64[n]: flits delivered."""
    delivery: NDArray[Any]
    """int64[rows, 10]: columns of `Row`."""
    clock: NDArray[Any]
    """int64[9]: entries of `Clock`."""


@kernel
def create(packets: Packets, load: Load, cycle: int, source: int, group: int, flits: int) -> bool:
    """Put a packet into its source's queue; return whether there was room for it."""
    clock, n_members = load.clock, load.members[group]
    if clock[Clock.FREE] == 0 or (n_members > 1 and clock[Clock.FREE_HEADS] == 0):
        return False
    clock[Clock.FREE] -= 1
    k = load.free[clock[Clock.FREE]]
    packets.source[k] = source
    packets.destinations[k] = group
    packets.flits[k] = flits
    packets.created[k] = cycle
    load.slot[k, Slot.SERIAL] = clock[Clock.SERIAL]
    load.slot[k, Slot.HEAD] = -1
    load.slot[k, Slot.LEFT] = n_members
    load.slot[k, Slot.FIRST] = -1
    load.slot[k, Slot.NEXT] = -1
    if n_members > 1:
        clock[Clock.FREE_HEADS] -= 1
        row = load.free_heads[clock[Clock.FREE_HEADS]]
        load.slot[k, Slot.FIRST] = row
        load.heads[row] = -1
    if load.queue[source, 0] < 0:
        load.queue[source, 0] = k
    else:
        load.slot[load.queue[source, 1], Slot.NEXT] = k
    load.queue[source, 1] = k
    clock[Clock.SERIAL] += 1
    clock[Clock.ALIVE] += 1
    return True


@kernel
def offer(ports: Ports, load: Load) -> None:
    """Let every source with empty hands offer the first packet of its queue."""
    for node in range(len(ports.tx)):
        if load.hand[node] < 0 and load.queue[node, 0] >= 0:
            k = load.queue[node, 0]
            load.queue[node, 0] = load.slot[k, Slot.NEXT]
            load.hand[node] = k
            ports.tx[node] = k


@kernel
def note_injections(ports: Ports, load: Load, cycle: int) -> None:
    """Note the cycles in which heads and tails have left their sources."""
    for node in range(len(ports.tx)):
        k = load.hand[node]
        if k < 0:
            continue
        if load.slot[k, Slot.HEAD] < 0 and (ports.sent[node] > 0 or ports.tx[node] < 0):
            load.slot[k, Slot.HEAD] = cycle
        if ports.tx[node] < 0:
            load.slot[k, Slot.TAIL] = cycle
            load.hand[node] = -1
            load.clock[Clock.MOVED] = cycle


@kernel
def note_deliveries(ports: Ports, packets: Packets, load: Load, cycle: int) -> None:
    """Note the flits delivered; a packet that all its destinations have frees its slot."""
    clock = load.clock
    for wire in range(len(ports.rx)):
        k = ports.rx[wire]
        if k < 0:
            continue
        clock[Clock.MOVED] = cycle
        node = wire if wire < len(ports.tx) else 0
        load.ejected[node] += 1
        is_single = load.members[packets.destinations[k]] == 1
        first = load.slot[k, Slot.FIRST]
        head = first if is_single else load.heads[first, node]
        if head < 0:
            head = cycle
            if is_single:
                load.slot[k, Slot.FIRST] = cycle
            else:
                load.heads[first, node] = cycle
        if ports.tail[wire] == 0:
            continue
        row = clock[Clock.ROWS]
        clock[Clock.ROWS] = row + 1
        load.delivery[row, Row.SERIAL] = load.slot[k, Slot.SERIAL]
        load.delivery[row, Row.SOURCE] = packets.source[k]
        load.delivery[row, Row.NODE] = node
        load.delivery[row, Row.FLITS] = packets.flits[k]
        load.delivery[row, Row.CREATED] = packets.created[k]
        load.delivery[row, Row.INJECTED_HEAD] = load.slot[k, Slot.HEAD]
        load.delivery[row, Row.INJECTED_TAIL] = load.slot[k, Slot.TAIL]
        load.delivery[row, Row.EJECTED_HEAD] = head
        load.delivery[row, Row.EJECTED_TAIL] = cycle
        load.delivery[row, Row.ROUTERS] = ports.routers[wire]
        load.slot[k, Slot.LEFT] -= 1
        if load.slot[k, Slot.LEFT] == 0:
            if not is_single:
                load.free_heads[clock[Clock.FREE_HEADS]] = first
                clock[Clock.FREE_HEADS] += 1
            load.free[clock[Clock.FREE]] = k
            clock[Clock.FREE] += 1
            clock[Clock.ALIVE] -= 1


@kernel
def is_stuck(link_flits: NDArray[Any], clock: NDArray[Any], cycle: int) -> bool:
    """Return whether no output, by int64[n, outputs], has sent a flit since the last look."""
    sent = 0
    for node in range(link_flits.shape[0]):
        for output in range(link_flits.shape[1]):
            sent += link_flits[node, output]
    if sent == clock[Clock.SENT]:
        return True
    clock[Clock.SENT] = sent
    clock[Clock.MOVED] = cycle
    return False


@outer_kernel
def drive(
    step: Any, net: Any, ports: Ports, packets: Packets, load: Load,
    cycles: NDArray[Any], sources: NDArray[Any], groups: NDArray[Any], flits: NDArray[Any],
    until: int,
) -> int:  # fmt: skip
    """Create packets and step the network until all are delivered, or until a cycle.

    Parameters
    ----------
    step, net, ports
        The network.
    packets : Packets
        By slot.
    load : Load
    cycles, sources, groups, flits : int64[m], int32[m], int32[m], int32[m]
        Packets to create, ordered by cycle; ``groups`` are destination sets.
    until : int
        Cycle before which to return.

    Returns
    -------
    int
        A `DriveStatus`.
    """
    clock = load.clock
    while clock[Clock.CYCLE] < until:
        cycle = clock[Clock.CYCLE]
        if clock[Clock.ROWS] + len(ports.rx) > len(load.delivery):
            return DriveStatus.FULL
        if clock[Clock.ALIVE] == 0:
            if clock[Clock.NEXT] == len(cycles):
                return DriveStatus.DONE
            cycle = max(cycle, cycles[clock[Clock.NEXT]])
            clock[Clock.CYCLE] = cycle
            clock[Clock.MOVED] = cycle
            if cycle >= until:
                return DriveStatus.DONE
        while clock[Clock.NEXT] < len(cycles) and cycles[clock[Clock.NEXT]] <= cycle:
            at = clock[Clock.NEXT]
            if not create(packets, load, cycles[at], sources[at], groups[at], flits[at]):
                return DriveStatus.GROW
            clock[Clock.NEXT] = at + 1
        offer(ports, load)
        status = step(net, ports, packets, cycle)
        if status != 0:
            return int(DriveStatus.REFUSED + status)
        note_injections(ports, load, cycle)
        note_deliveries(ports, packets, load, cycle)
        clock[Clock.CYCLE] = cycle + 1
        if cycle - clock[Clock.MOVED] > PATIENCE_CYCLES and is_stuck(net.link_flits, clock, cycle):
            return DriveStatus.WEDGED
    return DriveStatus.DONE
