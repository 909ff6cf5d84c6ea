"""Speed, as figures and as ratios against a reference timed in the same run; no assertions on time.

Run with ``python -m pytest -m benchmark tests/test_benchmarks.py``.
"""

import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest

import firemesh
from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.run import Tally, recording
from firemesh.models.network import Conv, Network, Tensor
from firemesh.models.prune import prune_rows
from firemesh.models.reference import forward
from firemesh.models.zoo import DATA
from firemesh.noc.network import Network as Interconnect
from firemesh.noc.patterns import make_pattern
from firemesh.noc.simulate import Simulation
from firemesh.noc.topology import mesh
from firemesh.noc.traffic import packets

pytestmark = pytest.mark.benchmark


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def conv3_2():
    """A layer of VGG-16 conv3_2's size, weight rows .4, activations .35."""
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 128, (256, 256, 3, 3)) * rng.choice((-1, 1), (256, 256, 3, 3))
    kept = prune_rows(weight, 0.4, 3, (3, 3), 11, (1, 1), (1, 1), seed=0)
    codes = rng.integers(1, 128, (1, 256, 56, 56))
    codes[rng.random(codes.shape) >= 0.35] = 0
    layer = Conv(
        name="conv3_2",
        inputs=("x",),
        output="y",
        weight=(weight * kept).astype(np.int8),
        weight_zero_point=np.zeros(256, np.int32),
        multiplier=np.full(256, 1e-4, np.float32),
        bias=np.full(256, -150_000, np.int32),
        low=0,
        high=127,
        pads=(1, 1, 1, 1),
    )
    tensors = {name: Tensor(name, (256, 56, 56), "int8") for name in ("x", "y")}
    return Network("conv3_2", (layer,), tensors, ("x",), ("y",)), codes.astype(np.int8)


@pytest.mark.benchmark(group="layer")
def test_a_layer_of_vgg_size(benchmark):
    network, codes = conv3_2()
    emulation = MnfEmulation(network, machine("mnf-22nm"))
    list(emulation.frames(codes))
    before = emulation.cycle
    (frame,) = benchmark.pedantic(lambda: list(emulation.frames(codes)), rounds=3)
    spent = benchmark.stats.stats.min
    cycles = (emulation.cycle - before) // 3
    benchmark.extra_info |= {
        "cycles": cycles,
        "cycles_per_s": cycles / spent,
        "events_per_s": len(frame.runs[0].messages.event) / spent,
        "accesses_per_s": int(frame.runs[0].columns.counts.sum()) / spent,
        "times_numpy_reference": spent / seconds(lambda: forward(network, codes)),
    }
    print(benchmark.extra_info)


@pytest.mark.benchmark(group="network")
@pytest.mark.parametrize("name", ("digits", "digits-pruned"))
def test_all_images_of_the_zoo(benchmark, name):
    network, images = firemesh.load(name), firemesh.images(name)[0]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(DATA / f"{name}.onnx", options)
    entry = session.get_inputs()[0].name

    def one_by_one():
        for image in images:
            session.run(None, {entry: image[None]})

    firemesh.run(network, images[:1])
    result = benchmark.pedantic(lambda: firemesh.run(network, images), rounds=3)
    spent = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "frames_per_s": result.frames / spent,
        "cycles_per_s": result.cycles / spent,
        "times_onnxruntime": spent / seconds(one_by_one),
    }
    print(benchmark.extra_info)


def traced(network, codes, path):
    """Run one frame; return seconds, with a trace where there is a path."""
    emulation = MnfEmulation(network, machine("mnf-22nm"))
    tally = Tally(emulation, "mnf")
    start = time.perf_counter()
    with recording(emulation, codes, "mnf", "benchmark", path, force=True) as recorder:
        for frame in emulation.frames(codes, None, recorder, tally):
            tally.add(frame)
    return time.perf_counter() - start


def accesses_per_s(path, **selection):
    """Return accesses a second of reading a selection, the first time and again."""
    with firemesh.open_trace(path) as trace:
        found = []
        for _ in range(2):
            start = time.perf_counter()
            n = sum(len(block) for block in trace.accesses(**selection))
            found.append(n / (time.perf_counter() - start))
    return found


PEAK = """
import re, sys
import firemesh
with firemesh.open_trace(sys.argv[1]) as trace:
    n = sum(len(block) for block in trace.accesses())
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


@pytest.mark.benchmark(group="trace")
def test_a_trace_of_a_layer_of_vgg_size(benchmark, tmp_path):
    network, codes = conv3_2()
    path = tmp_path / "run.h5"
    for warm in (None, path):
        traced(network, codes, warm)
    pairs = [(traced(network, codes, None), traced(network, codes, path)) for _ in range(3)]
    benchmark.pedantic(lambda: traced(network, codes, path), rounds=1)
    for order in ("cycle", "storage"):
        accesses_per_s(path, unit="pe5", order=order)
    speeds = {
        "one unit, cycle order": accesses_per_s(path, unit="pe5"),
        "one unit, storage order": accesses_per_s(path, unit="pe5", order="storage"),
        "all units, cycle order": accesses_per_s(path),
    }
    with firemesh.open_trace(path) as trace:
        n = sum(int(row["count"]) for row in trace.counters() if "noc" not in row["memory"])
        window = seconds(lambda: list(trace.accesses(unit="pe5", cycles=(500_000, 510_000))))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    benchmark.extra_info |= {
        "accesses": n,
        "bytes_per_access": path.stat().st_size / n,
        "times_without_trace": min(with_ / plain for plain, with_ in pairs),
        "seconds_more": min(with_ for _, with_ in pairs) - min(plain for plain, _ in pairs),
        "accesses_per_s": speeds,
        "window_of_10k_cycles_s": window,
        "reader_peak_mb": float(done.stdout),
    }
    print(benchmark.extra_info)


@pytest.mark.benchmark(group="trace")
def test_a_trace_of_all_images_of_the_zoo(benchmark, tmp_path):
    network, images = firemesh.load("digits"), firemesh.images("digits")[0]
    path = tmp_path / "run.h5"
    firemesh.run(network, images[:2], trace=path)

    def once():
        plain = seconds(lambda: firemesh.run(network, images))
        return plain, seconds(lambda: firemesh.run(network, images, trace=path, force=True))

    pairs = [once() for _ in range(3)]
    result = benchmark.pedantic(
        lambda: firemesh.run(network, images, trace=path, force=True), rounds=1
    )
    n = sum(int(layer.counts.sum()) for layer in result.layers)
    benchmark.extra_info |= {
        "times_without_trace": min(with_ / plain for plain, with_ in pairs),
        "bytes_per_access": path.stat().st_size / n,
    }
    print(benchmark.extra_info)


def cycles_of(k, load, cycles):
    """Return a network under uniform traffic of one-flit packets, and a call that runs it."""
    chunks = list(packets(make_pattern("uniform", k, k), load, 1, cycles, 1))

    def ready():
        return (Simulation(Interconnect(mesh(k, k), "P4", "xy", 4, 8)),), {}

    def go(simulation):
        for number, chunk in enumerate(chunks):
            for _ in simulation.run(chunk, 1024 * (number + 1)):
                pass

    return ready, go


@pytest.mark.benchmark(group="network")
@pytest.mark.parametrize(
    ("k", "load", "cycles", "booksim2"),
    [(8, 0.1, 20_480, 7_200), (8, 0.3, 20_480, 2_500), (32, 0.01, 4_096, None)],
)
def test_the_network_alone(benchmark, k, load, cycles, booksim2):
    ready, go = cycles_of(k, load, cycles)
    go(*ready()[0])
    benchmark.pedantic(go, setup=ready, rounds=5)
    rate = cycles / benchmark.stats.stats.median
    benchmark.extra_info |= {"cycles_per_s": rate}
    if booksim2:  # cycles a second that BookSim 2 did on such a machine while busy
        benchmark.extra_info |= {"times_booksim2": rate / booksim2}
    print(benchmark.extra_info)


IMPORT = """
import time
import firemesh.noc.iq_state
start = time.perf_counter()
import firemesh.noc.step_iq
print(time.perf_counter() - start)
"""


@pytest.mark.benchmark(group="kernel")
def test_compilation_of_the_router(benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def load():
        command = [sys.executable, "-c", IMPORT]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    cold = load()
    cached = benchmark.pedantic(load, rounds=3)
    benchmark.extra_info |= {"cold_s": cold, "cached_s": cached}
    print(benchmark.extra_info)
