"""The command line's ``firemesh schedule``: descriptors of FlexNN layers."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .cli_options import A_MACHINE
from .console import group, print_rows, progress, waiting

if TYPE_CHECKING:
    from .flexnn.descriptor import Descriptor
    from .flexnn.dims import LayerDims
    from .flexnn.estimate import Densities
    from .flexnn.machine import FlexMachine
    from .flexnn.scheduler import Found

COMPILING = "loading; the first time, the search is compiled for about fifteen seconds"
BROKEN = 2
COLUMNS = (
    "layer",
    "cycles",
    "energy",
    "util.",
    "schedule",
    "tiles",
    "rounds",
    "seen",
    "pruned",
    "s",
)

schedule = group("Descriptors of FlexNN layers: search the best, show one, check a file.")

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|SIZES",
        help="Name in the zoo, path of an ONNX file, or a layer's sizes, such as "
        "OC=64,IC=3,OY=112,OX=112,FY=7,FX=7,stride=2,pad=3.",
    ),
]
Machine = Annotated[str, typer.Option(metavar="MACHINE", help=A_MACHINE)]
Layer = Annotated[str | None, typer.Option(metavar="NAME", help="Only this layer.")]
Objective = Annotated[
    Literal["cycles", "energy", "edp"],
    typer.Option(help="What is to be small; edp: energy times cycles."),
]
Dataflow = Annotated[
    Literal["weight", "output", "input", "none", "row"] | None,
    typer.Option(help="Search only descriptors of a fixed dataflow."),
]
Candidates = Annotated[
    Literal["default", "all"],
    typer.Option(help="The set that is searched; all: every value, may take minutes a layer."),
]
Keep = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Best ones that are told.")]
Activations = Annotated[
    float,
    typer.Option(
        metavar="D",
        min=0,
        max=1,
        help="Assumed share of non-zero activations; in a run it is measured.",
    ),
]
WeightDensity = Annotated[
    float | None,
    typer.Option(
        metavar="D",
        min=0,
        max=1,
        help="Share of non-zero weights; default: that of the network, of sizes 1.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@dataclass(frozen=True)
class _Layer:
    """A layer to be scheduled."""

    name: str
    dims: "LayerDims"
    densities: "Densities"


def _layers(model: str, activations: float, weight_density: float | None) -> list[_Layer]:
    """Return the weighted layers of a network, or the one that is told by its sizes."""
    import numpy as np

    from ..models.network import Conv, Linear
    from ..models.zoo import load
    from .flexnn.dims import layer_dims
    from .flexnn.estimate import Densities
    from .flexnn.layer_sizes import parse_layer
    from .shape import weights

    if "=" in model and not Path(model).exists():
        densities = Densities(activations, 1.0 if weight_density is None else weight_density)
        return [_Layer("layer", parse_layer(model), densities)]
    network, found = load(model), []
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            density = weight_density
            if density is None:
                values = weights(layer)
                density = np.count_nonzero(values) / values.size
            dims = layer_dims(network, layer)
            found.append(_Layer(layer.name, dims, Densities(activations, density)))
    return found


def _only(layers: list[_Layer], name: str | None) -> list[_Layer]:
    from .machine import MachineError

    if name is None:
        return layers
    found = [layer for layer in layers if layer.name == name]
    if not found:
        known = ", ".join(layer.name for layer in layers)
        raise MachineError(f"--layer: must be one of {known}, got {name!r}")
    return found


@schedule.command("search")
def search(
    context: typer.Context,
    model: Model,
    layer: Layer = None,
    machine: Machine = "flexnn-edge",
    objective: Objective = "cycles",
    dataflow: Dataflow = None,
    candidates: Candidates = "default",
    keep: Keep = 8,
    activations: Activations = 0.5,
    weight_density: WeightDensity = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Where the best descriptors go.")
    ] = None,
    count: Annotated[
        bool,
        typer.Option(
            "--count",
            help="Let the engine count the candidates on the zoo's first image, and take the best "
            "counts; estimates stand beside them.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search the descriptors of the layers that are estimated to be best."""
    from time import perf_counter

    from .flexnn.schedule_file import write_schedule
    from .machine import flex_machine
    from .outputs import check_outputs

    described = flex_machine(machine)
    check_outputs({"--out": out}, (model, machine))
    layers = _only(_layers(model, activations, weight_density), layer)
    with waiting(COMPILING):
        from .flexnn.scheduler import search as find
    if count:
        _count(context, model, described, (objective, dataflow, keep), layer, out, as_json)
        return
    rows, best = [], {}
    with progress("layer") as bar, context.obj.patience(True):
        task = bar.add_task("", total=len(layers))
        for one in layers:
            bar.update(task, description=one.name)
            began = perf_counter()
            found = find(
                one.dims, described, one.densities, objective, dataflow, candidates, keep,
                context.obj.check,
            )  # fmt: skip
            rows.append(_row(one, found, described) | {"seconds": perf_counter() - began})
            best[one.name] = found.candidates[0].descriptor
            bar.advance(task)
    if out:
        write_schedule(out, best)
    print_rows(rows, COLUMNS, True) if as_json else print_rows(_short(rows), COLUMNS, False)


def _count(
    context: typer.Context,
    model: str,
    machine: "FlexMachine",
    wanted: tuple[str, str | None, int],
    layer: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print candidates with estimates and counts; write those that a run takes."""
    from . import cli_schedule_count
    from .flexnn.choice import least
    from .flexnn.plan import Search
    from .flexnn.schedule_file import write_schedule

    options = cli_schedule_count.count(context, model, machine, Search(*wanted), layer)
    if out:
        taken = {name: least(found, wanted[0]) for name, found in options.items()}
        write_schedule(out, {name: one.candidate.descriptor for name, one in taken.items()})
    rows = cli_schedule_count.rows(options, wanted[0])
    print_rows(rows, cli_schedule_count.COLUMNS, as_json)


def _row(layer: _Layer, found: "Found", machine: "FlexMachine") -> dict[str, Any]:
    """Return what is told of a layer's search."""
    from .flexnn.cut_report import report
    from .flexnn.descriptor import Cut
    from .flexnn.run import summary

    best = found.candidates[0]
    cut = Cut(best.descriptor, layer.dims)
    about = report(cut, machine, layer.densities)
    plain = best.descriptor.model_dump(mode="json", by_alias=True)
    return {
        "layer": layer.name,
        "cycles": best.estimate.cycles,
        "energy_pj": best.estimate.energy_pj,
        "densities": asdict(layer.densities),
        "descriptor": plain,
        "short": summary(cut),
        "derived": about,
        "candidates": [
            {"descriptor": one.descriptor.model_dump(mode="json", by_alias=True),
             "estimate": asdict(one.estimate), "origin": one.origin}
            for one in found.candidates
        ],
        "counts": asdict(found.counts),
    }  # fmt: skip


def _pruned(counts: dict[str, int]) -> float:
    """Return the part of what was seen that was left out, as illegal or by a bound."""
    seen = counts["blocks"] + counts["schedules"]
    return 1 - (counts["blocks_opened"] + counts["schedules_priced"]) / max(seen, 1)


def _short(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for a table."""
    from .tables import si

    return [
        {
            "layer": row["layer"],
            "cycles": f"{row['cycles']:,.0f}",
            "energy": si(row["energy_pj"] * 1e-12, "J", 3),
            "util.": f"{row['derived']['utilisation']:.1%}",
            "schedule": row["short"],
            "tiles": row["derived"]["tiles"],
            "rounds": row["derived"]["rounds"],
            "seen": f"{row['counts']['blocks'] + row['counts']['schedules']:,}",
            "pruned": f"{_pruned(row['counts']):.0%}",
            "s": f"{row['seconds']:.1f}",
        }
        for row in rows
    ]


@schedule.command("show")
def show(
    context: typer.Context,
    model: Model,
    layer: Layer = None,
    schedule: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Show the descriptor of this file; else search."),
    ] = None,
    machine: Machine = "flexnn-edge",
    objective: Objective = "cycles",
    dataflow: Dataflow = None,
    activations: Activations = 0.5,
    weight_density: WeightDensity = None,
    as_json: AsJson = False,
) -> None:
    """Print a layer's descriptor as YAML, to copy and change, with what follows from it."""
    from .flexnn.schedule_file import read_schedule, schedule_yaml
    from .machine import MachineError, flex_machine

    described = flex_machine(machine)
    layers = _layers(model, activations, weight_density)
    if layer is None and len(layers) > 1:
        known = ", ".join(one.name for one in layers)
        raise MachineError(f"--layer: is missing; name one of {known}")
    one = _only(layers, layer)[0]
    with waiting(COMPILING):
        from .flexnn.cut_report import report, sentences
        from .flexnn.rules import check as check_rules
        from .flexnn.scheduler import search as find
    if schedule is None:
        with context.obj.patience(True):
            found = find(one.dims, described, one.densities, objective, dataflow, "default", 1,
                         context.obj.check)  # fmt: skip
        descriptor = found.candidates[0].descriptor
    else:
        descriptor = _given(read_schedule(schedule, [n.name for n in layers]), one.name, schedule)
    cut = check_rules(descriptor, one.dims, described, f"{schedule or described.name}: {one.name}")
    about = report(cut, described, one.densities)
    if as_json:
        plain = descriptor.model_dump(mode="json", by_alias=True)
        typer.echo(json.dumps({"layer": one.name, "descriptor": plain, "derived": about}, indent=1))
        return
    typer.echo(schedule_yaml({one.name: descriptor}), nl=False)
    for line in sentences(about):
        typer.echo(f"# {line}")


def _given(descriptors: "dict[str, Descriptor]", name: str, path: Path) -> "Descriptor":
    from .machine import MachineError

    if name not in descriptors:
        raise MachineError(f"{path}: {name}: is missing; it has {', '.join(descriptors) or 'none'}")
    return descriptors[name]


@schedule.command("check")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE.yaml", help="Descriptors by layer.")],
    model: Model,
    machine: Machine = "flexnn-edge",
    as_json: AsJson = False,
) -> None:
    """Tell of each layer whether its descriptor is legal; exit code 2 if one is not."""
    from .flexnn.descriptor import Cut
    from .flexnn.rules import broken
    from .flexnn.schedule_file import read_schedule
    from .machine import flex_machine

    described = flex_machine(machine)
    layers = _layers(model, 0.5, None)
    descriptors = read_schedule(file, [layer.name for layer in layers])
    rows = []
    for layer in layers:
        descriptor, problems = descriptors.get(layer.name), []
        if descriptor is not None:
            problems = list(broken(Cut(descriptor, layer.dims), described))
        told = "legal" if descriptor else "not in the file; a run searches it"
        rows.append({"layer": layer.name, "is_given": descriptor is not None, "broken": problems,
                     "told": problems[0] if problems else told})  # fmt: skip
    if as_json:
        print_rows([{k: v for k, v in row.items() if k != "told"} for row in rows], (), True)
    else:
        for row in rows:
            typer.echo(f"{file}: {row['layer']}: {row['told']}")
    if any(row["broken"] for row in rows):
        raise typer.Exit(BROKEN)
