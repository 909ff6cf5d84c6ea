"""Accesses as records: cut, placed, merged and counted, exactly."""

from fractions import Fraction

import numpy as np
import pytest
from given_trace import BYTES, MEMORIES, UNITS, GivenTrace, rows
from hypothesis import example, given, settings
from hypothesis import strategies as st

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import records as module
from firemesh.traces.exporters.cut import MOST_PER, cut
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.places import PAGE
from firemesh.traces.exporters.records import Records
from firemesh.traces.schema import ACCESS
from firemesh.traces.selection import Selection


def quiet(done, total):
    """Tell no one."""


@st.composite
def given_accesses(draw):
    """Draw accesses inside their memories, by cycle and unit."""
    found = []
    for _ in range(draw(st.integers(1, 25))):
        if found and draw(st.booleans()):  # goes on where the last one ended
            cycle, address, unit, size, memory, op = found[-1]
            if address + 2 * size <= 300:
                found.append((cycle, address + size, unit, size, memory, op))
            continue
        memory = draw(st.integers(0, 2))
        size = draw(st.integers(1, 200) | st.just(64))
        address = draw(st.integers(0, 300 - min(size, 300)) | st.sampled_from([0, 64, 100]))
        cycle, unit = draw(st.integers(0, 9)), draw(st.integers(0, 2))
        found.append((cycle, address, unit, size, memory, draw(st.integers(0, 1))))
    return rows(*sorted(found, key=lambda access: (access[0], access[2])))


bursts = st.sampled_from([1, 2, 4, 16, 64, 128])
booleans = st.booleans()


def oracle(accesses, base, zero, times, per, burst, aligns, merges):
    """Return records (tick, address, unit, layer, size, memory, op), byte by byte in thought."""
    found = []
    for cycle, address, unit, layer, size, memory, op in accesses.tolist():
        at = address + int(base[memory, unit])
        end, tick = at + size, (cycle - zero) * times // per
        while at < end:
            stop = min(end, (at // burst + 1) * burst) if burst else end
            first, length = (at // burst * burst, burst) if aligns else (at, stop - at)
            new = [tick, first, unit, layer, length, memory, op]
            last = found[-1] if merges and found else None
            if last is None or [*last[2:4], *last[5:]] != [*new[2:4], *new[5:]]:
                found.append(new)
            elif aligns and last[1] == first:
                pass
            elif not aligns and last[1] + last[4] == at and last[1] // burst == at // burst:
                last[4] += stop - at
            else:
                found.append(new)
            at = stop
    return [tuple(record) for record in found]


def made(trace, options=None, **wanted):
    """Return the records of a trace, and what made them."""
    records = Records(trace, options or Options(), **wanted)
    blocks = list(records.blocks(quiet))
    assert all(len(block) for block in blocks)
    return np.concatenate(blocks), records


# ---- the kernel


@settings(deadline=None)
@given(
    given_accesses(), st.integers(1, 10**13), st.integers(1, MOST_PER), bursts | st.just(0),
    booleans, booleans, booleans,
)  # fmt: skip
def test_records_are_those_of_the_oracle(accesses, times, per, burst, aligns, merges, is_later):
    aligns, merges = aligns and burst > 0, merges and burst > 0
    base = np.arange(15, dtype=np.uint64).reshape(5, 3) * np.uint64(PAGE)
    zero = int(accesses["cycle"][0]) if is_later else 0
    rule = zero, times, per, burst, aligns, merges
    out = np.empty((300 * len(accesses), 3), np.uint64)
    n = cut(accesses.view(np.uint64).reshape(-1, 3), base, *rule, 0, out)
    found = out[:n].view(ACCESS)[:, 0].tolist()
    assert found == oracle(accesses, base, *rule)


@settings(deadline=None)
@given(
    st.integers(0, 2**62 - 1), st.integers(1, 2**40), st.integers(1, MOST_PER), st.integers(0, 99)
)
@example(2**62 - 1, 1, MOST_PER, 0)
@example(2**32 - 1, MOST_PER - 1, MOST_PER, 0)
@example(4_611_686, 10**12, 333_333_333, 0)
def test_a_cycle_is_told_in_another_clock_to_the_cycle(since, times, per, zero):
    if since * times // per >= 2**62:
        since = 2**62 * per // times - 1
    one = rows((since + zero, 0, 0, 1, 0, 0), (since + zero, 0, 0, 1, 0, 0))
    out = np.empty((2, 3), np.uint64)
    base = np.zeros((5, 3), np.uint64)
    words = one.view(np.uint64).reshape(-1, 3)
    assert cut(words, base, zero, times, per, 0, False, False, 0, out) == 2
    assert out[:, 0].tolist() == [int(Fraction(since * times, per))] * 2


def test_addresses_and_sizes_reach_their_ends():
    one = rows((2**62, 2**63 - 65535, 2, 65535, 4, 1))
    out = np.empty((70, 3), np.uint64)
    words = one.view(np.uint64).reshape(-1, 3)
    n = cut(words, np.zeros((5, 3), np.uint64), 0, 1, 1, 1024, True, False, 0, out)
    found = out[:n].view(ACCESS)[:, 0]
    assert found["address"].tolist() == [2**63 - 1024 * i for i in range(64, 0, -1)]
    assert set(found["size"].tolist()) == {1024} and set(found["cycle"].tolist()) == {2**62}


# ---- laws of records


@settings(deadline=None)
@given(given_accesses(), bursts)
def test_pieces_of_an_access_are_its_bytes_once_and_cross_no_burst(accesses, burst):
    found, records = made(GivenTrace(accesses), burst_bytes=burst)
    wanted = [
        (access["cycle"], records.base[access["memory"], access["unit"]] + access["address"] + i)
        for access in accesses
        for i in range(access["size"])
    ]
    pieces = [
        (piece["cycle"], piece["address"] + i) for piece in found for i in range(piece["size"])
    ]
    assert pieces == wanted
    last = found["address"] + found["size"] - np.uint64(1)
    assert (found["address"] // burst == last // burst).all()


@settings(deadline=None)
@given(given_accesses(), bursts)
def test_whole_bursts_are_those_that_an_access_touches(accesses, burst):
    found, records = made(GivenTrace(accesses), burst_bytes=burst, aligns=True)
    wanted = []
    for access in accesses:
        at = int(records.base[access["memory"], access["unit"]] + access["address"])
        wanted += range(at // burst, (at + int(access["size"]) - 1) // burst + 1)
    assert (found["address"] // burst).tolist() == wanted
    assert not (found["address"] % burst).any() and (found["size"] == burst).all()


@settings(deadline=None)
@given(given_accesses(), bursts, booleans)
def test_merged_records_hold_the_bytes_of_all_and_no_two_that_could_be_one(accesses, burst, aligns):
    trace = GivenTrace(accesses)
    single, _ = made(trace, burst_bytes=burst, aligns=aligns)
    merged, records = made(trace, Options(merge=True), burst_bytes=burst, aligns=aligns)
    if aligns:
        same = (single["address"][1:] == single["address"][:-1]) & alike(single)
        assert (merged == single[np.concatenate([[True], ~same])]).all()
        return
    assert merged["size"].sum() == single["size"].sum() == records.selected.bytes
    follows = merged["address"][1:] == merged["address"][:-1] + merged["size"][:-1]
    in_one = merged["address"][1:] // burst == merged["address"][:-1] // burst
    assert not (follows & in_one & alike(merged)).any()


def alike(found):
    """Tell which records are of the unit, memory and op of the one before."""
    same = [found[name][1:] == found[name][:-1] for name in ("unit", "memory", "op", "layer")]
    return np.logical_and.reduce(same)


@settings(deadline=None)
@given(
    given_accesses(), st.sampled_from([0, 8, 64]), booleans, booleans,
    st.lists(st.integers(1, 24), max_size=5), st.integers(1, 40),
)  # fmt: skip
def test_blocks_do_not_show_in_records(accesses, burst, aligns, merges, cuts, most):
    options, aligns = Options(merge=merges and burst > 0), aligns and burst > 0
    whole, first = made(GivenTrace(accesses), options, burst_bytes=burst, aligns=aligns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_RECORDS", most)
        trace = GivenTrace(accesses, cuts=cuts)
        parts, second = made(trace, options, burst_bytes=burst, aligns=aligns)
    assert (parts == whole).all() and len(parts) == len(whole)
    assert first.facts() == second.facts()


@settings(deadline=None)
@given(st.sets(st.integers(1, 31)), st.integers(1, 40), booleans)
def test_neighbours_of_two_blocks_join(cuts, most, aligns):
    given = rows(*((i, 8 * i, 0, 8, 0, 0) for i in range(32)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_RECORDS", most)
        found, records = made(
            GivenTrace(given, cuts=cuts), Options(merge=True), burst_bytes=64, aligns=aligns
        )
    assert found[["cycle", "address", "size"]].tolist() == [(8 * i, 64 * i, 64) for i in range(4)]
    assert (records.selected.count, records.written.count) == (32, 4)


@settings(deadline=None)
@given(given_accesses(), bursts | st.just(0), booleans)
def test_totals_are_those_of_accesses_and_records(accesses, burst, merges):
    found, records = made(
        GivenTrace(accesses), Options(merge=merges and burst > 0, relative=False), burst_bytes=burst
    )
    facts = records.facts()
    for told, name, what in (("selected", "accesses", accesses), ("written", "records", found)):
        assert facts[told] == {
            name: len(what),
            "reads": int((what["op"] == 0).sum()),
            "writes": int((what["op"] == 1).sum()),
            "bytes": int(what["size"].sum()),
            "first_cycle": int(what["cycle"][0]),
            "last_cycle": int(what["cycle"][-1]),
        }


@settings(deadline=None)
@given(given_accesses(), st.sampled_from([0, 64, 8192, 32768]))
def test_records_lie_in_the_place_of_their_memory_and_places_are_apart(accesses, burst):
    found, records = made(GivenTrace(accesses), burst_bytes=burst, aligns=burst > 0)
    step, places = max(burst, PAGE), {}
    for region in records.facts()["addresses"]:
        memory, unit = MEMORIES.index(region["memory"]), UNITS.index(region["unit"])
        places[memory, unit] = region["base"], region["base"] + region["bytes"]
        assert region["bytes"] == BYTES[region["memory"]] and region["base"] % step == 0
    ends = sorted(places.values())
    assert all(end <= begin for (_, end), (begin, _) in zip(ends, ends[1:], strict=False))
    for record in found:
        begin, end = places[int(record["memory"]), int(record["unit"])]
        assert begin <= record["address"]
        assert record["address"] + record["size"] <= -(-end // step) * step


@settings(deadline=None)
@given(given_accesses())
def test_memories_that_are_apart_keep_their_addresses(accesses):
    found, records = made(GivenTrace(accesses), is_apart=True)
    assert (found == accesses).all()
    assert {region["base"] for region in records.regions} == {0}


# ---- a real trace


@pytest.fixture(scope="module")
def trace():
    with firemesh.open_trace(firemesh.sample_trace()) as opened:
        yield opened


def test_totals_of_what_is_selected_are_the_engines(trace):
    for names in ({}, {"layer": "conv2"}, {"memory": "psum", "op": "write"}, {"unit": ["pe3"]}):
        found, records = made(trace, Options(Selection(**names)), burst_bytes=16)
        rows = trace.counters(by=("layer", "unit", "memory", "op"))
        for name, one in names.items():
            rows = rows[np.isin(rows[name], [one] if isinstance(one, str) else one)]
        rows = rows[~np.char.startswith(rows["memory"], "noc_")]
        counted = {op: int(rows["count"][rows["op"] == op].sum()) for op in trace.ops}
        told = records.facts()["selected"]
        assert (told["reads"], told["writes"]) == (counted["read"], counted["write"])
        assert told["bytes"] == int(rows["bytes"].sum()) == int(found["size"].sum())
        keys = list(zip(found["cycle"].tolist(), found["unit"].tolist(), strict=True))
        assert keys == sorted(keys)


def test_windows_of_cycles_make_the_records_of_the_whole(trace):
    whole, _ = made(trace, burst_bytes=64)
    edges = [0, 1, trace.cycles // 3, trace.cycles // 3 + 1, trace.cycles]
    windows = zip(edges[:-1], edges[1:], strict=True)
    parts = [made(trace, Options(Selection(cycles=one)), burst_bytes=64) for one in windows]
    found = np.concatenate([part for part, _ in parts])
    assert (found == whole).all() and len(found) == len(whole)
    accesses = sum(records.selected.count for _, records in parts)
    assert accesses == sum(len(block) for block in trace.accesses())


def test_files_of_parts_have_the_places_of_the_whole(trace):
    whole = Records(trace, Options()).facts()["addresses"]
    parts = [Selection(layer=layer) for layer in trace.layers]
    for part in [*parts, Selection(op="write"), Selection(cycles=(0, 9)), Selection(frame=0)]:
        assert Records(trace, Options(part)).facts()["addresses"] == whole
    storage = Records(trace, Options(Selection(op="write")), memories=("storage",))
    assert [(one["memory"], one["base"]) for one in storage.regions] == [("storage", 0)]


def test_relative_cycles_begin_with_the_first_segment_or_the_window(trace):
    segments = trace.segments
    layer = trace.layers[int(segments["layer"][-1])]
    begin = int(segments["cycle0"][segments["layer"] == segments["layer"][-1]].min())
    plain, _ = made(trace, Options(Selection(layer=layer)))
    shifted, records = made(trace, Options(Selection(layer=layer), relative=True))
    assert begin > 0 and records.facts()["cycle_0_is_cycle_of_run"] == begin
    assert (shifted["cycle"] + np.uint64(begin) == plain["cycle"]).all()
    window = begin + 10, trace.cycles
    _, records = made(trace, Options(Selection(layer=layer, cycles=window), relative=True))
    assert records.zero == begin + 10


def test_a_clock_is_a_ratio_of_the_machines(trace):
    machine = trace.attribute("clock_hz")
    plain, _ = made(trace)
    for hz in (machine, 3 * machine, machine // 7, 1_333_333_333, 1):
        found, records = made(trace, Options(clock_hz=hz))
        wanted = [cycle * hz // machine for cycle in plain["cycle"].tolist()]
        assert found["cycle"].tolist() == wanted and records.facts()["clock_hz"] == hz


def test_the_first_memory_with_accesses_is_taken_and_told(trace):
    _, records = made(trace, memories=("dram", "storage"))
    assert records.selection.memory == ["storage"] and "memory storage is written" in records.note
    _, records = made(trace, Options(Selection(unit="pe1")), memories=("dram", "storage"))
    first = [name for name in trace.memories if name != "storage"][0]
    assert records.selection.memory == [first] and first in records.note
    _, records = made(trace, memories=("storage", "dram"))
    assert not records.note


# ---- mistakes


def refused(match, trace, options, **wanted):
    """Check that a sentence tells a mistake."""
    with pytest.raises(TraceError, match=match) as error:
        list(Records(trace, options, **wanted).blocks(quiet))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("burst", [-64, 3, 65536, 100])
def test_bursts_are_powers_of_two(trace, burst):
    refused("--burst-bytes: must be a power of two up to 32768", trace, Options(burst_bytes=burst))


def test_what_cannot_be_is_refused(trace):
    refused("--burst-bytes: must be", trace, Options(burst_bytes=0), burst_bytes=64, aligns=True)
    refused("--merge: .* with --burst-bytes", trace, Options(merge=True))
    for hz in (0, -1, 2**40 + 1, 10**40):
        refused("--clock: must be 1 to", trace, Options(clock_hz=hz))
    refused("see firemesh trace stats", trace, Options(Selection(memory="psum", unit="storage")))
    past = trace.cycles, trace.cycles + 9
    refused("see firemesh trace stats", trace, Options(Selection(cycles=past)))
    refused("noc_inject is no memory", trace, Options(Selection(memory="noc_inject")))
    refused("memory: must be one of", trace, Options(Selection(memory="sram")))


def test_a_window_without_accesses_is_refused():
    trace = GivenTrace(rows((0, 0, 0, 4, 0, 0), (90, 0, 0, 4, 0, 0)))
    refused(
        "no accesses of the selection in cycles 5 to 9", trace, Options(Selection(cycles=(5, 9)))
    )


def test_cycles_beyond_62_bits_are_refused_with_the_way_out():
    late = GivenTrace(rows((2**61, 0, 0, 4, 0, 0)), clock_hz=100)
    refused("--relative, or choose a slower --clock", late, Options(clock_hz=1000))
    refused("--cycles and --relative$", late, Options(), hz=10**12)
    odd = GivenTrace(rows((2, 0, 0, 4, 0, 0)), clock_hz=MOST_PER + 15)
    refused("no simple part", odd, Options(clock_hz=2**20))


def test_other_accesses_than_were_counted_are_refused(monkeypatch):
    trace = GivenTrace(rows((0, 0, 0, 4, 0, 0), (1, 0, 0, 4, 0, 0)))
    inner = trace.table
    more = {"counters": lambda rows: rows["count"].__iadd__(1), "memories": lambda rows: rows}

    def changed(name):
        rows = inner(name)
        more[name](rows)
        return rows

    monkeypatch.setattr(trace, "table", changed)
    refused("other accesses than were counted", trace, Options())


def test_places_and_addresses_beyond_all_memories_are_refused(monkeypatch):
    trace = GivenTrace(rows((0, 0, 0, 4, 0, 0), (1, 0, 0, 4, 1, 0)))
    monkeypatch.setitem(BYTES, "dram", 2**64 - 1)
    refused("more than 2\\*\\*62 bytes", trace, Options())
    monkeypatch.setitem(BYTES, "dram", 4096)
    far = GivenTrace(rows((0, 2**63, 0, 4, 0, 0)))
    refused("addresses beyond its memories", far, Options())
