"""The kernel of the router with virtual channels; `docs/noc-router.md` defines every cycle.

Routers meet only over channels of at least two cycles, so each does its whole cycle at once and
their order cannot matter. Only routers with flits are visited.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .iq_state import (
    Allocator,
    Arbiters,
    Ask,
    Branch,
    Clock,
    IqState,
    Phase,
    Router,
    Sink,
    Source,
    Stall,
    Vc,
    Way,
    Wire,
    example,
)
from .kernel import first_class, kernel, lowest_bit, outer_kernel
from .router import Flit, Packets, Ports, StepStatus, step_signature

NONE = -1


@kernel
def first_from(mask: int, start: int) -> int:
    """Return the first bit of a mask, which is not 0, in round robin order from a bit."""
    above = (mask >> start) << start
    return lowest_bit(above if above != 0 else mask)


@outer_kernel
def least_recent(ages: NDArray[Any], first: int, mask: int) -> int:
    """Return the bit of a mask that was granted least recently, of equals the highest.

    Parameters
    ----------
    ages : int64[n]
        Cycles of grants; an arbiter's begin at ``first``.
    first : int
    mask : int
        Not 0.
    """
    best = lowest_bit(mask)
    rest = mask & (mask - 1)
    while rest != 0:
        i = lowest_bit(rest)
        rest &= rest - 1
        if ages[first + i] <= ages[first + best]:
            best = i
    return best


@kernel
def pick_input(a: Arbiters, is_matrix: bool, node: int, requester: int, mask: int) -> int:
    """Return the resource that a requester's arbiter picks from a mask."""
    at = node * a.n_requesters + requester
    if is_matrix:
        return int(least_recent(a.input_ages, at * a.n_resources, mask))
    return first_from(mask, a.inputs[at])


@kernel
def pick_output(a: Arbiters, is_matrix: bool, node: int, resource: int, mask: int) -> int:
    """Return the requester that a resource's arbiter picks from a mask."""
    at = node * a.n_resources + resource
    if is_matrix:
        return int(least_recent(a.output_ages, at * a.n_requesters, mask))
    return first_from(mask, a.outputs[at])


@kernel
def note_match(
    a: Arbiters, is_matrix: bool, node: int, requester: int, mask: int, cycle: int
) -> None:
    """Move the arbiters of a requester and of all resources that it got."""
    at, rest = node * a.n_requesters + requester, mask
    while rest != 0:
        i = lowest_bit(rest)
        rest &= rest - 1
        resource = node * a.n_resources + i
        if is_matrix:
            a.input_ages[at * a.n_resources + i] = cycle + 1
            a.output_ages[resource * a.n_requesters + requester] = cycle + 1
        else:
            a.outputs[resource] = requester + 1
    if not is_matrix:
        a.inputs[at] = first_from(mask, a.inputs[at]) + 1


@kernel
def start_packet(s: IqState, packets: Packets, node: int, j: int) -> int:
    """Find the route of the packet at the front of an input VC; it now wants its outputs."""
    d, r = s.design, s.routes
    place = node * s.design.input_vcs + j
    packet = s.fifo[place, s.vc[place, Vc.FIRST]] >> Flit.PACKET
    number = packets.destinations[packet]
    if number < 0 or number >= len(r.node_of):
        return StepStatus.NO_ROUTE
    destination = r.node_of[number]
    if destination >= 0:
        want = np.int64(r.ports[node, destination])
        if len(r.upper) > 1:
            s.vc[place, Vc.UPPER] = r.upper[node, destination]
        if node == 0 and want >> d.radix != 0:
            want |= ((1 << d.more_outputs) - 1) << (d.radix + 1)
    else:
        tree = r.tree_of[packets.source[packet], number]
        if tree < 0:
            return StepStatus.NO_ROUTE
        want = np.int64(r.tree[tree, node])
        if len(r.upper) > 1:
            s.vc[place, Vc.UPPER] = r.tree_upper[tree, node]
    if want == 0:
        return StepStatus.NO_ROUTE
    s.vc[place, Vc.WANT] = want
    s.vc[place, Vc.IS_TREE] = destination < 0
    s.vc[place, Vc.IS_WHOLE] = destination < 0 or d.cut_through != 0
    s.vc[place, Vc.FLITS] = packets.flits[packet]
    s.vc[place, Vc.GONE] = 0
    s.vc[place, Vc.PHASE] = Phase.ROUTED
    s.router[node, Router.ROUTING] &= ~(1 << j)
    s.router[node, Router.HEADS] |= 1 << j
    return StepStatus.OK


@kernel
def next_packet(s: IqState, node: int, j: int, cycle: int) -> None:
    """Begin with the packet at the front of an idle input VC, from a cycle on."""
    place = node * s.design.input_vcs + j
    s.vc[place, Vc.PHASE] = Phase.ROUTING
    s.vc[place, Vc.ROUTE_DUE] = cycle + s.design.routing_delay
    s.router[node, Router.ROUTING] |= 1 << j


@kernel
def take_flits(s: IqState, cycle: int, slot: int) -> None:
    """Write the flits that arrive in a cycle into buffers and sinks."""
    d = s.design
    n_inputs = s.design.input_vcs
    n_places, depth = len(s.vc), d.buffer
    for k in range(s.on_way[Way.FLITS, slot]):
        place, word = s.flying[slot, k, 0], s.flying[slot, k, 1]
        if place >= n_places:
            lane = place - n_places
            at = s.sink_at[lane, Sink.FIRST] + s.sink_at[lane, Sink.COUNT]
            s.sink[lane, at - depth if at >= depth else at] = word
            s.sink_at[lane, Sink.COUNT] += 1
            wire = lane // d.vcs
            s.wire[wire, Wire.MASK] |= 1 << (lane - wire * d.vcs)
            continue
        node = place // n_inputs
        j = place - node * n_inputs
        at = s.vc[place, Vc.FIRST] + s.vc[place, Vc.COUNT]
        s.fifo[place, at - depth if at >= depth else at] = word
        s.vc[place, Vc.COUNT] += 1
        s.router[node, Router.BUSY] |= 1 << j
        if s.router[node, Router.IS_ACTIVE] == 0:
            s.router[node, Router.IS_ACTIVE] = 1
            s.active[s.clock[Clock.ACTIVE]] = node
            s.clock[Clock.ACTIVE] += 1
        if s.vc[place, Vc.PHASE] == Phase.IDLE:
            next_packet(s, node, j, cycle)
    s.on_way[Way.FLITS, slot] = 0


@kernel
def take_credits(s: IqState, slot: int) -> None:
    """Count the credits of a cycle."""
    for k in range(s.on_way[Way.CREDITS, slot]):
        s.credits[s.returning[slot, k]] += 1
    s.on_way[Way.CREDITS, slot] = 0


@kernel
def send(s: IqState, place: int, word: int, cycle: int) -> None:
    """Let a flit arrive in a cycle."""
    slot = cycle % s.on_way.shape[1]
    k = s.on_way[Way.FLITS, slot]
    s.flying[slot, k, 0] = place
    s.flying[slot, k, 1] = word
    s.on_way[Way.FLITS, slot] = k + 1


@kernel
def give_back(s: IqState, lane: int, cycle: int) -> None:
    """Let a credit count in a cycle."""
    slot = cycle % s.on_way.shape[1]
    k = s.on_way[Way.CREDITS, slot]
    s.returning[slot, k] = lane
    s.on_way[Way.CREDITS, slot] = k + 1


@kernel
def deliver(s: IqState, ports: Ports, cycle: int) -> None:
    """Let every ready node take a flit of each of its sinks."""
    d = s.design
    for wire in range(len(ports.rx)):
        ports.rx[wire] = NONE
        mask = s.wire[wire, Wire.MASK]
        if mask == 0:
            continue
        node = wire if wire < d.nodes else 0
        if ports.ready[node] == 0:
            continue
        v = first_from(mask, s.wire[wire, Wire.NEXT])
        s.wire[wire, Wire.NEXT] = v + 1
        lane = wire * d.vcs + v
        word = s.sink[lane, s.sink_at[lane, Sink.FIRST]]
        following = s.sink_at[lane, Sink.FIRST] + 1
        s.sink_at[lane, Sink.FIRST] = following if following < d.buffer else 0
        s.sink_at[lane, Sink.COUNT] -= 1
        if s.sink_at[lane, Sink.COUNT] == 0:
            s.wire[wire, Wire.MASK] = mask & ~(1 << v)
        ports.rx[wire] = word >> Flit.PACKET
        ports.tail[wire] = word & Flit.TAIL
        ports.routers[wire] = (word >> 1) & Flit.ROUTERS
        output = d.radix if wire < d.nodes else d.radix + 1 + wire - d.nodes
        lane = (node * d.outputs + output) * d.vcs + v
        give_back(s, lane, cycle + 1 + d.link_delay + d.credit_delay)
        s.clock[Clock.INSIDE] -= 1


@kernel
def inject(s: IqState, ports: Ports, packets: Packets, node: int, cycle: int) -> int:
    """Send the next flit of the packet that a node offers, if there is room."""
    d, number = s.design, ports.tx[node]
    lane = (d.nodes * d.outputs + node) * d.vcs
    v, n_flits = s.source[node, Source.VC], np.int64(packets.flits[number])
    if v < 0:
        group = packets.destinations[number]
        if group < 0 or group >= len(s.routes.node_of):
            return StepStatus.NO_ROUTE
        room = 1
        if d.cut_through != 0 or s.routes.node_of[group] < 0:
            room = int(n_flits)
            if n_flits > d.buffer:
                return StepStatus.TOO_LONG
        candidate = s.source[node, Source.LAST]
        for _ in range(d.vcs):
            candidate = candidate + 1 if candidate + 1 < d.vcs else 0
            if s.credits[lane + candidate] >= room:
                v = candidate
                break
        if v < 0:
            return StepStatus.OK
        s.source[node, Source.VC] = v
        s.source[node, Source.LAST] = v
    if s.credits[lane + v] == 0:
        return StepStatus.OK
    s.credits[lane + v] -= 1
    ports.sent[node] += 1
    word = np.int64(number) << Flit.PACKET
    if ports.sent[node] == n_flits:
        word |= Flit.TAIL
        ports.sent[node] = 0
        ports.tx[node] = NONE
        s.source[node, Source.VC] = NONE
    place = (node * (d.radix + 1) + d.radix) * d.vcs + v
    send(s, place, int(word), cycle + 1 + d.link_delay)
    s.clock[Clock.INSIDE] += 1
    return StepStatus.OK


@kernel
def lanes_for(s: IqState, node: int, place: int, output: int) -> int:
    """Return the mask of output VCs at an output, from bit 0, that a packet may ask for."""
    d = s.design
    allowed = (1 << d.vcs) - 1
    if len(s.routes.upper) > 1 and output < d.radix:
        lower = (1 << (d.vcs >> 1)) - 1
        allowed = allowed & ~lower if (s.vc[place, Vc.UPPER] >> output) & 1 != 0 else lower
    found = (s.router[node, Router.FREE] >> (output * d.vcs)) & allowed
    if s.vc[place, Vc.IS_WHOLE] == 0:
        return int(found)
    lane, rest = (node * d.outputs + output) * d.vcs, found
    while rest != 0:
        w = lowest_bit(rest)
        rest &= rest - 1
        if s.credits[lane + w] < s.vc[place, Vc.FLITS]:
            found &= ~(1 << w)
    return int(found)


@kernel
def pick_each(s: IqState, is_matrix: bool, node: int, j: int, mask: int) -> int:
    """Return the output VCs that an input VC picks: one, or of a multicast one for each output."""
    place = node * s.design.input_vcs + j
    if mask & (mask - 1) == 0:
        return mask
    if s.vc[place, Vc.IS_TREE] == 0:
        return 1 << pick_input(s.vc_arbiters, is_matrix, node, j, mask)
    picked, rest, vcs = 0, mask, s.design.vcs
    while rest != 0:
        output = s.port_of[lowest_bit(rest)]
        part = rest & (((1 << vcs) - 1) << (output * vcs))
        picked |= 1 << pick_input(s.vc_arbiters, is_matrix, node, j, part)
        rest &= ~part
    return picked


@kernel
def ask_for_vcs(s: IqState, node: int, cycle: int) -> None:
    """Allocate output VCs to the heads that ask in this cycle; results wait for their cycle."""
    d = s.design
    is_matrix = d.vc_allocator == Allocator.MATRIX
    is_islip = d.vc_allocator == Allocator.ISLIP
    asking, touched = 0, 0
    rest = s.router[node, Router.HEADS] & ~s.router[node, Router.VC_WAIT]
    s.router[node, Router.VC_WAIT] |= rest
    is_alone = rest & (rest - 1) == 0
    while rest != 0:
        j = lowest_bit(rest)
        rest &= rest - 1
        place = node * s.design.input_vcs + j
        s.vc[place, Vc.VC_DUE] = cycle + d.vc_alloc_delay - 1
        s.vc[place, Vc.VC_WON] = 0
        mask, outputs = 0, s.vc[place, Vc.WANT]
        while outputs != 0:
            o = lowest_bit(outputs)
            outputs &= outputs - 1
            mask |= lanes_for(s, node, place, o) << (o * d.vcs)
        if mask == 0:
            s.stalls[node, Stall.NO_VC] += 1
            continue
        if is_alone:
            mask = pick_each(s, is_matrix, node, j, mask)
            s.vc[place, Vc.VC_WON] = mask
            note_match(s.vc_arbiters, is_matrix, node, j, mask, cycle)
            return
        asking |= 1 << j
        if not is_islip:
            mask = pick_each(s, is_matrix, node, j, mask)
        touched |= mask
        while mask != 0:
            s.asked[lowest_bit(mask)] |= 1 << j
            mask &= mask - 1
    while touched != 0:
        k = lowest_bit(touched)
        touched &= touched - 1
        mask = s.asked[k]
        s.asked[k] = 0
        single = mask & (mask - 1) == 0
        j = lowest_bit(mask) if single else pick_output(s.vc_arbiters, is_matrix, node, k, mask)
        s.won[j] |= 1 << k
    while asking != 0:
        j = lowest_bit(asking)
        asking &= asking - 1
        mask = s.won[j]
        s.won[j] = 0
        if mask == 0:
            s.stalls[node, Stall.LOST_VC] += 1
            continue
        mask = pick_each(s, is_matrix, node, j, mask)
        s.vc[node * d.input_vcs + j, Vc.VC_WON] = mask
        note_match(s.vc_arbiters, is_matrix, node, j, mask, cycle)


@kernel
def ask(s: IqState, node: int, cycle: int) -> int:
    """Collect who asks for the switch, by input and output; return the mask of inputs."""
    d = s.design
    inputs = 0
    rest = s.router[node, Router.MOVERS] & s.router[node, Router.BUSY]
    if d.speculative != 0:
        rest |= s.router[node, Router.HEADS]
    while rest != 0:
        j = lowest_bit(rest)
        rest &= rest - 1
        place = node * s.design.input_vcs + j
        i = s.port_of[j]
        bit = 1 << (j - i * d.vcs)
        outputs = s.vc[place, Vc.TAKEN] & ~s.vc[place, Vc.SWITCH_WAIT]
        while outputs != 0:
            o = lowest_bit(outputs)
            outputs &= outputs - 1
            if s.branch[place, o, Branch.SENT] - s.vc[place, Vc.GONE] >= s.vc[place, Vc.COUNT]:
                continue
            await_result(s, place, o, cycle)
            if s.credits[(node * d.outputs + o) * d.vcs + s.branch[place, o, Branch.LANE]] == 0:
                s.stalls[node, Stall.NO_CREDIT] += 1
                continue
            s.asks[Ask.HIGH, i, o] |= bit
            s.inputs[Ask.HIGH, i] |= 1 << o
            inputs |= 1 << i
        if d.speculative == 0:
            continue
        outputs = s.vc[place, Vc.WANT] & ~s.vc[place, Vc.SWITCH_WAIT]
        while outputs != 0:
            o = lowest_bit(outputs)
            outputs &= outputs - 1
            await_result(s, place, o, cycle)
            mask, lane = lanes_for(s, node, place, o), (node * d.outputs + o) * d.vcs
            while mask != 0:
                if s.credits[lane + lowest_bit(mask)] > 0:
                    s.asks[Ask.LOW, i, o] |= bit
                    s.inputs[Ask.LOW, i] |= 1 << o
                    inputs |= 1 << i
                    break
                mask &= mask - 1
    return inputs


@kernel
def await_result(s: IqState, place: int, output: int, cycle: int) -> None:
    """Note when a result of switch allocation counts, if not in this cycle."""
    delay = s.design.sw_alloc_delay
    if delay > 1:
        s.vc[place, Vc.SWITCH_WAIT] |= 1 << output
        s.branch[place, output, Branch.DUE] = cycle + delay - 1


@kernel
def ask_alone(s: IqState, node: int, j: int, cycle: int) -> int:
    """Do switch allocation for the only VC that may ask; return the mask of input VCs that won."""
    d = s.design
    is_matrix = d.sw_allocator == Allocator.MATRIX
    place, i = node * d.input_vcs + j, s.port_of[j]
    asked, outputs = 0, s.vc[place, Vc.TAKEN] & ~s.vc[place, Vc.SWITCH_WAIT]
    while outputs != 0:
        o = lowest_bit(outputs)
        outputs &= outputs - 1
        if s.branch[place, o, Branch.SENT] - s.vc[place, Vc.GONE] >= s.vc[place, Vc.COUNT]:
            continue
        await_result(s, place, o, cycle)
        if s.credits[(node * d.outputs + o) * d.vcs + s.branch[place, o, Branch.LANE]] == 0:
            s.stalls[node, Stall.NO_CREDIT] += 1
            continue
        asked |= 1 << o
    if asked == 0:
        return 0
    won = asked
    if asked & (asked - 1) != 0:
        first = pick_input(s.switch_arbiters, is_matrix, node, i, asked)
        rest = asked
        while rest != 0:
            o = lowest_bit(rest)
            rest &= rest - 1
            if s.branch[place, o, Branch.SENT] != s.branch[place, first, Branch.SENT]:
                won &= ~(1 << o)
                s.stalls[node, Stall.LOST_SWITCH] += 1
    note_match(s.switch_arbiters, is_matrix, node, i, won, cycle)
    s.offset[node, i] = j - i * d.vcs + 1
    s.vc[place, Vc.SWITCH_WON] |= won
    return 1 << j


@kernel
def with_copies(s: IqState, node: int, i: int, output: int, mask: int) -> int:
    """Return an output, and those of a mask that the same flit of a multicast can take with it."""
    v = s.asks[Ask.FORWARD, i, output]
    place = (node * (s.design.radix + 1) + i) * s.design.vcs + v
    chosen = 1 << output
    if s.vc[place, Vc.IS_TREE] == 0:
        return chosen
    at = s.branch[place, output, Branch.SENT] if (s.vc[place, Vc.TAKEN] >> output) & 1 != 0 else 0
    while mask != 0:
        o = lowest_bit(mask)
        mask &= mask - 1
        if s.asks[Ask.FORWARD, i, o] == v:
            its = s.branch[place, o, Branch.SENT] if (s.vc[place, Vc.TAKEN] >> o) & 1 != 0 else 0
            if its == at:
                chosen |= 1 << o
    return chosen


@kernel
def choose(s: IqState, node: int, i: int) -> int:
    """Put forward one VC for each output that an input asks for; return the outputs picked."""
    d = s.design
    high = s.inputs[Ask.HIGH, i]
    both = high | s.inputs[Ask.LOW, i]
    s.inputs[Ask.LOW, i] = 0
    rest = both
    while rest != 0:
        o = lowest_bit(rest)
        rest &= rest - 1
        vcs = s.asks[Ask.HIGH, i, o] if (high >> o) & 1 != 0 else s.asks[Ask.LOW, i, o]
        s.asks[Ask.FORWARD, i, o] = first_from(vcs, s.offset[node, i])
        s.asks[Ask.HIGH, i, o] = 0
        s.asks[Ask.LOW, i, o] = 0
    if d.sw_allocator == Allocator.ISLIP:
        return int(both)
    mask = high if high != 0 else both
    is_matrix = d.sw_allocator == Allocator.MATRIX
    single = mask & (mask - 1) == 0
    o = lowest_bit(mask) if single else pick_input(s.switch_arbiters, is_matrix, node, i, mask)
    return with_copies(s, node, i, o, both)


@kernel
def allocate_switch(s: IqState, node: int, cycle: int, inputs: int) -> int:
    """Allocate outputs to inputs; return the mask of input VCs that won any."""
    d = s.design
    is_matrix = d.sw_allocator == Allocator.MATRIX
    is_islip = d.sw_allocator == Allocator.ISLIP
    touched, winners, rest = 0, 0, inputs
    while rest != 0:
        i = lowest_bit(rest)
        rest &= rest - 1
        outputs = choose(s, node, i)
        touched |= outputs
        while outputs != 0:
            o = lowest_bit(outputs)
            outputs &= outputs - 1
            if is_islip or (s.inputs[Ask.HIGH, i] >> o) & 1 != 0:
                s.bids[Ask.HIGH, o] |= 1 << i
            else:
                s.bids[Ask.LOW, o] |= 1 << i
    while touched != 0:
        o = lowest_bit(touched)
        touched &= touched - 1
        mask = s.bids[Ask.HIGH, o] if s.bids[Ask.HIGH, o] != 0 else s.bids[Ask.LOW, o]
        s.bids[Ask.HIGH, o] = 0
        s.bids[Ask.LOW, o] = 0
        single = mask & (mask - 1) == 0
        i = lowest_bit(mask) if single else pick_output(s.switch_arbiters, is_matrix, node, o, mask)
        s.inputs[Ask.GOT, i] |= 1 << o
    while inputs != 0:
        i = lowest_bit(inputs)
        inputs &= inputs - 1
        mask, high = s.inputs[Ask.GOT, i], s.inputs[Ask.HIGH, i]
        s.inputs[Ask.GOT, i] = 0
        s.inputs[Ask.HIGH, i] = 0
        if mask != 0:
            if is_islip:
                o = pick_input(s.switch_arbiters, is_matrix, node, i, mask)
                mask = with_copies(s, node, i, o, mask)
            note_match(s.switch_arbiters, is_matrix, node, i, mask, cycle)
            v = s.asks[Ask.FORWARD, i, lowest_bit(mask)]
            s.offset[node, i] = v + 1
            j = i * d.vcs + v
            s.vc[node * d.input_vcs + j, Vc.SWITCH_WON] |= mask
            winners |= 1 << j
        lost = high & ~mask
        while lost != 0:
            lost &= lost - 1
            s.stalls[node, Stall.LOST_SWITCH] += 1
    return winners


@kernel
def own_vcs(s: IqState, node: int, cycle: int) -> None:
    """Give output VCs to the heads whose result of VC allocation counts in this cycle."""
    d = s.design
    rest = s.router[node, Router.VC_WAIT]
    while rest != 0:
        j = lowest_bit(rest)
        rest &= rest - 1
        place = node * s.design.input_vcs + j
        if s.vc[place, Vc.VC_DUE] != cycle:
            continue
        s.router[node, Router.VC_WAIT] &= ~(1 << j)
        mask = s.vc[place, Vc.VC_WON]
        while mask != 0:
            k = lowest_bit(mask)
            mask &= mask - 1
            if (s.router[node, Router.FREE] >> k) & 1 == 0:
                continue
            lane = node * d.outputs * d.vcs + k
            if s.vc[place, Vc.IS_WHOLE] != 0 and s.credits[lane] < s.vc[place, Vc.FLITS]:
                continue
            o = s.port_of[k]
            s.router[node, Router.FREE] &= ~(1 << k)
            s.vc[place, Vc.TAKEN] |= 1 << o
            s.branch[place, o, Branch.LANE] = k - o * d.vcs
            s.branch[place, o, Branch.SENT] = 0
            s.router[node, Router.MOVERS] |= 1 << j
            s.vc[place, Vc.WANT] = (
                s.vc[place, Vc.WANT] & ~(1 << o) if s.vc[place, Vc.IS_TREE] != 0 else 0
            )
        if s.vc[place, Vc.WANT] == 0:
            s.router[node, Router.HEADS] &= ~(1 << j)


@kernel
def leave(s: IqState, node: int, place: int, output: int, cycle: int) -> bool:
    """Send a flit to an output that it won; return whether it could go."""
    d = s.design
    at = s.branch[place, output, Branch.SENT] - s.vc[place, Vc.GONE]
    if (s.vc[place, Vc.TAKEN] >> output) & 1 == 0 or at >= s.vc[place, Vc.COUNT]:
        return False
    w = s.branch[place, output, Branch.LANE]
    lane = (node * d.outputs + output) * d.vcs + w
    if s.credits[lane] == 0:
        return False
    at += s.vc[place, Vc.FIRST]
    word = s.fifo[place, at - d.buffer if at >= d.buffer else at]
    s.credits[lane] -= 1
    s.branch[place, output, Branch.SENT] += 1
    if word & Flit.TAIL != 0:
        s.vc[place, Vc.TAKEN] &= ~(1 << output)
        s.router[node, Router.FREE] |= 1 << (output * d.vcs + w)
    arrival = cycle + d.st_delay + 1 + d.link_delay
    send(s, s.target[node, output] + w, word + Flit.ROUTER, arrival)
    s.link_flits[node, min(output, d.radix)] += 1
    s.clock[Clock.INSIDE] += 1
    return True


@kernel
def free_place(s: IqState, node: int, j: int, cycle: int) -> None:
    """Free the place of the oldest flit of a VC if it has left for all outputs."""
    d = s.design
    place = node * s.design.input_vcs + j
    if s.vc[place, Vc.TAKEN] == 0:
        s.router[node, Router.MOVERS] &= ~(1 << j)
    gone, rest = s.vc[place, Vc.FLITS], s.vc[place, Vc.TAKEN]
    while rest != 0:
        gone = min(gone, s.branch[place, lowest_bit(rest), Branch.SENT])
        rest &= rest - 1
    if s.vc[place, Vc.WANT] != 0 or gone == s.vc[place, Vc.GONE]:
        return
    following = s.vc[place, Vc.FIRST] + 1
    s.vc[place, Vc.FIRST] = following if following < d.buffer else 0
    s.vc[place, Vc.COUNT] -= 1
    s.vc[place, Vc.GONE] += 1
    s.clock[Clock.INSIDE] -= 1
    i = s.port_of[j]
    counts = cycle + 1 + d.link_delay + (d.credit_delay if i < d.radix else 0)
    give_back(s, s.giver[node, i] + j - i * d.vcs, counts)
    if s.vc[place, Vc.COUNT] == 0:
        s.router[node, Router.BUSY] &= ~(1 << j)
    if s.vc[place, Vc.GONE] == s.vc[place, Vc.FLITS]:
        s.vc[place, Vc.PHASE] = Phase.IDLE
        s.vc[place, Vc.SWITCH_WON] = 0
        if s.vc[place, Vc.COUNT] > 0:
            next_packet(s, node, j, cycle + 1)


@kernel
def traverse(s: IqState, node: int, cycle: int, winners: int) -> None:
    """Let the flits leave whose result of switch allocation counts in this cycle."""
    d = s.design
    rest = winners if d.sw_alloc_delay == 1 else s.router[node, Router.BUSY]
    while rest != 0:
        j = lowest_bit(rest)
        rest &= rest - 1
        place = node * s.design.input_vcs + j
        due = s.vc[place, Vc.SWITCH_WON]
        if d.sw_alloc_delay > 1:
            due, waiting = 0, s.vc[place, Vc.SWITCH_WAIT]
            while waiting != 0:
                o = lowest_bit(waiting)
                waiting &= waiting - 1
                if s.branch[place, o, Branch.DUE] == cycle:
                    due |= 1 << o
            s.vc[place, Vc.SWITCH_WAIT] &= ~due
            due &= s.vc[place, Vc.SWITCH_WON]
        s.vc[place, Vc.SWITCH_WON] &= ~due
        has_left = False
        while due != 0:
            has_left |= leave(s, node, place, lowest_bit(due), cycle)
            due &= due - 1
        if has_left:
            free_place(s, node, j, cycle)


@kernel
def start_packets(s: IqState, packets: Packets, node: int, cycle: int) -> int:
    """Let packets whose route is known by now want their outputs."""
    rest = s.router[node, Router.ROUTING]
    while rest != 0:
        j = lowest_bit(rest)
        rest &= rest - 1
        if s.vc[node * s.design.input_vcs + j, Vc.ROUTE_DUE] == cycle:
            status = start_packet(s, packets, node, j)
            if status != StepStatus.OK:
                return status
    return StepStatus.OK


@kernel
def work(s: IqState, node: int, cycle: int) -> None:
    """Do a router's cycle: evaluate, then update."""
    if s.router[node, Router.HEADS] & ~s.router[node, Router.VC_WAIT] != 0:
        ask_for_vcs(s, node, cycle)
    winners, movers = 0, s.router[node, Router.MOVERS] & s.router[node, Router.BUSY]
    if s.design.speculative == 0 and movers & (movers - 1) == 0:
        if movers != 0:
            winners = ask_alone(s, node, lowest_bit(movers), cycle)
    else:
        inputs = ask(s, node, cycle)
        if inputs != 0:
            winners = allocate_switch(s, node, cycle, inputs)
    if s.router[node, Router.VC_WAIT] != 0:
        own_vcs(s, node, cycle)
    traverse(s, node, cycle, winners)


SIGNATURE = step_signature(example())


@first_class(SIGNATURE)
def step(s: IqState, ports: Ports, packets: Packets, cycle: int) -> int:
    """Advance all routers by one cycle.

    Parameters
    ----------
    s : IqState
    ports : Ports
        Reads ``ready`` and ``tx``, writes the others and clears taken ``tx``.
    packets : Packets
    cycle : int
        Larger than that of the last step. Cycles may be left out while no flit is inside.

    Returns
    -------
    int
        A `firemesh.noc.router.StepStatus`.
    """
    n_slots = s.on_way.shape[1]
    for skipped in range(max(s.clock[Clock.LAST] + 1, cycle - n_slots + 1), cycle):
        take_credits(s, skipped % n_slots)
    s.clock[Clock.LAST] = cycle
    slot = cycle % n_slots
    take_flits(s, cycle, slot)
    take_credits(s, slot)
    deliver(s, ports, cycle)
    for node in range(len(ports.tx)):
        if ports.tx[node] >= 0:
            status = inject(s, ports, packets, node, cycle)
            if status != StepStatus.OK:
                return status
    k = 0
    while k < s.clock[Clock.ACTIVE]:
        node = s.active[k]
        status = start_packets(s, packets, node, cycle)
        if status != StepStatus.OK:
            return status
        work(s, node, cycle)
        if s.router[node, Router.BUSY] != 0:
            k += 1
            continue
        s.router[node, Router.IS_ACTIVE] = 0
        s.clock[Clock.ACTIVE] -= 1
        s.active[k] = s.active[s.clock[Clock.ACTIVE]]
    return StepStatus.OK
