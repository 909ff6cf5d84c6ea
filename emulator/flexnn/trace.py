"""What a run of mode flexnn adds to its trace."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.network import Conv, Layer, Linear
from ...noc.topology import LOCAL
from ...traces.lists import Lists, Rule
from ...traces.schema import Walk
from ..activations import volume
from ..host import HostRun
from ..kinds import Memory
from ..layer_result import LayerResult
from ..patterns import READ, WRITE, Item
from ..run_trace import Records
from ..steps import HostStep
from ..streams import NOC_EJECT, NOC_INJECT, Stream
from ..trace_tables import Ports, shared_tables
from .addresses import file_bytes
from .dims import Dim
from .plan import FlexPlan, FlexStep
from .run import FlexRun
from .segment_patterns import SegmentPatterns
from .tensor_bytes import tensor_bytes
from .trace_lists import ArrayLists

MANY = 64
"""Ports of what is no memory."""


class FlexTrace:
    """What a run of mode flexnn adds to its trace; see `firemesh.emulator.run_trace.RunTrace`.

    Parameters
    ----------
    plan : FlexPlan
    number : mapping of str to int, optional
        Of each of the plan's layers that take cycles; by default counted from 0.
    """

    def __init__(self, plan: FlexPlan, number: Mapping[str, int] | None = None) -> None:
        self._plan = plan
        machine = plan.machine
        self._is_mesh = machine.sdn.kind == "mesh"
        self._packets = np.zeros((machine.n_nodes, 2), np.int64)
        self._steps = [
            step for step in plan.steps if isinstance(step, FlexStep) or not step.is_free
        ]
        self.number = dict(number or {step.name: i for i, step in enumerate(self._steps)})
        self._regions = {name: plan.tensor_base + at for name, at in plan.regions.items()}
        self._weights: dict[str, int] = {}
        top = plan.storage_bytes if plan.weight_base is None else plan.weight_base
        for step in self._steps:
            if isinstance(step, FlexStep):
                self._weights[step.name] = top
                top += 2 * step.layer.weight.size
        self._dram_bytes = top

    def tables(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables that all segments share; values are not recorded in this mode."""
        machine, columns = self._plan.machine, self._plan.machine.array.columns
        vpes = [f"vpe{v // columns}_{v % columns}" for v in range(machine.n_pes)]
        none = {"patterns/first": np.zeros(1, "<u4"), "runs/first": np.zeros(1, "<u4")}
        return shared_tables(machine, vpes, self.layers(), self.memories()) | none

    def memories(self) -> dict[Memory, Ports]:
        """Return the memories that the mode has."""
        machine = self._plan.machine
        lanes, size = machine.array.lanes, file_bytes(machine)
        word, column = 4 * machine.sdn.drain_bytes, machine.sdn.column_bytes
        sram = machine.sram
        return {
            Memory.STORAGE: ("storage", sram.bytes, sram.read_bytes, 1, sram.bytes, 2, 2),
            Memory.DRAM: (
                "storage", self._dram_bytes, machine.dram.bytes_per_cycle, 1, self._dram_bytes, 1, 1
            ),
            Memory.RF_IF: ("pe", size, 1, lanes, size // lanes, 1, 1),
            Memory.RF_FL: ("pe", size, 1, lanes, size // lanes, 1, 1),
            Memory.RF_OF: ("pe", size, word, 1, size, 1, 2),
            Memory.BITMAP_IF: ("pe", size, column, 1, size, 1, 1),
            Memory.BITMAP_FL: ("pe", size, column, 1, size, 1, 1),
            Memory.ACC: ("pe", 4 * lanes, 4, lanes, 4, 1, 1),
            Memory.BUS: ("node", 0, 0, 1, 0, MANY, MANY),
        }  # fmt: skip

    def layers(self) -> list[dict[str, Any]]:
        """Return the rows of the table of layers."""
        rows = []
        for step in self._steps:
            row = {
                "id": self.number[step.name],
                "name": step.name,
                "op": step.layer.op,
                "mode": "host" if isinstance(step, HostStep) else "flexnn",
                "tile": "",
                "output": step.output,
                "output_address": self._regions[step.output],
            }
            rows.append(row | self._sizes(step.layer))
        return rows

    def _sizes(self, layer: Layer) -> dict[str, int]:
        tensors = self._plan.network.tensors
        before, after = volume(tensors[layer.inputs[0]]), volume(tensors[layer.output])
        names = ("channels", "height", "width", "filters", "ofmap_height", "ofmap_width")
        sizes = dict(zip(names, (*before, *after), strict=True))
        window = ("kernel", "stride", "pad", "dilation")
        sizes |= {f"{name}_{axis}": 0 for name in window for axis in "yx"} | {"groups": 0}
        if isinstance(layer, Conv | Linear):
            step = next(s for s in self._steps if s.name == layer.name)
            assert isinstance(step, FlexStep)
            dims = step.dims
            kernel = dims.sizes[Dim.FY], dims.sizes[Dim.FX]
            values = (kernel, dims.strides, dims.pads, dims.dilations)
            for name, pair in zip(window, values, strict=True):
                sizes |= {f"{name}_y": pair[0], f"{name}_x": pair[1]}
            sizes["groups"] = dims.sizes[Dim.G]
        return sizes

    def add(self, run: FlexRun | HostRun, lists: Lists, records: Records) -> None:
        """Add what a layer left behind."""
        if isinstance(run, HostRun):
            self._host(run, lists, records)
            return
        source = run.step.layer.inputs[0]
        regions = (
            self._regions[source],
            self._weights[run.step.name],
            self._regions[run.step.output],
        )
        made = ArrayLists(run.array, lists, records, regions)
        made.make()
        self._packets = made.mesh.counted if made.mesh else np.zeros_like(self._packets)

    def _host(self, run: HostRun, lists: Lists, records: Records) -> None:
        """Add bursts of DRAM, one after another: inputs, then the output."""
        machine, regions = self._plan.machine, self._regions
        width = machine.dram.bytes_per_cycle
        patterns, cycle = SegmentPatterns(records), 0
        for stream, op, parts in (
            (Stream.HOST_READ, READ, run.inputs),
            (Stream.HOST_WRITE, WRITE, (run.output,)),
        ):
            size = np.array([tensor_bytes(part, machine) for part in parts], np.int64)
            base = np.array([regions[part.tensor.name] for part in parts], np.int64)
            slack = np.zeros((1, len(size)), np.int64)
            slack[0, 0] = cycle
            cycle += int((-(-size // width)).sum())
            pattern = patterns.add([Item(Memory.DRAM, op, width, a_step=width)])
            columns: dict[str, Any] = {"span": size, "base": base, "pattern": pattern}
            lists.add(stream, [0], len(size), Rule(walks=Walk.SPAN), columns, slack)

    def wave_of(self, run: FlexRun | HostRun) -> int:
        """Return 0: a layer is one segment."""
        return 0

    def doors(self, run: Any, result: LayerResult, counted: NDArray[Any]) -> None:
        """Count what goes through the network's doors; nothing on buses."""
        if self._is_mesh and isinstance(run, FlexRun):
            counted[0, :, NOC_INJECT, WRITE] = self._packets[:, 0]
            counted[1, :, NOC_INJECT, WRITE] = result.sent_flits
            counted[0, :, NOC_EJECT, READ] = self._packets[:, 1]
            counted[1, :, NOC_EJECT, READ] = result.link_flits[:, LOCAL]
