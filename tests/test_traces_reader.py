"""Reading traces: selections, windows, orders, totals, and the sample that comes along."""

import numpy as np
import pytest

import firemesh
from firemesh.emulator.machine import machine
from firemesh.traces.schema import ACCESS, TABLES
from firemesh.traces.verify import verify


def together(blocks):
    found = list(blocks)
    return np.concatenate(found) if found else np.zeros(0, ACCESS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three frames of digits, traced; result and path."""
    path = tmp_path_factory.mktemp("reader") / "run.h5"
    return firemesh.run("digits", firemesh.images("digits", 3)[0], trace=path), path


@pytest.fixture
def trace(run):
    with firemesh.open_trace(run[1]) as opened:
        yield opened


def counted(blocks, trace):
    """Return (memory, op) -> accesses and bytes."""
    found = {}
    for block in blocks:
        for memory, op in np.unique(np.stack([block["memory"], block["op"]]), axis=1).T:
            mine = block[(block["memory"] == memory) & (block["op"] == op)]
            key = trace.memories[memory], trace.ops[op]
            n, size = found.get(key, (0, 0))
            found[key] = n + len(mine), size + int(mine["size"].sum(dtype=np.int64))
    return found


@pytest.mark.parametrize("network", ("digits", "digits-pruned"))
@pytest.mark.parametrize("multicast", ("tree", "chain", "unicast"))
def test_counters_of_the_engine_are_the_expanded_accesses(tmp_path, network, multicast):
    described = machine("mnf-22nm").replace(noc__multicast=multicast)
    images = firemesh.images(network, 2)[0]
    result = firemesh.run(network, images, described, trace=tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        report = verify(trace)
        assert report.problems == []
        assert report.accesses == sum(int(layer.counts.sum()) for layer in result.layers)
        for order in ("cycle", "storage"):
            for row in trace.counters(("layer", "memory", "op")):
                selection = {name: str(row[name]) for name in ("layer", "memory", "op")}
                blocks = counted(trace.accesses(order=order, **selection), trace)
                wanted = (row["count"], row["bytes"])
                assert blocks == {(row["memory"], row["op"]): wanted}


VARIANTS = (
    ("mnf-tiny", {}),
    ("mnf-22nm", {"pe__fire_lanes": 3}),
    ("mnf-22nm", {"pe__fire_lanes": 27, "pe__forwarding": False}),
    ("mnf-22nm", {"pe__row_layout": "linear"}),
    ("mnf-22nm", {"pe__weights": "ideal"}),
    ("mnf-22nm", {"pe__weights": "dense", "storage__event_order": "channel"}),
    ("mnf-22nm", {"storage__event_order": "raster", "pe__event_fifo": 1, "noc__flit_bits": 16}),
)


@pytest.mark.parametrize("network", ("digits", "digits-pruned"))
@pytest.mark.parametrize("preset, changes", VARIANTS, ids=str)
def test_a_trace_of_any_machine_agrees_with_the_engines_counters(
    tmp_path, network, preset, changes
):
    described = machine(preset).replace(**changes)
    images = firemesh.images(network, 2)[0]
    result = firemesh.run(network, images, described, trace=tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        report = verify(trace)
        assert report.problems == [] and report.segments == 8
        assert report.accesses == sum(int(layer.counts.sum()) for layer in result.layers)
        (energy,) = trace.energy(())
        assert sum(energy.values()) == pytest.approx(sum(result.energy.values()))


def test_stored_totals_are_those_of_the_result(run, trace):
    result, _ = run
    assert trace.complete and trace.cycles == result.cycles
    assert trace.layers == [layer.name for layer in result.layers]
    slots = {str(row["cause"]): int(row["count"]) for row in trace.slots(("cause",))}
    assert slots == {cause: n for cause, n in result.slots.items() if n}
    (energy,) = trace.energy(())
    assert sum(energy.values()) == pytest.approx(sum(result.energy.values()))
    flits = int(trace.flits(())["count"][0])
    assert flits == sum(int(layer.link_flits.sum()) for layer in result.layers)


def test_selections_are_parts_of_the_whole(trace):
    whole = together(trace.accesses())
    for name, number in (("layer", 1), ("unit", 5), ("memory", 5), ("op", 1)):
        part = together(trace.accesses(**{name: number}))
        assert np.array_equal(part, whole[whole[name] == number]) and len(part)
    several = together(trace.accesses(unit=["pe1", 2], layer=["conv1", "fc1"]))
    mine = np.isin(whole["unit"], (1, 2)) & np.isin(whole["layer"], (0, 2))
    assert np.array_equal(several, whole[mine])
    segments = trace.segments[trace.segments["frame"] == 1]
    inside = (whole["cycle"] >= segments["cycle0"][0]) & (whole["cycle"] < segments["cycle1"][-1])
    assert np.array_equal(together(trace.accesses(frame=1)), whole[inside])


@pytest.mark.parametrize("window", ((0, 1), (100, 101), (250, 700), (0, 10**9), (2684, 2685)))
@pytest.mark.parametrize("order", ("cycle", "storage"))
def test_a_window_is_a_part_of_the_whole(trace, window, order):
    whole = together(trace.accesses(order=order))
    inside = (whole["cycle"] >= window[0]) & (whole["cycle"] < window[1])
    assert np.array_equal(together(trace.accesses(cycles=window, order=order)), whole[inside])


def test_both_orders_hold_the_same_accesses(trace):
    orders = [together(trace.accesses(order=order)) for order in ("cycle", "storage")]
    assert np.array_equal(*(np.sort(one, order=ACCESS.names) for one in orders))
    at = orders[0]["cycle"].astype(np.int64) << 16 | orders[0]["unit"]
    assert (np.diff(at) >= 0).all()


def test_the_doors_of_the_network_are_read_when_they_are_named(trace):
    doors = together(trace.accesses(memory=("noc_inject", "noc_eject")))
    packets, deliveries = (np.concatenate(list(x)) for x in (trace.packets(), trace.deliveries()))
    assert len(doors) == len(packets) + len(deliveries)
    assert not np.isin(together(trace.accesses())["memory"], np.unique(doors["memory"])).any()


@pytest.mark.parametrize(
    "selection, sentence",
    [
        ({"layer": "conv9"}, "layer: must be one of conv1, conv2, fc1, fc2, got conv9"),
        ({"unit": 12}, "unit: must be one of storage, pe1, pe2"),
        ({"unit": -1}, "unit: must be one of storage"),
        ({"memory": "cache"}, "memory: must be one of storage, event_fifo"),
        ({"op": "erase"}, "op: must be one of read, write, got erase"),
        ({"frame": 3}, "frame: must be one of 0..2, got 3"),
        ({"order": "time"}, "order: must be cycle or storage, got time"),
    ],
)
def test_an_unknown_name_is_told_with_the_known_ones(trace, selection, sentence):
    with pytest.raises(firemesh.TraceError, match=sentence):
        next(trace.accesses(**selection))


@pytest.mark.parametrize("by", (("cause",), ("layer", "layer"), ("bytes",)))
def test_totals_are_of_known_fields(trace, by):
    with pytest.raises(firemesh.TraceError, match="by: must be of frame, layer, unit, memory, op"):
        trace.counters(by)


def test_every_table_can_be_read(trace):
    for name in TABLES:
        assert trace.table(name).ndim == 1
    with pytest.raises(firemesh.TraceError, match="table: must be one of units"):
        trace.table("unit")


def test_the_sample_is_what_this_version_records(tmp_path):
    images = firemesh.images("digits", 1)[0]
    firemesh.run("digits", images, trace=tmp_path / "run.h5", values=True)
    assert firemesh.sample_trace().stat().st_size < 300_000
    with (
        firemesh.open_trace(firemesh.sample_trace()) as sample,
        firemesh.open_trace(tmp_path / "run.h5") as made,
    ):
        assert verify(sample).problems == []
        for name in TABLES:
            assert np.array_equal(sample.table(name), made.table(name)), name
