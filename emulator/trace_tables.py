"""What all segments of a trace share: units, memories, layers, patterns and runs, as tables."""

from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Layer, Network
from ..noc.mesh import mesh, neighbours
from ..traces.schema import NETWORK_MEMORIES, table
from . import energy
from .activations import volume
from .event_patterns import EventPatterns
from .fire import fire_order
from .fire_patterns import FirePatterns
from .machine import Machine
from .messages import flits_of
from .patterns import READ, WRITE, Item, Patterns, Runs
from .pe import BIAS_BYTES, INDEX_BYTES, MESSAGE_BYTES, POINTER_BYTES, PSUM_BYTES
from .plan import MnfStep, Plan
from .slots import BUSY, IDLE, Cause
from .state import Kind, Memory
from .streams import NOC_EJECT, NOC_INJECT, STREAMS

MEMORIES = [memory.name.lower() for memory in Memory] + list(NETWORK_MEMORIES)


class TraceTables:
    """Tables of a plan.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    number : dict
        Name of a layer -> its number in the trace.
    patterns : Patterns
    periods : int64[n_patterns]
    events, fires : dict
        Name of a layer on PEs -> its patterns.
    links : int64[n_links, 3]
        Node, output port and node behind it; the local port delivers.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps = [step for step in plan.steps if isinstance(step, MnfStep) or not step.is_free]
        self.number = {step.name: number for number, step in enumerate(self._steps)}
        self.patterns, self._runs = Patterns(), Runs()
        self.events: dict[str, EventPatterns] = {}
        self.fires: dict[str, FirePatterns] = {}
        for step in self._steps:
            if isinstance(step, MnfStep):
                self._add(step)
        for op in (READ, WRITE):
            self.patterns.single(Item(Memory.STORAGE, op, MESSAGE_BYTES))
            self.patterns.single(Item(Memory.EVENT_FIFO, op, MESSAGE_BYTES))
        self.patterns.single(Item(Memory.POINTER, READ, POINTER_BYTES))
        self.periods = np.array(self.patterns.period, np.int64)
        self.links = _links(plan.machine)

    def _add(self, step: MnfStep) -> None:
        machine, patterns, runs = self._plan.machine, self.patterns, self._runs
        fired = volume(self._plan.network.tensors[step.output])
        order = fire_order(step.mapping, machine.pe.fire_lanes, step.window, fired[1:])
        self.events[step.name] = EventPatterns(step, machine, patterns, runs)
        self.fires[step.name] = FirePatterns(step, machine, order, patterns, runs)
        for flits in flits_of(step.mapping, fired, machine):
            patterns.single(Item(NOC_INJECT, WRITE, flits))
            patterns.single(Item(NOC_EJECT, READ, flits))

    def tables(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables by name; with ``values`` those of the weights too."""
        machine = self._plan.machine
        items = np.array(self.patterns.items, np.int64).reshape(-1, len(Item._fields))
        kind, a, b = (
            np.concatenate([entries[i] for entries in self._runs.entries] or [np.zeros(0)])
            for i in range(3)
        )
        tables = {
            "units": _units(machine),
            "memories": _memories(machine, self._plan),
            "links": table(
                "links",
                id=np.arange(len(self.links)),
                source=self.links[:, 0],
                target=self.links[:, 2],
            ),
            "causes": table(
                "causes",
                id=np.arange(len(Cause)),
                name=[cause.name.lower() for cause in Cause],
                is_busy=[cause in BUSY for cause in Cause],
                is_idle=[cause in IDLE for cause in Cause],
            ),
            "kinds": table(
                "kinds", id=np.arange(len(Kind)), name=[kind.name.lower() for kind in Kind]
            ),
            "streams": table(
                "streams",
                id=np.arange(len(STREAMS)),
                name=[stream.name.lower() for stream in STREAMS],
                doc=list(STREAMS.values()),
            ),
            "layers": self._layer_table(),
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

    def _layer_table(self) -> NDArray[Any]:
        plan, rows = self._plan, []
        for number, step in enumerate(self._steps):
            is_mnf = isinstance(step, MnfStep)
            rows.append(
                {
                    "id": number,
                    "name": step.name,
                    "op": step.layer.op,
                    "mode": "mnf" if is_mnf else "host",
                    "output": step.output,
                    "output_address": plan.regions[step.output],
                }
                | (
                    _conv_fields(step)
                    if isinstance(step, MnfStep)
                    else _host_fields(step.layer, plan.network)
                )
            )
        return table("layers", **{name: [row[name] for row in rows] for name in rows[0]})

    def _filter_groups(self) -> NDArray[Any]:
        rows = [
            (number, group.pe + 1, *astuple(group)[1:])
            for number, step in enumerate(self._steps)
            if isinstance(step, MnfStep)
            for group in step.mapping.groups
        ]
        names = ("layer", "unit", "number", "conv_group", "first", "size")
        columns = np.array(rows, np.int64).reshape(-1, len(names)).T
        return table("filter_groups", **dict(zip(names, columns, strict=True)))

    def _weights(self) -> dict[str, NDArray[Any]]:
        """Return what the weight SRAMs hold: weights less their zero points, row by row."""
        width = self._plan.machine.pe.multipliers
        places, parts, at = [], [], 0
        for number, step in enumerate(self._steps):
            if not isinstance(step, MnfStep):
                continue
            values = step.rows.weight.ravel()
            parts.append(values.astype("<i2"))
            for p in range(self._plan.machine.n_pes):
                first, end = (int(row) for row in step.rows.first[p : p + 2])
                address, count = int(step.row_base[p]) * width, (end - first) * width
                places.append((number, p + 1, address, at + first * width, count))
            at += values.size
        names = ("layer", "unit", "address", "first", "count")
        columns = np.array(places, np.int64).reshape(-1, len(names)).T
        return {
            "weights/rows": table("weights/rows", **dict(zip(names, columns, strict=True))),
            "weights/values": np.concatenate(parts or [np.zeros(0, "<i2")]),
        }


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


def _host_fields(layer: Layer, network: Network) -> dict[str, Any]:
    names = ("kernel_y", "kernel_x", "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y",
             "dilation_x", "groups")  # fmt: skip
    sizes = [(*network.tensors[name].shape, 1, 1)[:3] for name in (layer.inputs[0], layer.output)]
    (c, h, w), (k, p, q) = sizes
    return {
        "channels": c,
        "height": h,
        "width": w,
        "filters": k,
        "ofmap_height": p,
        "ofmap_width": q,
        **dict.fromkeys(names, 0),
        "tile": "",
    }


def _units(machine: Machine) -> NDArray[Any]:
    nodes = np.arange(machine.mesh.n_nodes)
    y, x = np.divmod(nodes, machine.mesh.width)
    return table(
        "units",
        id=nodes,
        name=["storage", *(f"pe{node}" for node in nodes[1:])],
        kind=["storage", *("pe" for _ in nodes[1:])],
        x=x,
        y=y,
    )


def _memories(machine: Machine, plan: Plan) -> NDArray[Any]:
    pe, ideal = machine.pe, machine.pe.weights == "ideal"
    used = {memory: 0 for memory in Memory}
    for step in plan.steps:
        if isinstance(step, MnfStep):
            rows, held = step.rows, step.row_base + np.diff(step.rows.first)
            pointers = step.pointer_base + np.diff(rows.pointer_first)
            slots = step.mapping.most_groups * step.mapping.filters
            used[Memory.INDEX] = max(used[Memory.INDEX], INDEX_BYTES * int(held.max()))
            used[Memory.POINTER] = max(used[Memory.POINTER], POINTER_BYTES * int(pointers.max()))
            biases = BIAS_BYTES * (int(step.bias_base.max()) + slots)
            used[Memory.BIAS] = max(used[Memory.BIAS], biases)
    ports = pe.multipliers if ideal else 1
    word = PSUM_BYTES * pe.lanes
    storage = machine.storage.bytes or plan.storage_bytes
    memories = {
        Memory.STORAGE: ("storage", storage, MESSAGE_BYTES, 1, storage, 1, 1),
        Memory.EVENT_FIFO: ("pe", 8 * pe.event_fifo, 8, 1, 8 * pe.event_fifo, 1, 1),
        Memory.POINTER: ("pe", used[Memory.POINTER], 4, 1, used[Memory.POINTER], 1, 1),
        Memory.INDEX: ("pe", used[Memory.INDEX], 2, 1, used[Memory.INDEX], 1, 1),
        Memory.WEIGHT: ("pe", pe.weight_bytes, pe.multipliers, 1, pe.weight_bytes, 1, 1),
        Memory.PSUM: (
            "pe", pe.modules * pe.psum_bank_bytes, word, pe.modules, pe.psum_bank_bytes,
            ports, ports,
        ),
        Memory.BIAS: ("pe", used[Memory.BIAS], 4, 1, used[Memory.BIAS], 1, 1),
    }  # fmt: skip
    access = energy.table(machine.energy).access_pj
    prices = [access[memory.name.lower()].byte_pj for memory in Memory] + [0.0, 0.0]
    doors = [("node", 0, 0, 1, 0, 1, 1)] * 2
    columns = list(zip(*[memories[memory] for memory in Memory], strict=True))
    names = ("unit_kind", "bytes", "word_bytes", "banks", "bank_bytes", "read_ports", "write_ports")
    both = [(*column, *(door[i] for door in doors)) for i, column in enumerate(columns)]
    return table(
        "memories",
        id=np.arange(len(Memory) + 2),
        name=MEMORIES,
        read_byte_pj=prices,
        write_byte_pj=prices,
        **dict(zip(names, both, strict=True)),
    )


def _links(machine: Machine) -> NDArray[np.int64]:
    """Return int64[n, 3]: node, output port and node behind it; the local port delivers."""
    behind = neighbours(mesh(machine.mesh.width, machine.mesh.height))
    nodes = np.arange(len(behind))
    behind = np.concatenate([behind, nodes[:, None]], axis=1)
    node, port = np.nonzero(behind >= 0)
    return np.stack([node, port, behind[node, port]], axis=1)
