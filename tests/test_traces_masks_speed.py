"""Size of a trace of masks, and how fast it is read.

Run with ``python -m pytest -m benchmark -s tests/test_traces_masks_speed.py``.
"""

import time

import numpy as np
import pytest
from test_traces_masks_layer import Layer

from firemesh.traces.opened import open_trace
from firemesh.traces.verify import verify

pytestmark = pytest.mark.benchmark


def rate(trace, **selection):
    """Return millions of accesses a second of processor time, the first time and the second."""
    found = []
    for _ in range(2):
        began = time.process_time()
        n = sum(len(block) for block in trace.accesses(**selection))
        found.append(round(n / (time.process_time() - began) / 1e6))
    return found


def test_a_layer_of_masks_takes_less_than_a_hundredth_of_a_byte_an_access(tmp_path):
    path = tmp_path / "run.h5"
    layer = Layer(np.random.default_rng(1), 16, 16, 3136, 256, 8)
    began = time.process_time()
    n = layer.write(path)
    wrote = time.process_time() - began
    with open_trace(path) as trace:
        for order in ("storage", "cycle"):
            rate(trace, unit=1, order=order)
            print(f"one unit, {order} order: {rate(trace, unit=7, order=order)} M/s")
            print(f"16 units, {order} order: {rate(trace, unit=range(1, 17), order=order)} M/s")
            print(f"all units, {order} order: {rate(trace, order=order)} M/s")
        began = time.process_time()
        report = verify(trace)
        checked = time.process_time() - began
    each = path.stat().st_size / n
    print(f"{n:,} accesses, {layer.rounds} rows of 256 units")
    print(f"{path.stat().st_size:,} bytes, {each:.5f} an access; written in {wrote:.2f} s")
    print(f"verified in {checked:.1f} s: {n / checked / 1e6:.0f} M/s")
    assert report.problems == [] and report.accesses == n
    assert each < 0.01
