"""Bandwidth over time is what the expanded accesses add up to."""

import math
from collections import Counter

import pytest
from analysed_traces import CASES, accesses_of, chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.bandwidth import bandwidth, draw


def window_of(trace, layer=None, frame=None, cycles=None, **_):
    """Return the first cycle of the segments that are wanted, and the end of the last."""
    low, high = cycles or (0, 10**18)
    layers = (layer,) if isinstance(layer, str) else layer
    wanted = [
        (first, end)
        for of, number, _, first, end in trace.segments.tolist()
        if frame in (None, of) and (not layers or trace.layers[number] in layers)
        and first < high and end > low
    ]  # fmt: skip
    return max(low, wanted[0][0]), min(high, wanted[-1][1])


@pytest.mark.parametrize(
    "name, selection, bins",
    [(*case, bins) for case, bins in zip(CASES, (1, 7, 100) * 5, strict=True)],
)
def test_bins_hold_the_bytes_of_their_cycles(name, selection, bins):
    with firemesh.open_trace(trace_of(name)) as trace:
        low, high = window_of(trace, **selection)
        width = math.ceil((high - low) / bins)
        n, accesses, moved = math.ceil((high - low) / width), Counter(), Counter()
        for one in accesses_of(trace, **selection):
            key = one.memory, one.op, low + (one.cycle - low) // width * width
            accesses[key] += 1
            moved[key] += one.size
        found = bandwidth(trace, chosen(**selection), bins)
        clock = trace.attribute("clock_hz")
    assert found.facts["bin_cycles"] == width and found.facts["cycles"] == high - low
    keys = {key[:2] for key in accesses}
    assert len(found.rows) == len(keys) and len(found.series) == n * len(keys)
    for memory, op, cycle, count, size, rate in found.series.tolist():
        key = memory, op, cycle
        assert (count, size) == (accesses[key], moved[key])
        assert rate == pytest.approx(size / (min(high, cycle + width) - cycle))
    for memory, op, count, size, rate, peak, giga, peak_giga in found.rows.tolist():
        mine = [one for one in found.series.tolist() if one[:2] == (memory, op)]
        assert count == sum(one[3] for one in mine) and size == sum(one[4] for one in mine)
        assert rate == pytest.approx(size / (high - low))
        assert peak == max(one[5] for one in mine)
        assert (giga, peak_giga) == pytest.approx((rate * clock / 1e9, peak * clock / 1e9))


def test_layers_are_told_where_they_run():
    with firemesh.open_trace(trace_of("streamed")) as trace:
        found = bandwidth(trace, chosen(cycles=(100, 8000)))
        told = [
            (cycle, span["frame"], span["layer"])
            for span in found.facts["layers"]
            for cycle in range(span["first_cycle"], span["end_cycle"])
        ]
        wanted = [
            (cycle, frame, trace.layers[layer])
            for frame, layer, _, first, end in trace.segments.tolist()
            for cycle in range(first, end)
            if 100 <= cycle < 8000
        ]
    assert told == wanted
    names = [(span["frame"], span["layer"]) for span in found.facts["layers"]]
    assert len(set(names)) == len(names) < len(trace.segments)


@pytest.mark.parametrize("name", ("mnf", "streamed", "hybrid"))
def test_the_command_writes_table_series_and_figure(capsys, tmp_path, name):
    csv, png = tmp_path / "b.csv", tmp_path / "b.png"
    code, out, err = ended(
        capsys, "bandwidth", trace_of(name), "--bins", "9", "--out", csv, "--plot", png
    )
    assert (code, err) == (0, "") and "psum" in out
    lines = csv.read_text().splitlines()
    assert lines[0] == "memory,op,cycle,accesses,bytes,bytes_per_cycle"
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--bins", "0"), "bins: must be 1 to 1,000,000, got 0"),
        (("--cycles", "900:1000"), "nothing runs in the selection"),
        (("--memory", "cache"), "memory: must be one of"),
        (("--plot", "b.pdf"), "must end in .png or .svg"),
    ],
)
def test_what_cannot_be_is_one_sentence(capsys, arguments, sentence):
    code, out, err = ended(capsys, "bandwidth", trace_of("mnf"), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and sentence in err


def test_the_first_layer_is_named_in_the_figure_also_where_it_is_short():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    with firemesh.open_trace(trace_of("flexnn")) as trace:
        found = firemesh.analyse(trace, "bandwidth", chosen(layer=("conv1_pool", "fc2")))
    figure = Figure(layout="constrained")
    draw(found, figure)
    assert [text.get_text() for text in figure.axes[0].texts][:1] == ["conv1_pool"]


@pytest.mark.parametrize("name", ("bandwidth", "banks", "reuse"))
def test_a_memory_without_accesses_is_refused_and_nothing_is_written(capsys, tmp_path, name):
    files = ("--out", tmp_path / "x.csv", "--plot", tmp_path / "x.png")
    code, out, err = ended(capsys, name, trace_of("mnf"), "--memory", "dram", *files)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"the selection leaves nothing for {name}; see firemesh trace stats" in err
    assert not list(tmp_path.iterdir())
