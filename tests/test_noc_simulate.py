"""A network alone: replays, queues, chunks, wedges; sweeps and packets alone."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.noc import simulate
from firemesh.noc.drive import PATIENCE_CYCLES
from firemesh.noc.network import Network, NetworkError
from firemesh.noc.packet_lines import MOST_CYCLE
from firemesh.noc.packet_trace import PacketTrace, single_sets
from firemesh.noc.patterns import make_pattern
from firemesh.noc.profiles import PROFILES, ROUTERS, Profile
from firemesh.noc.router import Routes
from firemesh.noc.simulate import DELIVERY, Simulation, in_order, replay
from firemesh.noc.sweep import Method, measure
from firemesh.noc.topology import from_graph, mesh, torus
from firemesh.noc.traffic import packets
from firemesh.noc.zero_load import head_latency, tail_latency, zero_load

every_router = pytest.mark.parametrize("router", ROUTERS)
TIMES = ["t_create", "t_inj_head", "t_inj_tail", "t_ej_head", "t_ej_tail"]


def trace_of(rows, n):
    """Return the trace of (cycle, source, destinations, flits)."""
    sets = list(single_sets(n))
    numbers = []
    for _, _, nodes, _ in rows:
        if tuple(nodes) not in sets:
            sets.append(tuple(nodes))
        numbers.append(sets.index(tuple(nodes)))
    return PacketTrace(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int32),
        np.array([row[3] for row in rows], np.int32),
        np.array(numbers, np.int32),
        tuple(sets),
    )


@st.composite
def traces(draw, n=12):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m = draw(st.integers(0, 80))
    many = draw(st.booleans())
    rows = []
    for cycle in sorted(rng.integers(0, draw(st.sampled_from((1, 20, 400))), m).tolist()):
        size = int(rng.integers(1, 4)) if many else 1
        nodes = tuple(sorted(rng.choice(n, size, replace=False).tolist()))
        rows.append((cycle, int(rng.integers(n)), nodes, int(rng.integers(1, 4))))
    return rows


@every_router
@settings(deadline=None, max_examples=25)
@given(rows=traces())
def test_every_packet_arrives_once_at_each_destination_in_the_order_of_its_times(router, rows):
    found = replay(Network(mesh(4, 3), router, buffer_flits=4), trace_of(rows, 12))
    assert found.dtype == DELIVERY
    expected = [(i, row[1], node, row[3]) for i, row in enumerate(rows) for node in row[2]]
    assert found[["idx", "src", "dst", "size"]].tolist() == expected
    assert found["t_create"].tolist() == [rows[i][0] for i in found["idx"]]
    times = np.array([found[name] for name in TIMES])
    assert (np.diff(times[[0, 1, 3]], axis=0) >= 0).all()
    assert (times[2] - times[1] >= found["size"] - 1).all()
    assert (times[4] - times[3] >= found["size"] - 1).all()
    distance = np.abs(found["src"] % 4 - found["dst"] % 4) + np.abs(
        found["src"] // 4 - found["dst"] // 4
    )
    assert (found["routers"] == distance + 1).all()


@every_router
@settings(deadline=None, max_examples=15)
@given(rows=traces(), cut=st.integers(0, 60), length=st.integers(1, 60))
def test_packets_in_chunks_are_the_same_packets(router, rows, cut, length):
    whole = replay(Network(mesh(4, 3), router), trace_of(rows, 12))
    simulation = Simulation(Network(mesh(4, 3), router))
    parts = []
    for first, end in ((0, cut), (cut, cut + length), (cut + length, 1 << 62)):
        mine = [row for row in rows if first <= row[0] < end]
        parts += list(simulation.run(trace_of(mine, 12), end))
    assert in_order(parts).tolist() == whole.tolist()
    assert simulation.n_created == len(rows)
    assert simulation.n_alive == simulation.network.flits_inside() == 0
    assert simulation.ejected.sum() == sum(len(row[2]) * row[3] for row in rows)


@every_router
@settings(deadline=None, max_examples=10)
@given(rows=traces(), at_once=st.integers(1, 40))
def test_how_often_the_kernel_comes_back_changes_nothing(router, rows, at_once):
    trace = trace_of(rows, 12)
    expected = replay(Network(mesh(4, 3), router), trace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "NODE_CYCLES", 12 * at_once)
        assert np.array_equal(replay(Network(mesh(4, 3), router), trace), expected)


@every_router
def test_what_arrived_before_an_interruption_is_not_lost(router):
    simulation = Simulation(Network(mesh(2, 2), router))
    trace = trace_of([(0, 0, (1,), 1), (90, 0, (3,), 2)], 4)
    assert [len(part) for part in simulation.run(trace, until=50)] == [1]
    drive, calls = simulate.drive, []

    def interrupted(*arguments):
        calls.append(drive(*arguments))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "drive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(simulation.run(trace.part(1, 2)))
    assert calls == [0]
    (left,) = simulation.run(until=0)
    assert left["idx"].tolist() == [1]


@every_router
def test_a_packet_of_the_last_cycle_arrives(router):
    trace = trace_of([(0, 0, (1,), 1), (MOST_CYCLE, 0, (3,), 2)], 4)
    found = replay(Network(mesh(2, 2), router), trace)
    assert (found["t_ej_tail"] > trace.cycle).all()


def test_a_queue_of_any_length_is_sent_in_order():
    rows = [(0, 0, (3,), 1)] * 5000
    found = replay(Network(mesh(2, 2), "P4"), trace_of(rows, 4))
    assert (np.diff(found["t_inj_head"]) > 0).all()
    assert sorted(found["idx"].tolist()) == list(range(5000))


def test_multicasts_alone_take_the_unicast_cycles_to_each_destination():
    for name, profile in PROFILES.items():
        for source in range(16):
            nodes = tuple(range(16))
            for flits in (1, 4):
                trace = trace_of([(3, source, nodes, flits)], 16)
                found = replay(Network(mesh(4, 4), name, buffer_flits=8), trace)
                for row in found:
                    n_hops = int(row["routers"]) - 1
                    assert row["t_ej_head"] - 3 == head_latency(profile, n_hops)
                    assert row["t_ej_tail"] - 3 == tail_latency(profile, n_hops, flits, 8)


def clockwise(n):
    """Return a table of a ring of n nodes on which everything goes round one way."""
    graph = from_graph(nx.cycle_graph(n))
    ports = np.zeros((n, n), np.uint16)
    for node in range(n):
        port = graph.edges[node, (node + 1) % n]["port"]
        ports[node] = 1 << port
        ports[node, node] = 1 << graph.graph["radix"]
    return graph, ports


@pytest.mark.parametrize("router", ["P4", "P3", "P2"])
def test_a_network_wedged_by_hand_is_detected_and_reported(router):
    graph, ports = clockwise(6)
    network = Network(graph, router, lambda graph, node, to: to_neighbour(graph, node, to), 1, 1)
    routes: Routes = network.state.routes
    network.state = network.state._replace(routes=routes._replace(ports=ports))
    rows = [(0, node, ((node + 4) % 6,), 1) for node in range(6)] * 3
    rows.sort(key=lambda row: (row[0], row[1]))
    with pytest.raises(
        NetworkError, match=r"^cycle \d+: nothing has moved for 10000 .*wedged with 18 packets"
    ):
        replay(network, trace_of(rows, 6))


def to_neighbour(graph, node, to):
    """Route on a ring without passing its last link: safe."""
    step = 1 if to > node else -1
    return graph.edges[node, node + step]["port"]


def test_a_pause_between_packets_is_not_taken_for_a_wedge():
    rows = [(0, 0, (3,), 1), (50_000, 0, (3,), 1)]
    assert len(replay(Network(mesh(2, 2), "P4"), trace_of(rows, 4))) == 2


def test_a_slow_network_is_not_taken_for_a_wedged_one():
    slow = Profile(routing_delay=64, vc_alloc_delay=64, st_delay=64, link_delay=64)
    found = replay(Network(mesh(80, 1), slow), trace_of([(0, 0, (79,), 1)], 80))
    assert found["t_ej_tail"] == head_latency(slow, 79) > PATIENCE_CYCLES


@pytest.mark.parametrize("router", ["P4", "P3"])
def test_a_multicast_longer_than_a_buffer_is_refused_with_the_remedy(router):
    network = Network(mesh(2, 2), router, buffer_flits=2)
    with pytest.raises(NetworkError, match="more flits than a VC holds.*buffer_flits"):
        replay(network, trace_of([(0, 0, (1, 3), 3)], 4))


def test_a_trace_of_another_network_is_refused():
    with pytest.raises(ValueError, match="^packets: must be of 4 nodes, got a trace of 9; "):
        replay(Network(mesh(2, 2), "P4"), trace_of([(0, 0, (8,), 1)], 9))


@pytest.mark.parametrize(
    ("graph", "routing"),
    [
        (mesh(4, 3), "yx"),
        (mesh(4, 3), "west-first"),
        (torus(4, 4), "xy"),
        (torus(5, 3), "yx"),
        (from_graph(nx.balanced_tree(3, 2)), "shortest"),
        (from_graph(nx.hypercube_graph(3)), "shortest"),
    ],
)
@pytest.mark.parametrize("router", ["P4", "P2"])
def test_any_topology_delivers_over_shortest_ways(graph, routing, router):
    n = graph.number_of_nodes()
    rng = np.random.default_rng(0)
    rows = [
        (cycle, int(rng.integers(n)), (int(rng.integers(n)),), int(rng.integers(1, 5)))
        for cycle in sorted(rng.integers(0, 200, 400).tolist())
    ]
    found = replay(Network(graph, router, routing), trace_of(rows, n))
    distance = dict(nx.all_pairs_shortest_path_length(graph))
    assert [int(row["routers"]) for row in found] == [
        distance[int(row["src"])][int(row["dst"])] + 1 for row in found
    ]


@pytest.mark.parametrize("flits", [1, 5])
@pytest.mark.parametrize("router", ["simple", "P4", "P3", "P2", "P4c2"])
def test_packets_alone_are_those_of_the_closed_form_for_any_link_delay(router, flits):
    for link_delay in (1, 2, 3):
        if router == "simple":
            profile = router
        else:
            profile = PROFILES[router].model_copy(update={"link_delay": link_delay})
        for row in zero_load(
            lambda p=profile: Network(mesh(4, 2), p, "xy", 2, 3), profile, flits, 3
        ):
            assert row.all_pairs_equal == 1
            assert row.t_head_net == row.head_formula
            assert row.t_tail_net == row.tail_formula


def test_below_saturation_what_is_offered_is_accepted():
    pattern = make_pattern("uniform", 4, 4)
    for router in ("simple", "P4", "P2"):
        point = measure(Network(mesh(4, 4), router, buffer_flits=8), pattern, 0.2, 1, 1)
        assert point.saturated == 0
        assert point.accepted == pytest.approx(point.injected, rel=0.01)
        assert point.injected == pytest.approx(0.2, rel=0.05)
        assert point.accepted_min <= point.accepted <= point.accepted_max
        assert point.lat_packet_min <= point.lat_packet_p50 <= point.lat_packet_p99
        assert point.lat_packet_p99 <= point.lat_packet_max
        assert point.lat_network <= point.lat_packet
        assert point.hops_avg == point.routers_avg - 1 == pytest.approx(2.5, abs=0.1)


@settings(deadline=None, max_examples=10)
@given(warmup=st.integers(0, 900), length=st.integers(1, 900), seed=st.integers(0, 99))
def test_a_point_is_what_its_packets_say(warmup, length, seed):
    pattern = make_pattern("uniform", 3, 3)
    point = measure(
        Network(mesh(3, 3), "P3"), pattern, 0.3, (1, 3), seed, Method(warmup, length, 1e9)
    )
    made = list(packets(pattern, 0.3, (1, 3), 8192, seed))
    simulation = Simulation(Network(mesh(3, 3), "P3"))
    parts = []
    for number, chunk in enumerate(made):
        parts += list(simulation.run(chunk, 1024 * (number + 1)))
    found = in_order(parts)
    mine = found[(found["t_create"] >= warmup) & (found["t_create"] < warmup + length)]
    assert point.packets == len(mine)
    assert point.injected == pytest.approx(mine["size"].sum() / (9 * length))
    if len(mine):
        assert point.lat_packet == pytest.approx((mine["t_ej_tail"] - mine["t_create"]).mean())
        assert point.lat_packet_max == (mine["t_ej_tail"] - mine["t_create"]).max()
        assert point.cycles == mine["t_ej_tail"].max()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((-1, 10), "^warmup_cycles: must be from 0 to 1099511627776, got -1$"),
        ((0, 0), "^measured_cycles: must be from 1 to 1099511627776, got 0$"),
        ((0, 1 << 41), "^measured_cycles: must be from 1 to 1099511627776, got 2199"),
        ((0, 1, float("nan")), "^latency_limit: must be at least 1, got nan$"),
    ],
)
def test_a_method_that_measures_nothing_is_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Method(*values)
