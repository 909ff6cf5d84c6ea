"""The state of all routers with virtual channels of a network, as arrays.

n = nodes, R = outputs towards neighbours, I = R + 1 inputs, O outputs, V = virtual channels. Input
VC (node, i, v) has the *place* ``(node*I + i)*V + v``, output VC (node, o, w) the *lane*
``(node*O + o)*V + w``; the injection VC (node, v) has lane ``n*O*V + node*V + v``. Masks hold a bit
for each input VC ``i*V + v``, output VC ``o*V + w`` or output ``o`` of one router.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .profiles import PROFILES, Profile
from .router import Links, Routes, alone

MAX_BITS = 62
"""Output VCs of a router: a mask is an int64."""


class Phase(IntEnum):
    """What the packet at the front of an input VC is at."""

    IDLE = 0
    ROUTING = 1
    ROUTED = 2


class Stall(IntEnum):
    """Why a packet waits for a cycle."""

    NO_VC = 0
    """All output VCs that it could ask for are owned, or have no room."""
    LOST_VC = 1
    """Lost VC allocation."""
    NO_CREDIT = 2
    LOST_SWITCH = 3
    """Lost switch allocation."""


class Allocator(IntEnum):
    """Kinds of allocators."""

    SEPARABLE_INPUT_FIRST = 0
    ISLIP = 1
    MATRIX = 2


class Clock(IntEnum):
    """Entries of `IqState.clock`."""

    LAST = 0
    """Cycle of the last step."""
    INSIDE = 1
    """Flits in buffers, on links and at sinks."""
    ACTIVE = 2
    """Routers in `IqState.active`."""


class Vc(IntEnum):
    """Columns of `IqState.vc`: an input VC and the packet at its front."""

    FIRST = 0
    """Ring position of the oldest flit."""
    COUNT = 1
    """Flits."""
    PHASE = 2
    """A `Phase`."""
    ROUTE_DUE = 3
    """First cycle in which the route is known."""
    IS_WHOLE = 4
    """1 when an output VC must have room for the whole packet."""
    IS_TREE = 5
    """1 when the packet takes all outputs that it wants, not one of them."""
    FLITS = 6
    """Flits of the packet."""
    GONE = 7
    """Its flits that have left for all outputs."""
    WANT = 8
    """Mask of outputs for which it owns no VC yet."""
    UPPER = 9
    """Mask of outputs of which it may own the upper VCs only."""
    TAKEN = 10
    """Mask of outputs of which it owns a VC."""
    VC_DUE = 11
    """Cycle in which the result of VC allocation counts."""
    VC_WON = 12
    """Mask of output VCs won."""
    SWITCH_WAIT = 13
    """Mask of outputs whose result of switch allocation is to come."""
    SWITCH_WON = 14
    """Mask of outputs won."""


class Branch(IntEnum):
    """Columns of `IqState.branch`: a packet and an output."""

    LANE = 0
    """VC that it owns."""
    SENT = 1
    """Flits sent."""
    DUE = 2
    """Cycle in which the result of switch allocation counts."""


class Router(IntEnum):
    """Columns of `IqState.router`; masks of input VCs but for FREE."""

    BUSY = 0
    """Those with flits."""
    ROUTING = 1
    HEADS = 2
    """Those that want outputs."""
    VC_WAIT = 3
    """Heads whose result of VC allocation is to come."""
    MOVERS = 4
    """Those that own output VCs."""
    FREE = 5
    """Mask of output VCs that nobody owns."""
    IS_ACTIVE = 6
    """1 when in `IqState.active`."""


class Source(IntEnum):
    """Columns of `IqState.source`."""

    VC = 0
    """VC of the packet that it sends, -1 for none."""
    LAST = 1
    """VC of its last packet."""


class Sink(IntEnum):
    """Columns of `IqState.sink_at`."""

    FIRST = 0
    COUNT = 1


class Wire(IntEnum):
    """Columns of `IqState.wire`."""

    MASK = 0
    """VCs with flits."""
    NEXT = 1
    """VC from which the round robin begins."""


class Way(IntEnum):
    """Rows of `IqState.on_way`."""

    FLITS = 0
    CREDITS = 1


class Ask(IntEnum):
    """What switch allocation collects."""

    HIGH = 0
    """Who asks with high priority."""
    LOW = 1
    FORWARD = 2
    """VC put forward."""
    GOT = 3
    """Outputs granted."""


class Design(NamedTuple):
    """Numbers that do not change."""

    nodes: int
    radix: int
    outputs: int
    vcs: int
    input_vcs: int
    """I*V: input VCs of a router."""
    buffer: int
    routing_delay: int
    vc_alloc_delay: int
    sw_alloc_delay: int
    st_delay: int
    credit_delay: int
    link_delay: int
    speculative: int
    vc_allocator: int
    sw_allocator: int
    cut_through: int
    more_outputs: int
    """Ejecting outputs of node 0 beyond the first."""


class Arbiters(NamedTuple):
    """Arbiters of an allocator: pointers, or for matrix arbiters the cycles of last grants."""

    n_requesters: int
    n_resources: int
    inputs: NDArray[Any]
    """int64[n * requesters]"""
    outputs: NDArray[Any]
    """int64[n * resources]"""
    input_ages: NDArray[Any]
    """int64[n * requesters * resources]; [1] without matrix arbiters."""
    output_ages: NDArray[Any]
    """int64[n * resources * requesters]; likewise."""


class IqState(NamedTuple):
    """State of all routers of a network."""

    design: Design
    routes: Routes
    target: NDArray[Any]
    """int64[n, O]: place behind an output at VC 0; from n*I*V on sinks, wire by wire."""
    giver: NDArray[Any]
    """int64[n, I]: lane that feeds an input at VC 0."""
    port_of: NDArray[Any]
    """int64[max(I, O)*V]: input of an input VC, output of an output VC."""
    fifo: NDArray[Any]
    """int64[places, B]: flits; rings."""
    vc: NDArray[Any]
    """int64[places, 16]: columns of `Vc`."""
    branch: NDArray[Any]
    """int64[places, O, 3]: columns of `Branch`."""
    router: NDArray[Any]
    """int64[n, 8]: columns of `Router`."""
    credits: NDArray[Any]
    """int64[lanes]: free places behind a lane."""
    vc_arbiters: Arbiters
    switch_arbiters: Arbiters
    offset: NDArray[Any]
    """int64[n, I]: VC from which switch allocation puts one forward."""
    source: NDArray[Any]
    """int64[n, 2]: columns of `Source`."""
    sink: NDArray[Any]
    """int64[wires*V, B]: flits at the sinks; rings."""
    sink_at: NDArray[Any]
    """int64[wires*V, 2]: columns of `Sink`."""
    wire: NDArray[Any]
    """int64[wires, 2]: columns of `Wire`."""
    flying: NDArray[Any]
    """int64[slots, capacity, 2]: flits on channels by arrival cycle: place, word."""
    returning: NDArray[Any]
    """int64[slots, capacity]: credits on channels by the cycle in which they count: lane."""
    on_way: NDArray[Any]
    """int64[2, slots]: entries of both, rows of `Way`."""
    active: NDArray[Any]
    """int64[n]: routers with flits; results do not depend on their order."""
    link_flits: NDArray[Any]
    """int64[n, R + 1]: flits sent so far by each output; those that eject are one."""
    stalls: NDArray[Any]
    """int64[n, 4]: cycles of waiting packets by `Stall`."""
    clock: NDArray[Any]
    """int64[3]: entries of `Clock`."""
    asked: NDArray[Any]
    """int64[O*V]: scratch, 0 between uses: input VCs that ask for an output VC."""
    won: NDArray[Any]
    """int64[I*V]: scratch likewise: output VCs granted to an input VC."""
    asks: NDArray[Any]
    """int64[3, I, O]: scratch likewise, rows of `Ask`: VCs that ask; FORWARD is one VC."""
    inputs: NDArray[Any]
    """int64[4, I]: scratch likewise, rows of `Ask`: outputs that an input asks for, and got."""
    bids: NDArray[Any]
    """int64[2, O]: scratch likewise, rows of `Ask`: inputs that picked an output."""


def make_arbiters(nodes: int, requesters: int, resources: int, is_matrix: bool) -> Arbiters:
    """Return arbiters that have granted nothing yet."""
    pairs = nodes * requesters * resources if is_matrix else 1
    return Arbiters(
        requesters,
        resources,
        np.zeros(nodes * requesters, np.int64),
        np.zeros(nodes * resources, np.int64),
        np.zeros(pairs, np.int64),
        np.zeros(pairs, np.int64),
    )


def wiring(
    links: Links, outputs: int, vcs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return what lies behind outputs and before inputs.

    Parameters
    ----------
    links : Links
    outputs : int
        O.
    vcs : int
        V.

    Returns
    -------
    target : int64[n, O]
    giver : int64[n, I]
        See `IqState`; -1 where there is none.
    exists : bool[n, O*V]
        Whether an output VC leads anywhere.
    """
    n, radix = links.neighbour.shape
    inputs, wires = radix + 1, n + outputs - radix - 1
    places = n * inputs * vcs
    target = np.full((n, outputs), -1, np.int64)
    has = links.neighbour >= 0
    target[:, :radix][has] = ((links.neighbour * inputs + links.entry) * vcs)[has]
    target[:, radix] = places + np.arange(n) * vcs
    target[0, radix + 1 :] = places + np.arange(n, wires) * vcs
    giver = np.full((n, inputs), -1, np.int64)
    node, port = np.nonzero(has)
    giver[links.neighbour[node, port], links.entry[node, port]] = (node * outputs + port) * vcs
    giver[:, radix] = (n * outputs + np.arange(n)) * vcs
    return target, giver, target.repeat(vcs).reshape(n, -1) >= 0


def make_state(
    links: Links, routes: Routes, profile: Profile, vcs: int, depth: int, more_outputs: int = 0
) -> IqState:
    """Return empty routers.

    Parameters
    ----------
    links : Links
    routes : Routes
    profile : Profile
    vcs : int
        V.
    depth : int
        Flits of each VC's buffer.
    more_outputs : int
        Ejecting outputs of router 0 beyond the first.
    """
    n, radix = links.neighbour.shape
    inputs, outputs, wires = radix + 1, radix + 1 + more_outputs, n + more_outputs
    if outputs * vcs > MAX_BITS:
        raise ValueError(
            f"vcs: must be at most {MAX_BITS // outputs} with {outputs} outputs, got {vcs}"
        )
    design = Design(
        n, radix, outputs, vcs, inputs * vcs, depth,
        profile.routing_delay, profile.vc_alloc_delay, profile.sw_alloc_delay, profile.st_delay,
        profile.credit_delay, profile.link_delay, int(profile.speculative),
        Allocator[profile.vc_allocator.upper()].value,
        Allocator[profile.sw_allocator.upper()].value,
        int(profile.switching == "cut-through"), more_outputs,
    )  # fmt: skip
    places = n * inputs * vcs
    slots = 2 + profile.link_delay + max(profile.st_delay, profile.credit_delay)
    target, giver, exists = wiring(links, outputs, vcs)
    injection = np.ones(n * vcs, np.bool_)
    bits = 1 << np.arange(outputs * vcs, dtype=np.int64)
    router = np.zeros((n, 8), np.int64)
    router[:, Router.FREE] = np.where(exists, bits, 0).sum(axis=1)

    def zeros(*shape: int) -> NDArray[np.int64]:
        return np.zeros(shape, np.int64)

    return IqState(
        design=design,
        routes=routes,
        target=target,
        giver=giver,
        port_of=np.arange(max(inputs, outputs), dtype=np.int64).repeat(vcs),
        fifo=zeros(places, depth),
        vc=zeros(places, 16),
        branch=zeros(places, outputs, len(Branch)),
        router=router,
        credits=depth * np.concatenate([exists.reshape(-1), injection]),
        vc_arbiters=make_arbiters(n, inputs * vcs, outputs * vcs, profile.vc_allocator == "matrix"),
        switch_arbiters=make_arbiters(n, inputs, outputs, profile.sw_allocator == "matrix"),
        offset=zeros(n, inputs),
        source=np.full((n, len(Source)), -1, np.int64),
        sink=zeros(wires * vcs, depth),
        sink_at=zeros(wires * vcs, len(Sink)),
        wire=zeros(wires, len(Wire)),
        flying=zeros(slots, n * inputs + wires, 2),
        returning=zeros(slots, n * inputs + wires),
        on_way=zeros(len(Way), slots),
        active=zeros(n),
        link_flits=zeros(n, radix + 1),
        stalls=zeros(n, len(Stall)),
        clock=np.array([-1, 0, 0], np.int64),
        asked=zeros(outputs * vcs),
        won=zeros(inputs * vcs),
        asks=zeros(3, inputs, outputs),
        inputs=zeros(len(Ask), inputs),
        bids=zeros(2, outputs),
    )


def example() -> IqState:
    """Return the smallest state, from which numba takes the type."""
    return make_state(*alone(), PROFILES["P4"], 1, 1)
