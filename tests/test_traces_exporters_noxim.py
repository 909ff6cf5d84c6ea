"""Noxim's traffic files: tables have the rates of flows, hardcoded files every packet."""

from collections import Counter, defaultdict

import pytest
from exported_traces import MULTICASTS, ended, every_trace, recorder, told, written
from foreign_formats import is_active, read_noxim_hardcoded, read_noxim_table

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import noxim


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return recorder(tmp_path_factory.mktemp("exported"))


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


def test_a_mesh_of_one_row_is_refused_for_noxim(capsys, tmp_path):
    path = tmp_path / "run.h5"
    row = firemesh.machine("mnf-tiny").replace(mesh__width=4, mesh__height=1)
    firemesh.run("digits", firemesh.images("digits", 1)[0], row, trace=path)
    told = ended(capsys, path, "--format", "noxim", "--out", tmp_path / "o")
    assert told == (2, "", f"firemesh: {path}: has a mesh of 4 x 1, Noxim wants 2 x 2 at least; "
                    "export it as text\n")  # fmt: skip


def test_too_many_cycles_for_noxim_are_refused(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(noxim, "MOST_CYCLES", 1000)
    for form in noxim.FORMS:
        with pytest.raises(TraceError, match=r"becomes 1,758 cycles, Noxim counts 1,000; choose a"):
            written(recorded(), "noxim", tmp_path / "o", form=form)
    assert not list(tmp_path.iterdir())
