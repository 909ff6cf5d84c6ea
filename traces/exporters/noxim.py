"""Noxim's traffic files: ``table``, rates of flows in windows of time; ``hardcoded``, every packet.

A multicast is written as one packet for each destination. Cycle 0 is the first of what is exported;
Noxim begins with it after its 1000 cycles of reset. All packets have the size given with ``-size``.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .sent import Sent
from .text import numbers_text
from .traffic import Traffic

FORMS = ("table", "hardcoded")
RESET_CYCLES = 1000
LEAST_FLITS = 2
MOST_CYCLES = (1 << 31) - 1 - RESET_CYCLES - 2
"""Noxim counts cycles in 32 bits."""
DECIMALS = 12
CYCLES_AT_ONCE = 1 << 18
SPACE, NEWLINE = (ord(c) for c in " \n")

LOST = (
    "sizes: all packets are as long as -size says, and at least 2 flits; where a source then has "
    "more than a flit a cycle to send, packets wait in its queue beyond their window",
    "that the copies of a multicast share links: each copy is injected at the source",
    "dependencies: nothing waits for an arrival",
)


def write_noxim(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write a traffic file; see `firemesh.traces.exporters.exporter.Export`."""
    traffic = Traffic(trace, replace(options, relative=True))
    if min(traffic.width, traffic.height) < 2:
        raise TraceError(
            f"{trace.path}: has a mesh of {traffic.width} x {traffic.height}, Noxim wants 2 x 2 at "
            "least; export it as text"
        )
    _check_cycles(traffic, traffic.end)
    form = options.form or FORMS[0]
    write = {"table": _write_table, "hardcoded": _write_hardcoded}[form]
    return write(traffic, out, progress)


def _check_cycles(traffic: Traffic, cycles: int) -> None:
    if cycles > MOST_CYCLES:
        raise TraceError(
            f"{traffic.trace.path}: becomes {cycles:,} cycles, Noxim counts {MOST_CYCLES:,}; "
            "choose a layer or a frame"
        )


def _facts(traffic: Traffic, form: str, cycles: int, records: int) -> dict[str, Any]:
    tally = traffic.tally
    mean_flits = tally.delivered_flits / tally.deliveries
    size = max(LEAST_FLITS, round(mean_flits))
    flits = size * tally.deliveries
    flags = (
        f"-dimx {traffic.width} -dimy {traffic.height} -topology MESH -routing XY "
        f"-size {size} {size} -flit {traffic.trace.attribute('flit_bits')} "
        f"-traffic {form} FILE -warmup 0 -sim {cycles}"
    )
    return traffic.facts() | {
        "form": form,
        "selected": tally.facts(),
        "written": tally.written(records, tally.deliveries, flits, traffic.zero),
        "flags": flags,
        "consumer_command": f"noxim {flags}",
        "cycle_0_is_cycle_of_run": traffic.zero,
        "cycles": cycles,
        "mean_flits": mean_flits,
        "multicast": "a packet for each destination",
        "lost": list(LOST),
    }


# ---- table


def _write_table(traffic: Traffic, out: Path, progress: Progress) -> Report:
    """Write a line for each flow of each segment.

    A window is as long as its segment, or longer where a source sends more copies of multicasts
    than there are cycles; so the rates of a source add up to less than 1.
    """
    windows: list[dict[str, Any]] = []
    flows: list[tuple[int, NDArray[Any]]] = []
    later = 0
    for place, sent in traffic.sent(progress):
        segment = traffic.segments[place]
        rows = _flows(traffic.placed(sent))
        most = int(np.bincount(rows[:, 0], rows[:, 2]).max())
        cycles = int(segment["cycle1"] - segment["cycle0"])
        begin = int(segment["cycle0"]) - traffic.zero + later
        length = max(cycles, most + 1)
        later += length - cycles
        flows.append((len(windows), rows))
        windows.append(
            {"frame": int(segment["frame"]), "layer": traffic.trace.layers[segment["layer"]]}
            | {"wave": int(segment["wave"]), "begin": begin, "cycles": length}
            | {"cycles_of_run": cycles, "copies_of_busiest_source": most}
        )
    end = traffic.end + later
    _check_cycles(traffic, end)
    lines = 0
    with open(out, "w", encoding="ascii") as file:
        for window, rows in flows:
            file.write(_table_lines(rows, windows[window], end))
            lines += len(rows)
    facts = _facts(traffic, "table", end, lines)
    facts["written"] |= {"first_cycle": windows[0]["begin"]}
    facts["written"] |= {"last_cycle": windows[-1]["begin"] + windows[-1]["cycles"] - 1}
    facts["rates"] = (
        "packets of the flow by cycles of its window, rounded down; a window is longer than its "
        "segment where a source has more packets than cycles, and later ones begin later"
    )
    facts["windows"] = windows
    tally = traffic.tally
    counts = {"packets": tally.packets, "copies": tally.deliveries, "lines": lines}
    return Report(counts, facts)


def _flows(sent: Sent) -> NDArray[np.int64]:
    """Return int64[n, 3]: source, destination, packets."""
    n_nodes = int(max(sent.packets["source"].max(), sent.to.max())) + 1
    flow = sent.packets["source"].astype(np.int64)[sent.row] * n_nodes + sent.to
    count = np.bincount(flow)
    kept = np.flatnonzero(count)
    return np.stack([kept // n_nodes, kept % n_nodes, count[kept]], axis=1)


def _table_lines(rows: NDArray[np.int64], window: dict[str, Any], end: int) -> str:
    """Return the lines of a window; a flow is active strictly between its t_on and t_off."""
    on = RESET_CYCLES + window["begin"] - 1
    off = RESET_CYCLES + window["begin"] + window["cycles"]
    period = RESET_CYCLES + end + 1
    lines = []
    for source, target, count in rows.tolist():
        rate = f"0.{count * 10**DECIMALS // window['cycles']:0{DECIMALS}d}"
        lines.append(f"{source} {target} {rate} {rate} {on} {off} {period}\n")
    return "".join(lines)


# ---- hardcoded


def _write_hardcoded(traffic: Traffic, out: Path, progress: Progress) -> Report:
    """Write every packet in its cycle; a source queues those that it makes in one cycle."""
    cycle = 0
    with open(out, "wb") as file:
        for _, sent in traffic.sent(progress):
            for part in _spells(traffic.placed(sent)):
                cycle = _write_idle(file, cycle, int(part.packets["created"][0]))
                file.write(_hardcoded_lines(part, cycle).data)
                cycle = int(part.packets["created"][-1])
        _write_idle(file, cycle, traffic.end)
    tally = traffic.tally
    facts = _facts(traffic, "hardcoded", traffic.end, tally.deliveries)
    facts["cycle"] = "lines up to -1; packets that a source makes in one cycle wait in its queue"
    counts = {"packets": tally.packets, "copies": tally.deliveries, "cycles": traffic.end}
    return Report(counts, facts)


def _spells(sent: Sent) -> Iterator[Sent]:
    """Yield packets in their order, those of some cycles at a time, each for one destination."""
    for part in sent.parts():
        copy = part.split()
        cuts = np.flatnonzero(np.diff(copy.packets["created"] // np.uint64(CYCLES_AT_ONCE))) + 1
        edges = [0, *cuts.tolist(), len(copy.to)]
        for begin, end in zip(edges, edges[1:], strict=False):
            first = np.arange(end - begin + 1)
            yield Sent(copy.packets[begin:end], first, copy.to[begin:end])


def _write_idle(file: Any, cycle: int, end: int) -> int:
    """End the cycles from ``cycle`` to ``end``; return ``end``."""
    while cycle < end:
        n = min(end - cycle, CYCLES_AT_ONCE)
        file.write(b"-1\n" * n)
        cycle += n
    return cycle


def _hardcoded_lines(sent: Sent, begin: int) -> NDArray[np.uint8]:
    """Return the lines of unicasts; cycles from ``begin`` on are ended, but for the last one's."""
    ended = sent.packets["created"].astype(np.int64) - begin
    at = 2 * np.arange(len(ended)) + ended
    number = np.full(2 * len(ended) + int(ended[-1]), -1, np.int64)
    after = np.full(len(number), NEWLINE, np.uint8)
    number[at], number[at + 1] = sent.packets["source"], sent.to
    after[at] = SPACE
    return numbers_text(number, after)


NOXIM = Exporter(
    write_noxim,
    "Noxim's traffic files",
    consumer="Noxim",
    keeps="source, destination, rates by window, or cycles",
    loses="sizes, shared links of multicasts, what waits for what",
    what="packets",
    options=("form",),
    ignores=("memory", "op"),
    forms=FORMS,
)
