"""How much faster a sweep is on two workers than on one, timed in the same run.

Run with ``python -m pytest -m benchmark tests/test_benchmarks_sweep.py -s`` on two free cores.
"""

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
ROUNDS = 3
"""The least time of each is taken, for others may use the machine."""


def seconds(workers):
    """Return how long the points take, with the start of the workers and without."""
    found = points(parse_study(STUDY, "speed"), Path(), "speed")
    warm = points(parse_study({**STUDY, "seeds": [98, 99]}, "speed"), Path(), "speed")
    began = time.perf_counter()
    with own_cluster(workers) as client:
        assert all(outcome.status == "ok" for _, outcome in run_points(client, warm, workers))
        started = time.perf_counter()
        outcomes = list(run_points(client, found, workers))
        ended = time.perf_counter()
    assert all(outcome.status == "ok" for _, outcome in outcomes)
    return ended - started, ended - began


def test_two_workers_take_little_more_than_half_the_time_of_one():
    rounds = [(seconds(1), seconds(2)) for _ in range(ROUNDS)]
    for one, two in rounds:
        print(f"\none worker {one[0]:.1f} s ({one[1]:.1f} s with its start), two {two[0]:.1f} s "
              f"({two[1]:.1f} s)", end="")  # fmt: skip
    one, two = (min(found[n][0] for found in rounds) for n in (0, 1))
    print(f"\n{len(STUDY['seeds'])} points, least of {ROUNDS}: {one / two:.2f}")
    assert one / two >= 1.7
