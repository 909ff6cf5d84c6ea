"""The network's driver: destination sets, routes that are declared, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noc_traffic import Drive, Parcel, Traffic

from firemesh.noc.network import Network, NetworkError
from firemesh.noc.router import make_packets
from firemesh.noc.topology import mesh

SETS = st.lists(st.lists(st.integers(0, 5), min_size=1), min_size=1, max_size=12)


def packets_of_one(source, destinations):
    packets = make_packets(1)
    packets.source[0], packets.destinations[0], packets.flits[0] = source, destinations, 1
    return packets


@settings(deadline=None)
@given(sets=SETS, data=st.data())
def test_equal_sets_share_a_number_from_every_source_and_different_sets_do_not(sets, data):
    network = Network(mesh(3, 2))
    sources = st.integers(0, 5)
    numbers = [network.destinations(data.draw(sources), members) for members in sets]
    for a, one in zip(sets, numbers, strict=True):
        assert network.sets[one] == tuple(sorted(set(a)))
        for b, other in zip(sets, numbers, strict=True):
            assert (set(a) == set(b)) == (one == other)


def test_routes_declared_while_flits_are_inside_disturb_none_of_them():
    parcels = tuple(Parcel(i % 6, (0, 3, 5), 2) for i in range(18))
    traffic = Traffic(3, 2, 2, parcels, np.ones((0, 6), bool))
    expected = Drive(traffic).run().delivered
    drive = Drive(traffic)
    for _ in drive.steps():
        if drive.cycle <= 12:
            drive.network.destinations(drive.cycle % 6, (drive.cycle % 5, 5))
    assert drive.delivered == expected


def test_the_snake_and_the_number_of_nodes_are_those_of_the_mesh():
    network = Network(mesh(3, 2))
    assert (network.n_nodes, network.snake) == (6, [0, 1, 2, 5, 4, 3])


def test_a_packet_whose_set_its_source_did_not_declare_ends_the_run_with_the_remedy():
    network = Network(mesh(2, 2))
    packets = packets_of_one(2, network.destinations(1, (0, 3)))
    network.destinations(2, (0, 1))
    network.ports.tx[2] = 0
    network.cycle(packets, 0)
    with pytest.raises(NetworkError, match="^a packet reached a node that its .* no route .*decl"):
        network.cycle(packets, 1)


def test_a_network_stepped_from_python_delivers_in_the_cycle_of_the_closed_form():
    network = Network(mesh(2, 2))
    packets = packets_of_one(0, network.destinations(0, (3,)))
    network.ports.tx[0] = 0
    network.ports.ready[:] = 1
    arrived = []
    for cycle in range(1, 8):
        network.cycle(packets, cycle)
        if network.ports.rx[3] == 0:
            arrived.append(cycle)
    assert arrived == [4]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"router": "torus"}, r"^router: must be one of simple.*, got 'torus'$"),
        ({"routing": "zigzag"}, r"^routing: must be one of xy.*, got 'zigzag'$"),
        ({"buffer_flits": 0}, r"^buffer_flits: must be at least 1, got 0$"),
    ],
)
def test_an_unknown_name_or_an_empty_fifo_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Network(mesh(2, 2), **options)


@pytest.mark.parametrize(
    ("source", "nodes", "sentence"),
    [
        (0, (), r"^destinations: must hold at least one node, got none$"),
        (0, (1, 4), r"^destinations: node must be in 0\.\.3, got 4$"),
        (-1, (1,), r"^destinations: node must be in 0\.\.3, got -1$"),
    ],
)
def test_destinations_outside_the_mesh_are_refused(source, nodes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Network(mesh(2, 2)).destinations(source, nodes)
