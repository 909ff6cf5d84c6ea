"""Exported traces: what other programs read is what the trace's packets and arrivals say."""

import bz2
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import networkx as nx
import numpy as np
import onnx
import onnx_graphs
import pytest
import streamed_networks
from foreign_formats import (
    BYTES_OF_TYPE,
    is_active,
    read_netrace,
    read_noxim_hardcoded,
    read_noxim_table,
    read_packet_lines,
)
from hypothesis import given
from hypothesis import strategies as st

import firemesh
from firemesh.emulator.cli import main
from firemesh.emulator.recorder import Recorder
from firemesh.models.network import Conv, Network, Tensor
from firemesh.traces import writer
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import noxim, traffic
from firemesh.traces.exporters.export import EXPORTERS, export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.text import numbers_text

STORAGE = 0
MULTICASTS = ("tree", "chain", "unicast")
NETWORKS = ("digits", "streamed", "dense")


def dense_network():
    """Return a layer of 6 filters whose every output fires: 512 of each of three PEs."""
    rng = np.random.default_rng(0)
    layer = Conv(
        "conv", ("x",), "y", weight=rng.integers(1, 9, (6, 2, 1, 1)).astype(np.int8),
        weight_zero_point=np.zeros(6, np.int32), multiplier=np.full(6, 0.01, np.float32),
        bias=np.full(6, 10_000, np.int32), low=-5, high=127,
    )  # fmt: skip
    shapes = {"x": (2, 16, 16), "y": (6, 16, 16)}
    tensors = {name: Tensor(name, shape, "int8", 1.0, -5) for name, shape in shapes.items()}
    return Network("dense", (layer,), tensors, ("x",), ("y",))


def record(network, multicast, path):
    """Run two frames with a trace."""
    tiny = firemesh.machine("mnf-tiny").replace(noc__multicast=multicast)
    if network == "digits":
        described = firemesh.machine("mnf-22nm").replace(noc__multicast=multicast)
        firemesh.run("digits", firemesh.images("digits", 2)[0], described, trace=path)
    elif network == "streamed":
        small = tiny.replace(pe__weight_bytes=60 * 6, pe__psum_bank_bytes=40 * 8)
        images = streamed_networks.frames(1, 2)
        firemesh.run(
            streamed_networks.streamed_network(1), images, small.replace(noc__flit_bits=16),
            trace=path,
        )  # fmt: skip
    else:
        images = np.full((2, 2, 16, 16), 3, np.int8)
        firemesh.run(dense_network(), images, tiny, trace=path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return (network, multicast) -> path of a trace, each made once."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def find(network="digits", multicast="tree"):
        if (network, multicast) not in made:
            path = folder / f"{network}-{multicast}.h5"
            record(network, multicast, path)
            made[network, multicast] = path
        return made[network, multicast]

    return find


every_trace = pytest.mark.parametrize(
    "network, multicast", [(n, m) for n in NETWORKS for m in MULTICASTS]
)


def told(trace, **selection):
    """Return a dict for each packet of a trace, in the order of segments, cycles and sources."""
    kinds, found = [name.decode() for name in trace.table("kinds")["name"]], []
    blocks = zip(trace.packets(**selection), trace.deliveries(**selection), strict=True)
    for segment, (packets, arrived) in enumerate(blocks):
        cycles = defaultdict(dict)
        for cycle, number, source, unit, _, _ in arrived.tolist():
            cycles[source, number][unit] = cycle
        for created, number, source, layer, flits, kind, _ in packets.tolist():
            found.append(
                dict(segment=segment, cycle=created, number=number, source=source, flits=flits)
                | dict(kind=kinds[kind], layer=layer, arrived=cycles[source, number])
            )
    return found


def written(path, format, out, **options):
    """Export; return the report, the file's bytes and what the file beside it tells."""
    with firemesh.open_trace(path) as trace:
        report = export(trace, format, out, Options(**options))
    return report, out.read_bytes(), json.loads(Path(f"{out}.json").read_text())


# ---- packets


@every_trace
def test_a_line_of_packets_is_a_packet_with_all_its_destinations(
    recorded, tmp_path, network, multicast
):
    report, data, side = written(recorded(network, multicast), "packets", tmp_path / "p.txt")
    lines = read_packet_lines(data.decode("ascii"))
    with firemesh.open_trace(recorded(network, multicast)) as trace:
        packets = told(trace)
    wanted = [(p["cycle"], p["source"], tuple(sorted(p["arrived"])), p["flits"]) for p in packets]
    assert lines == wanted and len(lines)
    keys = [(p["cycle"], p["source"], p["number"]) for p in packets]
    assert keys == sorted(keys)
    copies = sum(len(to) for _, _, to, _ in lines)
    assert report.counts == {"packets": len(lines), "deliveries": copies, "lines": len(lines)}
    assert side["counts"] == report.counts


def test_split_packets_are_a_line_for_each_destination(recorded, tmp_path):
    whole = read_packet_lines(written(recorded(), "packets", tmp_path / "a")[1].decode())
    split = read_packet_lines(
        written(recorded(), "packets", tmp_path / "b", split=True)[1].decode()
    )
    assert split == [(c, s, (node,), f) for c, s, to, f in whole for node in to]
    assert len(split) > len(whole)


def test_a_layer_and_a_frame_are_a_part_whose_cycles_may_begin_with_0(recorded, tmp_path):
    whole = read_packet_lines(written(recorded(), "packets", tmp_path / "a")[1].decode())
    with firemesh.open_trace(recorded()) as trace:
        (number,) = np.flatnonzero((trace.segments["frame"] == 1) & (trace.segments["layer"] == 2))
        begin, end = (int(trace.segments[name][number]) for name in ("cycle0", "cycle1"))
        name = trace.layers[2]
    mine = [line for line in whole if begin <= line[0] < end]
    part = written(recorded(), "packets", tmp_path / "b", layer=name, frame=1)[1]
    assert read_packet_lines(part.decode()) == mine and 0 < len(mine) < len(whole)
    _, data, side = written(
        recorded(), "packets", tmp_path / "c", layer=name, frame=1, relative=True
    )
    shifted = [(cycle - begin, *rest) for cycle, *rest in mine]
    assert [tuple(line) for line in read_packet_lines(data.decode())] == shifted
    assert side["cycle_0_is_cycle_of_run"] == begin and side["end_cycle"] == end - begin


@pytest.mark.parametrize("part, cycles", ((1, 1), (7, 10)))
@pytest.mark.parametrize("format, form", (
    ("packets", None), ("netrace", None), ("noxim", "table"), ("noxim", "hardcoded"),
))  # fmt: skip
def test_a_file_does_not_depend_on_how_much_is_written_at_once(
    recorded, tmp_path, monkeypatch, format, form, part, cycles
):
    layer = None if part > 1 else "fc2"
    whole = written(recorded(), format, tmp_path / "a.bz2", form=form, layer=layer)[1:]
    monkeypatch.setattr(traffic, "PART", part)
    monkeypatch.setattr(noxim, "CYCLES_AT_ONCE", cycles)
    assert written(recorded(), format, tmp_path / "b.bz2", form=form, layer=layer)[1:] == whole


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=30))
def test_numbers_become_their_decimal_text(numbers):
    after = np.resize(np.frombuffer(b" ,\n", np.uint8), len(numbers))
    wanted = "".join(f"{n}{chr(c)}" for n, c in zip(numbers, after, strict=True))
    assert numbers_text(np.array(numbers, np.int64), after).tobytes().decode() == wanted


# ---- netrace

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


# ---- Noxim


def flows_of(packets):
    """Return segment -> (source, destination) -> packets."""
    found = defaultdict(Counter)
    for packet in packets:
        for unit in packet["arrived"]:
            found[packet["segment"]][packet["source"], unit] += 1
    return found


@every_trace
def test_a_noxim_table_has_the_packets_of_each_flow_in_each_window(
    recorded, tmp_path, network, multicast
):
    path = recorded(network, multicast)
    _, data, side = written(path, "noxim", tmp_path / "table.txt")
    flows = read_noxim_table(data.decode("ascii"))
    with firemesh.open_trace(path) as trace:
        wanted = [flow for _, flow in sorted(flows_of(told(trace)).items())]
        total = trace.cycles
    assert len(side["windows"]) == len(wanted)
    last, seen = 0, 0
    for window, counts in zip(side["windows"], wanted, strict=True):
        begin, end = window["begin"], window["begin"] + window["cycles"]
        assert begin >= last
        mine = [flow for flow in flows if is_active(flow, 1000 + begin)]
        assert mine == [flow for flow in flows if is_active(flow, 1000 + end - 1)]
        assert not any(is_active(f, 1000 + begin - 1) or is_active(f, 1000 + end) for f in mine)
        assert {(flow.src, flow.dst) for flow in mine} == set(counts)
        rates = defaultdict(float)
        for flow in mine:
            assert flow.por == flow.pir
            wrong = counts[flow.src, flow.dst] - flow.pir * window["cycles"]
            assert 0 <= wrong + 1e-9 and wrong < 1e-6
            rates[flow.src] += flow.pir
        assert max(rates.values()) <= 1
        sent = Counter()
        for (src, _), n in counts.items():
            sent[src] += n
        fits = max(sent.values()) < window["cycles_of_run"]
        assert (window["cycles"] == window["cycles_of_run"]) == fits
        last, seen = end, seen + len(mine)
    assert seen == len(flows) and side["cycles"] >= last
    stretched = sum(w["cycles"] - w["cycles_of_run"] for w in side["windows"])
    assert side["cycles"] == total + stretched


def test_a_window_of_noxim_is_longer_where_a_source_has_more_copies_than_cycles(recorded, tmp_path):
    lengths = {}
    for multicast in MULTICASTS:
        side = written(recorded("digits", multicast), "noxim", tmp_path / multicast)[2]
        lengths[multicast] = [w["cycles"] - w["cycles_of_run"] for w in side["windows"]]
    assert max(lengths["tree"]) > 0 and not any(lengths["chain"] + lengths["unicast"])


@every_trace
def test_hardcoded_noxim_traffic_has_every_arrivals_packet_in_its_cycle(
    recorded, tmp_path, network, multicast
):
    path = recorded(network, multicast)
    _, data, side = written(path, "noxim", tmp_path / "traffic.txt", form="hardcoded")
    cycles = read_noxim_hardcoded(data.decode("ascii"))
    with firemesh.open_trace(path) as trace:
        wanted = [[] for _ in range(trace.cycles)]
        for packet in told(trace):
            for unit in sorted(packet["arrived"]):
                wanted[packet["cycle"]].append((packet["source"], unit))
        mesh = trace.table("units")
        flags = f"-dimx {mesh['x'].max() + 1} -dimy {mesh['y'].max() + 1} "
    assert cycles == wanted
    words = side["flags"].split()
    assert side["flags"].startswith(flags) and words[words.index("-traffic") + 1] == "hardcoded"
    assert int(words[words.index("-sim") + 1]) == len(cycles)
    low, high = (int(words[words.index("-size") + i]) for i in (1, 2))
    assert low == high >= 2


def test_noxim_begins_with_the_first_cycle_that_is_exported(recorded, tmp_path):
    options = {"form": "hardcoded", "layer": "conv2", "frame": 1}
    cycles = read_noxim_hardcoded(
        written(recorded(), "noxim", tmp_path / "a", **options)[1].decode()
    )
    with firemesh.open_trace(recorded()) as trace:
        segment = trace.segments[5]
        packets = told(trace, layer="conv2", frame=1)
    assert len(cycles) == segment["cycle1"] - segment["cycle0"]
    wanted = Counter(
        (p["cycle"] - int(segment["cycle0"]), p["source"], unit)
        for p in packets
        for unit in p["arrived"]
    )
    assert Counter((c, *pair) for c, pairs in enumerate(cycles) for pair in pairs) == wanted


def test_the_readers_of_these_tests_read_comments_and_short_lines_of_noxim():
    table = "% src dst pir\n0 5 0.01\n3 12 0.02 0.02 0 500 1000\n"
    assert [tuple(flow)[:3] for flow in read_noxim_table(table)] == [(0, 5, 0.01), (3, 12, 0.02)]
    assert read_noxim_hardcoded("# a\n0 15\n5 6\n-1\n% b\n-1\n") == [[(0, 15), (5, 6)], []]


# ---- files and mistakes


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["trace", "export", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_command_writes_what_the_function_does_and_says_how_much(
    capsys, recorded, tmp_path, format
):
    out = tmp_path / "a.bz2"
    report, data, _ = written(recorded(), format, tmp_path / "b.bz2")
    code, said, err = ended(capsys, recorded(), "--format", format, "--out", out)
    assert (code, err) == (0, "") and out.read_bytes() == data
    counts = ", ".join(f"{n:,} {name}" for name, n in report.counts.items())
    assert said == f"{format}: {counts} in {len(data):,} bytes, {out}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.bz2", "a.bz2.json", "b.bz2", "b.bz2.json"]  # fmt: skip
    _, shown, _ = ended(capsys, recorded(), "--format", format, "--out", out, "--force", "--json")
    assert json.loads(shown)["counts"] == report.counts


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_same_trace_gives_the_same_bytes_and_no_folder(recorded, tmp_path, format):
    first = written(recorded(), format, tmp_path / "a.bz2")[1:]
    assert written(recorded(), format, tmp_path / "b.bz2")[1:] == first
    assert str(recorded().parent) not in json.dumps(first[1])


def test_the_help_names_every_format(capsys):
    _, text, _ = ended(capsys, "--help")
    assert all(format in text for format in EXPORTERS)


MISTAKES = {
    ("--format", "vcd", "--out", "o"): "--format: must be one of netrace, noxim, packets, got vcd",
    ("--format", "netrace", "--out", "o.tra"):
        "o.tra: a file for netrace must be named NAME.bz2; try o.tra.bz2",
    ("--format", "packets", "--out", "there"):
        "there: exists; name another file, or replace it with --force",
    ("--format", "packets", "--out", "side"):
        "side.json: exists; name another file, or replace it with --force",
    ("--format", "packets", "--out", "run.h5", "--force"):
        "run.h5: is the trace itself; name another file",
    ("--format", "packets", "--out", "."): ".: is a folder; name a file",
    ("--format", "packets", "--out", "no/o"):
        "no/o: there is no folder no; make it, or name another place",
    ("--format", "packets", "--out", "o", "--form", "table"):
        "--form: is of noxim; leave it out for packets",
    ("--format", "netrace", "--out", "o.bz2", "--split"):
        "--split: is of packets; leave it out for netrace",
    ("--format", "noxim", "--out", "o", "--relative"):
        "--relative: is of netrace, packets; leave it out for noxim",
    ("--format", "noxim", "--out", "o", "--form", "x"):
        "--form: must be one of table, hardcoded, got x",
    ("--format", "noxim", "--out", "o", "--layer", "x"):
        "layer: must be one of conv1, conv2, fc1, fc2, got x",
    ("--format", "noxim", "--out", "o", "--frame", "3"): "frame: must be one of 0..0, got 3",
    ("--format", "packets"): "missing option '--out'; see firemesh trace export --help",
}  # fmt: skip


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_sentence_and_leaves_all_files(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    shutil.copy(firemesh.sample_trace(), "run.h5")
    Path("there").write_text("old")
    Path("side.json").write_text("old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ended(capsys, "run.h5", *arguments) == (2, "", f"firemesh: {MISTAKES[arguments]}\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name, sentence", (
    ("none.h5", "none.h5: no such file; make one with firemesh run --trace"),
    ("text.h5", "text.h5: cannot be opened: it is not an HDF5 file; "
     "make it again with firemesh run --trace"),
))  # fmt: skip
def test_what_is_no_trace_is_refused(capsys, tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    Path("text.h5").write_text("0 0 1 1\n" * 99)
    told = ended(capsys, name, "--format", "packets", "--out", "o")
    assert told == (2, "", f"firemesh: {sentence}\n")
    assert not Path("o").exists()


def test_a_mesh_of_more_than_255_nodes_is_refused_for_netrace_alone(capsys, tmp_path):
    path, out = tmp_path / "run.h5", tmp_path / "o.bz2"
    wide = firemesh.machine("mnf-22nm").replace(mesh__width=16, mesh__height=16)
    firemesh.run("digits", firemesh.images("digits", 1)[0], wide, trace=path)
    code, _, err = ended(capsys, path, "--format", "netrace", "--out", out)
    assert code == 2 and not out.exists()
    assert err == (
        f"firemesh: {path}: has 256 nodes, netrace can tell 255; export it as packets, "
        "or run on a smaller mesh\n"
    )
    assert ended(capsys, path, "--format", "packets", "--out", out)[0] == 0
    assert len(read_packet_lines(out.read_text())) > 0


def test_a_mesh_of_one_row_is_refused_for_noxim(capsys, tmp_path):
    path = tmp_path / "run.h5"
    row = firemesh.machine("mnf-tiny").replace(mesh__width=4, mesh__height=1)
    firemesh.run("digits", firemesh.images("digits", 1)[0], row, trace=path)
    told = ended(capsys, path, "--format", "noxim", "--out", tmp_path / "o")
    assert told == (2, "", f"firemesh: {path}: has a mesh of 4 x 1, Noxim wants 2 x 2 at least; "
                    "export it as packets\n")  # fmt: skip


def test_too_many_cycles_for_noxim_are_refused(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(noxim, "MOST_CYCLES", 1000)
    for form in noxim.FORMS:
        with pytest.raises(TraceError, match=r"becomes 1,758 cycles, Noxim counts 1,000; choose a"):
            written(recorded(), "noxim", tmp_path / "o", form=form)
    assert not list(tmp_path.iterdir())


def test_a_layer_without_packets_is_refused(capsys, tmp_path):
    model, images = onnx_graphs.random_graph(0, True, "int8", ("conv", "pool", "average"))
    onnx.save(model, tmp_path / "random.onnx")
    path, network = tmp_path / "run.h5", firemesh.load(tmp_path / "random.onnx")
    firemesh.run(network, images[:1], firemesh.machine("mnf-tiny"), trace=path)
    with firemesh.open_trace(path) as trace:
        layers = trace.table("layers")
        name = layers["name"][layers["mode"] == b"host"][0].decode()
    told = ended(capsys, path, "--format", "packets", "--out", tmp_path / "o", "--layer", name)
    assert told == (2, "", f"firemesh: {path}: holds no packets in layer {name}; choose a layer "
                    "that runs on the PEs, see firemesh trace info\n")  # fmt: skip


def test_the_traces_of_these_tests_have_every_kind_of_packet_and_sizes_of_both_types(netraces):
    kinds, sizes = Counter(), Counter()
    for network in NETWORKS:
        found, _, packets, _ = netraces(network, "tree")
        kinds.update(p["kind"] for p in packets)
        sizes.update(BYTES_OF_TYPE[record.type] for record in found.packets)
    assert set(kinds) == {"event", "end", "fired", "fired_end", "weights"}
    assert set(sizes) == {8, 72}


@pytest.mark.parametrize("failure", (KeyboardInterrupt(), OSError(28, "No space left on device")))
@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_that_fails_leaves_what_was_there(
    recorded, tmp_path, monkeypatch, format, failure
):
    out = tmp_path / "o.bz2"
    out.write_text("old")
    inner = traffic.Traffic._sent

    def fail(self, number, counted):
        if number == 3:
            raise failure
        return inner(self, number, counted)

    monkeypatch.setattr(traffic.Traffic, "_sent", fail)
    with firemesh.open_trace(recorded()) as trace:
        with pytest.raises(type(failure)) as error:
            export(trace, format, out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["o.bz2"] and out.read_text() == "old"
    if isinstance(failure, OSError):
        assert error.value.filename == str(out)


def test_arrivals_that_contradict_packets_are_refused(recorded, tmp_path, monkeypatch):
    inner = firemesh.Trace._deliveries_of

    def changed(edit):
        def read(self, number):
            rows = inner(self, number)
            return edit(rows) if number == 1 else rows

        return read

    def to_another(rows, field, value):
        rows[field][0] = value
        return rows

    edits = (
        lambda rows: rows[:-1],
        lambda rows: rows[1:],  # one of several copies
        lambda rows: to_another(rows, "number", 10**6),
        lambda rows: to_another(rows, "source", 500),
        lambda rows: to_another(rows, "unit", rows["unit"][1]),
    )
    for edit in edits:
        monkeypatch.setattr(firemesh.Trace, "_deliveries_of", changed(edit))
        with pytest.raises(TraceError, match="segment 1 contradict each other; see firemesh trace"):
            written(recorded(), "packets", tmp_path / "o")
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_exported_as_far_as_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    firemesh.run("digits", firemesh.images("digits", 2)[0], trace=whole)
    commit, commits = Recorder.commit, 0

    def stop(self, state):
        nonlocal commits
        commit(self, state)
        commits += 1
        if commits == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "commit", stop)
    with pytest.raises(KeyboardInterrupt):
        firemesh.run("digits", firemesh.images("digits", 2)[0], trace=part)
    assert not part.exists()
    lines = read_packet_lines(written(part, "packets", tmp_path / "a")[1].decode())
    assert (
        lines
        == read_packet_lines(written(whole, "packets", tmp_path / "b")[1].decode())[: len(lines)]
    )
    sides = [json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json")]
    assert [side["complete"] for side in sides] == [False, True] and 0 < len(lines)


def test_progress_counts_the_segments(recorded, tmp_path):
    seen = []
    with firemesh.open_trace(recorded()) as trace:
        export(trace, "packets", tmp_path / "o", progress=lambda *step: seen.append(step))
    assert seen == [(i, 8) for i in range(1, 9)]
