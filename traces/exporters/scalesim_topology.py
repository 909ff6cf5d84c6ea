"""SCALE-Sim's own inputs for the layers of a trace: ``topology.csv`` and ``scale.cfg``."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..reader import Trace
from .scalesim_operands import OFFSETS, SRAM

HEADER = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,"
)


def topology(trace: Trace, layers: Sequence[int]) -> tuple[str, list[str]]:
    """Return the text of ``topology.csv``, and what it cannot tell of some layers.

    SCALE-Sim knows no padding, so an ifmap is as high and wide as it must be for the ofmap to have
    its size; the last comma of a line is wanted.
    """
    lines, notes = [HEADER], []
    for layer in trace.table("layers")[list(layers)]:
        name = layer["name"].decode("utf-8", "replace")
        groups, stride = max(1, int(layer["groups"])), int(layer["stride_y"])
        sizes = [
            (int(layer[f"ofmap_{side}"]) - 1) * stride + int(layer[f"kernel_{axis}"])
            for side, axis in (("height", "y"), ("width", "x"))
        ]
        kernel = [int(layer["kernel_y"]), int(layer["kernel_x"])]
        per_group = [int(layer["channels"]) // groups, int(layer["filters"]) // groups]
        lines.append(", ".join(map(str, (_plain(name), *sizes, *kernel, *per_group, stride))) + ",")
        if groups > 1:
            notes.append(f"{name}: one of {groups} groups")
        if layer["stride_x"] != layer["stride_y"]:
            notes.append(f"{name}: the stride of columns is that of rows")
        if max(layer["dilation_y"], layer["dilation_x"]) > 1:
            notes.append(f"{name}: without dilation")
    return "\n".join(lines) + "\n", notes


def _plain(name: str) -> str:
    """Return a name of one field of one line, without DP, which makes layers depth-wise."""
    return re.sub(r"[,\s]+", "_", name.strip()).replace("DP", "D_P") or "_"


def config(trace: Trace, mode: str) -> str:
    """Return the text of ``scale.cfg``: an array of a row for each PE, a column a multiplier."""
    memories, units = trace.table("memories"), trace.table("units")
    n_pes = int((units["kind"] == b"pe").sum())
    sizes = []
    for source in SRAM[mode]:
        memory = memories[trace.memories.index(source.memory)]
        n = int(np.sum(units["kind"] == memory["unit_kind"]))
        sizes.append(max(1, -(-int(memory["bytes"]) * n // 1024)))
    sections: dict[str, dict[str, Any]] = {
        "general": {"run_name": f"{trace.attribute('network')}"},
        "architecture_presets": {
            "ArrayHeight": n_pes,
            "ArrayWidth": trace.attribute("multipliers"),
            "IfmapSramSzkB": sizes[0],
            "FilterSramSzkB": sizes[1],
            "OfmapSramSzkB": sizes[2],
            **{f"{name.title()}Offset": offset for name, offset in OFFSETS.items()},
            "Dataflow": "ws",
            "Bandwidth": 10,
            "ReadRequestBuffer": 64,
            "WriteRequestBuffer": 64,
        },
        "layout": {
            name.format(side): value
            for side in ("Ifmap", "Filter")
            for name, value in (
                ("{}CustomLayout", "False"),
                ("{}SRAMBankBandwidth", 10),
                ("{}SRAMBankNum", 10),
                ("{}SRAMBankPort", 2),
            )
        },
        "sparsity": {
            "SparsitySupport": "false",
            "SparseRep": "csr",
            "OptimizedMapping": "false",
            "BlockSize": 8,
            "RandomNumberGeneratorSeed": 0,
        },
        "run_presets": {"InterfaceBandwidth": "CALC", "UseRamulatorTrace": "False"},
    }
    lines = []
    for section, fields in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in fields.items()), ""]
    return "\n".join(lines)
