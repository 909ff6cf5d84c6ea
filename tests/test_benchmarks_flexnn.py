"""Speed of mode flexnn, as figures and as ratios against numpy; no assertions on time.

Run with ``python -m pytest -m benchmark tests/test_benchmarks_flexnn.py``.
"""

import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest

from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims, sizes
from firemesh.emulator.flexnn.engine import run_layer
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import machine

pytestmark = pytest.mark.benchmark

LANES = 8
TALL = {"rows": {"OC": 16}, "columns": {"OY": 4, "OX": 4}}
FLAT = {"OY": 2, "OX": 4}
CUBE = {**FLAT, "FY": 3, "FX": 3}
LAYERS = {
    "W4": {"block": {**FLAT, "OC": 8, "IC": 32}, **TALL},
    "W9": {"block": {**CUBE, "OC": 8, "IC": 8}, **TALL},
    "W36": {"block": {**CUBE, "OC": 4, "IC": 32}, **TALL},
    "W72": {"block": {**CUBE, "OC": 4, "IC": 64}, **TALL},
    "mxm": {"block": {**CUBE, "OC": 8, "IC": 16}, **TALL, "lanes": "mxm"},
}
NO_REUSE = {"block": {"IC": 8}, "rows": {"OC": 16}, "columns": {"IC": 8, "OX": 2}}
LINEAR = {"block": {"OC": 4, "IC": 64}, "rows": {"OC": 16}, "columns": {"IC": 16}}


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def least(call, rounds=3):
    return min(seconds(call) for _ in range(rounds))


@cache
def operands(filters, channels, side, kernel):
    """Return int16 x[1, c, h, w], density .25, and weights[k, c, r, s], density .5."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 128, (1, channels, side, side))
    w = rng.integers(1, 128, (filters, channels, kernel, kernel)) * rng.choice(
        (-1, 1), (filters, 1, 1, 1)
    )
    x *= rng.random(x.shape) < 0.25
    w *= rng.random(w.shape) < 0.5
    return x.astype(np.int16), w.astype(np.int16)


def ready(x, w, **descriptor):
    """Return a descriptor on a layer that keeps its size."""
    size = dict(zip(("OC", "IC", "FY", "FX"), w.shape, strict=True))
    size |= {"OY": x.shape[2], "OX": x.shape[3]}
    pad = w.shape[2] // 2
    dims = LayerDims(sizes(size), (1, 1), (1, 1), (pad, pad), x.shape[2:])
    banks = {"if": 6, "fl": 6, "of": 4}
    return Cut(Descriptor.parse({"banks": banks, **descriptor}, "benchmark"), dims)


@cache
def numpy_s(filters, channels, side, kernel):
    """Return the seconds of numpy's products of a layer, as one product of float32 matrices."""
    x, w = operands(filters, channels, side, kernel)
    pad = kernel // 2
    padded = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad))).astype(np.float32)
    shape = (kernel, kernel)
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape, axis=(1, 2))
    rows = w.reshape(filters, -1).astype(np.float32)
    return least(lambda: rows @ windows.transpose(0, 3, 4, 1, 2).reshape(rows.shape[1], -1))


def is_active(psum):
    return psum != 0


def measure(benchmark, cut, size):
    """Run a layer, counting only and with products; return seconds of the former, and the run."""
    x, w = operands(*size)
    flex = machine("flexnn-edge")
    run_layer(cut, flex, x, w, is_active)
    counting = least(lambda: run_layer(cut, flex, x, w))
    run = benchmark.pedantic(lambda: run_layer(cut, flex, x, w, is_active), rounds=3)
    spent = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "rounds": run.n_rounds,
        "dense_macs_per_s": x[0, 0].size * w.size / counting,
        "products_ns_per_pair": (spent - counting) / run.pairs * 1e9,
        "us_per_round": counting / run.n_rounds * 1e6,
        "times_numpy": spent / numpy_s(*size),
    }
    return counting, run


@pytest.mark.benchmark(group="layer")
@pytest.mark.parametrize("sparsity", ("both", "dense"))
@pytest.mark.parametrize("name", LAYERS)
def test_a_flexnn_layer_of_vgg_size(benchmark, name, sparsity):
    size = 256, 256, 56, 3
    cut = ready(*operands(*size), **LAYERS[name], sparsity=sparsity)
    counting, run = measure(benchmark, cut, size)
    lane_windows = LANES * int(run.counts[:, Memory.BITMAP_IF, 0].sum())
    if lane_windows:  # of empty ones, too: they take a cycle
        benchmark.extra_info |= {"lane_windows_per_s": lane_windows / counting}
    print(benchmark.extra_info)


@pytest.mark.benchmark(group="layer")
@pytest.mark.parametrize("order", (("OC", "IC", "FY", "FX", "OY", "OX"), ()))
def test_a_flexnn_layer_without_reuse(benchmark, order):
    size = 64, 64, 14, 3
    cut = ready(*operands(*size), **NO_REUSE, order=order)
    measure(benchmark, cut, size)
    print(benchmark.extra_info)


@pytest.mark.benchmark(group="layer")
def test_a_flexnn_layer_that_is_fully_connected(benchmark):
    size = 4096, 8192, 1, 1
    cut = ready(*operands(*size), **LINEAR)
    measure(benchmark, cut, size)
    print(benchmark.extra_info)


COLD = """
import time
import numpy as np
import firemesh.emulator.machine
import firemesh.noc.kernel
from firemesh.emulator.flexnn import descriptor, dims
start = time.perf_counter()
from firemesh.emulator.flexnn.engine import run_layer
layer = dims.LayerDims(dims.sizes({}), (1, 1), (1, 1), (0, 0), (1, 1))
banks = {"if": 1, "fl": 1, "of": 1}
given = descriptor.Descriptor.parse({"block": {"IC": 8}, "banks": banks}, "benchmark")
one = np.ones((1, 1, 1, 1), np.int16)
flex = firemesh.emulator.machine.machine("flexnn-edge")
run_layer(descriptor.Cut(given, layer), flex, one, one, lambda psum: psum != 0)
print(time.perf_counter() - start)
"""


@pytest.mark.benchmark(group="kernel")
def test_compilation_of_a_flexnn_layer(benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def load():
        command = [sys.executable, "-c", COLD]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    cold = load()
    cached = benchmark.pedantic(load, rounds=3)
    benchmark.extra_info |= {"cold_s": cold, "cached_s": cached}
    print(benchmark.extra_info)
