"""The expanded trace is, access for access, what the plain-Python oracle did."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from small_layers import cases
from test_emulator_oracle import packets_of, run_both

from firemesh.emulator.recorder import Recorder
from firemesh.emulator.result import of_mnf
from firemesh.traces.reader import open_trace

ABOUT = {"input_digest": "", "mode": "mnf", "command": "test", "frames": 2}
FIELDS = ("cycle", "unit", "memory", "op", "address", "size")
often = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def record(plan, runs, path, **options):
    """Write a trace of layer runs, one frame each."""
    recorder = Recorder(plan, path, ABOUT, **options)
    for frame, run in enumerate(runs):
        recorder.add(frame, run, of_mnf(run))
    recorder.finish({})


def expanded(trace, **selection):
    """Return (cycle, unit, memory, op, address, size) of each access, in the reader's order."""
    found = []
    for block in trace.accesses(**selection):
        columns = [block[name].tolist() for name in FIELDS]
        columns[2] = [trace.memories[number] for number in columns[2]]
        columns[3] = [trace.ops[number] for number in columns[3]]
        found += zip(*columns, strict=True)
    return found


def traced_packets(trace, frame):
    """Return packets in the oracle's form, but for their numbers and order."""
    return sorted(
        (p["kind"], int(p["source"]), int(p["created"]), int(p["flits"]),
         tuple(sorted((int(d["unit"]), int(d["cycle"])) for d in deliveries)))
        for p, deliveries in trace.packets(frame=frame)
    )  # fmt: skip


@often
@given(case=cases())
def test_the_expanded_trace_is_the_oracles_list_of_accesses(case):
    both = list(run_both(case))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        record(case.plan, [run for run, _ in both], path)
        with open_trace(path) as trace:
            wanted = sorted(access for _, oracle in both for access in oracle.accesses)
            in_cycles = expanded(trace)
            assert sorted(in_cycles) == wanted
            assert [a[:2] for a in in_cycles] == sorted(a[:2] for a in in_cycles)
            assert sorted(expanded(trace, order="storage")) == wanted
