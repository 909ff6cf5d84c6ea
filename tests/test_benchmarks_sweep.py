"""How much faster a sweep is on two workers than on one, timed in the same run.

Run with ``python -m pytest -m benchmark tests/test_benchmarks_sweep.py -s`` on two free cores.
"""

import os
import time
from pathlib import Path

import pytest

from firemesh.emulator.sweep.cluster import own_cluster
from firemesh.emulator.sweep.dispatch import run_points
from firemesh.emulator.sweep.points import points
from firemesh.emulator.sweep.study_file import parse_study

pytestmark = pytest.mark.benchmark

STUDY = {
    "name": "speed",
    "networks": {"network": "vgg16", "layers": "conv5_1"},
    "machines": {"machine": "hybrid-256", "modes": "mnf"},
    "rows_of": "hybrid-256",
    "weights": "rows:0.5",
    "activations": 0.4,
    "seeds": list(range(12)),
}


def timed(workers):
    """Return how long the points take by the clock, and on the busiest worker's core."""
    found = points(parse_study(STUDY, "speed"), Path(), "speed")
    warm = points(parse_study({**STUDY, "seeds": [98, 99]}, "speed"), Path(), "speed")
    with own_cluster(workers) as client:
        assert all(outcome.status == "ok" for _, outcome in run_points(client, warm, workers))
        before, began = client.run(time.process_time), time.perf_counter()
        outcomes = list(run_points(client, found, workers))
        ended, after = time.perf_counter(), client.run(time.process_time)
    assert all(outcome.status == "ok" for _, outcome in outcomes)
    return ended - began, max(after[worker] - before[worker] for worker in after)


def test_two_workers_beside_one(benchmark):
    load = os.getloadavg()[0]
    one, two = timed(1), benchmark.pedantic(lambda: timed(2), rounds=1)
    benchmark.extra_info |= {
        "points": len(STUDY["seeds"]),
        "load before": load,
        "seconds of one worker": one[0],
        "seconds of two": two[0],
        "speed-up by the clock": one[0] / two[0],
        "speed-up on the busiest core": one[1] / two[1],
    }
    print("\n", benchmark.extra_info)
