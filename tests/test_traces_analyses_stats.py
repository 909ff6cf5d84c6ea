"""Totals of a selection are those of its accesses, one by one."""

import json
from collections import Counter

import pytest
from analysed_traces import CASES, accesses_of, chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.stats import stats

FIELDS = ("frame", "layer", "unit", "memory", "op")


@pytest.mark.parametrize("name, selection", CASES)
def test_totals_are_those_of_the_accesses_one_by_one(name, selection):
    with firemesh.open_trace(trace_of(name)) as trace:
        frames = trace.segments["frame"].tolist()
        count, size = Counter(), Counter()
        memories = selection.get("memory", trace.memories)
        for one in accesses_of(trace, **selection | {"memory": memories}):
            key = frames[one.segment], one.layer, one.unit, one.memory, one.op
            count[key] += 1
            size[key] += one.size
        for n in (0, 2, 5):
            found = stats(trace, chosen(**selection), "accesses", FIELDS[:n])
            told = {tuple(row[:n]): tuple(row[n:]) for row in found.tolist()}
            wanted = Counter(), Counter()
            for key in count:
                wanted[0][key[:n]] += count[key]
                wanted[1][key[:n]] += size[key]
            assert told == {key: (wanted[0][key], wanted[1][key]) for key in wanted[0]}
            assert len(told) == len(found)


def test_a_window_between_waves_is_told_from_what_is_stored(monkeypatch):
    with firemesh.open_trace(trace_of("streamed")) as trace:
        low, high = (int(trace.segments["cycle0"][one]) for one in (3, 9))
        wanted = stats(trace, chosen(cycles=(low, high))).tolist()
        monkeypatch.setattr(trace, "accesses", None)
        assert stats(trace, chosen(cycles=(low, high))).tolist() == wanted
        with pytest.raises(TypeError):
            stats(trace, chosen(cycles=(low + 1, high)))


@pytest.mark.parametrize(
    "what, by", (("slots", "unit,cause"), ("flits", "link"), ("stalls", "wait"))
)
def test_counts_of_waves_heed_layer_and_frame(capsys, what, by):
    path = trace_of("frames")
    told = json.loads(
        ended(capsys, "stats", path, "--what", what, "--by", by, "--layer", "conv2,fc1",
              "--frame", "1", "--json")[1]
    )  # fmt: skip
    table = {"slots": "slots", "flits": "flits", "stalls": "vc_stalls"}[what]
    fields = by.split(",")
    with firemesh.open_trace(path) as trace:
        rows = getattr(trace, table)(("frame", "layer", *fields))
    wanted = Counter()
    for row in rows:
        if row["frame"] == 1 and row["layer"] in ("conv2", "fc1"):
            wanted[tuple(str(row[field]) for field in fields)] += int(row["count"])
    assert {tuple(row[field] for field in fields): row["count"] for row in told} == wanted
    assert what == "stalls" or wanted


def test_slots_of_a_unit_are_its_own(capsys):
    path = trace_of("mnf")
    told = json.loads(ended(capsys, "stats", path, "--what", "slots", "--unit", "pe3", "--json")[1])
    with firemesh.open_trace(path) as trace:
        rows = trace.slots(("layer", "unit", "cause"))
    mine = [row for row in rows if row["unit"] == "pe3"]
    assert [row["count"] for row in told] == [int(row["count"]) for row in mine]
    assert [row["cause"] for row in told] == [str(row["cause"]) for row in mine]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--what", "slots", "--cycles", "1:5"), "cycles: slots are counted wave by wave"),
        (("--what", "flits", "--unit", "pe1"), "unit: flits are counted by no unit; leave it out"),
        (("--what", "stalls", "--memory", "psum"), "memory: stalls are counted by no memory"),
        (("--what", "slots", "--op", "read"), "op: slots are counted by no op"),
        (("--cycles", "900:1000"), "nothing runs in the selection"),
        (("--frame", "3"), "frame: must be one of 0..0, got 3"),
        (("--by", "colour", "--layer", "conv1"), "by: must be of frame, layer, unit, memory, op"),
        (("--what", "heat", "--layer", "conv1"), "--what: must be one of accesses, slots"),
    ],
)
def test_what_cannot_be_is_one_sentence(capsys, arguments, sentence):
    code, out, err = ended(capsys, "stats", trace_of("mnf"), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and sentence in err
