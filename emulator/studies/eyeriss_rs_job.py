"""A convolution on an array of one dataflow after another, a batch of dense frames, counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...models.architectures import ARCHITECTURES
from ...models.recipe import Recipe
from ..description import MachineError
from ..flexnn.choice import activity, dataflows_of
from ..flexnn.descriptor import Cut, product
from ..flexnn.dims import OF_DIMS, Dim, LayerDims, sizes
from ..flexnn.engine import LayerRun, run_layer
from ..flexnn.estimate import Densities
from ..flexnn.machine import FlexMachine
from ..flexnn.run import summary
from ..flexnn.scheduler import Candidate, candidates_for, search
from ..flexnn.wires import Load
from ..kinds import Memory
from ..machine import machine
from .flexnn_dataflows import FIXED
from .job import Job, Run

NETWORK = "alexnet"
BATCH = 16
FEWER = 2
"""Frames that are counted where `BATCH` frames take more than `MOST_ROUNDS` rounds."""
MOST_ROUNDS = 1_000_000
DENSE = Densities(1.0, 1.0, 1.0)

PES = 16, 16
RF_BYTES, BUFFER_BYTES = 512, 128 * 1024
LEAST_BANKS, LEAST_BANK_BYTES = 6, 2
"""A register file that holds an activation, a weight and a psum, each twice: 12 bytes."""


def alike() -> FlexMachine:
    """Return the array of which every dataflow has the same register files and buffer."""
    found = machine("eyeriss-168").replace(
        array__rows=PES[0], array__columns=PES[1], array__dataflow="flexible",
        array__reductions=("tree", "chain"), rf__banks=16, rf__bank_bytes=RF_BYTES // 16,
        sram__bytes=BUFFER_BYTES,
    )  # fmt: skip
    assert isinstance(found, FlexMachine)
    return found


def split() -> FlexMachine:
    """Return the array without reuse in register files, whose bytes are in the buffer instead."""
    spared = (RF_BYTES - LEAST_BANKS * LEAST_BANK_BYTES) * PES[0] * PES[1]
    return alike().replace(
        rf__banks=LEAST_BANKS, rf__bank_bytes=LEAST_BANK_BYTES, sram__bytes=BUFFER_BYTES + spared
    )


SETUPS: Mapping[str, tuple[str, ...]] = {
    "same": FIXED,
    "split": tuple(flow for flow in FIXED if flow != "row"),
}
"""Set-ups, and which dataflows run in them; row stationary needs the large register file."""


def dims_of(frames: int = BATCH) -> dict[str, LayerDims]:
    """Return the sizes of the network's convolutions, by name."""
    architecture = ARCHITECTURES[NETWORK]
    channels, side, _ = architecture.shape
    found = {}
    for spec in architecture.convolutions:
        out = (side + 2 * spec.pad - spec.kernel) // spec.stride + 1
        of = {
            "N": frames, "G": spec.groups, "OY": out, "OX": out,
            "OC": spec.filters // spec.groups, "IC": channels // spec.groups,
            "FY": spec.kernel, "FX": spec.kernel,
        }  # fmt: skip
        stride, pad = (spec.stride, spec.stride), (spec.pad, spec.pad)
        found[spec.name] = LayerDims(sizes(of), stride, (1, 1), pad, (side, side))
        channels, side = spec.filters, out
        if spec.pool:
            side = (side - spec.pool.kernel) // spec.pool.stride + 1
    return found


@dataclass(frozen=True)
class BatchJob(Job):
    """A convolution with every dataflow of a set-up.

    Its run has an entry for each dataflow that has a legal descriptor: name (the dataflow), tile,
    frames (that were counted), rounds, cycles, slots by cause, bytes by memory, flits, psum (bytes
    of psums in the buffer and over the array), estimate (cycles and pJ of `BATCH` frames), and
    counted_estimate (pJ of the frames that were counted).

    Parameters
    ----------
    layer : str
    setup : str
        A name in `SETUPS`.
    """

    layer: str = ""
    setup: str = "same"

    @property
    def bytes(self) -> float:
        """About the memory that a process needs for it."""
        return 1.5e9

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        more = {"layer": self.layer, "setup": self.setup, "frames": [BATCH, FEWER, MOST_ROUNDS]}
        return super().identity | more

    def work(self) -> Run:
        """Run it in this process."""
        assert isinstance(self.machine, FlexMachine)
        found = winners(dims_of()[self.layer], self.machine, SETUPS[self.setup])
        layers = [self._entry(flow, one) for flow, one in found.items()]
        return Run(sum(layer["cycles"] for layer in layers), 0, 1.0, layers, 0.0)

    def _entry(self, flow: str, best: Candidate) -> dict[str, Any]:
        """Return what a dataflow's best candidate comes to, counted with as many frames as may."""
        assert isinstance(self.machine, FlexMachine)
        dims, counted, frames = dims_of()[self.layer], best, BATCH
        if best.estimate.rounds > MOST_ROUNDS:
            frames, dims = FEWER, dims_of(FEWER)[self.layer]
            counted = search(dims, self.machine, DENSE, "energy", flow, keep=1).candidates[0]
        cut = Cut(counted.descriptor, dims)
        run = run_layer(cut, self.machine, *operands(dims))
        done = activity(run)
        return {
            "name": flow,
            "tile": summary(Cut(best.descriptor, dims_of()[self.layer])),
            "frames": frames,
            "rounds": run.n_rounds,
            "cycles": run.cycles,
            "slots": done.slots.tolist(),
            "bytes": done.bytes.tolist(),
            "flits": done.flits,
            "psum": list(psum_bytes(run, dims)),
            "estimate": [best.estimate.cycles, best.estimate.energy_pj],
            "counted_estimate": counted.estimate.energy_pj,
        }


def winners(
    dims: LayerDims, described: FlexMachine, flows: tuple[str, ...]
) -> dict[str, Candidate]:
    """Return the best estimate of each dataflow that has a legal descriptor, for energy."""
    if set(flows) == set(FIXED):
        found = candidates_for(dims, described, DENSE, "energy", keep=1)
        result = {}
        for flow in flows:
            able = [
                one
                for one in found
                if flow in dataflows_of(Cut(one.descriptor, dims), described.array.lanes)
            ]
            if able:
                result[flow] = min(able, key=lambda one: one.estimate.energy_pj)
        return result
    result = {}
    for flow in flows:
        try:
            [result[flow]] = search(dims, described, DENSE, "energy", flow, keep=1).candidates
        except MachineError:
            continue
    return result


def operands(dims: LayerDims) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return activations int16[n, c, h, w] and weights int16[k, c of a group, r, s] without 0."""
    s = dims.sizes
    x = np.ones((s[Dim.N], s[Dim.G] * s[Dim.IC], *dims.ifmap), np.int16)
    return x, np.ones((s[Dim.G] * s[Dim.OC], s[Dim.IC], s[Dim.FY], s[Dim.FX]), np.int16)


def psum_bytes(run: LayerRun, dims: LayerDims) -> tuple[int, int]:
    """Return the bytes of psums that the buffer reads and writes, and that the array moves.

    What leaves complete, a byte a point, is none.
    """
    points = product(dims.sizes, OF_DIMS)
    spilled = int(run.loads[:, Load.DRAINED].sum()) - points
    buffer = int(run.loads[:, Load.PSUM].sum()) + spilled
    moved = run.bytes.sum(axis=0)
    operands = int(moved[[Memory.RF_IF, Memory.RF_FL], 1].sum())
    return buffer, int(moved[Memory.BUS].sum()) - operands - points


def job(layer: str, setup: str) -> BatchJob:
    """Return the run of a convolution in a set-up."""
    recipe = Recipe(NETWORK, layers=layer)
    described = alike() if setup == "same" else split()
    return BatchJob(f"{layer}-{setup}", recipe, described, layer=layer, setup=setup)


def jobs() -> list[BatchJob]:
    """Return the runs of all convolutions in all set-ups, the longest first."""
    order = ("conv4", "conv5", "conv3", "conv2", "conv1")
    return [job(layer, setup) for setup in SETUPS for layer in order]
