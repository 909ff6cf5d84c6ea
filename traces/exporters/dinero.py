"""Dinero IV's extended traces, which ask what a scratchpad would do as a cache.

A folder has a file for each memory of each unit, a line ``r 1000 40`` an access, address and size
in hexadecimal, in the order of the run; addresses are the memory's own.
"""

from pathlib import Path

import numpy as np

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .folder import Folder, file_names, sorted_by
from .lines import Template
from .records import Records

LINE = Template("{op} {address:x} {size:x}\n", {"op": ("r", "w")})
SUFFIX = ".din"
LINE_BYTES = 64
"""Of the caches that are proposed."""


def write_dinero(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a folder of traces; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, is_apart=True)
    regions = records.regions
    names = file_names([f"{region['unit']}_{region['memory']}" for region in regions], SUFFIX)
    number = np.zeros(records.base.shape, np.min_scalar_type(len(regions)))
    for i, region in enumerate(regions):
        place = trace.memories.index(region["memory"]), trace.units.index(region["unit"])
        number[place] = i
    count = np.zeros((len(regions), 2), np.int64)
    with Folder(out) as folder:
        for block in records.blocks(progress):
            for i, mine in sorted_by(block, number[block["memory"], block["unit"]]):
                writes = np.count_nonzero(mine["op"])
                count[i] += len(mine) - writes, writes
                folder.append(names[i], LINE.lines(mine).data)
    sizes = dict(zip(trace.memories, trace.table("memories")["bytes"].tolist(), strict=True))
    files = [
        {"file": name, "memory": region["memory"], "unit": region["unit"]}
        | {"reads": reads, "writes": writes, "cache_bytes": cache_bytes(sizes[region["memory"]])}
        for name, region, (reads, writes) in zip(names, regions, count.tolist(), strict=True)
        if reads or writes  # in a window of cycles some have none
    ]
    facts = records.facts() | {
        "line": "op address size, both hexadecimal",
        "files": files,
        "consumer_command": f"dineroIV -informat D -l1-usize CACHE_BYTES -l1-ubsize {LINE_BYTES} "
        "< FOLDER/FILE",
    }
    return Report({"records": records.written.count, "files": len(files)}, facts)


def cache_bytes(memory_bytes: int) -> int | None:
    """Return the size of the largest cache that is no larger than a memory, at least a line.

    None where the memory has no size, such as a bus.
    """
    if not memory_bytes:
        return None
    return max(LINE_BYTES, 1 << memory_bytes.bit_length() - 1)


DINERO = Exporter(
    write_dinero,
    "Dinero IV's traces, a file for each memory of each unit",
    consumer="Dinero IV (-informat D)",
    keeps="order, read or write, address in the memory, size; unit and memory by the file's name",
    loses="cycles, layers, order among memories",
    is_folder=True,
)
