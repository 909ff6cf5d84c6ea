"""Results as tables for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..models.network import Conv, Linear, Network
from .kinds import Memory
from .shape import weights
from .slots import BUSY, LABELS, Cause

if TYPE_CHECKING:
    from .formats import TensorSizes
    from .result import Result

FLEXNN = ("register file", "accumulator", "sparsity")
"""Components that machines of mode flexnn alone have."""
MNF = ("weight SRAM", "psum SRAM", "FIFO")
"""Components that layers of mode mnf alone have."""
FOREIGN = {"mnf": FLEXNN, "flexnn": MNF}
"""Components of which nothing is said in a mode where they have nothing."""

SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))


def si(value: float, unit: str, digits: int = 4) -> str:
    """Return a value with an SI prefix, such as ``8.72 µJ``."""
    for factor, prefix in SI:
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value * 1e9:.{digits}g} n{unit}" if value else f"0 {unit}"


def percent(part: float) -> str:
    """Return a part as per cent; a dash for nothing at all."""
    return f"{100 * part:.1f} %" if part else "-"


def _summary(result: "Result", accuracy: float | None) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    energy_pj = sum(result.energy.values())
    frames = max(result.frames, 1)
    rows = [
        (
            "cycles",
            f"{result.cycles:,}"
            + (f" ({result.cycles / frames:,.0f} a frame)" if frames > 1 else ""),
        ),
        ("speed", f"{result.fps:,.1f} frames/s at {si(result.machine.clock_hz, 'Hz')}"),
        (
            "utilisation",
            f"{percent(result.utilization)} of {result.machine.multipliers} multipliers",
        ),
        ("energy", f"{si(energy_pj * 1e-12 / frames, 'J')} a frame ({result.machine.energy})"),
        ("power", si(result.power_mw * 1e-3, "W")),
        *WHERE.get(result.mode, _of_both)(result),
    ]
    if accuracy is not None:
        rows.append(("accuracy", f"{100 * accuracy:.2f} % of these frames"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _moved(result: "Result") -> list[tuple[str, str]]:
    """Tell what DRAM, SRAM and VPEs take and give in mode flexnn."""
    frames = max(result.frames, 1)
    size = sum((layer.bytes.sum(axis=0) for layer in result.layers), np.zeros((len(Memory), 2)))
    read, written = (si(float(n) / frames, "B") for n in size[Memory.DRAM])
    flits = float(result.link_flits.sum()) * result.machine.flit_bits / 8
    taken = si((flits + float(size[Memory.BUS].sum())) / frames, "B")
    return [
        ("DRAM", f"reads {read}, takes {written} a frame"),
        ("distribution", f"{taken} a frame to, from and between VPEs"),
    ]


def _of_mnf(result: "Result") -> list[tuple[str, str]]:
    held = f"{si(result.storage_bytes, 'B')} for activations"
    if getattr(result.machine, "tensor_memory", Memory.STORAGE) == Memory.DRAM:
        return [("network", _network(result)), *_moved(result)[:1]]
    return [("network", _network(result)), ("weights", _weights(result)), ("storage", held)]


def _of_both(result: "Result") -> list[tuple[str, str]]:
    """Tell what a machine of both modes moved, and what changing forms took."""
    of_mode: dict[str, int] = {}
    for layer in result.layers:
        of_mode[layer.mode] = of_mode.get(layer.mode, 0) + layer.cycles
    total = max(result.cycles, 1)
    parts = [f"{mode} {percent(cycles / total)}" for mode, cycles in sorted(of_mode.items())]
    return [*_moved(result), ("cycles of", ", ".join(parts))]


WHERE = {"mnf": _of_mnf, "flexnn": _moved}
"""What a mode tells of memories and network; `_of_both` is of those that mix modes."""


def _network(result: "Result") -> str:
    """Tell of the router, packets' latency, and storage's ports."""
    noc, router = result.noc, result.machine.router_name
    return (
        f"{router} routers, {noc['mean_latency_cycles']:.1f} cycles a packet; storage sends "
        f"{noc['storage_sends']:.2f}, takes {noc['storage_takes']:.2f} flits a cycle"
    )


def _weights(result: "Result") -> str:
    """Tell when the weights came in."""
    if not result.dram_bytes:
        return f"loaded in {result.load_cycles:,} cycles before the first frame"
    total = sum(result.slots.values())
    part = result.slots[Cause.WEIGHTS.name.lower()] / total
    each = si(result.dram_bytes / max(result.frames, 1), "B")
    return f"{each} a frame from DRAM, in {percent(part)} of the cycles"


def _slots(result: "Result") -> Table:
    table = plain_table("Multiplier slots", ("cause",), ("part",))
    total = sum(result.slots.values())
    for cause in Cause:
        count = result.slots[cause.name.lower()]
        if count:
            style = "green" if cause in BUSY else ""
            table.add_row(LABELS[cause], percent(count / total), style=style)
    return table


def _energy(result: "Result") -> Table:
    table = plain_table("Energy a frame", ("component",), ("energy", "part"))
    total = sum(result.energy.values())
    for name, pj in sorted(result.energy.items(), key=lambda item: -item[1]):
        if not pj and name in FOREIGN.get(result.mode, (*MNF, *FLEXNN)):
            continue
        joule = pj * 1e-12 / max(result.frames, 1)
        table.add_row(name, si(joule, "J"), percent(pj / total if total else 0.0))
    return table


def plain_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table: columns of words to the left, of numbers to the right."""
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _count(value: float, is_large: bool) -> str:
    """Return a count, of a table with large ones in thousands."""
    return f"{value / 1000:,.0f}k" if is_large and value >= 1000 else f"{value:,.0f}"


def _layers(result: "Result") -> Table:
    """Return a row for each layer; where layers run in waves these take the place of ``fired``.

    Where modes are mixed a layer's tile follows its mode, and waves and rounds are left out.
    """
    is_cut = any(layer.waves > 1 for layer in result.layers)
    is_large = any(layer.events >= 1e5 * layer.frames for layer in result.layers)
    is_flexnn, is_mixed = result.mode == "flexnn", result.mode not in WHERE
    cut = [] if is_mixed else ["rounds" if is_flexnn else "waves" if is_cut else "fired"]
    numbers = ("cycles", "pairs" if is_flexnn else "events", "dens", *cut, "util.")
    left = ("layer", "runs as" if is_mixed else "schedule" if is_flexnn else "tile")
    table = plain_table("Layers, a frame", left, (*numbers, "lost most to", "energy"))
    for layer, record in zip(result.layers, result.layers.records(), strict=True):
        lost = max((c for c in Cause if c not in BUSY), key=layer.cause)
        joule = sum(v for k, v in record.items() if k.endswith("_pj")) * 1e-12
        tile = f"mnf {layer.tile}" if is_mixed and layer.mode == "mnf" else layer.tile
        waves = f"{layer.waves:,}"
        fired = _count(layer.fired / layer.frames, is_large)
        table.add_row(
            layer.name,
            tile or layer.mode,
            f"{layer.cycles / layer.frames:,.0f}",
            _count(layer.events / layer.frames, is_large),
            f"{layer.density:.2f}".lstrip("0"),
            *([] if is_mixed else [waves if is_cut or is_flexnn else fired]),
            percent(layer.utilization),
            f"{LABELS[lost]} {100 * layer.cause(lost):.0f}%",
            si(joule / layer.frames, "J", 3),
        )
    return table


def network_table(network: Network) -> Table:
    """Return a network's layers with shapes, weights, kept weights and MACs."""
    left, right = ("layer", "operator", "output"), ("weights", "not zero", "MACs a frame")
    table = plain_table(network.name, left, right)
    for layer in network.layers:
        kept = size = 0
        if isinstance(layer, Conv | Linear):
            values = weights(layer)
            kept, size = int((values != 0).sum()), values.size
        shape = "x".join(str(n) for n in network.tensors[layer.output].shape)
        table.add_row(
            layer.name,
            layer.op,
            f"{network.tensors[layer.output].dtype} {shape}",
            f"{size:,}" if size else "",
            percent(kept / size) if size else "",
            f"{network.macs(layer):,}" if size else "",
        )
    return table


def formats_table(title: str, rows: Sequence["TensorSizes"], is_total: bool) -> Table:
    """Return sizes by format with a star at the smallest.

    Parameters
    ----------
    title : str
    rows : sequence of TensorSizes
        At least one.
    is_total : bool
        Whether to tell bits of whole tensors instead of bits per value.
    """
    from .formats import total

    lines = [*rows, total(rows)] if len(rows) > 1 else rows
    names = list(dict.fromkeys(name for row in rows for name in row.bits))
    table = plain_table(
        title, ("layer", "shape"), ("dens.", *(n.replace("_", "\n") for n in names))
    )

    def cell(row: "TensorSizes", name: str) -> str:
        if name not in row.bits:
            return "-"
        of_each = row.bits[name] / row.values
        text = f"{of_each:.1f}" if of_each >= 10 else f"{of_each:.2f}"
        text = si(row.bits[name], "b") if is_total else text
        return f"*{text}" if name in row.smallest else text

    for row in lines:
        shape = "x".join(str(n) for n in row.shape)
        table.add_row(row.layer, shape, f"{row.density:.2f}", *(cell(row, n) for n in names))
    return table


def show(
    result: "Result", console: Console, accuracy: float | None = None, changes: Sequence[str] = ()
) -> None:
    """Print a result.

    Parameters
    ----------
    result : Result
    console : rich.console.Console
    accuracy : float, optional
        Part of the frames that were classified correctly.
    changes : sequence of str
        What was changed in the machine, as ``field=value``.
    """
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    machine = " with ".join([result.machine.name, *([", ".join(changes)] if changes else [])])
    where = f" on {machine}, mode {result.mode}, {frames}"
    console.print(Text.assemble((result.network, "bold"), where))
    console.print(_summary(result, accuracy))
    console.print()
    side = Table.grid(padding=(0, 4))
    side.add_row(_slots(result), _energy(result))
    console.print(side)
    console.print(_layers(result))
