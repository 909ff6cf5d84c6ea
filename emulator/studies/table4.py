"""The MNF paper's Table 4: frames per second and power of VGG-16 and AlexNet, emulated."""

from collections.abc import Sequence
from typing import Any

from ...models.recipe import Recipe
from ..energy import tables
from ..machine import mnf_machine as machine
from ..machine import presets
from ..slots import BUSY, Cause
from ..tables import percent
from .causes import LOST, WORDS, label, largest
from .job import Job, Run
from .published import names, paper, published
from .sheet import Sheet
from .study import Report, Study

NETWORKS = ("vgg16", "alexnet")
DENSITIES = ("S1", "S2", "S3")
MACHINES = ("mnf-22nm", "mnf-literal", "mnf-published")
ENERGIES = ("mnf-table5", "mnf-calibrated")
EXPECTED = ("S1", "mnf-22nm")
"""The densities and the machine of which the frame rates were expected."""

WORDS_SHOWN = 3
LEAST = 0.05
"""Per cent of the published cycles that a cause of the difference must make to be told."""


def known_machines() -> list[str]:
    """Return the machines of the study that there are."""
    return [name for name in MACHINES if name in presets()]


def jobs() -> list[Job]:
    """Return a run per network, densities and machine."""
    return [
        Job(f"{network}-{densities}-{name}", Recipe(network, densities), machine(name))
        for network in NETWORKS
        for densities in DENSITIES
        for name in known_machines()
    ]


def report(runs: dict[str, Run]) -> Report:
    """Compare runs with the table."""
    rows = [
        _row(network, densities, name, runs[f"{network}-{densities}-{name}"])
        for network in NETWORKS
        for densities in DENSITIES
        for name in known_machines()
        if f"{network}-{densities}-{name}" in runs
    ]
    sheets = [_speed(rows), _power(rows), _lost(rows), *_differences(rows)]
    found = {network: runs.get("-".join((network, *EXPECTED))) for network in NETWORKS}
    sheets.append(_layers({network: run for network, run in found.items() if run}))
    return Report(rows, sheets, _notes(rows))


def _row(network: str, densities: str, name: str, run: Run) -> dict[str, Any]:
    """Return a line of the CSV file."""
    described = machine(name)
    fps, cycles = published(f"{network}.fps").value, published(f"{network}.cycles").value
    emulated = described.clock_hz / run.cycles
    is_expected = (densities, name) == EXPECTED
    row: dict[str, Any] = {
        "network": network,
        "densities": densities,
        "machine": name,
        "published_fps": fps,
        "emulated_fps": emulated,
        "ratio": emulated / fps,
        "expected_fps": published(f"{network}.expected_fps").value if is_expected else None,
        "published_cycles": cycles,
        "emulated_cycles": run.cycles,
        "load_cycles": run.load_cycles,
        "published_power_mw": published(f"{network}.power").value,
        "published_frames_per_joule": published(f"{network}.frames_per_joule").value,
    }
    for table in ENERGIES:
        power = run.power_mw(described, table) if table in tables() else None
        row[f"power_mw_{table}"] = power
        row[f"frames_per_joule_{table}"] = emulated / power * 1e3 if power else None
    parts = run.parts
    row |= {f"slots_{cause.name.lower()}": parts[cause] for cause in Cause}
    busy = sum(parts[cause] for cause in BUSY) * run.cycles
    row["difference_work_cycles"] = busy - cycles
    for cause in LOST:
        row[f"difference_{cause.name.lower()}_cycles"] = parts[cause] * run.cycles
    return row


def _who(row: dict[str, Any]) -> list[str]:
    return [row["network"], row["densities"], row["machine"]]


def _speed(rows: Sequence[dict[str, Any]]) -> Sheet:
    right: tuple[str, ...] = (
        "published\nframes/s",
        "emulated\nframes/s",
        "\nratio",
        "expected\nframes/s",
    )
    right += ("published\nM cycles", "emulated\nM cycles")
    cells = [
        [
            *_who(row),
            f"{row['published_fps']:.1f}",
            f"{row['emulated_fps']:.1f}",
            f"{row['ratio']:.2f}",
            f"about {row['expected_fps']:.0f}" if row["expected_fps"] else "",
            f"{row['published_cycles'] / 1e6:.3f}",
            f"{row['emulated_cycles'] / 1e6:.3f}",
        ]
        for row in rows
    ]
    return Sheet("Speed, convolutions, one frame; M: million", _LEFT, right, cells)


_LEFT = ("\nnetwork", "\ndens.", "\nmachine")


def _power(rows: Sequence[dict[str, Any]]) -> Sheet:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    sources = ("published", "table5", "calibrated")
    right = [f"{source}\n{unit}" for unit in ("mW", "frames/J") for source in sources]
    cells = [
        [
            *_who(row),
            number(row["published_power_mw"]),
            *(number(row[f"power_mw_{table}"]) for table in ENERGIES),
            number(row["published_frames_per_joule"]),
            *(number(row[f"frames_per_joule_{table}"]) for table in ENERGIES),
        ]
        for row in rows
    ]
    title = "Power at 22 nm with the energy tables mnf-table5 and mnf-calibrated (a fit)"
    return Sheet(title, _LEFT, right, cells)


def _lost(rows: Sequence[dict[str, Any]]) -> Sheet:
    """Return the parts of all slots: busy ones and the largest losses."""
    cells = []
    for row in rows:
        parts = {cause: row[f"slots_{cause.name.lower()}"] for cause in Cause}
        most = [f"{label(cause)} {percent(parts[cause])}" for cause in largest(parts, WORDS_SHOWN)]
        busy = percent(sum(parts[cause] for cause in BUSY))
        cells.append([*_who(row), ", ".join(most), busy])
    left = (*(name.strip() for name in _LEFT), "lost most to")
    return Sheet("Multiplier slots, of all slots of the frame", left, ("multiplied",), cells)


def _layers(runs: dict[str, Run]) -> Sheet:
    """Return cycles and losses layer by layer, of the densities and machine of `EXPECTED`."""
    cells = []
    for network, run in runs.items():
        for layer in run.layers:
            parts = dict(zip(Cause, (n / sum(layer["slots"]) for n in layer["slots"]), strict=True))
            most = [f"{label(c)} {percent(parts[c])}" for c in largest(parts, WORDS_SHOWN)]
            busy = percent(sum(parts[cause] for cause in BUSY))
            cycles = f"{layer['cycles'] / 1e6:.3f}"
            cells.append([network, layer["name"], layer["tile"], ", ".join(most), cycles, busy])
    title = f"Layers, {EXPECTED[0]} on {EXPECTED[1]}"
    left = ("network", "layer", "tile", "lost most to")
    return Sheet(title, left, ("M cycles", "multiplied"), cells)


def _differences(rows: Sequence[dict[str, Any]]) -> list[Sheet]:
    """Return what the difference to the published cycles consists of, machine by machine."""
    sheets = []
    for name in dict.fromkeys(row["machine"] for row in rows):
        of_machine = [row for row in rows if row["machine"] == name]
        right = [f"{row['network']}\n{row['densities']}" for row in of_machine]
        lines = {"work": "work"} | {cause.name.lower(): label(cause) for cause in LOST}
        more = [row["emulated_cycles"] / row["published_cycles"] - 1 for row in of_machine]
        cells = [["all", *(f"{100 * part:+.1f}" for part in more)]]
        for part, words in lines.items():
            found = [_difference(row, part) for row in of_machine]
            if max(abs(value) for value in found) >= LEAST:
                cells.append([words, *(f"{value:+.1f}" if value else "" for value in found)])
        title = f"Difference in per cent of the published cycles, {name}"
        sheets.append(Sheet(title, ("",), right, cells))
    return sheets


def _difference(row: dict[str, Any], name: str) -> float:
    """Return a part of the difference in per cent of the published cycles."""
    return float(100 * row[f"difference_{name}_cycles"] / row["published_cycles"])


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    most = {c: max(_difference(row, c.name.lower()) for row in rows) for c in LOST}
    notes = [f"published: {paper()}, Table 4, column Ours (22nm)", _contradiction(), _parts()]
    notes += [f"{label(cause)}: {WORDS[cause]}" for cause in LOST if most[cause] >= LEAST]
    absent = [name for name in MACHINES if name not in presets()]
    if absent:
        notes.append(f"machines that this version does not have: {', '.join(absent)}")
    notes += [f"{name}: {published(name).source}" for name in names() if "expected" in name]
    return notes


def _parts() -> str:
    return (
        "difference: work is the cycles that the multiplied slots fill alone, less the published "
        "ones (below 0: these leave room for losses); then the cycles that all slots lost to each "
        "cause fill; these parts add up to all"
    )


def _contradiction() -> str:
    """Return what Figure 8 says about AlexNet beside Table 4."""
    macs, times = published("alexnet.dense_macs"), published("alexnet.dense_speedup")
    multipliers, clock = published("dense_multipliers"), published("clock")
    cycles = macs.value / multipliers.value / times.value
    fps = clock.value / cycles
    return (
        f"the paper contradicts itself on AlexNet: Figure 8 implies {fps:.1f} frames/s "
        f"({macs.value / 1e6:.1f} M dense MACs on {multipliers.value:.0f} multipliers, "
        f"{times.value:g} times as many cycles as MNF at 200 MHz), Table 4 says "
        f"{published('alexnet.fps').value:g}, {published('alexnet.fps').value / fps:.2f} times it"
    )


STUDY = Study(
    name="mnf-table4",
    title="MNF paper, Table 4: frames/s and power of VGG-16 and AlexNet",
    file="table4",
    jobs=jobs,
    report=report,
)
