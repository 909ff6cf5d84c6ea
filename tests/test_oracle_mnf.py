"""The oracle of mode `mnf` against direct convolution, hand-made timetables and its own laws."""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from oracle_mnf import Axis, Mapping, OracleLayer, OracleMachine, run_layer

OPTIONS = ({}, {"row_layout": "linear"}, {"weights": "ideal"})
N_RANDOM = 48  # for each of the options
SEEDS = range(len(OPTIONS) * N_RANDOM)

PIPE = OracleMachine(
    width=2,
    height=1,
    modules=1,
    lanes=1,
    tile=(1, 1),
    psum_bank_bytes=4096,
    event_fifo=16,
    row_fifo=4,
    mac_fifo=2,
    forward_fifo=2,
    fire_fifo=2,
    weight_latency=1,
    forwarding=True,
    fire_lanes=1,
    buffer_flits=4,
    multicast="tree",
    flit_bits=64,
    event_format="full",
    event_order="row",
    weights="rows",
)


def layer_of(weight, ifmap, **fields) -> OracleLayer:
    """Layer with int8 codes, zero points 0, no bias and multiplier 1 unless told otherwise."""
    k = len(weight)
    basis = OracleLayer(
        ifmap=ifmap,
        weight=np.asarray(weight, dtype=np.int64),
        bias=np.zeros(k, np.int32),
        multiplier=np.ones(k, np.float32),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=1,
        zero_point_in=0,
        zero_point_out=0,
        type_low=-128,
        type_high=127,
        low=-128,
        high=127,
        pool=None,
        threshold=0,
    )
    return replace(basis, **fields)


def pick(rng, options):
    return options[rng.integers(len(options))]


def random_machine(rng) -> OracleMachine:
    modules, tile = pick(
        rng, [(1, (1, 1)), (4, (2, 2)), (4, (2, 1)), (9, (3, 3)), (9, (1, 3)), (6, (3, 1))]
    )
    lanes = pick(rng, [1, 2, 3])
    width, height = pick(rng, [(2, 1), (2, 2), (3, 2), (1, 3)])
    return OracleMachine(
        width=width,
        height=height,
        modules=modules,
        lanes=lanes,
        tile=tile,
        psum_bank_bytes=1 << 14,
        event_fifo=pick(rng, [1, 2, 16]),
        row_fifo=pick(rng, [1, 2, 4]),
        mac_fifo=pick(rng, [1, 2]),
        forward_fifo=pick(rng, [1, 2]),
        fire_fifo=pick(rng, [1, 2]),
        weight_latency=pick(rng, [1, 2, 3]),
        forwarding=pick(rng, [True, False]),
        fire_lanes=pick(rng, [1, lanes, modules * lanes]),
        buffer_flits=pick(rng, [1, 2, 4]),
        multicast=pick(rng, ["tree", "chain", "unicast"]),
        flit_bits=pick(rng, [12, 64]),
        event_format=pick(rng, ["full", "compact"]),
        event_order=pick(rng, ["row", "channel", "raster"]),
        weights=pick(rng, ["rows", "dense"]),
    )


def random_layer(rng):
    """Return a layer, its ifmap codes and its events."""
    while True:
        groups = pick(rng, [1, 1, 2, 3])
        c, k = groups * pick(rng, [1, 2, 3]), groups * pick(rng, [1, 2, 5, 11])
        h, w = (int(n) for n in rng.integers(1, 9, 2))
        r, s = (int(n) for n in rng.integers(1, 6, 2))
        strides = pick(rng, [1, 1, 2, 3]), pick(rng, [1, 1, 2, 3])
        dilations = pick(rng, [1, 1, 2, 3]), pick(rng, [1, 1, 2, 3])
        pads = tuple(int(n) for n in rng.integers(0, 3, 4))
        oh = (h + pads[0] + pads[2] - dilations[0] * (r - 1) - 1) // strides[0] + 1
        ow = (w + pads[1] + pads[3] - dilations[1] * (s - 1) - 1) // strides[1] + 1
        if oh > 0 and ow > 0:
            break
    weight = rng.integers(-127, 128, (k, c // groups, r, s)) * (rng.random((k, 1, r, s)) < 0.7)
    can_pool = oh > 1 and ow > 1
    pools = [None, ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), ((2, 1), (1, 1), (1, 0, 0, 0), (1, 1))]
    is_relu = pick(rng, [True, False])
    zero_out = pick(rng, [-128, -128, 3])
    layer = layer_of(
        weight,
        (c, h, w),
        bias=rng.integers(-2000, 2000, k).astype(np.int32),
        multiplier=rng.uniform(1e-3, 2e-2, k).astype(np.float32),
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
        zero_point_in=pick(rng, [-128, 0, 5]),
        zero_point_out=zero_out,
        low=zero_out if is_relu else -128,
        high=pick(rng, [127, 60]),
        pool=pick(rng, pools) if can_pool else None,
        threshold=pick(rng, [0, 4]),
    )
    codes = rng.integers(-128, 128, (c, h, w))
    codes[rng.random((c, h, w)) < 0.4] = layer.zero_point_in
    events = [
        (i, y, x, int(codes[i, y, x]), 8 * ((y * w + x) * c + i))
        for y in range(h)
        for x in range(w)
        for i in range(c)
        if codes[i, y, x] != layer.zero_point_in
    ]
    return layer, codes, events


@functools.cache
def random_run(seed):
    """Return machine, layer, ifmap codes, events and result of a random case."""
    rng = np.random.default_rng(seed)
    machine = replace(random_machine(rng), **OPTIONS[seed // N_RANDOM])
    layer, codes, events = random_layer(rng)
    return machine, layer, codes, events, run_layer(machine, layer, events, cycle0=100)


def convolve(layer, codes):
    """Direct convolution of a padded ifmap."""
    (top, left, bottom, right), (sy, sx), (dy, dx) = layer.pads, layer.strides, layer.dilations
    x = np.pad(codes - layer.zero_point_in, ((0, 0), (top, bottom), (left, right)))
    k, n_c, r, s = layer.weight.shape
    oh = (x.shape[1] - dy * (r - 1) - 1) // sy + 1
    ow = (x.shape[2] - dx * (s - 1) - 1) // sx + 1
    psums = np.zeros((k, oh, ow), np.int64)
    for f, oy, ox in np.ndindex(psums.shape):
        first = f // (k // layer.groups) * n_c
        window = x[first : first + n_c, oy * sy :, ox * sx :]
        window = window[:, : dy * (r - 1) + 1 : dy, : dx * (s - 1) + 1 : dx]
        psums[f, oy, ox] = (window * layer.weight[f]).sum()
    return psums


def requantise(layer, psums):
    zero = layer.zero_point_out
    acc = (psums + layer.bias[:, None, None]).astype(np.int32).astype(np.float32)
    product = acc * layer.multiplier[:, None, None]
    codes = np.rint(np.clip(product, layer.type_low - zero, layer.type_high - zero)) + zero
    codes = np.clip(codes, layer.low, layer.high).astype(np.int64)
    if layer.low >= zero:
        codes[codes <= zero + layer.threshold] = zero
    return codes


def pool(layer, codes):
    if layer.pool is None:
        return codes
    (kh, kw), (sy, sx), (top, left, bottom, right), (dh, dw) = layer.pool
    x = np.pad(codes, ((0, 0), (top, bottom), (left, right)), constant_values=layer.type_low)
    ph = (x.shape[1] - dh * (kh - 1) - 1) // sy + 1
    pw = (x.shape[2] - dw * (kw - 1) - 1) // sx + 1
    shifted = [
        x[:, i * dh :, j * dw :][:, ::sy, ::sx][:, :ph, :pw] for i in range(kh) for j in range(kw)
    ]
    return np.max(shifted, axis=0)


def accesses_of(result, memory, op):
    return [(a[0], a[1], a[4], a[5]) for a in result.accesses if a[2] == memory and a[3] == op]


def causes_of(result):
    """Slots of all PEs by cause."""
    causes = Counter()
    for (_, cause), n in result.slots.items():
        causes[cause] += n
    return causes


@pytest.mark.parametrize("seed", SEEDS)
def test_psums_codes_and_output_equal_a_direct_convolution(seed):
    _, layer, codes, _, result = random_run(seed)
    assert np.array_equal(result.psums, convolve(layer, codes))
    assert np.array_equal(result.codes, requantise(layer, result.psums))
    assert np.array_equal(result.output, pool(layer, result.codes))


@pytest.mark.parametrize("seed", SEEDS)
def test_slots_of_each_pe_add_up_to_its_cycles(seed):
    machine, layer, codes, _, result = random_run(seed)
    n_slots = Counter()
    for (node, _), n in result.slots.items():
        n_slots[node] += n
    each = machine.modules * machine.lanes * (result.cycle1 - result.cycle0)
    assert n_slots == {node: each for node in range(1, machine.width * machine.height)}
    is_event = (codes != layer.zero_point_in).astype(np.int64)
    ones = replace(layer, zero_point_in=0, weight=(layer.weight != 0).astype(np.int64))
    causes = causes_of(result)
    assert causes["executed"] == convolve(ones, is_event).sum()
    if machine.weights == "ideal":
        assert causes["ineffectual"] == causes["channel"] == 0
    if machine.row_layout == "tile":
        assert causes["bank"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_cycles_of_psum_reads_are_those_of_the_rows_and_bank_slots(seed):
    machine, _, _, _, result = random_run(seed)
    first_scan = {a[1]: a[0] for a in reversed(result.accesses) if a[2] == "bias"}
    reads = accesses_of(result, "psum", "read")
    n_cycles = len({(cycle, node) for cycle, node, *_ in reads if cycle < first_scan[node]})
    n_rows = len(accesses_of(result, "weight", "read"))
    n_bank = causes_of(result)["bank"]
    assert n_cycles == n_rows + n_bank / (machine.modules * machine.lanes)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_port_takes_one_access_per_cycle(seed):
    machine, _, _, _, result = random_run(seed)
    uses = Counter()
    for cycle, node, memory, op, address, _ in result.accesses:
        assert result.cycle0 <= cycle < result.cycle1
        bank = address // machine.psum_bank_bytes if memory == "psum" else 0
        assert bank < machine.modules
        if memory == "psum" and machine.weights == "ideal":  # has no ports
            bank = address
        uses[cycle, node, memory, op, bank] += 1
    assert set(uses.values()) == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_message_reaches_each_destination_once(seed):
    machine, layer, codes, events, result = random_run(seed)
    useful = [e for e in events if convolve_reach(layer, e[1], e[2])]
    n_received, n_ends = Counter(), Counter()
    for i, (number, kind, _, created, _, delivered) in enumerate(result.packets):
        assert number == i and all(cycle >= created + 2 for _, cycle in delivered)
        n_received.update(node for node, _ in delivered if kind == "event")
        n_ends.update(node for node, _ in delivered if kind == "end")
    assert [p[3] for p in result.packets] == sorted(p[3] for p in result.packets)
    active = set(n_ends)
    assert set(n_ends.values()) == {1} and active == {n for n in n_received} | active
    slots_of_groups = deal(machine, layer)
    assert active == set(slots_of_groups)
    per_group = layer.ifmap[0] // layer.groups
    for node in active:
        wanted = sum(e[0] // per_group in slots_of_groups[node] for e in useful)
        assert n_received[node] == wanted
        assert len(accesses_of_node(result, node, "pointer", "read")) == wanted
        assert len(accesses_of_node(result, node, "event_fifo", "read")) == wanted + 1
        assert len(accesses_of_node(result, node, "event_fifo", "write")) == wanted + 1
    copies = Counter(e[4] for e in useful)
    if machine.multicast == "unicast":
        groups = {e[4]: e[0] // per_group for e in useful}
        for address in copies:
            copies[address] *= sum(groups[address] in held for held in slots_of_groups.values())
    assert Counter(a[2] for a in accesses_of(result, "storage", "read")) == copies


def accesses_of_node(result, node, memory, op):
    return [a for a in accesses_of(result, memory, op) if a[1] == node]


def convolve_reach(layer, y, x):
    """Whether an activation at (y, x) reaches an output: convolve an impulse with ones."""
    _, h, w = layer.ifmap
    impulse = np.zeros((1, h, w), np.int64)
    impulse[0, y, x] = 1
    ones = np.ones((1, 1, *layer.weight.shape[2:]), np.int64)
    single = replace(layer, weight=ones, ifmap=(1, h, w), groups=1, zero_point_in=0)
    return convolve(single, impulse).any()


def deal(machine, layer):
    """Deal filter groups like cards: active PE -> convolution groups it holds."""
    n_positions = math.prod(machine.tile) if machine.row_layout == "tile" else machine.modules
    per_card = machine.modules // n_positions * machine.lanes
    per_group = len(layer.weight) // layer.groups
    cards = [g for g in range(layer.groups) for _ in range(math.ceil(per_group / per_card))]
    n_pes = machine.width * machine.height - 1
    hands = {node: set(cards[node - 1 :: n_pes]) for node in range(1, n_pes + 1)}
    return {node: hand for node, hand in hands.items() if hand}


@pytest.mark.parametrize("seed", SEEDS)
def test_fired_events_are_the_outputs_off_the_zero_point(seed):
    machine, layer, _, _, result = random_run(seed)
    fired = {(k, y, x): code for _, k, y, x, code, _ in result.fired}
    expected = {tuple(map(int, i)): int(result.output[tuple(i)]) for i in
                np.argwhere(result.output != layer.zero_point_out)}  # fmt: skip
    assert fired == expected and len(fired) == len(result.fired)
    arrivals = [f[0] for f in result.fired]
    assert arrivals == sorted(set(arrivals))
    k, ph, pw = result.output.shape
    lists = defaultdict(list)
    for _, f, y, x, _, address in result.fired:
        place = {"row": (y, k * pw), "channel": (f, ph * pw), "raster": ((y * pw + x) * k + f, 1)}
        which, size = place[machine.event_order]
        lists[which * size].append(address)
    for base, addresses in lists.items():
        assert addresses == [8 * (base + n) for n in range(len(addresses))]


@pytest.mark.parametrize("seed", SEEDS)
def test_flits_on_links_are_those_of_the_routes(seed):
    machine, _, _, _, result = random_run(seed)
    links = Counter()
    for _, _, src, _, flits, delivered in result.packets:
        route = set()
        for dst, _ in delivered:
            x, y = src % machine.width, src // machine.width
            while x != dst % machine.width:
                port, step = (0, 1) if dst % machine.width > x else (1, -1)
                route.add((x + machine.width * y, port))
                x += step
            while y != dst // machine.width:
                port, step = (2, 1) if dst // machine.width > y else (3, -1)
                route.add((x + machine.width * y, port))
                y += step
            route.add((dst, 4))
        for link in route:
            links[link] += flits
    assert result.link_flits == links


def test_closed_forms_of_an_event_equal_enumeration():
    rng = np.random.default_rng(5)
    n_events = 0
    for _ in range(3000):
        n, kernel = (int(i) for i in rng.integers(1, 12, 2))
        s, d = (int(i) for i in rng.integers(1, 6, 2))
        before, after = (int(i) for i in rng.integers(0, 5, 2))
        axis = Axis(n, kernel, s, d, before, after, 3)
        if axis.n_out < 1:
            continue
        g = math.gcd(s, d)
        e, u = d // g, s // g
        for y in range(n):
            t = y + before
            met = {}
            if t % g == 0:
                lo = next(
                    o for o in range(t + d + 1) if s * o + d * (kernel - 1) >= t
                    and (t - s * o) % d == 0
                )  # fmt: skip
                hi = min(axis.n_out - 1, t // s)
                if hi >= lo:
                    k0 = (t - s * lo) // d
                    for j in range(k0 // u - (hi - lo) // e, k0 // u + 1):
                        (k,) = [k for k in range(kernel) if axis.phase(k) == t % s and k // u == j]
                        met[k] = lo + (k0 // u - j) * e
            assert met == axis.meets(y)
            n_events += len(met) > 0
    assert n_events > 5000


def timetable(result):
    """Cycles of the accesses by (memory, op)."""
    cycles = defaultdict(list)
    for cycle, _, memory, op, _, _ in result.accesses:
        cycles[memory, op].append(cycle)
    return dict(cycles)


ONE = layer_of([[[[3]]]], (1, 1, 1))


def test_a_single_event_keeps_the_timetable_made_by_hand():
    result = run_layer(PIPE, ONE, [(0, 0, 0, 5, 800)], cycle0=1000)
    assert result.accesses == [
        (1000, 0, "storage", "read", 800, 8),  # offered
        # 1001 into router 0, 1002 to router 1, 1003 delivered
        (1003, 1, "event_fifo", "write", 0, 8),
        (1004, 1, "event_fifo", "read", 0, 8),
        (1004, 1, "event_fifo", "write", 8, 8),  # end-of-data, offered in 1001
        (1004, 1, "pointer", "read", 0, 4),
        (1005, 1, "event_fifo", "read", 8, 8),
        (1005, 1, "index", "read", 0, 2),
        (1005, 1, "weight", "read", 0, 1),
        # 1006 into the row FIFO, 1007 into the MAC FIFO
        (1008, 1, "psum", "read", 0, 4),
        (1010, 1, "psum", "write", 0, 4),
        (1011, 1, "bias", "read", 0, 4),
        (1011, 1, "psum", "read", 0, 4),
        (1012, 1, "psum", "write", 0, 4),
        # offered in 1012; 1013 into router 1, 1014 to router 0, 1015 delivered
        (1015, 0, "storage", "write", 0, 8),
    ]
    assert result.packets == [
        (0, "event", 0, 1000, 1, ((1, 1003),)),
        (1, "end", 0, 1001, 1, ((1, 1004),)),
        (2, "fired", 1, 1012, 1, ((0, 1015),)),
        (3, "fired_end", 1, 1013, 1, ((0, 1016),)),
    ]
    assert (result.cycle0, result.cycle1) == (1000, 1017)
    assert result.fired == [(1015, 0, 0, 0, 15, 0)]
    assert result.slots == {
        (1, "drain"): 4 + 2 + 3,  # 1000-1003, 1009-1010, 1014-1016
        (1, "decode"): 4,  # 1004-1007
        (1, "executed"): 1,
        (1, "fire"): 1,
        (1, "fire_port"): 2,  # 1012-1013
    }
    assert result.link_flits == {(0, 0): 2, (1, 4): 2, (1, 1): 2, (0, 4): 2}


def test_packets_of_two_flits_take_one_cycle_more_each():
    # 2 + 8 bits and a set of 2 nodes: 12 bits from storage, 10 to storage.
    result = run_layer(replace(PIPE, flit_bits=9), ONE, [(0, 0, 0, 5, 0)])
    assert [(p[1], p[3], p[4], p[5][0][1]) for p in result.packets] == [
        ("event", 0, 2, 4),  # tx free and next packet offered in 2
        ("end", 2, 2, 6),
        ("fired", 13, 2, 17),  # end taken in 7, before the scan in 12
        ("fired_end", 15, 2, 19),
    ]
    assert result.cycle1 == 20


def test_weight_latency_delays_the_row_by_as_much():
    for latency in (1, 2, 5):
        result = run_layer(replace(PIPE, weight_latency=latency), ONE, [(0, 0, 0, 5, 0)])
        cycles = timetable(result)
        assert cycles["weight", "read"] == [5]
        assert cycles["psum", "read"][0] == 7 + latency


def test_rows_of_one_word_follow_each_other_only_with_forwarding():
    layer = layer_of([[[[3]], [[4]], [[5]]]], (3, 1, 1))
    events = [(c, 0, 0, 2, 8 * c) for c in range(3)]
    result = run_layer(PIPE, layer, events)
    assert timetable(result)["psum", "read"] == [8, 9, 10, 13]
    result = run_layer(replace(PIPE, forwarding=False), layer, events)
    assert timetable(result)["psum", "read"] == [8, 11, 14, 17]
    assert result.slots[1, "hazard"] == 4
    assert result.psums[0, 0, 0] == 24


def test_a_layer_without_events_only_fires_its_bias():
    layer = replace(ONE, bias=np.array([7], np.int32))
    result = run_layer(PIPE, layer, [])
    # End-of-data delivered in 3, taken in 4, scan in 5.
    assert timetable(result)["psum", "read"] == [5]
    assert result.fired == [(9, 0, 0, 0, 7, 0)]
    assert result.slots == {(1, "drain"): 8, (1, "fire"): 1, (1, "fire_port"): 2}


def test_a_layer_that_fires_nothing_ends_with_the_end_of_data():
    result = run_layer(PIPE, ONE, [])
    # Scan in 5, end-of-data offered in 6 and delivered in 9.
    assert [p[1:4] for p in result.packets] == [("end", 0, 0), ("fired_end", 1, 6)]
    assert result.cycle1 == 10


def test_dead_events_are_neither_read_nor_sent():
    layer = layer_of([[[[3]]]], (1, 3, 3), strides=(2, 2))
    events = [(0, y, x, 1, 8 * (3 * y + x)) for y in range(3) for x in range(3)]
    result = run_layer(PIPE, layer, events)
    reads = accesses_of(result, "storage", "read")
    assert [address for _, _, address, _ in reads] == [0, 16, 48, 64]


@pytest.mark.parametrize(
    ("multicast", "packets", "reads"),
    [
        # Line of three: node 1 one link away, node 2 two.
        ("tree", [("event", 0, 0, ((1, 3), (2, 4))), ("end", 0, 1, ((1, 4), (2, 5)))], 1),
        (
            "unicast",
            [
                ("event", 0, 0, ((1, 3),)),
                ("event", 0, 1, ((2, 5),)),
                ("end", 0, 2, ((1, 5),)),
                ("end", 0, 3, ((2, 7),)),
            ],
            2,
        ),
        (
            "chain",  # in the forward FIFO of node 1 at the start of 4
            [
                ("event", 0, 0, ((1, 3),)),
                ("end", 0, 1, ((1, 4),)),
                ("event", 1, 4, ((2, 7),)),
                ("end", 1, 5, ((2, 8),)),
            ],
            1,
        ),
    ],
)
def test_each_kind_of_multicast_keeps_its_timetable(multicast, packets, reads):
    machine = replace(PIPE, width=3, multicast=multicast)
    layer = layer_of([[[[3]]], [[[4]]]], (1, 1, 1))
    result = run_layer(machine, layer, [(0, 0, 0, 5, 0)])
    sent = [(p[1], p[2], p[3], p[5]) for p in result.packets if "fired" not in p[1]]
    assert sent == packets
    assert len(accesses_of(result, "storage", "read")) == reads
    assert sorted(f[1:5] for f in result.fired) == [(0, 0, 0, 15), (1, 0, 0, 20)]


def test_classes_get_their_end_of_data_in_ascending_order_of_events():
    machine = replace(PIPE, width=3)
    layer = layer_of([[[[3]]], [[[4]]]], (2, 1, 2), groups=2)
    events = [(0, 0, 0, 1, 0), (0, 0, 1, 1, 8), (1, 0, 0, 1, 16)]
    result = run_layer(machine, layer, events)
    ends = [(p[3], [dst for dst, _ in p[5]]) for p in result.packets if p[1] == "end"]
    assert ends == [(3, [2]), (4, [1])]


def test_a_state_carries_counters_and_bases_into_the_next_layer():
    layer = layer_of([[[[3], [4]]]], (1, 2, 1))
    events = [(0, 0, 0, 5, 0)]
    first = run_layer(PIPE, layer, events)
    second = run_layer(PIPE, layer, events, first.cycle1, first.state, output_base=64)
    shift = {"event_fifo": 16, "weight": 2, "index": 4, "pointer": 4, "bias": 4, "psum": 0}

    def move(access):
        cycle, node, memory, op, address, size = access
        by = 64 * (op == "write") if memory == "storage" else shift[memory]
        return cycle + first.cycle1, node, memory, op, address + by, size

    assert second.accesses == [move(access) for access in first.accesses]
    assert first.state.messages == {1: 2} and second.state.messages == {1: 4}
    assert np.array_equal(first.output, second.output)


def test_wide_fire_lanes_scan_the_same_psums_in_fewer_cycles():
    machine = replace(PIPE, modules=4, lanes=3, tile=(2, 2), fire_fifo=64)
    rng = np.random.default_rng(8)
    layer = layer_of(rng.integers(1, 5, (6, 1, 3, 3)), (1, 5, 5), pads=(1, 1, 1, 1))
    events = [(0, 2, 2, 1, 0)]
    runs = {n: run_layer(replace(machine, fire_lanes=n), layer, events) for n in (1, 3, 12)}
    steps = {n: run.slots[1, "fire"] // 12 for n, run in runs.items()}
    # 150 psums; two words at 25 positions; two filter groups of 3 x 3 blocks of 2 x 2 positions.
    assert steps == {1: 150, 3: 50, 12: 18}
    assert all(np.array_equal(run.output, runs[1].output) for run in runs.values())
    # Linear: filter groups of one word, 7 blocks of 4 positions each.
    machine = replace(machine, row_layout="linear", fire_lanes=12)
    linear = run_layer(machine, layer, events)
    assert linear.slots[1, "fire"] // 12 == 14
    assert np.array_equal(linear.output, runs[1].output)


def test_a_machine_that_cannot_move_raises_with_its_state():
    with pytest.raises(RuntimeError, match=r"no end after 50 cycles.*mac_fifo"):
        run_layer(replace(PIPE, row_fifo=0), ONE, [(0, 0, 0, 5, 0)], limit=50)


@pytest.mark.parametrize(
    ("fields", "reads", "issues"),
    [
        ({}, [5, 6, 7, 8], [8, 9, 10, 11]),
        ({"mac_fifo": 1}, [5, 6, 7, 8], [8, 10, 12, 14]),
        ({"row_fifo": 2}, [5, 6, 8, 9], [8, 9, 11, 12]),
        ({"row_fifo": 1}, [5, 8, 11, 14], [8, 11, 14, 17]),
    ],
)
def test_short_fifos_hold_rows_back_by_hand(fields, reads, issues):
    layer = layer_of([[[[3]]]] * 4, (1, 1, 1))
    cycles = timetable(run_layer(replace(PIPE, **fields), layer, [(0, 0, 0, 5, 0)]))
    assert cycles["weight", "read"] == reads
    assert cycles["psum", "read"][:4] == issues


@pytest.mark.parametrize(("fire_fifo", "scans"), [(1, [7, 9, 12, 15]), (2, [7, 8, 9, 12])])
def test_the_fire_fifo_holds_the_scan_back_by_hand(fire_fifo, scans):
    # Three flits each way: end-of-data delivered in 5; outputs offered in 8, 11, 14, 17.
    layer = layer_of([[[[3]]]] * 4, (1, 1, 1), bias=np.full(4, 9, np.int32))
    result = run_layer(replace(PIPE, fire_fifo=fire_fifo, flit_bits=4), layer, [])
    assert timetable(result)["psum", "read"] == scans
    assert [p[3] for p in result.packets] == [0, 8, 11, 14, 17, 20]
    assert (result.slots[1, "fire"], result.slots[1, "fire_port"]) == (4, 10)


@pytest.mark.parametrize(("buffer_flits", "cycles"), [(1, [3, 5, 7, 9]), (2, [3, 4, 5, 6])])
def test_a_buffer_of_one_flit_halves_the_rate(buffer_flits, cycles):
    layer = layer_of([[[[3]], [[4]], [[5]]]], (3, 1, 1))
    events = [(c, 0, 0, 2, 8 * c) for c in range(3)]
    result = run_layer(replace(PIPE, buffer_flits=buffer_flits), layer, events)
    assert [p[5][0][1] for p in result.packets[:4]] == cycles


def test_outputs_of_one_step_leave_in_order_of_position_then_filter():
    machine = replace(PIPE, lanes=2, fire_lanes=2)
    fields = {"bias": np.array([5, 6], np.int32), "pool": ((1, 2), (1, 1), (0, 0, 0, 1), (1, 1))}
    result = run_layer(machine, layer_of(np.ones((2, 1, 1, 1)), (1, 1, 2), **fields), [])
    assert [f[1:4] for f in result.fired] == [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)]
    assert result.slots[1, "fire"] == 2 * 2


def test_routers_serve_contending_sources_round_robin_by_hand():
    # PE 3 joins PE 2 in router 2, and both join PE 1 in router 0.
    machine = replace(PIPE, width=2, height=2)
    layer = layer_of([[[[3]]]] * 6, (1, 1, 1), bias=np.full(6, 9, np.int32))
    result = run_layer(machine, layer, [])
    arrivals = sorted((p[5][0][1], p[2], p[1]) for p in result.packets if "fired" in p[1])
    order = [(1, 0), (2, 0), (1, 0), (2, 0), (1, 1), (3, 0), (2, 1), (3, 0), (3, 1)]
    expected = [(9 + i, src, ["fired", "fired_end"][end]) for i, (src, end) in enumerate(order)]
    assert arrivals == expected
    assert [f[:2] for f in result.fired] == [(9, 0), (10, 1), (11, 3), (12, 4), (14, 2), (16, 5)]


def test_a_full_pe_makes_its_peers_wait_by_hand():
    # Nine rows per event in PE 1 and none in PEs 2 and 3: PE 1 is ready for 14 and for no other
    # cycle from 6 to 22; the fifth event leaves router 1 in 15.
    machine = replace(PIPE, width=4, event_fifo=2)
    weight = np.zeros((3, 5, 3, 3))
    weight[0] = 1
    layer = layer_of(weight, (5, 3, 3), pads=(1, 1, 1, 1))
    result = run_layer(machine, layer, [(c, 1, 1, 1, 8 * c) for c in range(5)])
    for node in (2, 3):
        causes = {cause: result.slots[node, cause] for cause in ("decode", "peer", "inject")}
        assert causes == {"decode": 5, "peer": 7, "inject": 1}
    assert (1, "peer") not in result.slots


LINEAR = replace(PIPE, modules=3, row_layout="linear")


def psum_accesses(result, op):
    """(cycle, address) of the psum accesses, all of one word each, before the scan."""
    scan = min(a[0] for a in result.accesses if a[2] == "bias")
    return [(a[0], a[2]) for a in accesses_of(result, "psum", op) if a[0] < scan]


def column_of(n_channels):
    """Taps in one column of an ofmap 3 wide: all psums of an event lie in module `ox`."""
    weight = np.arange(3, 3 + 3 * n_channels).reshape(1, n_channels, 3, 1)
    layer = layer_of(weight, (n_channels, 3, 3), pads=(1, 0, 1, 0))
    return replace(layer, multiplier=np.zeros(1, np.float32))  # fires nothing


def test_a_linear_row_reads_the_words_of_a_module_in_turn_by_hand():
    result = run_layer(LINEAR, column_of(1), [(0, 1, 0, 2, 0)])
    # Taps 0, 1 and 2 meet output rows 2, 1 and 0: words 2, 1 and 0 of module 0.
    assert psum_accesses(result, "read") == [(8, 8), (9, 4), (10, 0)]
    assert psum_accesses(result, "write") == [(10, 8), (11, 4), (12, 0)]
    assert result.psums[0, :, 0].tolist() == [10, 8, 6]
    assert timetable(result)["psum", "read"][3:] == list(range(13, 22))
    assert result.slots == {
        (1, "drain"): 3 * (4 + 2 + 3),  # 0-3, 11-12, 23-25
        (1, "decode"): 3 * 4,  # 4-7
        (1, "executed"): 3,
        (1, "bank"): 3 * 2,  # 9-10
        (1, "fire"): 3 * 9,  # 13-21
        (1, "fire_port"): 3,  # 22
    }


def test_the_next_row_follows_the_last_reads_of_a_linear_row_by_hand():
    events = [(0, 1, 1, 2, 0), (1, 1, 1, 2, 8)]
    result = run_layer(LINEAR, column_of(2), events)
    words = [4096 + 8, 4096 + 4, 4096]
    reads = list(zip(range(8, 14), words * 2, strict=True))
    assert psum_accesses(result, "read") == reads
    assert (result.slots[1, "bank"], (1, "hazard") in result.slots) == (3 * 4, False)
    # The last reads of the first row are in 10: held in 11 and 12.
    result = run_layer(replace(LINEAR, forwarding=False), column_of(2), events)
    reads = list(zip([8, 9, 10, 13, 14, 15], words * 2, strict=True))
    assert psum_accesses(result, "read") == reads
    assert (result.slots[1, "bank"], result.slots[1, "hazard"]) == (3 * 4, 3 * 2)


def test_linear_rows_hold_runs_of_raster_taps_by_hand():
    # Taps 0 to 3 meet n = 3, 2, 1, 0; the psums of filter 1 begin at word ceil(4/3).
    layer = layer_of(np.arange(1, 9).reshape(2, 1, 2, 2), (1, 3, 3), zero_point_out=1)
    result = run_layer(LINEAR, layer, [(0, 1, 1, 1, 0)])
    expected = [(8, 4), (8, 4096), (8, 8192), (9, 0)]
    expected += [(10, 12), (10, 4096 + 8), (10, 8192 + 8), (11, 8)]
    assert psum_accesses(result, "read") == expected
    assert (result.slots[1, "executed"], result.slots[1, "tile"]) == (8, 4)
    # The event at (0, 1) touches taps 0 and 1 alone: one row of each filter group.
    result = run_layer(LINEAR, layer, [(0, 0, 1, 1, 0)])
    assert psum_accesses(result, "read") == [(8, 0), (8, 4096), (9, 8), (9, 4096 + 8)]
    assert (result.slots[1, "executed"], result.slots[1, "border"]) == (4, 2)
    assert (1, "tile") not in result.slots


def test_linear_runs_count_the_taps_of_one_phase_by_hand():
    # Stride 2: taps (0, 0), (0, 2), (2, 0) and (2, 2) of phase 0 meet n = 3, 2, 1, 0.
    layer = layer_of(np.ones((1, 1, 3, 3)), (1, 5, 5), strides=(2, 2), zero_point_out=1)
    result = run_layer(LINEAR, layer, [(0, 2, 2, 1, 0)])
    assert psum_accesses(result, "read") == [(8, 4), (8, 4096), (8, 8192), (9, 0)]
    # Rows in order of phase: two of phase 0, one of each other; addresses of one byte per weight.
    assert [a[2:] for a in accesses_of(result, "weight", "read")] == [(0, 3), (3, 3)]
    result = run_layer(LINEAR, layer, [(0, 1, 1, 1, 0)])  # tap (1, 1), the only one of phase 3
    assert [a[2:] for a in accesses_of(result, "weight", "read")] == [(12, 3)]
    assert (result.slots[1, "executed"], result.slots[1, "tile"]) == (1, 2)


def test_linear_rows_ignore_the_tile():
    layer = layer_of(np.ones((5, 2, 3, 3)), (2, 5, 5), pads=(1, 1, 1, 1), dilations=(2, 1))
    events = [(c, 2, 2, 1, 8 * c) for c in range(2)]
    machine = replace(LINEAR, modules=6, lanes=2)
    runs = [run_layer(replace(machine, tile=t), layer, events) for t in [(1, 1), (3, 2), (5, 5)]]
    assert all(run.accesses == runs[0].accesses for run in runs)
    assert all(run.slots == runs[0].slots for run in runs)


def test_a_bank_too_small_for_linear_psums_raises():
    # 9 psums in 3 modules: 3 words of 4 bytes.
    run_layer(replace(LINEAR, psum_bank_bytes=12), column_of(1), [])
    with pytest.raises(ValueError, match="psum_bank_bytes"):
        run_layer(replace(LINEAR, psum_bank_bytes=11), column_of(1), [])


def test_ideal_rows_need_the_tile_layout():
    with pytest.raises(ValueError, match="ideal"):
        run_layer(replace(LINEAR, weights="ideal"), ONE, [])


IDEAL = replace(PIPE, lanes=3, weights="ideal")


def test_an_ideal_row_takes_weights_of_several_filter_groups_by_hand():
    weight = np.zeros((6, 1, 1, 1))
    weight[[0, 4]] = 3
    result = run_layer(IDEAL, layer_of(weight, (1, 1, 1)), [(0, 0, 0, 5, 0)])
    assert len(accesses_of(result, "weight", "read")) == 1
    # Both in module 0: word 0, lane 0 and word 1, lane 1.
    assert accesses_of(result, "psum", "read")[:2] == [(8, 1, 0, 4), (8, 1, 16, 4)]
    assert accesses_of(result, "psum", "write")[:2] == [(10, 1, 0, 4), (10, 1, 16, 4)]
    assert (result.slots[1, "executed"], result.slots[1, "tile"]) == (2, 1)


def test_an_ideal_row_is_held_for_the_word_though_not_the_lane_of_another():
    weight = np.zeros((3, 2, 1, 1))
    weight[0, 0] = weight[1, 1] = 3
    events = [(c, 0, 0, 5, 8 * c) for c in range(2)]
    for forwarding, second in ((True, 9), (False, 11)):
        machine = replace(IDEAL, forwarding=forwarding)
        result = run_layer(machine, layer_of(weight, (2, 1, 1)), events)
        assert psum_accesses(result, "read") == [(8, 0), (second, 4)]


def rows_of_events(result):
    """Rows read for each event, in order, by PE."""
    taken, rows = defaultdict(list), {}
    for cycle, node, *_ in accesses_of(result, "pointer", "read"):
        taken[node].append(cycle)
        rows.setdefault(node, []).append(0)
    for cycle, node, *_ in accesses_of(result, "weight", "read"):
        rows[node][bisect_left(taken[node], cycle) - 1] += 1
    return rows


def touches_all(layer, y, x):
    """Whether an event touches all taps of its phase in both axes."""
    (_, h, w), (r, s) = layer.ifmap, layer.weight.shape[2:]
    pads = layer.pads
    for n, kernel, stride, dilation, before, after, at in zip(
        (h, w), (r, s), layer.strides, layer.dilations, pads[:2], pads[2:], (y, x), strict=True
    ):
        axis = Axis(n, kernel, stride, dilation, before, after, 1)
        phase = (at + before) % stride
        if len(axis.meets(at)) < sum(axis.phase(k) == phase for k in range(kernel)):
            return False
    return True


def test_ideal_reads_no_more_rows_for_an_event_that_touches_all_taps():
    n_compared = n_fewer = 0
    for seed in SEEDS[2 * N_RANDOM :]:
        machine, layer, _, events, ideal = random_run(seed)
        plain = run_layer(replace(machine, weights="rows"), layer, events)
        per_group = layer.ifmap[0] // layer.groups
        useful = [e for e in events if convolve_reach(layer, e[1], e[2])]
        few, many = rows_of_events(ideal), rows_of_events(plain)
        assert few.keys() == many.keys()
        for node, groups in deal(machine, layer).items():
            sent = [e for e in useful if e[0] // per_group in groups]
            pairs = zip(few.get(node, []), many.get(node, []), strict=True)
            for (_, y, x, _, _), (n_ideal, n_plain) in zip(sent, pairs, strict=True):
                if touches_all(layer, y, x):
                    assert n_ideal <= n_plain
                    n_compared += 1
                    n_fewer += n_ideal < n_plain
    assert n_compared > 500 and n_fewer > 100


def test_ideal_may_read_more_rows_for_an_event_that_touches_some_taps():
    # Stored: tap 0 of filter 0 with tap 1 of filter 0, then tap 1 of filter 1.
    layer = layer_of([[[[3, 4]]], [[[0, 5]]]], (1, 1, 2))
    events = [(0, 0, 0, 1, 0), (0, 0, 1, 1, 8)]
    machine = replace(PIPE, modules=2)
    assert rows_of_events(run_layer(machine, layer, events)) == {1: [1, 1]}
    ideal = run_layer(replace(machine, weights="ideal"), layer, events)
    assert rows_of_events(ideal) == {1: [1, 2]}


def test_a_message_of_vgg_16_has_the_published_fields():
    # 512 channels, 3 x 3 taps, 224 x 224 neurons, jumps 0 to 2: 9 + 4 + 16 + 2 + 2 bits.
    layer = layer_of(np.ones((1, 512, 3, 3)), (512, 224, 224), pads=(1, 1, 1, 1))
    machine = replace(PIPE, flit_bits=1, multicast="unicast")
    assert Mapping(machine, layer).event_flits() == 2 + 8 + 33
    assert Mapping(replace(machine, event_format="compact"), layer).event_flits() == 2 + 8 + 25
    assert Mapping(replace(machine, multicast="tree"), layer).event_flits() == 2 + 8 + 33 + 2
    assert Mapping(machine, layer).fired_flits() == 2 + 8 + 16
