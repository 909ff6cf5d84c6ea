"""netrace files: records are arrivals, dependencies the machine's, regions can be sought."""

import bz2
from collections import Counter, defaultdict

import networkx as nx
import numpy as np
import pytest
from exported_traces import NETWORKS, STORAGE, ended, every_trace, recorder, told, written
from foreign_formats import BYTES_OF_TYPE, read_netrace, read_packet_lines

import firemesh

DEMO = (
    # magic, version 1.0, benchmark (30 bytes), 4 nodes, padding
    "55544a48" "0000803f" "74696e79" + 26 * "00" + "04" "00"
    # 9 cycles, 2 packets, 3 bytes of notes, 1 region, padding
    "0900000000000000" "0200000000000000" "03000000" "01000000" "0000000000000000"
    # notes, region: seek 0, 9 cycles, 2 packets
    "616200" "0000000000000000" "0900000000000000" "0200000000000000"
    # cycle 2, id 7, addr 0x10, ReadReq, 1 -> 3, L1D to L2, releases id 9
    "0200000000000000" "07000000" "10000000" "01" "01" "03" "02" "01" "09000000"
    # cycle 8, id 9, addr 0x10, ReadResp, 3 -> 1, L2 to L1D, releases none
    "0800000000000000" "09000000" "10000000" "02" "03" "01" "20" "00"
)  # fmt: skip


def test_the_reader_of_these_tests_reads_a_netrace_file_made_by_hand():
    found = read_netrace(bz2.compress(bytes.fromhex(DEMO)))
    assert (found.benchmark, found.nodes, found.cycles, found.notes) == ("tiny", 4, 9, "ab")
    assert [tuple(packet) for packet in found.packets] == [
        (2, 7, 0x10, 1, 1, 3, 0, 2, (9,)),
        (8, 9, 0x10, 2, 3, 1, 2, 0, ()),
    ]
    assert [region.packets for region in found.regions] == [found.packets]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return recorder(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def netraces(recorded, tmp_path_factory):
    """Return (network, multicast) -> netrace file as it was read, side file, packets, report."""
    folder, made = tmp_path_factory.mktemp("netrace"), {}

    def find(network, multicast):
        if (network, multicast) not in made:
            path = recorded(network, multicast)
            out = folder / f"{network}-{multicast}.tra.bz2"
            report, data, side = written(path, "netrace", out)
            with firemesh.open_trace(path) as trace:
                made[network, multicast] = read_netrace(data), side, told(trace), report
        return made[network, multicast]

    return find


@every_trace
def test_a_netrace_packet_is_an_arrival(netraces, network, multicast):
    found, side, packets, report = netraces(network, multicast)
    wanted = [
        (p["cycle"], p["number"], p["source"], unit)
        for p in packets
        for unit in sorted(p["arrived"])
    ]
    assert [(r.cycle, r.addr, r.src, r.dst) for r in found.packets] == wanted
    assert report.counts["records"] == len(wanted) and report.counts["packets"] == len(packets)
    assert all(r.src_type == (2 if r.src == STORAGE else 0) for r in found.packets)
    assert all(r.dst_type == (2 if r.dst == STORAGE else 0) for r in found.packets)
    assert side["num_packets"] == len(wanted)


@every_trace
def test_a_netrace_type_tells_kind_and_the_nearer_size(recorded, netraces, network, multicast):
    found, side, packets, _ = netraces(network, multicast)
    with firemesh.open_trace(recorded(network, multicast)) as trace:
        bits = trace.attribute("flit_bits")
    kind_of = {
        one["number"]: (kind, one["bytes"]) for kind, two in side["types"].items() for one in two
    }
    assert len(kind_of) == 2 * len(side["types"])
    copies = [p for p in packets for _ in p["arrived"]]
    used = Counter()
    for packet, record in zip(copies, found.packets, strict=True):
        kind, size = kind_of[record.type]
        assert kind == packet["kind"] and size == BYTES_OF_TYPE[record.type]
        off = {n: abs(-(-8 * n // bits) - packet["flits"]) for n in (8, 72)}
        assert off[size] == min(off.values())
        used[record.type] += 1
    for one in (one for two in side["types"].values() for one in two):
        assert one["records"] == used[one["number"]]
    assert side["flits"]["in_trace"] == sum(p["flits"] for p in copies)
    in_file = sum(-(-8 * BYTES_OF_TYPE[r.type] // bits) for r in found.packets)
    assert side["flits"]["in_file"] == in_file


@every_trace
def test_header_and_regions_of_netrace_cover_the_run(recorded, netraces, network, multicast):
    found, side, packets, _ = netraces(network, multicast)
    with firemesh.open_trace(recorded(network, multicast)) as trace:
        layers = trace.layers
        assert found.cycles == trace.cycles and found.nodes == len(trace.units)
        segments = trace.segments[np.unique([p["segment"] for p in packets])]
        groups = {(int(row["frame"]), int(row["layer"])) for row in segments}
    assert found.benchmark == network
    assert [packet for region in found.regions for packet in region.packets] == found.packets
    assert sum(region.cycles for region in found.regions) == found.cycles
    begin = 0
    for region, row in zip(found.regions, side["regions"]["table"], strict=True):
        assert row["first_cycle"] == begin and row["first_id"] == region.packets[0].id
        assert all(begin <= packet.cycle < begin + region.cycles for packet in region.packets)
        begin += region.cycles
    assert side["regions"]["each"] == "layer"
    shown = [(row["frame"], layers.index(row["layer"])) for row in side["regions"]["table"]]
    assert shown == sorted(groups)


@every_trace
def test_netrace_dependencies_are_a_graph_without_cycles_among_ids_that_exist(
    netraces, network, multicast
):
    found, side, _, report = netraces(network, multicast)
    ids = [packet.id for packet in found.packets]
    assert len(set(ids)) == len(ids) and max(ids) < 2**32
    graph = nx.DiGraph()
    graph.add_nodes_from(ids)
    for packet in found.packets:
        assert len(set(packet.deps)) == len(packet.deps) <= 255
        graph.add_edges_from((packet.id, released) for released in packet.deps)
    assert len(graph) == len(ids)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.number_of_edges() == report.counts["dependencies"]
    rule = side["dependencies"]
    assert rule["of_outputs"] + rule["of_forwarded"] == graph.number_of_edges()
    waits = {packet.id for packet in found.packets if packet.src != STORAGE}
    assert {node: graph.in_degree(node) for node in ids} == {n: int(n in waits) for n in ids}


@every_trace
def test_netrace_dependencies_are_those_of_the_machine(netraces, network, multicast):
    found, _, packets, _ = netraces(network, multicast)
    copies = [(p, unit) for p in packets for unit in sorted(p["arrived"])]
    id_of = {
        (p["segment"], p["source"], p["number"], unit): record.id
        for (p, unit), record in zip(copies, found.packets, strict=True)
    }
    outputs, ends, brought, forwarded = (defaultdict(list) for _ in range(4))
    for (p, unit), record in zip(copies, found.packets, strict=True):
        place = p["segment"], p["source"]
        if p["source"] != STORAGE and unit == STORAGE:
            outputs[place].append(record.id)
        elif p["source"] != STORAGE:
            forwarded[place].append((p, record.id))
        if unit != STORAGE and p["kind"] != "weights":
            brought[p["segment"], unit].append((p["arrived"][unit], p, record.id))
        if unit != STORAGE and p["kind"] == "end":
            ends[p["segment"], unit].append(record.id)
    assert len(id_of) == len(copies) and outputs
    assert bool(forwarded) == (multicast == "chain")
    wanted = set()
    for place, mine in outputs.items():
        (end,) = ends[place]
        width = 255 - sum(p["kind"] == "end" for p, _ in forwarded[place])
        for j, released in enumerate(mine):
            wanted.add((end if j < width else mine[j - width], released))
    arrived = {record.id: p["arrived"][unit] for (p, unit), record in zip(
        copies, found.packets, strict=True)}  # fmt: skip
    created = {record.id: record.cycle for record in found.packets}
    edges = {(packet.id, released) for packet in found.packets for released in packet.deps}
    of_forwarded = {edge for edge in edges if edge not in wanted}
    assert edges >= wanted
    assert {released for _, released in of_forwarded} == {
        id_ for mine in forwarded.values() for _, id_ in mine
    }
    for parent, released in of_forwarded:
        assert arrived[parent] < created[released]
    for place, mine in forwarded.items():  # messages leave a PE in the order in which they came
        parents = {released: parent for parent, released in of_forwarded}
        order = [id_ for _, _, id_ in sorted(brought[place], key=lambda row: row[0])]
        places = [order.index(parents[id_]) for _, id_ in mine]
        assert places == sorted(set(places))
        kinds = {id_: p["kind"] for _, p, id_ in brought[place]}
        assert all(kinds[parents[id_]] == p["kind"] for p, id_ in mine)
    if network == "dense":
        assert max(len(mine) for mine in outputs.values()) > 511
        assert max(len(packet.deps) for packet in found.packets) == 255


@pytest.mark.parametrize(
    "frames, each, n", ((25, "layer", 100), (26, "frame", 26), (101, "trace", 1))
)
def test_netrace_has_a_region_a_layer_else_a_frame_else_one(tmp_path, frames, each, n):
    firemesh.run("digits", firemesh.images("digits", frames)[0], trace=tmp_path / "run.h5")
    _, data, side = written(tmp_path / "run.h5", "netrace", tmp_path / "run.tra.bz2")
    found = read_netrace(data)
    assert side["regions"]["each"] == each and len(found.regions) == n
    assert [packet for region in found.regions for packet in region.packets] == found.packets
    assert sum(region.cycles for region in found.regions) == found.cycles


def test_a_layer_of_netrace_has_its_cycles_and_its_packets_alone(recorded, netraces, tmp_path):
    whole = netraces("digits", "tree")[0]
    mine = [packet for region in whole.regions[2::4] for packet in region.packets]
    _, data, _ = written(recorded(), "netrace", tmp_path / "a.bz2", layer="fc1")
    part = read_netrace(data)
    assert [p[0:1] + p[2:8] for p in part.packets] == [p[0:1] + p[2:8] for p in mine]
    assert sum(region.cycles for region in part.regions) == part.cycles
    shift = mine[0].cycle
    _, data, side = written(recorded(), "netrace", tmp_path / "b.bz2", layer="fc1", relative=True)
    relative = read_netrace(data)
    assert [p.cycle for p in relative.packets] == [p.cycle - shift for p in mine]
    assert (relative.cycles, side["cycle_0_is_cycle_of_run"]) == (part.cycles - shift, shift)


def test_the_traces_of_these_tests_have_every_kind_of_packet_and_sizes_of_both_types(netraces):
    kinds, sizes = Counter(), Counter()
    for network in NETWORKS:
        found, _, packets, _ = netraces(network, "tree")
        kinds.update(p["kind"] for p in packets)
        sizes.update(BYTES_OF_TYPE[record.type] for record in found.packets)
    assert set(kinds) == {"event", "end", "fired", "fired_end", "weights"}
    assert set(sizes) == {8, 72}


def test_a_mesh_of_more_than_255_nodes_is_refused_for_netrace_alone(capsys, tmp_path):
    path, out = tmp_path / "run.h5", tmp_path / "o.bz2"
    wide = firemesh.machine("mnf-22nm").replace(mesh__width=16, mesh__height=16)
    firemesh.run("digits", firemesh.images("digits", 1)[0], wide, trace=path)
    code, _, err = ended(capsys, path, "--format", "netrace", "--out", out)
    assert code == 2 and not out.exists()
    assert err == (
        f"firemesh: {path}: has 256 nodes, netrace can tell 255; export it as text, "
        "or run on a smaller mesh\n"
    )
    assert ended(capsys, path, "--format", "text", "--out", out)[0] == 0
    assert len(read_packet_lines(out.read_text())) > 0
