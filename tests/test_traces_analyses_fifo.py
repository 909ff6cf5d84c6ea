"""Occupancy of event FIFOs against a brute force that walks through every cycle."""

from collections import Counter

import numpy as np
import pytest
from analysed_runs import ended, runs

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.selection import Selection

WINDOWS = (None, (7, 400), (60, 61))
full = pytest.fixture(scope="module")(runs)


def walked(trace, selection):
    """Return unit -> cycle -> messages at its end, in each cycle of the selection, and moves."""
    moves = Counter()
    pushes, pops = Counter(), Counter()
    low, high = selection.cycles or (0, trace.cycles)
    wanted = {"layer": selection.layer, "unit": selection.unit, "frame": selection.frame}
    for block in trace.accesses(**wanted, memory="event_fifo", order="storage"):
        for access in block:
            unit, cycle = trace.units[access["unit"]], int(access["cycle"])
            is_push = trace.ops[access["op"]] == "write"
            moves[unit, cycle] += 1 if is_push else -1
            if low <= cycle < high:
                (pushes if is_push else pops)[unit] += 1
    held = {}
    for unit, row in zip(trace.units, trace.table("units"), strict=True):
        if row["kind"] != b"pe" or (selection.unit and unit not in selection.unit):
            continue
        n, of_unit = 0, {}
        for frame, layer, _, begin, end in trace.segments.tolist():
            if selection.layer and trace.layers[layer] not in selection.layer:
                continue
            if selection.frame is not None and frame != selection.frame:
                continue
            assert n == 0
            for cycle in range(begin, end):
                n += moves[unit, cycle]
                if low <= cycle < high:
                    of_unit[cycle] = n
        held[unit] = of_unit
    return held, pushes, pops


@pytest.mark.parametrize("name", ["frames", "chain", "small", "auto"])
@pytest.mark.parametrize("cycles", WINDOWS)
@pytest.mark.parametrize("several", [False, True])
def test_occupancy_is_that_of_a_walk_through_all_cycles(full, name, cycles, several):
    with firemesh.open_trace(full(name)) as trace:
        layers = (trace.layers[0], trace.layers[-1]) if several else None
        chosen = Selection(layer=layers, cycles=cycles, unit=("pe1", "pe3") if several else None)
        found = firemesh.analyse(trace, "fifo", chosen, bins=13)
        held, pushes, pops = walked(trace, chosen)
    width = found.facts["bin_cycles"]
    assert found.rows["unit"].tolist() == list(held)
    for row in found.rows:
        unit = str(row["unit"])
        mine = held[unit]
        assert (row["pushes"], row["pops"]) == (pushes[unit], pops[unit])
        assert row["mean"] == pytest.approx(sum(mine.values()) / len(mine), rel=1e-12)
        assert row["peak"] == max(mine.values())
        assert row["full_cycles"] == sum(n == row["capacity"] for n in mine.values())
        assert row["empty_cycles"] == sum(n == 0 for n in mine.values())
        assert found.facts["cycles"] == len(mine)
    for one in found.series:
        start = int(one["cycle"])
        mine = held[str(one["unit"])]
        inside = [mine[cycle] for cycle in range(start, start + width) if cycle in mine]
        assert one["cycles"] == len(inside)
        assert one["peak"] == max(inside, default=0)
        if inside:
            assert one["mean"] == pytest.approx(sum(inside) / len(inside), rel=1e-12)
        else:
            assert np.isnan(one["mean"])


def test_a_frame_is_looked_at_alone(full):
    with firemesh.open_trace(full("frames")) as trace:
        chosen = Selection(frame=1)
        rows = firemesh.analyse(trace, "fifo", chosen).rows
        held, pushes, _ = walked(trace, chosen)
    assert rows["pushes"].tolist() == [pushes[unit] for unit in held]
    assert rows["empty_cycles"].tolist() == [
        sum(n == 0 for n in of_unit.values()) for of_unit in held.values()
    ]


def test_a_small_fifo_runs_full_and_never_over(full):
    with firemesh.open_trace(full("small")) as trace:
        rows = firemesh.analyse(trace, "fifo").rows
    assert set(rows["capacity"].tolist()) == {2}
    assert rows["peak"].max() == 2 and rows["full_cycles"].max() > 0


def test_a_trace_without_event_fifos_is_refused_in_one_sentence(full, capsys):
    code, out, err = ended(capsys, "fifo", full("flexnn"))
    assert (code, out) == (2, "")
    assert "no event FIFO" in err and "mode mnf or auto" in err and err.count("\n") == 1


def test_storage_alone_is_refused(full):
    with (
        firemesh.open_trace(full("mnf")) as trace,
        pytest.raises(TraceError, match="^unit: has no event FIFO"),
    ):
        firemesh.analyse(trace, "fifo", Selection(unit="storage"))
