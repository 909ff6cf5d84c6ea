"""Traces of whole random networks, with layers on PEs and on the host unit, whole and resumed."""

from itertools import pairwise

import numpy as np
import onnx
import onnx_graphs
import pytest
from column_accesses import accesses as column_accesses
from test_traces_oracle import expanded

import firemesh
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.mnf.run import WaveRun
from firemesh.emulator.recorder import Recorder
from firemesh.emulator.run import Tally, recording
from firemesh.traces import writer
from firemesh.traces.verify import verify

STEPS = (
    ("conv", "pool", "conv", "average"),
    ("pool", "conv", "residual", "conv", "average"),
    ("conv", "residual", "pool"),
)
CHANGES = ({}, {"noc__multicast": "chain"}, {"noc__multicast": "unicast"})


def random_network(seed, tmp_path):
    model, images = onnx_graphs.random_graph(seed, True, "int8", STEPS[seed % len(STEPS)])
    onnx.save(model, tmp_path / "random.onnx")
    return firemesh.load(tmp_path / "random.onnx"), images[:2]


def record(network, images, described, path, **options):
    """Run with a trace; return frames and result."""
    emulation = MnfEmulation(network, described)
    tally, frames = Tally(emulation, "mnf"), []
    with recording(emulation, images, "mnf", "test", path, **options) as recorder:
        for frame in emulation.frames(images, None, recorder, tally):
            frames.append(frame)
            tally.add(frame)
    return emulation, frames, tally.result()


def host_accesses(run):
    """What the host unit reads and writes: an event in a cycle, reads first; new shapes nothing."""
    if run.step.is_free:
        return
    read = np.concatenate([part.address for part in run.inputs]).tolist()
    ops = ["read"] * len(read) + ["write"] * len(run.output.address)
    for i, (op, address) in enumerate(zip(ops, read + run.output.address.tolist(), strict=True)):
        yield run.cycle0 + i, 0, "storage", op, address, 8


@pytest.mark.parametrize("seed", range(9))
def test_a_networks_trace_is_what_its_layers_did(seed, tmp_path):
    network, images = random_network(seed, tmp_path)
    described = firemesh.machine("mnf-tiny").replace(**CHANGES[seed // 3])
    emulation, frames, result = record(network, images, described, tmp_path / "run.h5")
    wanted = []
    for run in (run for frame in frames for run in frame.runs):
        is_mnf = isinstance(run, WaveRun)
        wanted += column_accesses(emulation.plan, run) if is_mnf else host_accesses(run)
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        assert verify(trace).problems == []
        assert sorted(expanded(trace)) == sorted(wanted)
        assert trace.layers == [layer.name for layer in result.layers]
        assert trace.cycles == result.cycles


@pytest.mark.parametrize("seed", range(3))
def test_a_run_resumed_after_any_layer_ends_as_if_it_had_not_been_interrupted(
    seed, tmp_path, monkeypatch
):
    network, images = random_network(seed, tmp_path)
    described = firemesh.machine("mnf-tiny")
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    whole = tmp_path / "whole.h5"
    *_, result = record(network, images, described, whole)
    commit, commits = Recorder.commit, 0

    def stopping(self, state):
        nonlocal commits
        commit(self, state)
        commits += 1
        if commits % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "commit", stopping)
    path, interrupts = tmp_path / "run.h5", 0
    while not path.exists():
        try:
            *_, resumed = record(network, images, described, path, resume=True)
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 1
    assert path.read_bytes() == whole.read_bytes()
    assert (resumed.outputs == result.outputs).all()
    for mine, other in zip(resumed.layers, result.layers, strict=True):
        assert (mine.name, mine.cycles, mine.events) == (other.name, other.cycles, other.events)
        for name in ("slots", "counts", "bytes", "link_flits"):
            assert np.array_equal(getattr(mine, name), getattr(other, name))


def test_rows_of_a_traces_segments_follow_each_other(tmp_path):
    network, images = random_network(4, tmp_path)
    record(network, images, firemesh.machine("mnf-tiny"), tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        segments = trace.segments
        assert segments["cycle0"][0] == 0
        assert all(a["cycle1"] == b["cycle0"] for a, b in pairwise(segments))
        assert set(segments["layer"].tolist()) == set(range(len(trace.layers)))
