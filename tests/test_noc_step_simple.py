"""The simple router under random traffic: delivery, conservation, order, latency, oracle."""

from collections import Counter, defaultdict
from dataclasses import replace
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from noc_traffic import Drive, Parcel, Traffic, traffics
from oracle_mnf import Network as OracleNetwork
from oracle_mnf import OracleState

from firemesh.noc.profiles import ROUTERS
from firemesh.noc.topology import mesh

LAWS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
every_router = pytest.mark.parametrize("router", sorted(ROUTERS))
ALWAYS = np.ones((0, 12), bool)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("flits", [1, 3])
def test_alone_a_flit_takes_its_hops_and_two_cycles_from_every_node_to_every_node(depth, flits):
    # offered in t, in the source's FIFO in t + 1, a hop a cycle, delivered in the cycle after the
    # last hop; a FIFO of one flit takes the next one only every other cycle
    distance = dict(nx.all_pairs_shortest_path_length(mesh(4, 3)))
    parcels = [
        Parcel(a, (b,), flits, due=40 * i)
        for i, (a, b) in enumerate((a, b) for a in range(12) for b in range(12))
    ]
    drive = Drive(Traffic(4, 3, depth, tuple(parcels), ALWAYS)).run()
    apart = 2 if depth == 1 else 1
    expected = [
        (parcel.due + distance[parcel.source][parcel.nodes[0]] + 2 + i * apart, number)
        for number, parcel in enumerate(parcels)
        for i in range(flits)
    ]
    assert [(cycle, number) for cycle, _, number in drive.delivered] == expected


def test_alone_a_multicast_reaches_each_destination_as_early_as_a_packet_of_its_own():
    distance = dict(nx.all_pairs_shortest_path_length(mesh(4, 3)))
    parcels = tuple(Parcel(a, tuple(range(12)), 1, due=40 * a) for a in range(12))
    drive = Drive(Traffic(4, 3, 2, parcels, ALWAYS)).run()
    assert {(number, node): cycle for cycle, node, number in drive.delivered} == {
        (a, b): 40 * a + distance[a][b] + 2 for a in range(12) for b in range(12)
    }


@pytest.mark.parametrize("depth", [2, 3])
def test_a_source_streams_one_packet_of_one_flit_per_cycle_through_fifos_of_two(depth):
    parcels = (Parcel(0, (11,), 1),) * 30
    drive = Drive(Traffic(4, 3, depth, parcels, ALWAYS)).run()
    assert [cycle for cycle, _, _ in drive.delivered] == list(range(7, 37))


@every_router
@LAWS
@given(traffic=traffics())
def test_every_packet_arrives_once_at_each_of_its_destinations_and_nowhere_else(router, traffic):
    drive = Drive(traffic, router=router).run()
    for _ in range(20):
        drive.step()
    got = Counter((number, node) for _, node, number in drive.delivered)
    assert got == {
        (number, node): parcel.flits
        for number, parcel in enumerate(traffic.parcels)
        for node in parcel.nodes
    }
    assert drive.network.flits_inside() == 0


@LAWS
@given(traffic=traffics())
def test_what_entered_was_delivered_or_is_still_owed_by_a_flit_inside_in_every_cycle(traffic):
    drive = Drive(traffic)
    for _ in drive.steps():
        due = {n: flits * len(traffic.parcels[n].nodes) for n, flits in drive.entered().items()}
        delivered = Counter(number for _, _, number in drive.delivered)
        owed = drive.owed()
        for number in range(len(traffic.parcels)):
            assert due.get(number, 0) == delivered[number] + owed.get(number, 0)


@LAWS
@given(traffic=traffics(is_unicast=True))
def test_flits_in_are_flits_out_and_flits_inside_in_every_cycle(traffic):
    drive = Drive(traffic)
    for _ in drive.steps():
        inside = drive.network.flits_inside()
        assert sum(drive.entered().values()) == len(drive.delivered) + inside
        assert inside == len(list(drive.flits()))


@LAWS
@given(traffic=traffics())
def test_credits_and_flits_behind_them_are_the_depth_in_every_cycle(traffic):
    drive = Drive(traffic)
    s = drive.network.state
    links = np.argwhere(s.links.neighbour >= 0)
    behind = s.links.neighbour[links[:, 0], links[:, 1]], links[:, 1] ^ 1
    for _ in drive.steps():
        assert np.all(s.credits[links[:, 0], links[:, 1]] + s.flits[behind] == traffic.depth)


@LAWS
@given(traffic=traffics())
def test_no_fifo_holds_more_than_its_depth_and_each_router_counts_what_it_holds(traffic):
    drive = Drive(traffic)
    s = drive.network.state
    for _ in drive.steps():
        assert s.flits.min() >= 0
        assert s.flits.max() <= traffic.depth
        assert np.array_equal(s.flits.sum(axis=1), s.load)


@LAWS
@given(traffic=traffics())
def test_a_link_carries_at_most_one_flit_per_cycle_and_a_tree_uses_each_of_its_links_once(traffic):
    drive = Drive(traffic)
    s = drive.network.state
    before = s.link_flits.copy()
    for _ in drive.steps():
        assert np.all((s.link_flits - before) <= 1)
        before = s.link_flits.copy()
    expected = np.zeros_like(s.link_flits)
    for number, parcel in enumerate(traffic.parcels):
        for node in range(traffic.n_nodes):
            for port in range(5):
                expected[node, port] += parcel.flits * (drive.branches(number, node) >> port & 1)
    assert np.array_equal(s.link_flits, expected)


@every_router
@LAWS
@given(traffic=traffics(), seed=st.integers(0, 2**32 - 1))
def test_the_order_in_which_routers_are_visited_changes_nothing(router, traffic, seed):
    order = np.random.default_rng(seed).permutation(traffic.n_nodes)
    a, b = Drive(traffic, router=router).run(), Drive(traffic, order, router).run()
    assert a.delivered == b.delivered
    assert a.offered == b.offered
    assert np.array_equal(a.network.state.link_flits, b.network.state.link_flits)


@LAWS
@given(traffic=traffics())
def test_packets_of_one_source_arrive_at_one_destination_in_the_order_sent(traffic):
    drive = Drive(traffic).run()
    arrived = defaultdict(list)
    for _, node, number in drive.delivered:
        arrived[traffic.parcels[number].source, node].append(drive.offered[number])
    assert all(cycles == sorted(cycles) for cycles in arrived.values())


@every_router
@LAWS
@given(traffic=traffics())
def test_a_flit_is_delivered_only_to_a_node_that_was_ready_in_the_cycle_before(router, traffic):
    drive = Drive(traffic, router=router).run()
    for cycle, node, _ in drive.delivered:
        assert cycle > len(traffic.ready) or traffic.ready[cycle - 1, node]


@LAWS
@given(traffic=traffics(), seed=st.integers(0, 2**32 - 1))
def test_a_network_whose_receiver_sleeps_holds_its_flits_and_delivers_them_when_it_wakes(
    traffic, seed
):
    node = int(np.random.default_rng(seed).integers(traffic.n_nodes))
    ready = np.ones((2000, traffic.n_nodes), bool)
    ready[:, node] = False
    drive = Drive(replace(traffic, ready=ready))
    last, still = None, 0
    while still < 50:
        assert drive.cycle < len(ready), "the network still moves"
        drive.step()
        seen = (drive.network.state.link_flits.sum(), len(drive.offered), drive.entered())
        still = still + 1 if seen == last else 0
        last = seen
    assert all(at != node for _, at, _ in drive.delivered)
    assert drive.network.flits_inside() > 0 or not any(node in p.nodes for p in traffic.parcels)
    drive.traffic = replace(traffic, ready=ready[: drive.cycle])
    drive.run()
    assert drive.network.flits_inside() == 0
    assert Counter(at for _, at, _ in drive.delivered)[node] == sum(
        parcel.flits for parcel in traffic.parcels if node in parcel.nodes
    )


@LAWS
@given(traffic=traffics(), ports=st.integers(1, 4))
def test_the_router_equals_the_oracle_cycle_for_cycle(traffic, ports):
    drive = Drive(traffic, ports=ports)
    machine = SimpleNamespace(
        width=traffic.width,
        height=traffic.height,
        buffer_flits=traffic.depth,
        storage_ports=ports,
        routing="xy",
    )
    log = SimpleNamespace(packets=[], link_flits=Counter())
    oracle = OracleNetwork(machine, OracleState(), log)
    nodes = range(traffic.n_nodes)
    oracle.ready = dict.fromkeys(nodes, False)
    for _ in drive.steps():
        cycle = drive.cycle - 1
        arrived = oracle.step(cycle)
        found = [(n, flit.packet.message) for n, flits in arrived.items() for flit in flits]
        assert sorted(found) == sorted(
            (node, number) for at, node, number in drive.delivered if at == cycle
        )
        offered = [number for number, at in drive.offered.items() if at == cycle]
        for number in offered:
            parcel = traffic.parcels[number]
            oracle.offer(cycle, parcel.source, parcel.nodes, number, parcel.flits)
        assert [bool(oracle.tx[n]) for n in nodes] == (drive.network.ports.tx >= 0).tolist()
        oracle.ready = dict(enumerate(drive.network.ports.ready.astype(bool)))
    links = drive.network.state.link_flits
    assert {(int(n), int(o)): int(links[n, o]) for n, o in np.argwhere(links)} == log.link_flits
