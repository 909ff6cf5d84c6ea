"""Speed and memory of exporters and analyses on VGG-16's frame, each in a process of its own.

A rate is of records written, or accesses read; ``times reader`` sets it beside a process that
only reads the same accesses in order of cycles. pytest -m benchmark -s prints each line.
"""

import json
import subprocess
import sys

import pytest

import firemesh
from firemesh.traces.analyses.catalogue import ANALYSES
from firemesh.traces.exporters.export import EXPORTERS

pytestmark = pytest.mark.benchmark
LAYER = "conv5_3"
WINDOW = {"vcd": "8700000:8703000", "scalesim": "8700000:8800000"}
"""Of formats that are not for whole layers."""
PSUM = ("dramsim3", "dramsys", "ramulator1", "ramulator2")
"""Formats of one memory: the one with most accesses, as if it lay in DRAM."""
WHOLE = ("text", "perfetto")
"""Formats that take the whole frame."""
FORMS = {"prospero": ("text", "binary"), "gem5": ("file", "units"), "noxim": ("table",)}
MEASURE = """
import json, re, sys, time
from firemesh.emulator.cli import main
read = sys.argv[1] == "read"
def run(arguments):
    if read:
        import firemesh
        layer = None if arguments[1] == "all" else arguments[1]
        with firemesh.open_trace(arguments[0]) as trace:
            return sum(len(block) for block in trace.accesses(layer=layer))
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, end.code
run(json.loads(sys.argv[2]))  # compiles
began = time.process_time(), time.perf_counter()
n = run(json.loads(sys.argv[3]))
print()
print(json.dumps({
    "n": n, "cpu_s": time.process_time() - began[0], "s": time.perf_counter() - began[1],
    "mb": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024,
}))
"""


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """Return the paths of VGG-16's frame, and of a frame of digits for compiling."""
    folder = tmp_path_factory.mktemp("traces")
    paths = folder / "vgg16.h5", folder / "digits.h5"
    for path, name in zip(paths, ("vgg16", "digits"), strict=True):
        network = firemesh.load(name, layers="conv" if name == "vgg16" else "all")
        firemesh.run(network, firemesh.images(name, 1)[0], trace=path)
    return paths


def measured(kind, warm, arguments, folder):
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, *map(json.dumps, (warm, arguments))],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reader(vgg, tmp_path_factory):
    """Return accesses a second of a process that only reads the layer."""
    vgg_path, digits = map(str, vgg)
    folder = tmp_path_factory.mktemp("reader")
    found = measured("read", [digits, "all"], [vgg_path, LAYER], folder)
    print(f"\nreader: {found['n'] / found['cpu_s'] / 1e6:.1f} M accesses/s, {found['mb']:.0f} MB")
    return found["n"] / found["cpu_s"]


CASES = [(name, form) for name in EXPORTERS for form in FORMS.get(name, (None,))]


@pytest.mark.parametrize("format, form", CASES)
def test_exporter(vgg, reader, tmp_path, format, form):
    path, digits = map(str, vgg)
    suffix = EXPORTERS[format].suffix
    common = ["--to", format, "--force", *(["--form", form] if form else [])]
    window = ["--cycles", WINDOW[format]] if format in WINDOW else []
    warm = ["trace", "export", digits, *common, "--out", f"warm{suffix}"]
    if format == "vcd":
        warm += ["--cycles", "0:500"]
    part = [] if format in WHOLE else ["--layer", LAYER]
    part += ["--memory", "psum"] if format in PSUM else []
    wanted = ["trace", "export", path, *common, "--out", f"out{suffix}", *part, *window]
    found = measured("export", warm, wanted, tmp_path)
    side = json.loads((tmp_path / f"out{suffix}.meta.json").read_text())
    n = side["written"].get("records", 0)
    rate = n / found["cpu_s"]
    print(
        f"\n{format} {form or ''}: {n:,} records, {rate / 1e6:.1f} M/s of processor time, "
        f"{n / found['s'] / 1e6:.1f} M/s by the clock, {found['mb']:.0f} MB, "
        f"{rate / reader:.2f} times reader"
    )


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis(vgg, tmp_path, name):
    path, digits = map(str, vgg)
    found = measured("trace", ["trace", name, digits], ["trace", name, path], tmp_path)
    print(f"\n{name}: {found['s']:.1f} s, {found['cpu_s']:.1f} s CPU, {found['mb']:.0f} MB")
