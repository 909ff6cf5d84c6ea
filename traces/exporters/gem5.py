"""gem5's packet traces, for its traffic generators: messages of ``packet.proto``, ticks of 1 ps.

Behind the letters ``gem5`` come messages of protocol buffers, each behind its length as a varint:
a ``PacketHeader``, which names the units, and a ``Packet`` for each access, whose ``pkt_id`` is its
unit. Files are compressed where the name ends in ``.gz``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .folder import Folder, file_names, new_file, sorted_by
from .records import Records
from .varints import MOST_BYTES, put_packets

FORMS = ("file", "units")
MAGIC = b"gem5"
TICKS_HZ = 10**12
"""gem5 takes traces of its own tick only, a picosecond."""
COMMANDS = np.array([1, 4], np.uint8)
"""Of gem5's ``MemCmd``: ReadReq and WriteReq."""
OBJECT = "firemesh"
SUFFIX = ".trc"
VARINT, BYTES = 0, 2
"""Wire types of the header's fields."""


def write_gem5(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a trace of packets; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, hz=TICKS_HZ)
    form, is_packed = options.form or FORMS[0], out.suffix == ".gz"
    write = _write_units if form == "units" else _write_file
    files = write(records, out, is_packed, progress)
    last = records.written.last_cycle or 0
    file = "FOLDER/FILE" if form == "units" else "FILE"
    facts = records.facts() | {
        "form": form,
        "messages": "packet.proto: PacketHeader, then Packet with tick, cmd, addr, size, pkt_id",
        "ticks": last + 1,
        "files": files,
        "consumer_command": f"PyTrafficGen: yield generator.createTrace({last + 1}, '{file}'); "
        f"TrafficGen: STATE 0 {last + 1} TRACE {file} 0",
    }
    counts = {"records": records.written.count}
    return Report(counts | ({"files": len(files)} if files else {}), facts)


def _write_file(
    records: Records, out: Path, is_packed: bool, progress: Progress
) -> list[dict[str, Any]]:
    names = records.trace.units
    used = sorted({names.index(region["unit"]) for region in records.regions})
    with new_file(out, is_packed) as file:
        file.write(MAGIC + header((unit, names[unit]) for unit in used))
        for block in records.blocks(progress):
            file.write(packets(block).data)
    return []


def _write_units(
    records: Records, out: Path, is_packed: bool, progress: Progress
) -> list[dict[str, Any]]:
    """Write a file for each unit; return what is in them."""
    units = records.trace.units
    names = file_names(units, f"{SUFFIX}.gz" if is_packed else SUFFIX)
    count = np.zeros(len(units), np.int64)
    with Folder(out, is_packed) as folder:
        for block in records.blocks(progress):
            for unit, mine in sorted_by(block, block["unit"]):
                if not count[unit]:
                    folder.append(names[unit], MAGIC + header([(unit, units[unit])]))
                count[unit] += len(mine)
                folder.append(names[unit], packets(mine).data)
    return [
        {"file": names[unit], "unit": units[unit], "records": int(count[unit])}
        for unit in np.flatnonzero(count).tolist()
    ]


def packets(block: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8[bytes]: messages of records, each behind its length.

    Parameters
    ----------
    block : structured array[n]
        Of dtype `firemesh.traces.schema.ACCESS`, cycles in ticks.
    """
    out = np.empty(MOST_BYTES * len(block), np.uint8)
    words = block.view(np.uint64).reshape(-1, 3)
    return out[: put_packets(words, COMMANDS, out)]


def header(units: Iterable[tuple[int, str]]) -> bytes:
    """Return the header's message behind its length: who recorded, ticks a second, names of units.

    Parameters
    ----------
    units : iterable of (int, str)
        Number and name.
    """
    message = _text(1, OBJECT.encode()) + _varint(2 << 3 | VARINT) + _varint(0)
    message += _varint(3 << 3 | VARINT) + _varint(TICKS_HZ)
    for number, name in units:
        entry = _varint(1 << 3 | VARINT) + _varint(number) + _text(2, name.encode())
        message += _text(4, entry)
    return _varint(len(message)) + message


def _text(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


GEM5 = Exporter(
    write_gem5,
    "gem5's packet traces, one file or one for each unit",
    consumer="gem5's TrafficGen and PyTrafficGen",
    keeps="time in ps, read or write, address, size, unit (pkt_id)",
    loses="memories and layers (addresses tell the memory, see the side file), data",
    options=("relative", "burst_bytes", "merge", "form"),
    forms=FORMS,
    folder_forms=("units",),
)
