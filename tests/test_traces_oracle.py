"""The expanded trace is, access for access, what the plain-Python oracle did."""

import tempfile
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from small_layers import cases
from test_emulator_oracle import run_frames

from firemesh.emulator.mnf.result import of_wave
from firemesh.emulator.mnf.trace import MnfTrace
from firemesh.emulator.recorder import Recorder
from firemesh.traces.opened import open_trace
from firemesh.traces.verify import verify

ABOUT = {"input_digest": "", "mode": "mnf", "command": "test"}
FIELDS = ("cycle", "unit", "memory", "op", "address", "size")
often = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def record(plan, runs, path, **options):
    """Write a trace of [(frame, wave run)]."""
    about = ABOUT | {"frames": 1 + max(frame for frame, _ in runs)}
    recorder = Recorder(plan, partial(MnfTrace, plan), path, about, **options)
    for frame, run in runs:
        recorder.add(frame, run, of_wave(run))
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


def traced_packets(trace):
    """Return packets in the oracle's form, but for their numbers."""
    kinds = [name.decode() for name in trace.table("kinds")["name"]]
    found = []
    for packets, deliveries in zip(trace.packets(), trace.deliveries(), strict=True):
        reached = {}
        for d in deliveries:
            at = int(d["unit"]), int(d["cycle"])
            reached.setdefault((int(d["source"]), int(d["number"])), []).append(at)
        found += [
            (kinds[p["kind"]], int(p["source"]), int(p["created"]), int(p["flits"]),
             tuple(sorted(reached[int(p["source"]), int(p["number"])])))
            for p in packets
        ]  # fmt: skip
    return sorted(found)


def with_trace(case):
    """Run a case on both; return the oracle's runs and the trace's expansion and packets."""
    both = list(run_frames(case, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        record(case.plan, [(frame, run) for frame, run, _ in both], path)
        with open_trace(path) as trace:
            report = verify(trace)
            assert not report.problems, report.problems
            yield [oracle for *_, oracle in both], trace


@often
@given(case=cases())
def test_the_expanded_trace_is_the_oracles_list_of_accesses_and_packets(case):
    for oracles, trace in with_trace(case):
        wanted = sorted(access for oracle in oracles for access in oracle.accesses)
        in_cycles = expanded(trace)
        assert sorted(in_cycles) == wanted
        assert [a[:2] for a in in_cycles] == sorted(a[:2] for a in in_cycles)
        assert sorted(expanded(trace, order="storage")) == wanted
        assert traced_packets(trace) == sorted(
            (kind, source, created, flits, tuple(sorted(reached)))
            for oracle in oracles
            for _, kind, source, created, flits, reached in [*oracle.packets, *oracle.loads]
        )
