"""Small traces of all modes for tests of analyses, and what is in them access by access."""

import tempfile
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import NamedTuple

import streamed_networks

import firemesh
from firemesh.emulator.cli import main
from firemesh.traces.selection import Selection

TRACES = ("mnf", "frames", "streamed", "flexnn", "hybrid")
CASES = (
    *((name, {}) for name in TRACES),
    ("mnf", {"layer": ("conv2", "fc2"), "unit": ("pe1", "pe4", "storage"), "op": "read"}),
    ("mnf", {"cycles": (100, 700)}),
    ("frames", {"frame": 1}),
    ("frames", {"frame": 1, "layer": "fc1", "cycles": (1000, 1744)}),
    ("streamed", {"layer": "conv2"}),
    ("streamed", {"cycles": (1, 2), "unit": "storage"}),
    ("streamed", {"cycles": (1234, 5678), "memory": ("psum", "weight")}),
    ("flexnn", {"cycles": (50, 1200), "op": "write"}),
    ("hybrid", {"layer": ("conv2", "fc1"), "memory": ("acc", "psum", "dram")}),
    ("hybrid", {"cycles": (300, 2000)}),
)
"""Traces and selections; windows cut segments, layers are not beside each other."""
_FOLDER = tempfile.TemporaryDirectory(prefix="firemesh-tests-")


class Access(NamedTuple):
    """An access, by names, and the number of the segment in which it lies."""

    cycle: int
    address: int
    unit: str
    layer: str
    size: int
    memory: str
    op: str
    segment: int


@cache
def trace_of(name):
    """Return the path of a trace: digits in a mode, of two frames, or layers of many waves."""
    path = Path(_FOLDER.name) / f"{name}.h5"
    if name == "mnf":
        return firemesh.sample_trace()
    if name == "frames":
        firemesh.run("digits", firemesh.images("digits", 2)[0], "mnf-22nm", trace=path)
    elif name == "streamed":
        tiny = firemesh.machine("mnf-tiny").replace(
            pe__weight_bytes=60 * 6, pe__psum_bank_bytes=40 * 8, noc__flit_bits=16
        )
        images = streamed_networks.frames(1, 2)
        firemesh.run(streamed_networks.streamed_network(1), images, tiny, trace=path)
    else:
        mixed = {"conv1": "flexnn", "conv2": "mnf", "fc1": "flexnn", "fc2": "mnf"}
        mode = "flexnn" if name == "flexnn" else mixed
        firemesh.run("digits", firemesh.images("digits", 1)[0], mode=mode, trace=path)
    return path


def accesses_of(trace, **selection):
    """Yield the accesses of a selection."""
    units, layers, memories, ops = trace.units, trace.layers, trace.memories, trace.ops
    begins = trace.segments["cycle0"].tolist()
    for block in trace.accesses(**selection):
        for cycle, address, unit, layer, size, memory, op in block.tolist():
            yield Access(
                cycle, address, units[unit], layers[layer], size, memories[memory], ops[op],
                bisect_right(begins, cycle) - 1,
            )  # fmt: skip


def chosen(**selection):
    """Return a selection."""
    return Selection(**selection)


def ended(capsys, *arguments):
    """Run ``firemesh trace``; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["trace", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr()
    return code, out.out, out.err
