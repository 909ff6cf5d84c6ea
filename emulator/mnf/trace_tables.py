"""The tables of mode mnf in a trace: layers, waves, patterns, runs, weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.schema import dtype_of, table
from ..activations import volume
from ..kinds import Memory
from ..patterns import READ, WRITE, Item
from ..streams import NOC_EJECT, NOC_INJECT
from ..trace_tables import Ports, flat_sizes, shared_tables
from .event_patterns import BlockRuns, EventPatterns
from .fire import fire_order
from .fire_patterns import FirePatterns
from .loading import packet_flits
from .machine import Machine
from .messages import flits_of
from .patterns import Patterns, Runs
from .pe import BIAS_BYTES, INDEX_BYTES, MESSAGE_BYTES, POINTER_BYTES, PSUM_BYTES
from .plan import Plan
from .steps import MnfStep, Residency


class TraceTables:
    """Tables of a plan.

    Parameters
    ----------
    plan : Plan
    number : mapping of str to int, optional
        Of each of the plan's layers that take cycles; by default counted from 0.

    Attributes
    ----------
    number : dict
        Name of a layer -> its number in the trace.
    patterns : Patterns
    periods : int64[n_patterns]
    events, fires : dict
        Name of a layer on PEs, and wave -> its patterns.
    """

    def __init__(self, plan: Plan, number: Mapping[str, int] | None = None) -> None:
        self._plan = plan
        self._steps = [step for step in plan.steps if isinstance(step, MnfStep) or not step.is_free]
        self.number = dict(number or {step.name: i for i, step in enumerate(self._steps)})
        self.patterns, self._runs = Patterns(), Runs()
        self.events: dict[tuple[str, int], EventPatterns] = {}
        self.fires: dict[tuple[str, int], FirePatterns] = {}
        for step in self._steps:
            if isinstance(step, MnfStep):
                self._add(step)
        for op in (READ, WRITE):
            self.patterns.single(Item(plan.machine.tensor_memory, op, MESSAGE_BYTES))
            self.patterns.single(Item(Memory.EVENT_FIFO, op, MESSAGE_BYTES))
        self.patterns.single(Item(Memory.POINTER, READ, POINTER_BYTES))
        self.periods = np.array(self.patterns.period, np.int64)

    def _add(self, step: MnfStep) -> None:
        machine, patterns = self._plan.machine, self.patterns
        fired = volume(self._plan.network.tensors[step.output])
        runs = [BlockRuns(block, block.rows(), self._runs) for block in step.blocks]
        for wave in step.waves:
            height = wave.band.outputs[1] - wave.band.outputs[0]
            pooled = (height, fired[2])
            order = fire_order(wave.mapping, machine.pe.fire_lanes, wave.pool, pooled, wave.fires)
            at = step.name, wave.number
            self.events[at] = EventPatterns(wave, runs[wave.block], machine, patterns)
            self.fires[at] = FirePatterns(wave.mapping, machine, order, patterns, self._runs)
        for flits in flits_of(step.mapping, fired, machine):
            patterns.single(Item(NOC_INJECT, WRITE, flits))
            patterns.single(Item(NOC_EJECT, READ, flits))
        if step.residency is not Residency.NETWORK:
            self._add_load()

    def _add_load(self) -> None:
        """Add the patterns of weights that come in during the frame."""
        machine, patterns = self._plan.machine, self.patterns
        width = machine.pe.multipliers
        patterns.single(Item(Memory.DRAM, READ, width))
        patterns.single(Item(Memory.WEIGHT, WRITE, width))
        for rows in range(1, machine.storage.weight_packet_rows + 1):
            flits = packet_flits(machine, rows)
            patterns.single(Item(NOC_INJECT, WRITE, flits))
            patterns.single(Item(NOC_EJECT, READ, flits))

    def tables(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables by name; with ``values`` those of the weights too."""
        machine = self._plan.machine
        pes = [f"pe{p + 1}" for p in range(machine.n_pes)]
        return shared_tables(machine, pes, self.layers(), self.memories()) | self.own(values)

    def own(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables that other modes do not have."""
        items = np.array(self.patterns.items, np.int64).reshape(-1, len(Item._fields))
        kind, a, b = (
            np.concatenate([entries[i] for entries in self._runs.entries] or [np.zeros(0)])
            for i in range(3)
        )
        tables = {
            "waves": self._waves(),
            "filter_groups": self._filter_groups(),
            "patterns/first": np.array(self.patterns.first, "<u4"),
            "patterns/period": np.array(self.patterns.period, "<u4"),
            "patterns/items": table(
                "patterns/items", **dict(zip(Item._fields, items.T, strict=True))
            ),
            "runs/first": np.concatenate(self._runs.first).astype("<u4"),
            "runs/kind": kind.astype("<u4"),
            "runs/a": a.astype("<u4"),
            "runs/b": b.astype("<u4"),
        }
        return tables | (self._weights() if values else {})

    def layers(self) -> list[dict[str, Any]]:
        """Return the rows of the table of layers."""
        plan, rows = self._plan, []
        for step in self._steps:
            is_mnf = isinstance(step, MnfStep)
            rows.append(
                {
                    "id": self.number[step.name],
                    "name": step.name,
                    "op": step.layer.op,
                    "mode": "mnf" if is_mnf else "host",
                    "output": step.output,
                    "output_address": plan.regions[step.output],
                }
                | (
                    _conv_fields(step)
                    if isinstance(step, MnfStep)
                    else flat_sizes(plan.network, step.layer.inputs[0], step.output)
                )
            )
        return rows

    def memories(self) -> dict[Memory, Ports]:
        """Return the memories that the mode has."""
        return _memories(self._plan.machine, self._plan)

    def _mnf_steps(self) -> Iterator[tuple[int, MnfStep]]:
        for step in self._steps:
            if isinstance(step, MnfStep):
                yield self.number[step.name], step

    def _waves(self) -> NDArray[Any]:
        rows = [
            (number, wave.number, step.channel_wave(wave.block), wave.block,
             *wave.channels, *wave.band.rows, *wave.band.outputs, wave.fires)
            for number, step in self._mnf_steps()
            for wave in step.waves
        ]  # fmt: skip
        return _rows_of("waves", rows)

    def _filter_groups(self) -> NDArray[Any]:
        rows = [
            (number, group.pe + 1, wave, group.number, group.conv_group, group.first, group.size)
            for number, step in self._mnf_steps()
            for wave, block in enumerate(step.channel_waves)
            for group in step.blocks[block].mapping.groups
        ]
        return _rows_of("filter_groups", rows)

    def _weights(self) -> dict[str, NDArray[Any]]:
        """Return what the weight SRAMs hold: weights less their zero points, row by row."""
        width = self._plan.machine.pe.multipliers
        places: list[tuple[int, ...]] = []
        parts, at = [np.zeros(0, "<i2")], 0
        for number, step in self._mnf_steps():
            for of_layer, block in enumerate(step.blocks):
                rows = block.rows()
                parts.append(rows.weight.ravel().astype("<i2"))
                for p in range(self._plan.machine.n_pes):
                    first, end = (int(row) for row in rows.first[p : p + 2])
                    address, count = int(block.row_base[p]) * width, (end - first) * width
                    place = (number, of_layer, p + 1, address, at + first * width, count)
                    places.append(place)
                at += rows.weight.size
        return {
            "weights/rows": _rows_of("weights/rows", places),
            "weights/values": np.concatenate(parts),
        }


def _rows_of(name: str, rows: Sequence[tuple[int, ...]]) -> NDArray[Any]:
    """Return a table from rows of numbers."""
    dtype = dtype_of(name)
    columns = np.array(rows, np.int64).reshape(-1, len(dtype.names or ())).T
    return table(name, **dict(zip(dtype.names or (), columns, strict=True)))


def _conv_fields(step: MnfStep) -> dict[str, Any]:
    shape, window, mapping = step.shape, step.shape.window, step.mapping
    a, b = mapping.tile
    return {
        "channels": shape.channels,
        "height": shape.height,
        "width": shape.width,
        "filters": shape.filters,
        "ofmap_height": window.ofmap[0],
        "ofmap_width": window.ofmap[1],
        "kernel_y": window.kernel[0],
        "kernel_x": window.kernel[1],
        "stride_y": window.strides[0],
        "stride_x": window.strides[1],
        "pad_y": window.pads[0],
        "pad_x": window.pads[1],
        "dilation_y": window.dilations[0],
        "dilation_x": window.dilations[1],
        "groups": shape.groups,
        "tile": "linear" if mapping.is_linear else f"{a}x{b}",
    }


def _used(plan: Plan) -> dict[Memory, int]:
    """Return the bytes of the small memories that the fullest PE uses."""
    rows = pointers = biases = 0
    for step in plan.steps:
        if not isinstance(step, MnfStep):
            continue
        for block in step.blocks:
            mapping = block.mapping
            strides = mapping.shape.window.strides
            of_pe = [
                len({g.conv_group for g in mapping.groups_of(p)}) for p in range(mapping.n_pes)
            ]
            held = np.array(of_pe) * mapping.shape.group_channels * strides[0] * strides[1]
            slots = mapping.most_groups * mapping.filters
            rows = max(rows, int((block.row_base + block.n_rows).max()))
            pointers = max(pointers, int((block.pointer_base + held).max()))
            biases = max(biases, int(block.bias_base.max()) + slots)
    return {
        Memory.INDEX: INDEX_BYTES * rows,
        Memory.POINTER: POINTER_BYTES * pointers,
        Memory.BIAS: BIAS_BYTES * biases,
    }


def _memories(machine: Machine, plan: Plan) -> dict[Memory, Ports]:
    pe, ideal = machine.pe, machine.pe.weights == "ideal"
    used = _used(plan)
    ports = pe.multipliers if ideal else 1
    word = PSUM_BYTES * pe.lanes
    storage = machine.storage.bytes or plan.storage_bytes
    dram, word_of_dram = plan.dram_bytes, pe.multipliers
    if machine.tensor_memory == Memory.DRAM:
        dram, word_of_dram = dram + plan.storage_bytes, max(word_of_dram, MESSAGE_BYTES)
    memories: dict[Memory, Ports] = {
        Memory.STORAGE: (
            "storage", storage, MESSAGE_BYTES, 1, storage, 1, machine.storage.ports,
        ),
        Memory.EVENT_FIFO: ("pe", 8 * pe.event_fifo, 8, 1, 8 * pe.event_fifo, 1, 1),
        Memory.POINTER: ("pe", used[Memory.POINTER], 4, 1, used[Memory.POINTER], 1, 1),
        Memory.INDEX: ("pe", used[Memory.INDEX], 2, 1, used[Memory.INDEX], 1, 1),
        Memory.WEIGHT: ("pe", pe.weight_bytes, pe.multipliers, 1, pe.weight_bytes, 1, 1),
        Memory.PSUM: (
            "pe", pe.modules * pe.psum_bank_bytes, word, pe.modules, pe.psum_bank_bytes,
            ports, ports,
        ),
        Memory.BIAS: ("pe", used[Memory.BIAS], 4, 1, used[Memory.BIAS], 1, 1),
        Memory.DRAM: ("storage", dram, word_of_dram, 1, dram, 1, machine.storage.ports),
    }  # fmt: skip
    return memories
