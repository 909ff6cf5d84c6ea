"""The oracle of the virtual-channel router against closed forms, hand-made cases and its laws."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter, defaultdict

import networkx as nx
import pytest
from oracle_iq import (
    ALLOCATORS,
    LOCAL,
    OPPOSITE,
    X_UP,
    Allocator,
    LeastRecent,
    Oracle,
    Packet,
    RoundRobin,
    mesh,
    mesh_west_first,
    mesh_xy,
    random_case,
    torus,
    torus_dateline,
)

SEEDS = range(40)
MAX_CYCLES = 20_000  # several times what the slowest of the cases needs
DELAYS = ("routing_delay", "vc_alloc_delay", "sw_alloc_delay", "st_delay")


def on_mesh(width, height, **settings):
    return Oracle(mesh(width, height), mesh_xy(width, height), **settings)


def pipeline_cycles(routing_delay, vc_alloc_delay, sw_alloc_delay, st_delay, speculative):
    """Return P of the page; a speculating head asks anew every `sw_alloc_delay` cycles."""
    if speculative:
        allocation = sw_alloc_delay * math.ceil(vc_alloc_delay / sw_alloc_delay)
    else:
        allocation = vc_alloc_delay + sw_alloc_delay
    return routing_delay + allocation + st_delay


def hops(width, a, b):
    return abs(a % width - b % width) + abs(a // width - b // width)


# ------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("speculative", [False, True])
@pytest.mark.parametrize("delays", list(itertools.product((0, 1, 3), (1, 2, 3), (1, 2), (1, 2))))
def test_head_of_an_idle_network_takes_the_closed_form_for_every_distance(delays, speculative):
    settings = dict(zip(DELAYS, delays, strict=True))
    oracle = on_mesh(4, 4, vcs=2, buffer_flits=4, speculative=speculative, **settings)
    packets = [(80 * d, 0, (d,), 1) for d in range(16)]
    P = pipeline_cycles(*delays, speculative)  # noqa: N806
    for delivery in oracle.run(packets):
        links = hops(4, 0, delivery.destination)
        assert delivery.t_ej_head - delivery.t_create == 2 + (links + 1) * (P + 1)
        assert delivery.routers == links + 1


@pytest.mark.parametrize("link_delay", [0, 1, 3])
def test_every_channel_adds_one_and_the_link_delay(link_delay):
    oracle = on_mesh(6, 1, vcs=1, buffer_flits=1, link_delay=link_delay)
    for delivery in oracle.run([(100 * d, 0, (d,), 1) for d in range(6)]):
        routers = delivery.destination + 1
        in_channels = (routers + 1) * (1 + link_delay)
        assert delivery.t_ej_head - delivery.t_create == in_channels + routers * (4 - 1)


@pytest.mark.parametrize("credit_delay", [0, 1, 2, 3])
@pytest.mark.parametrize("buffer_flits", range(1, 9))
@pytest.mark.parametrize("profile", [{}, {"routing_delay": 0, "speculative": True}])
def test_tail_follows_by_the_closed_form_of_the_credit_round_trip(
    profile, buffer_flits, credit_delay
):
    oracle = on_mesh(3, 1, vcs=2, buffer_flits=buffer_flits, credit_delay=credit_delay, **profile)
    late = max(0, 5 + credit_delay - buffer_flits)
    packets = [(200 * i, 0, (i % 3,), 1 + i // 3) for i in range(3 * 20)]
    for delivery in oracle.run(packets):
        flits = packets[delivery.packet][3]
        tail = delivery.t_ej_tail - delivery.t_ej_head
        assert tail == flits - 1 + (flits - 1) // buffer_flits * late


@pytest.mark.parametrize("flits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("delays", [(1, 1, 1, 1), (0, 1, 1, 1), (0, 2, 1, 1), (2, 1, 1, 2)])
@pytest.mark.parametrize("speculative", [False, True])
def test_a_vc_passes_one_packet_in_l_plus_p_minus_st_minus_1_cycles(flits, delays, speculative):
    settings = dict(zip(DELAYS, delays, strict=True))
    oracle = on_mesh(3, 1, vcs=1, buffer_flits=16, speculative=speculative, **settings)
    tails = [d.t_ej_tail for d in oracle.run([(0, 0, (2,), flits)] * 40)]
    gaps = {b - a for a, b in itertools.pairwise(tails)}
    P = pipeline_cycles(*delays, speculative)  # noqa: N806
    assert gaps == {flits + P - delays[-1] - 1}


@pytest.mark.parametrize("speculative", [False, True])
@pytest.mark.parametrize("allocator", ALLOCATORS)
@pytest.mark.parametrize("switching", ["wormhole", "cut-through"])
def test_a_lone_multicast_reaches_each_destination_when_a_unicast_would(
    switching, allocator, speculative
):
    settings = {"vcs": 2, "buffer_flits": 5, "speculative": speculative, "switching": switching}
    settings |= {"vc_allocator": allocator, "sw_allocator": allocator, "ejecting": 2}
    oracle = on_mesh(4, 4, **settings)
    packets = [(100 * s, s, tuple(range(16)), 1 + s % 5) for s in range(16)]
    deliveries = oracle.run(packets)
    assert len(deliveries) == 16 * 16
    for d in deliveries:
        cycle, source, _, flits = packets[d.packet]
        links = hops(4, source, d.destination)
        P = pipeline_cycles(1, 1, 1, 1, speculative)  # noqa: N806
        assert d.t_ej_head == cycle + 2 + (links + 1) * (P + 1)
        assert d.t_ej_tail == d.t_ej_head + flits - 1
        assert d.routers == links + 1


# ----------------------------------------------------------------------------- laws of random cases


@functools.cache
def run_random(seed):
    case = random_case(random.Random(seed))
    oracle = case.oracle()
    return case, oracle, oracle.run(case.packets, case.ready, MAX_CYCLES)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_packet_reaches_each_destination_once_and_in_order(seed):
    case, oracle, deliveries = run_random(seed)
    assert [(d.packet, d.destination) for d in deliveries] == case.expected
    indices = defaultdict(list)
    for flit in oracle.flits:
        indices[flit.packet, flit.node].append(flit.index)
    for packet, destination in case.expected:
        assert indices.pop((packet, destination)) == list(range(case.packets[packet][3]))
    assert not indices


@pytest.mark.parametrize("seed", SEEDS)
def test_every_credit_comes_back_and_every_vc_becomes_idle(seed):
    case, oracle, _ = run_random(seed)
    for cycle in range(oracle.cycles, oracle.cycles + 30):
        oracle.step(cycle, case.ready)
    for router in oracle.routers:
        assert all(vc.packet is None and not vc.buffer for port in router.inputs for vc in port)
        for out in itertools.chain.from_iterable(router.outputs):
            assert (out.credits, out.owner) == (case.settings["buffer_flits"], None)
    for source in oracle.sources:
        assert set(source.free) == {case.settings["buffer_flits"]}


@pytest.mark.parametrize("seed", SEEDS)
def test_flits_are_sent_once_on_every_link_of_a_path_or_tree(seed):
    case, oracle, deliveries = run_random(seed)
    links, routes = case.topology().links, case.routes()
    sent = Counter()
    adaptive = 0
    for delivery in deliveries:
        flits = case.packets[delivery.packet][3]
        if len(case.packets[delivery.packet][2]) == 1:
            adaptive += flits * delivery.routers
    for index, packet in enumerate(case.packets):
        nodes = [packet[1]] if len(packet[2]) > 1 else []
        while nodes:
            node = nodes.pop()
            for output in routes(node, Packet(index, *packet)).outputs:
                sent[node, output] += packet[3]
                nodes += [links[node][output][0]] if output != LOCAL else []
    left = oracle.link_flits - sent
    assert sent <= oracle.link_flits
    assert left.total() == adaptive


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_take_flits_only_when_ready_and_one_for_each_ejecting_output(seed):
    case, oracle, _ = run_random(seed)
    assert all(case.ready(flit.cycle, flit.node) for flit in oracle.flits)
    for (_, node), n in Counter((flit.cycle, flit.node) for flit in oracle.flits).items():
        assert n <= (case.settings["ejecting"] if node == 0 else 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_through_with_multicasts_never_wedges_at_one_vc(seed):
    rng = random.Random(seed)
    width, height, buffer_flits = rng.randint(2, 4), rng.randint(2, 4), rng.randint(1, 4)
    n = width * height
    packets = []
    for cycle, source in itertools.product(range(4), range(n)):
        destinations = tuple(rng.sample(range(n), rng.choice((1, 2, n))))
        packets.append((cycle, source, destinations, buffer_flits))
    settings = {"vcs": 1, "buffer_flits": buffer_flits, "switching": "cut-through"}
    settings["speculative"] = rng.random() < 0.5
    deliveries = on_mesh(width, height, **settings).run(packets, max_cycles=MAX_CYCLES)
    assert len(deliveries) == sum(len(packet[2]) for packet in packets)


def test_random_cases_show_every_setting():
    cases = [random_case(random.Random(seed)) for seed in range(400)]
    for name, values in {
        "vcs": range(1, 5),
        "buffer_flits": range(1, 9),
        "routing_delay": range(4),
        "credit_delay": range(4),
        "vc_allocator": ALLOCATORS,
        "sw_allocator": ALLOCATORS,
        "ejecting": range(1, 5),
    }.items():
        assert {case.settings[name] for case in cases} == set(values)
    assert {case.routing for case in cases} == {"mesh-xy", "mesh-west-first", "torus-dateline"}
    assert (1, 2) in {(case.width, case.height) for case in cases}
    assert {len(p[2]) > 1 for case in cases for p in case.packets} == {True, False}


# ---------------------------------------------------------------------------------- hand-made cases


def test_a_branch_that_is_held_back_delays_no_other_branch():
    oracle = on_mesh(4, 1, vcs=2, buffer_flits=4)
    held = oracle.run([(0, 0, (1, 3), 4)], lambda cycle, node: node != 1 or cycle >= 100)
    free = on_mesh(4, 1, vcs=2, buffer_flits=4).run([(0, 0, (1, 3), 4)])
    assert held[1] == free[1]
    assert (held[0].t_ej_head, held[0].t_ej_tail) == (100, 103)


def test_a_node_that_is_ready_every_third_cycle_takes_a_flit_every_third_cycle():
    oracle = on_mesh(2, 1, vcs=2, buffer_flits=4)
    oracle.run([(0, 0, (1,), 1)] * 30, lambda cycle, node: cycle % 3 == 0)
    cycles = [flit.cycle for flit in oracle.flits]
    assert {b - a for a, b in itertools.pairwise(cycles)} == {3}


def test_a_held_back_sink_serves_its_vcs_in_turn():
    oracle = on_mesh(2, 1, vcs=2, buffer_flits=4)
    oracle.run([(0, 0, (1,), 4), (0, 0, (1,), 4)], lambda cycle, node: cycle >= 50)
    assert [flit.packet for flit in oracle.flits] == [0, 1] * 4


@pytest.mark.parametrize("ejecting", [1, 2, 3])
def test_node_0_takes_as_many_flits_a_cycle_as_it_has_ejecting_outputs(ejecting):
    oracle = on_mesh(2, 2, vcs=4, buffer_flits=8, ejecting=ejecting)
    oracle.run([(cycle, node, (0,), 1) for cycle in range(60) for node in (0, 1, 2)])
    assert max(Counter(flit.cycle for flit in oracle.flits).values()) == ejecting


def test_a_packet_that_must_fit_whole_waits_for_the_whole_room():
    long, later = (0, 0, (1,), 4), (0, 0, (1,), 4)

    def head(switching):
        oracle = on_mesh(2, 1, vcs=1, buffer_flits=4, switching=switching)
        return oracle.run([long, later])[1].t_inj_head

    # Flits 0 to 3 leave the injection buffer in 4 to 7, their credits come in 6 to 9.
    assert head("wormhole") == 6
    assert head("cut-through") == 9


@pytest.mark.parametrize(("switching", "sent"), [("wormhole", 6), ("cut-through", 4)])
def test_only_a_packet_that_fits_whole_is_sent_on_in_cut_through(switching, sent):
    oracle = on_mesh(2, 1, vcs=1, buffer_flits=6, switching=switching)
    oracle.run([(0, 0, (1,), 4), (0, 0, (1,), 4)], lambda cycle, node: False, max_cycles=60)
    assert oracle.link_flits[1, LOCAL] == sent


def test_vcs_of_an_input_take_turns_at_an_output():
    # While node 0 takes every other cycle of the output, both packets of node 1 pile up.
    oracle = on_mesh(2, 1, vcs=3, buffer_flits=8)
    oracle.run([(0, 0, (1,), 40), (8, 1, (1,), 8), (8, 1, (1,), 8)])
    order = [flit.packet for flit in oracle.flits if flit.packet > 0]
    last_of_first = len(order) - order[::-1].index(1)
    together = order[order.index(2) : last_of_first]
    assert len(together) >= 4
    assert all(a != b for a, b in itertools.pairwise(together))


def test_classes_end_at_the_ejecting_output():
    oracle = Oracle(torus(3, 3), torus_dateline(3, 3), vcs=2, buffer_flits=8)
    oracle.run([(0, 1, (0,), 8), (0, 2, (0,), 8)])
    order = [flit.packet for flit in oracle.flits]
    assert all(a != b for a, b in itertools.pairwise(order))


def test_a_switch_grant_moves_the_offset_though_the_speculation_fails():
    settings = {"routing_delay": 0, "speculative": True, "vc_alloc_delay": 2}
    oracle = on_mesh(2, 1, vcs=2, buffer_flits=4, **settings)
    oracle.run([(0, 0, (1,), 1)], max_cycles=3)  # the head is written in 2, owns a VC from 3 on
    assert oracle.routers[0].offsets[LOCAL].pointer == 1
    assert not oracle.link_flits


@pytest.mark.parametrize("destinations", [(1,), (0, 1)])
def test_a_packet_that_cannot_fit_whole_is_refused(destinations):
    with pytest.raises(ValueError, match="packet 0 does not fit whole"):
        switching = "wormhole" if len(destinations) > 1 else "cut-through"
        oracle = on_mesh(2, 1, vcs=1, buffer_flits=4, switching=switching)
        oracle.run([(0, 0, destinations, 5)])


def test_speculation_lost_to_a_flit_that_owns_its_vc_costs_that_cycle():
    # Input 1 of node 1 streams a long packet to the output that node 1's own packet wants.
    settings = {"vcs": 2, "buffer_flits": 8, "routing_delay": 0, "speculative": True}
    packets = [(0, 0, (2,), 12), (6, 1, (2,), 1)]
    alone = on_mesh(3, 1, **settings).run(packets[1:])[0]
    beside = on_mesh(3, 1, **settings).run(packets)[1]
    assert beside.t_ej_tail > alone.t_ej_tail


# ---------------------------------------------------------------------------- allocators and routes


def test_round_robin_begins_one_past_the_last_granted():
    arbiter = RoundRobin(4)
    assert arbiter.pick([3, 1]) == 1
    arbiter.granted([1])
    assert arbiter.pick([3, 1]) == 3
    arbiter.granted([1, 3])  # from 2 on, 3 comes first
    assert arbiter.pointer == 0


def test_least_recent_prefers_the_never_granted_and_of_these_the_highest():
    arbiter = LeastRecent(4)
    order = []
    for _ in range(6):
        order.append(arbiter.pick(range(4)))
        arbiter.granted(order[-1:])
    assert order == [3, 2, 1, 0, 3, 2]


def one(_, pick, offers):
    return [pick(offers)]


@pytest.mark.parametrize("kind", ALLOCATORS)
def test_matched_pairs_are_asked_for_and_share_no_end(kind):
    rng = random.Random(1)
    allocator = Allocator(kind, 4, 3)
    for _ in range(200):
        pairs = [(i, o) for i in range(4) for o in range(3) if rng.random() < 0.4]
        matched = allocator.match({pair: rng.randrange(2) for pair in pairs}, one)
        assert set(matched) <= set(pairs)
        assert len({i for i, _ in matched}) == len({o for _, o in matched}) == len(matched)
        assert bool(matched) == bool(pairs)


def test_only_pointers_of_matched_pairs_move():
    allocator = Allocator("separable_input_first", 2, 2)
    everything = dict.fromkeys(itertools.product(range(2), range(2)), 0)
    assert allocator.match(everything, one) == [(0, 0)]  # input 1 picked 0 too, in vain
    assert sorted(allocator.match(everything, one)) == [(0, 1), (1, 0)]


def test_islip_grants_before_inputs_accept():
    allocator = Allocator("islip", 2, 2)
    everything = dict.fromkeys(itertools.product(range(2), range(2)), 0)
    assert allocator.match(everything, one) == [(0, 0)]  # both outputs granted input 0
    assert sorted(allocator.match(everything, one)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("kind", ALLOCATORS)
def test_priority_counts_except_in_islip(kind):
    allocator = Allocator(kind, 2, 1)
    favourite = {"separable_input_first": 0, "islip": 0, "matrix": 1}[kind]
    winner = favourite if kind == "islip" else 1 - favourite
    requests = {(favourite, 0): 0, (1 - favourite, 0): 1}
    assert allocator.match(requests, one) == [(winner, 0)]


def classes_of(route, output):
    """Return the class that an output is entered on."""
    return output != LOCAL and route.upper is not None and output in route.upper


@pytest.mark.parametrize(
    ("topology", "routes"),
    [
        (mesh(4, 3), mesh_xy(4, 3)),
        (mesh(4, 3), mesh_west_first(4, 3)),
        (torus(4, 3), torus_dateline(4, 3)),
        (torus(3, 4), torus_dateline(3, 4)),
    ],
    ids=["mesh-xy", "mesh-west-first", "torus-4x3", "torus-3x4"],
)
def test_routes_are_minimal_and_their_channels_wait_for_each_other_in_no_circle(topology, routes):
    n = len(topology.links)
    net = nx.DiGraph((a, b) for a in range(n) for b, _ in topology.links[a].values())
    waits = nx.DiGraph()
    for source, destination in itertools.product(range(n), range(n)):
        packet = Packet(0, 0, source, (destination,), 1)
        todo = [(source, None, 0)]
        while todo:
            node, behind, length = todo.pop()
            route = routes(node, packet)
            for output in route.outputs:
                if output == LOCAL:
                    assert node == destination
                    assert length == nx.shortest_path_length(net, source, destination)
                    continue
                channel = (node, output, classes_of(route, output))
                if behind:
                    waits.add_edge(behind, channel)
                todo.append((topology.links[node][output][0], channel, length + 1))
    assert nx.is_directed_acyclic_graph(waits)


def test_a_ring_changes_to_the_upper_class_behind_its_wrapping_link():
    routes = torus_dateline(4, 3)
    packet = Packet(0, 0, 3, (1,), 1)  # 3 -> 0 -> 1, upwards as both ways are as long
    assert routes(3, packet) == ({X_UP}, "any", set())
    assert routes(0, packet) == ({X_UP}, "any", {X_UP})


@pytest.mark.parametrize(
    ("topology", "routes"),
    [(mesh(4, 4), mesh_xy(4, 4)), (torus(4, 4), torus_dateline(4, 4))],
    ids=["mesh", "torus"],
)
def test_trees_are_the_union_of_the_paths(topology, routes):
    rng = random.Random(2)
    for source in range(16):
        destinations = tuple(rng.sample(range(16), 5))
        edges = set()
        for destination in destinations:
            node, packet = source, Packet(0, 0, source, (destination,), 1)
            while (step := min(routes(node, packet).outputs)) != LOCAL:
                edges.add((node, step))
                node = topology.links[node][step][0]
            edges.add((node, LOCAL))
        packet = Packet(0, 0, source, destinations, 1)
        nodes = {node for node, _ in edges}
        assert {(node, o) for node in nodes for o in routes(node, packet).outputs} == edges


def test_ports_of_the_two_ends_of_a_link_are_opposite():
    for links in (mesh(3, 4).links, torus(3, 4).links):
        for node, ports in enumerate(links):
            for output, (neighbour, port) in ports.items():
                assert port == OPPOSITE[output]
                assert links[neighbour][port] == (node, output)
