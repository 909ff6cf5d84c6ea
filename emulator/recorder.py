"""Records a run: machine, layers and segments of an emulation, into a trace."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..models.network import Layer, Network
from ..noc.mesh import LOCAL, mesh, neighbours
from ..traces.schema import dtype_of, table
from ..traces.writer import TraceWriter
from . import energy
from .activations import volume
from .fire import FireOrder, fire_order
from .host import HostRun
from .machine import Machine
from .messages import flits_of
from .mnf import LayerRun
from .mnf_lists import NOC_EJECT, NOC_INJECT, STREAMS, MnfLists, Stream, steps
from .mnf_patterns import READ, WRITE, Item, Patterns, Runs, StepPatterns, bias_item
from .pe import INDEX_BYTES, MESSAGE_BYTES, POINTER_BYTES
from .plan import MnfStep, Plan
from .result import LayerResult
from .slots import BUSY, IDLE, Cause
from .state import Kind, Memory

State = dict[str, NDArray[Any]]
SEGMENTS, COUNTERS = dtype_of("segments"), dtype_of("counters")
SLOTS, FLITS = dtype_of("slots"), dtype_of("flits")


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


class Recorder:
    """Writes the trace of an emulation.

    Parameters
    ----------
    plan : Plan
    path : Path
    about : dict
        Attributes of the trace that tell the run: ``input_digest``, ``mode``, ``command``,
        ``frames``.
    values : bool
        Whether to record values of events, weights included.
    force, resume : bool
        See `firemesh.traces.writer.TraceWriter`.

    Attributes
    ----------
    state : dict
        What the last commit of the run that is resumed kept; empty for a new run.
    """

    def __init__(
        self,
        plan: Plan,
        path: Path,
        about: dict[str, Any],
        values: bool = False,
        force: bool = False,
        resume: bool = False,
    ) -> None:
        self._plan, self._values = plan, values
        machine, prices = plan.machine, energy.table(plan.machine.energy)
        attributes = {
            "program_version": __version__,
            "machine": machine.to_yaml(),
            "network": plan.network.name,
            "network_digest": plan.network.digest,
            "seed": 0,
            "clock_hz": machine.clock_hz,
            "multipliers": machine.pe.multipliers,
            "flit_bits": machine.noc.flit_bits,
            "mac_pj": prices.mac_pj,
            "flit_pj": machine.noc.flit_bits * prices.hop_bit_pj,
            "idle_cycle_pj": prices.idle_fraction * energy.active_cycle_pj(machine, prices),
            "values": values,
            **about,
        }
        self._writer = TraceWriter(path, attributes, force, resume)
        self.state: State = self._writer.state
        try:
            self._begin()
        except BaseException:
            self._writer.abandon()
            raise

    def _begin(self) -> None:
        machine = self._plan.machine
        self._steps = [
            step for step in self._plan.steps if isinstance(step, MnfStep) or not step.is_free
        ]
        self._number = {step.name: number for number, step in enumerate(self._steps)}
        self._patterns, self._runs = Patterns(), Runs()
        self._layers: dict[str, StepPatterns] = {}
        for step in self._steps:
            if isinstance(step, MnfStep):
                self._add_step(step)
        storage = [Item(Memory.STORAGE, op, MESSAGE_BYTES) for op in (READ, WRITE)]
        fifo = [Item(Memory.EVENT_FIFO, op, MESSAGE_BYTES) for op in (READ, WRITE)]
        pointer = Item(Memory.POINTER, READ, POINTER_BYTES)
        for item in (*storage, *fifo, pointer):
            self._patterns.single(item)
        self._periods = np.array(self._patterns.period, np.int64)
        self._links = _links(machine)
        if not self._writer.is_resumed:
            for name, rows in self._tables().items():
                self._writer.append(name, rows)
            self.commit({})

    def _add_step(self, step: MnfStep) -> None:
        machine, patterns = self._plan.machine, self._patterns
        order = self._fire_order(step)
        self._layers[step.name] = StepPatterns(step, machine, order, patterns, self._runs)
        for flits in flits_of(step.mapping, self._fired(step), machine):
            patterns.single(Item(NOC_INJECT, WRITE, flits))
            patterns.single(Item(NOC_EJECT, READ, flits))
        for size in np.unique(order.chunk[:, 1]).tolist():
            patterns.single(bias_item(size))

    def _fired(self, step: MnfStep) -> tuple[int, int, int]:
        return volume(self._plan.network.tensors[step.output])

    def _fire_order(self, step: MnfStep) -> FireOrder:
        lanes = self._plan.machine.pe.fire_lanes
        return fire_order(step.mapping, lanes, step.window, self._fired(step)[1:])

    # ---- tables that all segments share

    def _tables(self) -> dict[str, NDArray[Any]]:
        machine = self._plan.machine
        items = np.array(self._patterns.items, np.int64).reshape(-1, len(Item._fields))
        kind, a, b = (
            np.concatenate([entries[i] for entries in self._runs.entries] or [np.zeros(0)])
            for i in range(3)
        )
        tables = {
            "units": _units(machine),
            "memories": _memories(machine, self._plan),
            "links": table(
                "links",
                id=np.arange(len(self._links)),
                source=self._links[:, 0],
                target=self._links[:, 2],
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
            "patterns/first": np.array(self._patterns.first, "<u4"),
            "patterns/period": np.array(self._patterns.period, "<u4"),
            "patterns/items": table(
                "patterns/items", **dict(zip(Item._fields, items.T, strict=True))
            ),
            "runs/first": np.concatenate(self._runs.first).astype("<u4"),
            "runs/kind": kind.astype("<u2"),
            "runs/a": a.astype("<u4"),
            "runs/b": b.astype("<u4"),
        }
        return tables | (self._weights() if self._values else {})

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
                first = int(step.rows.first[p])
                places.append((number, p + 1, int(step.row_base[p]) * width, at + first * width))
            at += values.size
        names = ("layer", "unit", "address", "first")
        columns = np.array(places, np.int64).reshape(-1, len(names)).T
        return {
            "weights/rows": table("weights/rows", **dict(zip(names, columns, strict=True))),
            "weights/values": np.concatenate(parts or [np.zeros(0, "<i2")]),
        }

    # ---- segments

    def add(self, frame: int, run: LayerRun | HostRun, result: LayerResult) -> None:
        """Add a layer of a frame, with its counters."""
        if run.cycle1 == run.cycle0:
            return
        writer = self._writer
        segment = writer.rows("segments")
        lists = writer.lists(segment)
        if isinstance(run, LayerRun):
            MnfLists(
                run, self._layers[run.step.name], self._patterns, self._periods,
                self._plan.machine, lists,
            ).make(self._values)  # fmt: skip
        else:
            self._host(run, lists)
        writer.take(lists)
        row = np.zeros(1, SEGMENTS)
        row["frame"], row["layer"] = frame, self._number[run.step.name]
        row["cycle0"], row["cycle1"] = run.cycle0, run.cycle1
        writer.append("segments", row)
        self._counters(segment, run, result)

    def _host(self, run: HostRun, lists: Any) -> None:
        read = np.concatenate([part.address for part in run.inputs])
        write = run.output.address
        for stream, op, address, begin in (
            (Stream.HOST_READ, READ, read, 0),
            (Stream.HOST_WRITE, WRITE, write, len(read)),
        ):
            pattern = self._patterns.single(Item(Memory.STORAGE, op, MESSAGE_BYTES))
            lists.add(
                stream, [0], len(address), steps(begin + np.arange(len(address)))[None],
                columns={"base": address, "pattern": pattern}, least=1,
            )  # fmt: skip

    def _counters(self, segment: int, run: LayerRun | HostRun, result: LayerResult) -> None:
        unit, memory, op = np.nonzero(result.counts)
        parts = [
            (unit, memory, op, result.counts[unit, memory, op], result.bytes[unit, memory, op])
        ]
        if isinstance(run, LayerRun):
            nodes = np.arange(len(result.link_flits))
            packets = run.packets
            sent = np.bincount(packets.source, minlength=len(nodes))
            flits = np.bincount(packets.source, packets.flits, len(nodes)).astype(np.int64)
            doors = (
                (NOC_INJECT, WRITE, sent, flits),
                (NOC_EJECT, READ, run.columns.received, result.link_flits[:, LOCAL]),
            )
            for door, way, count, size in doors:
                which = np.flatnonzero(count)
                same = np.full_like(which, door), np.full_like(which, way)
                parts.append((which, *same, count[which], size[which]))
        rows = np.empty(sum(len(part[0]) for part in parts), COUNTERS)
        rows["segment"] = segment
        names = ("unit", "memory", "op", "count", "bytes")
        for name, values in zip(names, zip(*parts, strict=True), strict=True):
            rows[name] = np.concatenate(values)
        self._writer.append("counters", rows)
        pe, cause = np.nonzero(result.slots)
        slots = np.empty(len(pe), SLOTS)
        slots["segment"], slots["unit"], slots["cause"] = segment, pe + 1, cause
        slots["count"] = result.slots[pe, cause]
        self._writer.append("slots", slots)
        flits = result.link_flits[self._links[:, 0], self._links[:, 1]]
        link = np.flatnonzero(flits)
        rows = np.empty(len(link), FLITS)
        rows["segment"], rows["link"], rows["count"] = segment, link, flits[link]
        self._writer.append("flits", rows)

    # ---- commits

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._writer.is_due

    def commit(self, state: State) -> None:
        """Bring what was added to the disk, with what is needed to go on from here."""
        self._writer.commit(state)

    def finish(self, state: State) -> None:
        """Make the trace file."""
        self._writer.finish(state)

    def abandon(self) -> None:
        """Stop without a trace file; what was committed stays."""
        self._writer.abandon()


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
            biases = 4 * (int(step.bias_base.max()) + slots)
            used[Memory.BIAS] = max(used[Memory.BIAS], biases)
    ports = pe.multipliers if ideal else 1
    word = 4 * pe.lanes
    storage = machine.storage.bytes or plan.storage_bytes
    rows = {
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
    columns = list(zip(*[rows[memory] for memory in Memory], strict=True))
    names = ("unit_kind", "bytes", "word_bytes", "banks", "bank_bytes", "read_ports", "write_ports")
    both = [(*column, *(door[i] for door in doors)) for i, column in enumerate(columns)]
    return table(
        "memories",
        id=np.arange(len(Memory) + 2),
        name=[*(memory.name.lower() for memory in Memory), "noc_inject", "noc_eject"],
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
