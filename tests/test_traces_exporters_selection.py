"""Selections of packets: layers, a frame, cycles of the run, units, as each format has them."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from exported_traces import STORAGE, ended, recorder, told, written
from foreign_formats import (
    is_active,
    read_netrace,
    read_noxim_hardcoded,
    read_noxim_table,
    read_packet_lines,
)

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters.export import EXPORTERS

SELECTIONS = {
    "layers": {"layer": ("conv1", "fc1")},
    "layer and frame": {"layer": "conv2", "frame": 1},
    "cycles in one segment": {"cycles": (100, 260)},
    "cycles over segments": {"cycles": (300, 1200)},
    "cycles from within to the end": {"cycles": (801, 10**9)},
    "one cycle": {"cycles": (0, 1)},
    "a unit": {"unit": "pe3"},
    "units": {"unit": ("pe1", "pe11")},
    "storage": {"unit": "storage"},
    "all at once": {"unit": "pe2", "cycles": (150, 1100), "layer": ("conv1", "conv2"), "frame": 0},
}
CASES = [("tree", name) for name in SELECTIONS] + [
    (multicast, name)
    for multicast in ("chain", "unicast")
    for name in ("cycles in one segment", "units", "all at once")
]
every_case = pytest.mark.parametrize("multicast, name", CASES)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return recorder(tmp_path_factory.mktemp("selected"))


@pytest.fixture(scope="module")
def everything(recorded):
    """Return multicast -> all packets, layers, units, segments."""
    made = {}

    def find(multicast):
        if multicast not in made:
            with firemesh.open_trace(recorded("digits", multicast)) as trace:
                made[multicast] = told(trace), list(trace.layers), list(trace.units), trace.segments
        return made[multicast]

    return find


@pytest.fixture(scope="module")
def netraces(recorded, tmp_path_factory):
    """Return multicast -> the netrace file of the whole trace, as it was read."""
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def find(multicast):
        if multicast not in made:
            path = recorded("digits", multicast)
            made[multicast] = read_netrace(written(path, "netrace", folder / f"{multicast}.bz2")[1])
        return made[multicast]

    return find


def names(wanted):
    return (wanted,) if isinstance(wanted, str) else wanted


def is_wanted(packet, everything, layer=None, frame=None, cycles=None, unit=None):
    """Tell whether a packet is selected, by the definition."""
    _, layers, units, segments = everything
    ends = {units[node] for node in (packet["source"], *packet["arrived"])}
    return (
        (layer is None or layers[packet["layer"]] in names(layer))
        and (frame is None or segments["frame"][packet["segment"]] == frame)
        and (cycles is None or cycles[0] <= packet["cycle"] < cycles[1])
        and (unit is None or bool(ends & set(names(unit))))
    )


def selected(everything, selection):
    mine = [packet for packet in everything[0] if is_wanted(packet, everything, **selection)]
    assert 0 < len(mine) and (len(mine) < len(everything[0]) or selection == {"unit": "storage"})
    return mine


def bounds(everything, layer=None, frame=None, cycles=None, unit=None):
    """Return the first cycle of the selected segments and the end of the last, in the window."""
    _, layers, _, segments = everything
    low, high = cycles or (0, 2**62)
    mine = [
        row for row in segments
        if (layer is None or layers[row["layer"]] in names(layer))
        and (frame is None or row["frame"] == frame)
        and row["cycle0"] < high and row["cycle1"] > low
    ]  # fmt: skip
    return max(int(mine[0]["cycle0"]), low), min(int(mine[-1]["cycle1"]), high)


def check_selected(side, packets):
    assert side["selected"] == {
        "packets": len(packets),
        "deliveries": sum(len(p["arrived"]) for p in packets),
        "flits": sum(p["flits"] for p in packets),
        "first_cycle": packets[0]["cycle"],
        "last_cycle": packets[-1]["cycle"],
    }


@every_case
@pytest.mark.parametrize("relative, split", ((False, False), (True, True)))
def test_lines_of_a_selection_are_its_packets_with_all_their_destinations(
    recorded, everything, tmp_path, multicast, name, relative, split
):
    selection = SELECTIONS[name]
    packets, (begin, end) = (
        selected(everything(multicast), selection), bounds(everything(multicast), **selection)
    )  # fmt: skip
    zero = begin if relative else 0
    report, data, side = written(
        recorded("digits", multicast), "text", tmp_path / "p",
        relative=relative, split=split, **selection,
    )  # fmt: skip
    wanted = [
        (p["cycle"] - zero, p["source"], to, p["flits"])
        for p in packets
        for to in ([(n,) for n in sorted(p["arrived"])] if split else [tuple(sorted(p["arrived"]))])
    ]
    assert read_packet_lines(data.decode("ascii")) == wanted
    check_selected(side, packets)
    assert side["cycle_0_is_cycle_of_run"] == zero and side["end_cycle"] == end - zero
    assert (side["first_cycle_of_run"], side["end_cycle_of_run"]) == (begin, end)
    assert side["written"] == {
        "records": len(wanted),
        "deliveries": sum(len(to) for _, _, to, _ in wanted),
        "flits": sum(flits for *_, flits in wanted),
        "first_cycle": wanted[0][0],
        "last_cycle": wanted[-1][0],
    }
    assert report.counts["packets"] == len(packets) and report.counts["lines"] == len(wanted)


@every_case
def test_a_netrace_selection_has_its_packets_and_the_dependencies_between_them(
    recorded, everything, netraces, tmp_path, multicast, name
):
    selection = SELECTIONS[name]
    path, packets = recorded("digits", multicast), selected(everything(multicast), selection)
    whole = netraces(multicast)
    report, data, side = written(path, "netrace", tmp_path / "p.bz2", **selection)
    found = read_netrace(data)
    copies = [
        (p, unit) for p in everything(multicast)[0] for unit in sorted(p["arrived"])
    ]  # the records of the whole
    is_mine = [is_wanted(p, everything(multicast), **selection) for p, _ in copies]
    mine = [record for record, chosen in zip(whole.packets, is_mine, strict=True) if chosen]
    new_id = {record.id: number for number, record in enumerate(mine)}
    assert [(r.cycle, r.addr, *r[3:8]) for r in found.packets] == [
        (r.cycle, r.addr, *r[3:8]) for r in mine
    ]
    assert [r.id for r in found.packets] == list(range(len(mine)))
    for record, of_whole in zip(found.packets, mine, strict=True):
        kept = [new_id[id_] for id_ in of_whole.deps if id_ in new_id]
        assert list(record.deps) == kept
    n_kept = sum(len(record.deps) for record in found.packets)
    waiting = {id_ for record in whole.packets for id_ in record.deps} & set(new_id)
    rule = side["dependencies"]
    assert rule["on_packets_outside"] == len(waiting) - n_kept
    assert rule["of_outputs"] + rule["of_forwarded"] == n_kept == report.counts["dependencies"]
    forwarded = {r.id for r in found.packets if STORAGE not in (r.src, r.dst)}
    released = [id_ for record in found.packets for id_ in record.deps]
    assert rule["of_forwarded"] == sum(id_ in forwarded for id_ in released)
    check_selected(side, packets)
    assert side["written"] == {
        "records": len(mine),
        "deliveries": len(mine),
        "flits": side["flits"]["in_file"],
        "first_cycle": mine[0].cycle,
        "last_cycle": mine[-1].cycle,
    }


def test_a_window_within_a_wave_has_packets_that_wait_for_none_but_would(recorded, tmp_path):
    outside = []
    for begin in (0, 150, 240):
        side = written(recorded(), "netrace", tmp_path / f"{begin}.bz2", cycles=(begin, 300))[2]
        outside.append(side["dependencies"]["on_packets_outside"])
    assert outside[0] == 0 and outside[-1] > 0


@every_case
@pytest.mark.parametrize("relative", (False, True))
def test_regions_of_a_netrace_selection_can_be_sought_and_end_with_it(
    recorded, everything, tmp_path, multicast, name, relative
):
    selection = SELECTIONS[name]
    begin, end = bounds(everything(multicast), **selection)
    packets, zero = selected(everything(multicast), selection), begin if relative else 0
    path = recorded("digits", multicast)
    _, data, side = written(path, "netrace", tmp_path / "p.bz2", relative=relative, **selection)
    found = read_netrace(data)
    assert found.cycles == end - zero == sum(region.cycles for region in found.regions)
    assert [packet for region in found.regions for packet in region.packets] == found.packets
    at = 0
    for region, row in zip(found.regions, side["regions"]["table"], strict=True):
        assert region.count and row["first_id"] == region.packets[0].id
        assert row["first_cycle"] == at
        assert all(at <= packet.cycle < at + region.cycles for packet in region.packets)
        at += region.cycles
    assert len(found.regions) == len({p["segment"] for p in packets})
    assert side["cycle_0_is_cycle_of_run"] == zero


@every_case
def test_hardcoded_noxim_traffic_of_a_selection_begins_and_ends_with_it(
    recorded, everything, tmp_path, multicast, name
):
    selection = SELECTIONS[name]
    packets = selected(everything(multicast), selection)
    begin, end = bounds(everything(multicast), **selection)
    path = recorded("digits", multicast)
    _, data, side = written(path, "noxim", tmp_path / "n", form="hardcoded", **selection)
    wanted = [[] for _ in range(end - begin)]
    for packet in packets:
        for unit in sorted(packet["arrived"]):
            wanted[packet["cycle"] - begin].append((packet["source"], unit))
    assert read_noxim_hardcoded(data.decode("ascii")) == wanted
    check_selected(side, packets)
    records = sum(len(pairs) for pairs in wanted)
    words = side["consumer_command"].split()
    size = int(words[words.index("-size") + 1])
    assert side["written"] == {
        "records": records,
        "deliveries": records,
        "flits": size * records,
        "first_cycle": packets[0]["cycle"] - begin,
        "last_cycle": packets[-1]["cycle"] - begin,
    }
    flits = sum(p["flits"] * len(p["arrived"]) for p in packets)
    assert side["mean_flits"] == flits / records
    assert int(words[words.index("-sim") + 1]) == end - begin


@every_case
def test_a_noxim_table_of_a_selection_has_its_flows_in_its_windows(
    recorded, everything, tmp_path, multicast, name
):
    selection = SELECTIONS[name]
    packets = selected(everything(multicast), selection)
    segments = everything(multicast)[3]
    begin, end = bounds(everything(multicast), **selection)
    path = recorded("digits", multicast)
    _, data, side = written(path, "noxim", tmp_path / "n", **selection)
    flows, counts = read_noxim_table(data.decode("ascii")), defaultdict(Counter)
    for packet in packets:
        for unit in packet["arrived"]:
            counts[packet["segment"]][packet["source"], unit] += 1
    low, high = selection.get("cycles", (0, 2**62))
    seen = 0
    for window, (segment, mine) in zip(side["windows"], sorted(counts.items()), strict=True):
        row = segments[segment]
        length = min(int(row["cycle1"]), high) - max(int(row["cycle0"]), low)
        assert window["cycles_of_run"] == length <= window["cycles"]
        active = [flow for flow in flows if is_active(flow, 1000 + window["begin"])]
        assert {(flow.src, flow.dst) for flow in active} == set(mine)
        for flow in active:
            lost = mine[flow.src, flow.dst] - flow.pir * window["cycles"]
            assert -1e-9 <= lost < 1e-6
        seen += len(active)
    check_selected(side, packets)
    assert seen == len(flows) == side["written"]["records"]
    assert side["written"]["deliveries"] == sum(sum(mine.values()) for mine in counts.values())
    last = side["windows"][-1]
    assert side["written"]["first_cycle"] == side["windows"][0]["begin"]
    assert side["written"]["last_cycle"] == last["begin"] + last["cycles"] - 1
    stretched = sum(w["cycles"] - w["cycles_of_run"] for w in side["windows"])
    assert side["cycles"] == end - begin + stretched


@pytest.mark.parametrize("format, form", (
    ("text", None), ("netrace", None), ("noxim", "table"), ("noxim", "hardcoded"),
))  # fmt: skip
@pytest.mark.parametrize("selection, where", (
    ({"unit": "pe3", "cycles": (0, 1), "layer": ("conv2", "fc1")},
     " in layer conv2,fc1 of unit pe3 in cycles 0:1"),
    ({"cycles": (10**9, 10**10)}, " in cycles 1000000000:10000000000"),
    ({"unit": ("pe1", "pe2"), "cycles": (290, 292)}, " of unit pe1,pe2 in cycles 290:292"),
))  # fmt: skip
def test_a_selection_without_packets_is_refused_by_its_names(
    recorded, everything, tmp_path, format, form, selection, where
):
    assert not [p for p in everything("tree")[0] if is_wanted(p, everything("tree"), **selection)]
    with pytest.raises(TraceError) as error:
        written(recorded(), format, tmp_path / "o.bz2", form=form, **selection)
    assert str(error.value) == (
        f"{recorded()}: holds no packets{where}; choose other cycles, units or layers, see "
        "firemesh trace info"
    )
    assert not list(tmp_path.iterdir())


def test_an_unknown_unit_is_refused_by_its_name(capsys, recorded, tmp_path):
    code, _, err = ended(
        capsys, recorded(), "--to", "text", "--out", tmp_path / "o", "--unit", "pe1,pe99"
    )
    assert code == 2 and err.startswith("firemesh: unit: must be one of storage, pe1, pe2, ")
    assert err.endswith(", got pe99\n")


def test_progress_of_a_partial_netrace_counts_both_ways_through_the_segments(recorded, tmp_path):
    from firemesh.traces.exporters.export import export
    from firemesh.traces.exporters.exporter import Options
    from firemesh.traces.selection import Selection

    seen = []
    with firemesh.open_trace(recorded()) as trace:
        export(trace, "netrace", tmp_path / "o.bz2", Options(Selection(unit="pe1")),
               progress=lambda *step: seen.append(step))  # fmt: skip
    assert seen == [(i, 16) for i in range(1, 17)]


@pytest.mark.parametrize("format", EXPORTERS)
def test_numpys_numbers_select_what_pythons_do(recorded, tmp_path, format):
    with firemesh.open_trace(recorded()) as trace:
        begin, end = (trace.segments[name][1] for name in ("cycle0", "cycle1"))
    numpys = {"layer": np.array([0, 1]), "unit": [np.int64(0), 1, np.uint8(2)]}
    numpys |= {"frame": np.uint32(0), "cycles": (begin, end)}
    pythons = {"layer": [0, 1], "unit": [0, 1, 2], "frame": 0, "cycles": (int(begin), int(end))}
    suffix = EXPORTERS[format].suffix
    first = written(recorded(), format, tmp_path / f"a{suffix}", **numpys)[1:]
    assert written(recorded(), format, tmp_path / f"b{suffix}", **pythons)[1:] == first
    assert first[1]["selection"]["cycles"] == [int(begin), int(end)]


@pytest.mark.parametrize("cycles", (5, (1,), (1, 2, 3), "ab", ("a", "b")))
def test_cycles_are_two_numbers(recorded, cycles):
    with firemesh.open_trace(recorded()) as trace:
        for read in (trace.to_dataframe, lambda **chosen: next(trace.accesses(**chosen))):
            with pytest.raises(TraceError, match=r"cycles: must be \(FROM, TO\), two numbers, got"):
                read(cycles=cycles)
