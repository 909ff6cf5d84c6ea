"""Value change dumps: memories' ports as signals over time, for wave viewers.

Each unit is a scope, in it each memory, in it its ports; a port is ``read`` or ``write``, and where
a memory takes several accesses in a cycle ``read_2`` and so on. A cycle is a nanosecond.
"""

import re
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from .activity import ends
from .exporter import Exporter, Options, Progress, Report
from .lanes import Lane, Lanes
from .records import Records
from .vcd_changes import SIZE_BITS, Changes

MOST_ACCESSES = 1_000_000
MOST_CYCLES = 10_000_000
LETTERS = [chr(code) for code in range(33, 127) if chr(code) not in "#$"]
"""Of signals' names in the text; without those that begin times and words of VCD."""
RUN_SIGNALS = ("layer", "frame", "wave")
RUN_BITS = 32


class Ports(NamedTuple):
    """The ports of a window.

    Parameters
    ----------
    lanes : Lanes
    address : dict
        Memory -> the highest address.
    """

    lanes: Lanes
    address: dict[int, int]


def write_vcd(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a dump of a window; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, is_apart=True)
    records.refuse_doors()
    ports = _find_ports(records)
    with open(out, "wb") as file:
        _write_header(records, ports, file)
        _write_changes(records, ports, file, progress)
    facts = records.facts() | {
        "addresses": "of the memory of the unit, from 0",
        "time": "1 ns is 1 cycle",
        "ports": len(ports.lanes.found),
        "consumer_command": "gtkwave FILE",
    }
    counts = {"accesses": records.written.count, "ports": len(ports.lanes.found)}
    return Report(counts, facts)


def _find_ports(records: Records) -> Ports:
    """Go through the window once for its ports.

    Raises
    ------
    TraceError
        When the window is too large.
    """
    begin, end = _window(records)
    if end - begin > MOST_CYCLES:
        raise _too_large(records, f"{MOST_CYCLES:,} cycles", begin + MOST_CYCLES)
    ports, count = Ports(Lanes(), {}), 0
    for block in records.trace.accesses(**records.selection.arguments):
        count += len(block)
        if count > MOST_ACCESSES:
            fits = int(block["cycle"][len(block) - (count - MOST_ACCESSES)])
            raise _too_large(records, f"{MOST_ACCESSES:,} accesses", fits)
        ports.lanes.of(*(block[name] for name in ("cycle", "unit", "memory", "op")))
        for memory in np.unique(block["memory"]).tolist():
            highest = int(block["address"][block["memory"] == memory].max())
            ports.address[memory] = max(highest, ports.address.get(memory, 0))
    return ports


def _window(records: Records) -> tuple[int, int]:
    segments = records.segments
    return ends(records, int(segments[0]))[0], ends(records, int(segments[-1]))[1]


def _too_large(records: Records, what: str, fits: int) -> TraceError:
    begin = _window(records)[0]
    way = f"choose --cycles {begin}:{fits}, or fewer" if fits > begin else "choose fewer cycles,"
    return TraceError(
        f"{records.trace.path}: the selection is more than {what}, too large for vcd; {way} "
        "units or memories"
    )


# ---- header


def _write_header(records: Records, ports: Ports, file: IO[bytes]) -> None:
    trace = records.trace
    lines = ["$version firemesh $end", "$comment a cycle is 1 ns $end", "$timescale 1 ns $end"]
    lines += [f"$scope module {_plain(trace.attribute('network'))} $end"]
    kinds = ("string 1", f"integer {RUN_BITS}", f"integer {RUN_BITS}")
    for number, (name, kind) in enumerate(zip(RUN_SIGNALS, kinds, strict=True)):
        lines.append(f"$var {kind} {signal_name(number)} {name} $end")
    opened: tuple[str, ...] = ()
    for place in sorted(range(len(ports.lanes.found)), key=lambda one: ports.lanes.found[one]):
        lane = ports.lanes.found[place]
        scopes = _plain(trace.units[lane.unit]), _plain(trace.memories[lane.memory])
        same = 2 if scopes == opened else 1 if scopes[:1] == opened[:1] else 0
        lines += ["$upscope $end"] * (len(opened) - same)
        lines += [f"$scope module {name} $end" for name in scopes[same:]]
        opened, bits = scopes, _address_bits(records, ports, lane)
        lines.append(f"$scope module {_port_name(trace, lane)} $end")
        for number, (name, width) in enumerate(
            (("valid", 1), ("address", bits), ("size", SIZE_BITS))
        ):
            last = f" [{width - 1}:0]" if width > 1 else ""
            code = signal_name(len(RUN_SIGNALS) + 3 * place + number)
            lines.append(f"$var wire {width} {code} {name}{last} $end")
        lines.append("$upscope $end")
    lines += ["$upscope $end"] * (len(opened) + 1)
    file.write("\n".join([*lines, "$enddefinitions $end", ""]).encode("ascii"))


def _port_name(trace: Trace, lane: Lane) -> str:
    return trace.ops[lane.op] + (f"_{lane.number + 1}" if lane.number else "")


def _address_bits(records: Records, ports: Ports, lane: Lane) -> int:
    """Return the bits of a memory's address, a multiple of 4 for hexadecimal digits."""
    size = int(records.trace.table("memories")["bytes"][lane.memory])
    highest = max(size - 1, ports.address[lane.memory], 1)
    return -(-highest.bit_length() // 4) * 4


def _plain(name: str) -> str:
    """Return a name as scopes and text have it: no spaces, nothing beyond ASCII."""
    return re.sub(r"[^!-~]|\$", "_", name) or "_"


def signal_name(number: int) -> str:
    """Return what a signal is called in the text."""
    name = ""
    while number >= 0:
        number, place = divmod(number, len(LETTERS))
        name, number = LETTERS[place] + name, number - 1
    return name


# ---- changes


def _write_changes(records: Records, ports: Ports, file: IO[bytes], progress: Progress) -> None:
    lanes, n = Lanes(), 3 * len(ports.lanes.found)
    names = [signal_name(len(RUN_SIGNALS) + number).encode() for number in range(n)]
    bits = [_address_bits(records, ports, lane) for lane in ports.lanes.found]
    changes = Changes(names, np.array(bits, np.int64))
    segments = records.segments.tolist()
    begin, end = _window(records)
    idle = [b"0%b\nbz %b\nbz %b\n" % tuple(names[port : port + 3]) for port in range(0, n, 3)]
    file.write(changes.time(begin - records.zero).encode() + b"$dumpvars\n" + b"".join(idle))
    _write_segment(records, segments.pop(0), file)
    file.write(b"$end\n")
    for whole in records.trace.accesses(**records.selection.arguments):
        while segments and ends(records, segments[0])[0] <= whole["cycle"][0]:
            _begin_segment(records, segments.pop(0), changes, file)
        port = lanes.of(*(whole[name] for name in ("cycle", "unit", "memory", "op")))
        block = whole.copy()
        block["cycle"] -= np.uint64(records.zero)
        file.write(changes.text((block["cycle"], block["address"], block["size"], port)).data)
        records.selected.add(whole)
        records.written.add(block)
        progress(int(whole["cycle"][-1]) - begin, end - begin)
    for segment in segments:
        _begin_segment(records, segment, changes, file)
    file.write(_rest(changes, end - records.zero).data)
    file.write(changes.time(end - records.zero).encode())
    records.check()
    progress(end - begin, end - begin)


def _rest(changes: Changes, end: int) -> NDArray[np.uint8]:
    """Return what is left to tell before time ``end``."""
    nothing: Any = np.zeros(0, np.int64)
    return changes.text((nothing, nothing, nothing, nothing), end)


def _begin_segment(records: Records, segment: int, changes: Changes, file: IO[bytes]) -> None:
    begin = ends(records, segment)[0] - records.zero
    file.write(_rest(changes, begin).data)
    file.write(changes.time(begin).encode())
    _write_segment(records, segment, file)


def _write_segment(records: Records, segment: int, file: IO[bytes]) -> None:
    """Write layer, frame and wave."""
    record = records.trace.segments[segment]
    codes = [signal_name(number) for number in range(len(RUN_SIGNALS))]
    file.write(f"s{_plain(records.trace.layers[record['layer']])} {codes[0]}\n".encode("ascii"))
    for name, code in zip(RUN_SIGNALS[1:], codes[1:], strict=True):
        file.write(f"b{int(record[name]):b} {code}\n".encode())


VCD = Exporter(
    write_vcd,
    "Value change dumps: the ports of memories as signals, of a window",
    consumer="GTKWave, Surfer; vcd2fst",
    keeps="cycle, unit, memory, op, address, size of accesses; layer, frame and wave over time",
    loses="packets, seconds (1 ns is 1 cycle); which physical port or bank an access takes",
    options=("relative",),
)
