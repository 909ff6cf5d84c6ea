"""Laws of the engine of mode flexnn, and its equality with the oracle."""

import numpy as np
import pytest
from oracle_flexnn import run_layer as oracle
from small_descriptors import dimension_sizes, random_descriptor, random_layer, random_machine

from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims, sizes
from firemesh.emulator.flexnn.engine import run_layer
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.emulator.flexnn.rules import broken
from firemesh.emulator.flexnn.timeline import Mark
from firemesh.emulator.flexnn.wires import Load
from firemesh.emulator.kinds import Memory
from firemesh.emulator.slots import Cause

KINDS = ("plain", "grouped", "depthwise", "pointwise", "linear")


def described(tree):
    """Return the machine of the oracle's mapping, with register files of any size."""
    whole = {"name": "small", "clock_hz": 1, "rf": {"banks": 4096, "bank_bytes": 4096}, **tree}
    return FlexMachine.parse(whole, "small")


def dims_of(x, shape, sizes_):
    return LayerDims(
        sizes(sizes_), tuple(shape["strides"]), tuple(shape["dilations"]), tuple(shape["pads"]),
        x.shape[2:],
    )  # fmt: skip


def parsed(tree):
    banks = {"if": 1024, "fl": 1024, "of": 1024}
    return Descriptor.parse({"banks": banks, **tree}, "small")


def case(seed):
    rng = np.random.default_rng(seed)
    machine = random_machine(rng)
    kind = str(rng.choice(KINDS))
    x, w, shape = random_layer(rng, kind, int(rng.integers(1, 3)))
    of = dimension_sizes(x, w, shape)
    descriptor = random_descriptor(rng, of, machine)
    y = rng.random((len(x), len(w), *shape["ofmap"])) < rng.random()
    return x, w, shape, of, descriptor, machine, y


def run(x, w, shape, of, descriptor, machine, y):
    flex = described(machine)
    cut = Cut(parsed(descriptor), dims_of(x, shape, of))
    assert list(broken(cut, flex)) == []
    return run_layer(cut, flex, x.astype(np.int16), w.astype(np.int16), lambda psum: y, True)


def wide_case(seed):
    """Draw lanes and channels of any number, so that lanes have any share of words."""
    rng = np.random.default_rng(seed)
    lanes = int(rng.choice([1, 3, 5, 6, 8, 11, 16, 64]))
    machine = random_machine(rng)
    machine = {**machine, "array": {**machine["array"], "lanes": lanes}}
    kernel = int(rng.integers(1, 4))
    ic, oc = int(rng.integers(40, 260)), int(rng.integers(1, 20))
    low = rng.choice([0.1, 0.5, 1.0], 2)
    x = rng.integers(-128, 256, (1, ic, 3, 4)) * (rng.random((1, ic, 3, 4)) < low[0])
    w = rng.integers(-128, 128, (oc, ic, kernel, 2))
    w *= rng.random(w.shape) < low[1]
    ofmap = 4 - kernel, 3
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1, "ofmap": ofmap}
    of = dimension_sizes(x, w, shape)
    descriptor = random_descriptor(rng, of, machine)
    return x, w, shape, of, descriptor, machine, rng.random((1, oc, *ofmap)) < 0.5


@pytest.mark.parametrize("seed", range(250))
def test_everything_equals_the_oracle(seed):
    compare(*case(seed))


@pytest.mark.parametrize("seed", range(60))
def test_everything_equals_the_oracle_with_lanes_of_many_positions(seed):
    compare(*wide_case(seed))


def compare(x, w, shape, of, descriptor, machine, y):
    want = oracle(x, w, shape, descriptor, machine, y)
    compared(run(x, w, shape, of, descriptor, machine, y), want)


def compared(got, want):
    """Assert that a run equals the oracle's."""
    assert np.array_equal(got.psum, want.psums)
    assert [int(c) for c in got.loads[:, Load.CYCLES]] == [r.load for r in want.rounds]
    assert [int(c) for c in got.loads[:, Load.DRAIN]] == [r.drain for r in want.rounds]
    assert got.jobs.cycles.tolist() == [length for _, length in want.jobs]
    for mark, name in (
        (Mark.LOADED, "loaded"), (Mark.BEGUN, "begun"), (Mark.FINISHED, "finished"),
        (Mark.DRAINED, "drained"),
    ):  # fmt: skip
        assert got.marks[:, mark].tolist() == [getattr(r, name) for r in want.rounds], name
    assert got.cycles == want.cycles
    slots = {
        cause: list(want.slots.get(cause.name.lower(), [0] * len(got.slots))) for cause in Cause
    }
    assert {cause: got.slots[:, cause].tolist() for cause in Cause} == slots
    for mine, theirs in ((got.counts, want.counts), (got.bytes, want.bytes)):
        found = {
            (int(u), Memory(m).name.lower(), ("read", "write")[op]): int(mine[u, m, op])
            for u, m, op in np.argwhere(mine)
            if m != Memory.BUS
        }
        assert found == theirs
    assert got.bytes[:, Memory.BUS].sum() == want.hops + 4 * want.reduced
