"""Random small layers and machines, for tests against oracles."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from firemesh.emulator.activations import volume
from firemesh.emulator.machine import Machine, machine
from firemesh.emulator.mnf.loading import packet_flits
from firemesh.emulator.mnf.mapping import MappingError
from firemesh.emulator.mnf.messages import flits_of
from firemesh.emulator.mnf.plan import Plan, make_plan
from firemesh.emulator.mnf.steps import MnfStep, Residency
from firemesh.models.network import Conv, MaxPool, Network, Tensor
from firemesh.noc.profiles import PROFILES, Profile


@dataclass(frozen=True)
class Case:
    """A layer, perhaps with a max-pool and a 1x1 layer behind, on a machine; its input codes."""

    plan: Plan
    codes: np.ndarray
    pause_cycles: int = 0  # in which the host unit works, after each frame

    @property
    def conv(self) -> Conv:
        return self.plan.network.layers[0]


def _out(n, kernel, stride, before, after, dilation):
    return (n + before + after - dilation * (kernel - 1) - 1) // stride + 1


pairs = st.tuples
LAYOUTS = (
    ("rows", "tile"),
    ("dense", "tile"),
    ("rows", "linear"),
    ("dense", "linear"),
    ("ideal", "tile"),
)


ALLOCATORS = ("separable_input_first", "islip", "matrix")


@st.composite
def profiles(draw) -> Profile:
    """Routers with virtual channels, mostly with short delays."""
    return Profile(
        routing_delay=draw(st.sampled_from((0, 0, 1, 1, 2, 3))),
        vc_alloc_delay=draw(st.sampled_from((1, 1, 2, 3))),
        sw_alloc_delay=draw(st.sampled_from((1, 1, 2, 3))),
        st_delay=draw(st.sampled_from((1, 1, 2, 3))),
        credit_delay=draw(st.sampled_from((0, 0, 1, 2, 3))),
        link_delay=draw(st.sampled_from((1, 1, 2, 3))),
        speculative=draw(st.booleans()),
        vc_allocator=draw(st.sampled_from(ALLOCATORS)),
        sw_allocator=draw(st.sampled_from(ALLOCATORS)),
        switching=draw(st.sampled_from(("wormhole", "cut-through"))),
    )


@st.composite
def routers(draw) -> str | dict:
    """The simple router in half of the cases, else one with virtual channels."""
    if draw(st.booleans()):
        return "simple"
    named = draw(st.sampled_from((*PROFILES, None, None, None)))
    return named or draw(profiles()).model_dump()


@st.composite
def nocs(draw, router=None) -> dict:
    """Fields of a machine: a router, drawn unless it is given, and what goes with it."""
    router = router or draw(routers())
    routings = ("xy", "xy", "yx") + (() if router == "simple" else ("west-first",) * 2)
    return dict(
        noc__router=router,
        noc__routing=draw(st.sampled_from(routings)),
        noc__vcs=draw(st.integers(1, 4)),
        noc__buffer_flits=draw(st.integers(1, 5)),
    )


@st.composite
def machines(draw, **fixed) -> Machine:
    """Small machines: every option of the PE, the fire phase and the network.

    Packets that a VC has to hold whole need not fit; see `roomy`.
    """
    modules = draw(st.sampled_from((1, 3, 9)))
    lanes = draw(st.integers(1, 3))
    tile = draw(st.sampled_from(("auto", "3x3", "3x1", "1x3", "1x1")))
    a, b = (1, 1) if tile == "auto" else map(int, tile.split("x"))
    width, height = draw(st.sampled_from(((2, 1), (3, 1), (2, 2), (3, 2), (1, 3))))
    weights, layout = draw(st.sampled_from(LAYOUTS))
    options = dict(
        mesh__width=width,
        mesh__height=height,
        pe__modules=modules,
        pe__lanes=lanes,
        pe__weight_bytes=1 << 20,
        pe__psum_bank_bytes=4 * lanes * draw(st.sampled_from((1024, 1500))),
        pe__tile=tile if modules % (a * b) == 0 and layout == "tile" else "auto",
        pe__weights=weights,
        pe__row_layout=layout,
        pe__event_fifo=draw(st.integers(1, 16)),
        pe__forward_fifo=draw(st.integers(1, 4)),
        pe__row_fifo=draw(st.integers(1, 16)),
        pe__mac_fifo=draw(st.integers(1, 16)),
        pe__weight_latency_cycles=draw(st.integers(1, 3)),
        pe__forwarding=draw(st.booleans()),
        pe__fire_lanes=draw(st.sampled_from((1, lanes, modules * lanes))),
        pe__fire_fifo=draw(st.integers(1, 16)),
        **draw(nocs(fixed.get("noc__router"))),
        noc__multicast=draw(st.sampled_from(("tree", "chain", "unicast"))),
        noc__flit_bits=draw(st.sampled_from((16, 32, 64))),
        noc__event_format=draw(st.sampled_from(("full", "compact"))),
        storage__ports=draw(st.sampled_from((1, 1, 2, 4))),
        storage__weight_packet_rows=draw(st.sampled_from((1, 2, 3, 8))),
        storage__event_order=draw(st.sampled_from(("row", "channel", "raster"))),
        threshold=draw(st.sampled_from((0, 0, 10))),
    )
    return machine("mnf-tiny").replace(**(options | fixed))


def longest_whole(plan: Plan) -> int:
    """Return the flits of the longest packet that a VC has to hold whole, 0 where there is none."""
    on, tensors, found = plan.machine, plan.network.tensors, [0]
    if on.noc.router == "simple":
        return 0
    router = PROFILES.get(on.noc.router_name, on.noc.router)
    is_cut_through = router.switching == "cut-through"
    for step in (step for step in plan.steps if isinstance(step, MnfStep)):
        event, fired = flits_of(step.mapping, volume(tensors[step.output]), on)
        if is_cut_through or (on.noc.multicast == "tree" and on.n_pes > 1):
            found.append(event)
        if is_cut_through:
            found.append(fired)
        if is_cut_through and step.residency is not Residency.NETWORK:
            found += [packet_flits(on, rows) for rows in (1, on.storage.weight_packet_rows)]
    return max(found)


def roomy(plan: Plan) -> Plan:
    """Return the plan with VCs of a machine just deep enough for what they have to hold whole."""
    flits = longest_whole(plan)
    if flits <= plan.machine.noc.buffer_flits:
        return plan
    return make_plan(plan.network, plan.machine.replace(noc__buffer_flits=flits))


def planned(network: Network, described: Machine, keep_pool: bool) -> Plan | None:
    """Return a plan; None where the layers do not fit, or the pool does not and is to be kept."""
    try:
        plan = make_plan(network, described)
    except MappingError:
        return None
    is_whole = all(isinstance(step, MnfStep) for step in plan.steps)
    return plan if is_whole or not keep_pool else None


def fitted(network: Network, described: Machine, words: int, rows: int, keep_pool: bool) -> Plan:
    """Plan with few words in a psum bank and rows in a weight SRAM.

    Parameters
    ----------
    words, rows : int
        They are doubled until the layers fit; 0 leaves the machine's, and -1 row those of the
        largest layer, so that each layer fits, but perhaps not all.
    keep_pool : bool
        Whether the pool has to fit.
    """
    pe = described.pe
    if rows < 0:
        steps = [step for step in make_plan(network, described).steps if isinstance(step, MnfStep)]
        rows = max(int(sum(block.n_rows for block in step.blocks).max()) for step in steps)
    for name, size, unit in (
        ("pe__psum_bank_bytes", words, 4 * pe.lanes),
        ("pe__weight_bytes", rows, pe.multipliers),
    ):
        while size:
            tried = described.replace(**{name: size * unit})
            if planned(network, tried, keep_pool):
                described = tried
                break
            size *= 2
    return make_plan(network, described)


@st.composite
def cases(draw, is_whole: bool = False, **fixed) -> Case:
    """A random convolution on a random machine: alone and whole, or perhaps in waves."""
    kernel = draw(pairs(st.integers(1, 5), st.integers(1, 5)))
    strides = draw(pairs(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(pairs(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*(st.integers(0, 2) for _ in range(4))))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    channels = groups * draw(st.integers(1, 3))
    filters = groups * draw(st.integers(1, 6))
    pool = draw(st.sampled_from((None, None, ((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 2), (1, 2)))))
    least = (1, 1)
    if pool and draw(st.integers(0, 3)):
        least = pool[0][0] + draw(st.integers(0, 5)), pool[0][1] + draw(st.integers(0, 2))
    size = [
        max(
            draw(st.integers(1, 7)),
            strides[i] * (least[i] - 1)
            + dilations[i] * (kernel[i] - 1)
            + 1
            - pads[i]
            - pads[i + 2],
        )
        for i in (0, 1)
    ]
    ofmap = [
        _out(size[i], kernel[i], strides[i], pads[i], pads[i + 2], dilations[i]) for i in (0, 1)
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zero_in, zero_out = draw(st.sampled_from(((0, 0), (-128, -128), (5, -7))))
    low = draw(st.sampled_from((-128, zero_out)))
    weight_zero = draw(st.sampled_from((0, 3)))
    weight = rng.integers(-128, 128, (filters, channels // groups, *kernel))
    weight[rng.random(weight.shape) < draw(st.sampled_from((0.0, 0.5, 0.9)))] = weight_zero
    conv = Conv(
        name="conv",
        inputs=("x",),
        output="y",
        weight=weight.astype(np.int8),
        weight_zero_point=np.full(filters, weight_zero, np.int32),
        multiplier=rng.uniform(1e-4, 5e-3, filters).astype(np.float32),
        bias=rng.integers(-5000, 5000, filters).astype(np.int32),
        low=low,
        high=127,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
    )
    tensors = [
        Tensor("x", (channels, *size), "int8", 1.0, zero_in),
        Tensor("y", (filters, *ofmap), "int8", 1.0, zero_out),
    ]
    layers: list = [conv]
    if pool and all(ofmap[i] >= pool[0][i] for i in (0, 1)):
        pool_pads = draw(st.sampled_from(((0, 0, 0, 0), (1, 1, 0, 1))))
        pooled = [
            _out(ofmap[i], pool[0][i], pool[1][i], pool_pads[i], pool_pads[i + 2], 1)
            for i in (0, 1)
        ]
        layers.append(MaxPool("pool", ("y",), "z", pool[0], pool[1], pool_pads))
        tensors.append(Tensor("z", (filters, *pooled), "int8", 1.0, zero_out))
    if not is_whole and draw(st.booleans()):
        volume = tensors[-1].shape
        behind = draw(st.integers(1, 4))
        weight = rng.integers(-128, 128, (behind, volume[0], 1, 1))
        layers.append(
            Conv(
                name="behind",
                inputs=(tensors[-1].name,),
                output="b",
                weight=weight.astype(np.int8),
                weight_zero_point=np.zeros(behind, np.int32),
                multiplier=rng.uniform(1e-4, 5e-3, behind).astype(np.float32),
                bias=rng.integers(-5000, 5000, behind).astype(np.int32),
                low=-128,
                high=127,
                strides=(1, 1),
                pads=(0, 0, 0, 0),
                dilations=(1, 1),
                groups=1,
            )
        )
        tensors.append(Tensor("b", (behind, *volume[1:]), "int8", 1.0, zero_out))
    network = Network(
        "case", tuple(layers), {t.name: t for t in tensors}, ("x",), (layers[-1].output,)
    )
    codes = rng.integers(-128, 128, (channels, *size))
    codes[rng.random(codes.shape) < draw(st.sampled_from((0.0, 0.5, 0.9, 1.0)))] = zero_in
    if is_whole:
        return Case(roomy(make_plan(network, draw(machines(**fixed)))), codes.astype(np.int8))
    words = draw(st.sampled_from((0, 1, 1, 2, 3, 5)))
    rows = draw(st.sampled_from((-1, -1, 0, 0, 1, 1, 2, 3, 5, 9, 17)))
    plan = fitted(network, draw(machines(**fixed)), words, rows, draw(st.integers(0, 3)) > 0)
    pause_cycles = draw(st.sampled_from((0, 0, 1, 2, 3, 5, 50)))
    return Case(roomy(plan), codes.astype(np.int8), pause_cycles)
