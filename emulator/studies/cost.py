"""What the emulation costs: it grows with events, not with the dense size."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models.architectures import one_layer
from ...models.recipe import Recipe
from ..machine import mnf_machine as machine
from . import figures
from .job import Job, Run
from .sheet import Sheet
from .study import Report, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MACHINE = "mnf-22nm"
CHANNELS = 66
"""Channels and filters: 22 filter groups of three, two for each of 11 PEs."""

SHAPE = 112
DENSITIES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
SIZES = (28, 40, 56, 80, 112, 160, 224)
EVENTS = CHANNELS * SIZES[0] ** 2
PARTS = {
    "density": f"the ifmap is {CHANNELS} x {SHAPE} x {SHAPE}, its density grows",
    "size": f"{EVENTS:,} events, the ifmap of {CHANNELS} channels grows",
}


def job(part: str, size: int, density: float) -> Job:
    """Return the run of a point."""
    name = f"cost-{part}-{size}-{density:.4f}"
    own = one_layer("layer", CHANNELS, CHANNELS, size)
    recipe = Recipe("layer", weights="rows:0.5", activations=density, own=own)
    return Job(name, recipe, machine(MACHINE), is_measured=True)


def points() -> list[tuple[str, int, float]]:
    """Return part, size and density of all points."""
    by_density = [("density", SHAPE, density) for density in DENSITIES]
    return [*by_density, *(("size", n, SIZES[0] ** 2 / n**2) for n in SIZES)]


def jobs() -> list[Job]:
    """Return the runs of all points."""
    return [job(*point) for point in points()]


def report(runs: dict[str, Run]) -> Report:
    """Tell seconds and memory."""
    rows = [
        _row(part, size, runs[job(part, size, density).name])
        for part, size, density in points()
        if job(part, size, density).name in runs
    ]
    sheets = [_sheet(rows, part) for part in PARTS]
    return Report(rows, sheets, _notes(rows), {"cost": partial(draw, rows)})


def _row(part: str, size: int, run: Run) -> dict[str, Any]:
    return {
        "part": part,
        "size": size,
        "activations": run.total("inputs"),
        "density": run.total("active") / run.total("inputs"),
        "events": run.total("events"),
        "fired": run.total("fired"),
        "waves": run.total("waves"),
        "cycles": run.cycles,
        "seconds": run.seconds,
        "peak_megabytes": run.peak_bytes / 1e6,
    }


def _sheet(rows: Sequence[dict[str, Any]], part: str) -> Sheet:
    cells = [
        [
            f"{row['size']} x {row['size']}",
            f"{row['activations'] / 1e3:,.0f}",
            f"{row['density']:.3f}",
            f"{row['events'] / 1e3:,.1f}",
            f"{row['fired'] / 1e3:,.1f}",
            f"{row['cycles'] / 1e3:,.0f}",
            f"{row['seconds']:.2f}",
            f"{row['peak_megabytes']:.1f}",
        ]
        for row in rows
        if row["part"] == part
    ]
    right = (
        "thousand\nvalues",
        "\ndensity",
        "thousand\nevents",
        "thousand\nfired",
        "thousand\ncycles",
    )
    return Sheet(f"Cost: {PARTS[part]}", ("\nifmap",), (*right, "\nseconds", "peak\nMB"), cells)


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    notes = [
        "seconds: of one core for the emulation, kernels compiled and network made before, the "
        "least of three; one run at a time",
        "peak: memory that the emulation takes, network and input not included",
        f"a convolution of {CHANNELS} to {CHANNELS} channels, 3 x 3, half of the weight rows, "
        f"on {MACHINE}; as many outputs fire as the density of the input says",
        "cycles grow with the size too, though slower: the fire phase reads every psum",
    ]
    for part, title in PARTS.items():
        found = [row for row in rows if row["part"] == part]
        if len(found) > 1:
            notes.append(f"{title}: {_growth(found[0], found[-1], part)}")
    return notes


def _growth(first: dict[str, Any], last: dict[str, Any], part: str) -> str:
    def times(key: str) -> str:
        return f"{last[key] / first[key]:.1f}"

    key = "events" if part == "density" else "activations"
    return (
        f"{times(key)} times as many {key}, {times('cycles')} times the cycles, "
        f"{times('seconds')} times the seconds, {times('peak_megabytes')} times the memory"
    )


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw seconds and memory of both parts."""
    figures.draw(path, (9, 6), partial(_paint, rows))


def _paint(rows: Sequence[dict[str, Any]], figure: "Figure") -> None:
    panels = figure.subplots(2, 2, squeeze=False)
    for part, column, key, scale, unit in (
        ("density", 0, "events", 1e3, "thousand events"),
        ("size", 1, "activations", 1e3, "thousand activations of the ifmap, dense"),
    ):
        found = [row for row in rows if row["part"] == part]
        x = [row[key] / scale for row in found]
        _curve(panels[0, column], x, [row["seconds"] for row in found], "#0072B2")
        _curve(panels[1, column], x, [row["peak_megabytes"] for row in found], "#D55E00")
        panels[0, column].set_title(PARTS[part], fontsize=9)
        panels[1, column].set_xlabel(unit)
    panels[0, 0].set_ylabel("emulation (s)")
    panels[1, 0].set_ylabel("peak memory (MB)")
    for of_kind in panels:
        top = max(axes.get_ylim()[1] for axes in of_kind)
        for axes in of_kind:
            axes.set_ylim(0, top)


def _curve(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str) -> None:
    axes.plot(x, y, "o-", color=colour, markersize=4)
    axes.set_xlim(0, None)
    axes.grid(True, color="#DDDDDD", linewidth=0.5)


STUDY = Study(
    name="cost",
    title="What the emulation costs, against events and against dense size",
    file="cost",
    jobs=jobs,
    report=report,
    has_figures=True,
    workers=1,
)
