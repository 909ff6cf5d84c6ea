"""Packets of runs in mixed modes, in the formats of other simulators: nodes by their places."""

from collections import Counter

import pytest
from exported_traces import written
from foreign_formats import (
    BYTES_OF_TYPE,
    read_netrace,
    read_noxim_hardcoded,
    read_noxim_table,
    read_packet_lines,
)

import firemesh

MODES = {"conv1": "mnf", "conv2": "flexnn", "fc1": "mnf", "*": "flexnn"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Return the trace of a mixed run, its packets by place, and the mesh's sides."""
    path = tmp_path_factory.mktemp("mixed") / "run.h5"
    network, images = firemesh.load("digits"), firemesh.images("digits", 1)[0]
    firemesh.run(network, images[:1], mode=MODES, trace=path)
    found = []
    with firemesh.open_trace(path) as trace:
        units = trace.table("units")
        width = int(units["x"].max()) + 1
        place = units["x"].astype(int) + width * units["y"].astype(int)
        kinds = [name.decode() for name in trace.table("kinds")["name"]]
        for packets, deliveries in zip(trace.packets(), trace.deliveries(), strict=True):
            to = {}
            for d in deliveries:
                sent = int(d["source"]), int(d["number"])
                to.setdefault(sent, []).append(int(place[d["unit"]]))
            found += [
                (int(p["created"]), int(place[p["source"]]), kinds[p["kind"]], int(p["flits"]),
                 tuple(sorted(to[int(p["source"]), int(p["number"])])))
                for p in packets
            ]  # fmt: skip
    return path, found, width


def test_lines_of_packets_name_nodes_by_their_places(mixed, tmp_path):
    path, packets, width = mixed
    lines = read_packet_lines(written(path, "text", tmp_path / "p.txt")[1].decode())
    wanted = [(cycle, source, to, flits) for cycle, source, _, flits, to in packets]
    assert Counter(lines) == Counter(wanted)
    nodes = {node for _, source, to, _ in lines for node in (source, *to)}
    assert nodes == {0, *range(width, 5 * width)}  # storage and the PEs, no bare router


def test_netrace_names_nodes_by_their_places_and_kinds_by_types(mixed, tmp_path):
    _, data, side = written(mixed[0], "netrace", tmp_path / "n.bz2")
    found = read_netrace(data)
    assert found.nodes == 20
    wanted = Counter((cycle, source, d) for cycle, source, _, _, to in mixed[1] for d in to)
    assert Counter((p.cycle, p.src, p.dst) for p in found.packets) == wanted
    ways = {(p.type, p.src_type == 2) for p in found.packets}
    from_storage = {number for number, is_storage in ways if is_storage}
    assert not from_storage & {number for number, is_storage in ways if not is_storage}
    assert {BYTES_OF_TYPE[p.type] for p in found.packets} == {8, 72}
    kinds = {kind for _, _, kind, _, _ in mixed[1]}
    assert {"event", "fired", "operands", "results"} <= kinds
    assert all(any(one["records"] for one in side["types"][kind]) for kind in kinds)


@pytest.mark.parametrize("form", ["table", "hardcoded"])
def test_noxim_names_nodes_by_their_places(mixed, tmp_path, form):
    text = written(mixed[0], "noxim", tmp_path / "t.txt", form=form)[1].decode()
    wanted = {(source, d) for _, source, _, _, to in mixed[1] for d in to}
    if form == "table":
        assert {(flow.src, flow.dst) for flow in read_noxim_table(text)} == wanted
    else:
        pairs = [pair for cycle in read_noxim_hardcoded(text) for pair in cycle]
        assert set(pairs) == wanted
        assert len(pairs) == sum(len(to) for *_, to in mixed[1])
