"""The trace of mode flexnn: access for access what the oracle did, and what the engine counted."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from flexnn_networks import described, parsed, random_case
from oracle_flexnn import run_layer as oracle

import firemesh
from firemesh.emulator.kinds import Memory
from firemesh.emulator.slots import Cause
from firemesh.traces.opened import open_trace
from firemesh.traces.verify import verify

FIELDS = ("cycle", "unit", "memory", "op", "size")


def traced(seed, folder, frames=1):
    network, frame, operands, descriptor, tree = random_case(seed)
    path = Path(folder) / "run.h5"
    result = firemesh.run(
        network, np.repeat(frame, frames, axis=0), described(tree), "flexnn", trace=path,
        schedule={"layer": parsed(descriptor)},
    )  # fmt: skip
    return path, result, operands, descriptor, tree


def expanded(trace, **selection):
    """Return (cycle, unit, memory, op, size) of each access that is not of a bus."""
    found = []
    for block in trace.accesses(**selection):
        columns = [block[name].tolist() for name in FIELDS]
        columns[2] = [trace.memories[number] for number in columns[2]]
        columns[3] = [trace.ops[number] for number in columns[3]]
        found += [access for access in zip(*columns, strict=True) if access[2] != "bus"]
    return found


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_the_expanded_trace_is_the_oracles_list_of_accesses(seed):
    with tempfile.TemporaryDirectory() as folder:
        path, result, (x, w, shape), descriptor, tree = traced(seed, folder)
        y = (result.outputs != 3).reshape(1, len(w), *shape["ofmap"])
        want = oracle(x, w, shape, descriptor, tree, y, accesses=True)
        with open_trace(path) as trace:
            assert verify(trace).problems == []
            found = expanded(trace)
            assert sorted(found) == sorted(want.accesses)
            assert [a[0] for a in found] == sorted(a[0] for a in found)
            assert sorted(expanded(trace, order="storage")) == sorted(want.accesses)
            assert trace.cycles == want.cycles


@pytest.mark.parametrize("seed", range(1100, 1110))
def test_counters_of_the_result_are_those_of_the_trace(seed):
    with tempfile.TemporaryDirectory() as folder:
        path, result, *_ = traced(seed, folder, frames=2)
        (layer,) = result.layers
        with open_trace(path) as trace:
            assert verify(trace).problems == []
            for row in trace.counters(by=("unit", "memory", "op")):
                at = (
                    trace.units.index(row["unit"]),
                    trace.memories.index(row["memory"]),
                    trace.ops.index(row["op"]),
                )
                assert row["count"] == layer.counts[at] and row["bytes"] == layer.bytes[at]
            assert sum(trace.counters(by=())["count"]) == layer.counts.sum()
            slots = trace.slots(by=("cause",))
            counted = layer.slots.sum(axis=0)
            assert {r["cause"]: int(r["count"]) for r in slots} == {
                cause.name.lower(): int(counted[cause]) for cause in Cause if counted[cause]
            }
            energies = trace.energy(by=())[0]
            assert sum(v for v in energies.values() if isinstance(v, float)) == pytest.approx(
                sum(result.energy.values())
            )


def test_two_runs_give_the_same_bytes():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        a, b = traced(7, one)[0], traced(7, two)[0]
        assert a.read_bytes() == b.read_bytes()


def test_addresses_of_pairs_follow_the_ranks_of_their_bits():
    """Activations 0, 5, 6 of a lane's slot lie at its first two bytes; by hand."""
    network, frame, _, _, tree = random_case(7)
    tree = tree | {"array": {"rows": 1, "columns": 1, "lanes": 1}}
    from flexnn_networks import one_layer

    rng = np.random.default_rng(0)
    x = np.array([0, 5, 6, 0]).reshape(1, 4, 1, 1)
    w = np.array([1, 1, 0, 1]).reshape(1, 4, 1, 1)
    shape = {
        "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1, "ofmap": (1, 1),
        "is_linear": False,
    }  # fmt: skip
    network, frame = one_layer(rng, x, w, shape)
    block = dict.fromkeys(("N", "G", "OY", "OX", "OC", "FY", "FX"), 1) | {"IC": 4}
    descriptor = {"block": block, "lanes": "vxv", "sparsity": "both"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        machine = described(tree, sparsity__pays_below=1.0)
        schedule = {"layer": parsed(descriptor)}
        firemesh.run(network, frame, machine, "flexnn", trace=path, schedule=schedule)
        with open_trace(path) as trace:
            reads = {
                memory.name: [
                    int(address)
                    for block in trace.accesses(memory=memory.name.lower(), op="read")
                    for address in block["address"]
                ]
                for memory in (Memory.RF_IF, Memory.RF_FL)
            }
    # the one pair is channel 1: first of the activations' two bytes, second of the weights' three
    assert reads == {"RF_IF": [0], "RF_FL": [1]}


MESHES = {
    "simple tree": {},
    "P3 tree": {"noc__router": "P3"},
    "P3 unicast": {"noc__router": "P3", "noc__multicast": "unicast"},
    "two ports": {"sdn__storage_ports": 2},
}


@pytest.mark.parametrize("changes", MESHES.values(), ids=MESHES)
@pytest.mark.parametrize("seed", range(1200, 1206))
def test_a_trace_of_the_mesh_tells_every_packet_and_the_same_pairs_as_one_of_buses(seed, changes):
    network, frame, _, descriptor, tree = random_case(seed)
    wide = {"sdn__column_bytes": 8, "sdn__drain_bytes": 8, "sdn__kind": "mesh", **changes}
    schedule = {"layer": parsed(descriptor)}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, on in (("bus", described(tree)), ("mesh", described(tree, **wide))):
            path = Path(folder) / f"{name}.h5"
            result = firemesh.run(network, frame, on, "flexnn", trace=path, schedule=schedule)
            with open_trace(path) as trace:
                report = verify(trace)
                assert report.problems == []
                pairs = [
                    a[1:] for a in expanded(trace, memory=("rf_fl", "acc"), op=("read", "write"))
                ]
                found.append(sorted(a for a in pairs if (a[1], a[2]) != ("rf_fl", "write")))
                sent = np.concatenate([p["flits"] for p in trace.packets()] or [np.zeros(0)])
        assert found[0] == found[1]
        assert report.packets > 0
        (layer,) = result.layers
        assert sent.sum() == layer.sent_flits.sum()
