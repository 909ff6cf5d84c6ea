"""Traces of small runs, what is in them packet by packet, and exports of them, for tests."""

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import streamed_networks

import firemesh
from firemesh.emulator.cli import main
from firemesh.models.network import Conv, Network, Tensor
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.selection import Selection

STORAGE = 0
SELECTED = [one.name for one in fields(Selection)]
MULTICASTS = ("tree", "chain", "unicast")
NETWORKS = ("digits", "streamed", "dense")


def dense_network():
    """Return a layer of 6 filters whose every output fires: 512 of each of three PEs."""
    rng = np.random.default_rng(0)
    layer = Conv(
        "conv", ("x",), "y", weight=rng.integers(1, 9, (6, 2, 1, 1)).astype(np.int8),
        weight_zero_point=np.zeros(6, np.int32), multiplier=np.full(6, 0.01, np.float32),
        bias=np.full(6, 10_000, np.int32), low=-5, high=127,
    )  # fmt: skip
    shapes = {"x": (2, 16, 16), "y": (6, 16, 16)}
    tensors = {name: Tensor(name, shape, "int8", 1.0, -5) for name, shape in shapes.items()}
    return Network("dense", (layer,), tensors, ("x",), ("y",))


def record(network, multicast, path):
    """Run two frames with a trace."""
    tiny = firemesh.machine("mnf-tiny").replace(noc__multicast=multicast)
    if network == "digits":
        described = firemesh.machine("mnf-22nm").replace(noc__multicast=multicast)
        firemesh.run("digits", firemesh.images("digits", 2)[0], described, trace=path)
    elif network == "streamed":
        small = tiny.replace(pe__weight_bytes=60 * 6, pe__psum_bank_bytes=40 * 8)
        images = streamed_networks.frames(1, 2)
        firemesh.run(
            streamed_networks.streamed_network(1), images, small.replace(noc__flit_bits=16),
            trace=path,
        )  # fmt: skip
    else:
        images = np.full((2, 2, 16, 16), 3, np.int8)
        firemesh.run(dense_network(), images, tiny, trace=path)


def recorder(folder):
    """Return (network, multicast) -> path of a trace, each made once."""
    made = {}

    def find(network="digits", multicast="tree"):
        if (network, multicast) not in made:
            path = folder / f"{network}-{multicast}.h5"
            record(network, multicast, path)
            made[network, multicast] = path
        return made[network, multicast]

    return find


every_trace = pytest.mark.parametrize(
    "network, multicast", [(n, m) for n in NETWORKS for m in MULTICASTS]
)


def told(trace, **selection):
    """Return a dict for each packet of a trace, in the order of segments, cycles and sources."""
    kinds, found = [name.decode() for name in trace.table("kinds")["name"]], []
    blocks = zip(trace.packets(**selection), trace.deliveries(**selection), strict=True)
    for segment, (packets, arrived) in enumerate(blocks):
        cycles = defaultdict(dict)
        for cycle, number, source, unit, _, _ in arrived.tolist():
            cycles[source, number][unit] = cycle
        for created, number, source, layer, flits, kind, _ in packets.tolist():
            found.append(
                dict(segment=segment, cycle=created, number=number, source=source, flits=flits)
                | dict(kind=kinds[kind], layer=layer, arrived=cycles[source, number])
            )
    return found


def written(path, format, out, **options):
    """Export; return the report, the file's bytes and what the file beside it tells."""
    with firemesh.open_trace(path) as trace:
        chosen = Selection(**{name: options.pop(name) for name in SELECTED if name in options})
        report = export(trace, format, out, Options(chosen, **options))
    return report, content(out), json.loads(Path(f"{out}.meta.json").read_text())


def content(path):
    """Return a file's bytes; of a folder those of each file in it, by name."""
    if not path.is_dir():
        return path.read_bytes()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def ran(capsys, *arguments):
    """Run ``firemesh trace`` to its good end; return stdout."""
    with suppress(SystemExit):
        main(["trace", *map(str, arguments)])
    out = capsys.readouterr()
    assert out.err == ""
    return out.out


def ended(capsys, *arguments):
    """Run ``firemesh trace export``; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["trace", "export", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr()
    return code, out.out, out.err
