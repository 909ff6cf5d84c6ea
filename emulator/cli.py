"""The command line: ``firemesh``."""

import io
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

from .. import __version__

try:
    import typer

    from .cli_compare import compare
    from .cli_formats import formats
    from .cli_noc import noc
    from .cli_options import (
        A_MACHINE,
        Activations,
        Calibration,
        Dataflow,
        Frames,
        Input,
        Keep,
        Layers,
        Model,
        Objective,
        Preset,
        Schedule,
        Seed,
        Weights,
    )
    from .cli_reproduce import reproduce
    from .cli_schedule import schedule as schedules
    from .cli_sweep import sweep
    from .cli_trace import traces
    from .console import console, group, progress, show_help, waiting
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from ..models.network import Network
    from .emulation import Emulation
    from .machine import AnyMachine
    from .recorder import Recorder
    from .result import Result
    from .run import Tally

MISMATCH = 1
USER_ERROR = 2
INTERRUPTED = 130
MOST_SENTENCES = 20
COMPILER_CALLBACKS = "llvmlite.binding.executionengine"
FIELD = re.compile(r"[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)*")


app = group("Emulates event-driven sparse DNN accelerators, cycle by cycle.")
machines = group("Machine descriptions.")
models = group("Networks of the zoo.")
app.add_typer(machines, name="machines")
app.add_typer(models, name="models")
app.add_typer(traces, name="trace")
app.add_typer(noc, name="noc")
app.add_typer(schedules, name="schedule")
app.command()(formats)
app.command()(compare)
app.command()(reproduce)
app.command()(sweep)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firemesh {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    show_help(context)


def _changed(found: "AnyMachine", settings: Sequence[str]) -> "AnyMachine":
    """Return a machine with the fields of ``--set`` changed."""
    import yaml

    from .machine import MachineError

    changes = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals or not FIELD.fullmatch(field):
            raise MachineError(f"--set {setting}: must be FIELD=VALUE, such as pe.fire_lanes=3")
        try:
            changes[field.replace(".", "__")] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise MachineError(f"--set {field}: must be a YAML value, got {value}") from None
    try:
        return found.replace(**changes)
    except MachineError as error:
        raise MachineError(f"--set on {error}") from None


def _with_router(found: "AnyMachine", router: str | None) -> "AnyMachine":
    """Return a machine with the router of ``--router``."""
    from .machine import MachineError
    from .routers import router_fields

    if router is None:
        return found
    fields = router_fields(router)
    try:
        return found.replace(**{f"noc__{name}": value for name, value in fields.items()})
    except MachineError as error:
        raise MachineError(f"--router {router}, on {error}") from None


class _CtrlC:
    """Hears Ctrl-C: at once, or, where that would do harm, in the next `check`.

    Numba turns an exception that comes while it calls Python into another one or loses it, and
    half of a frame must not be added up.
    """

    def __init__(self) -> None:
        self._is_patient = self._is_heard = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._hear)
        if self._before is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._is_heard = True
        module = frame.f_globals.get("__name__") if frame else None
        if not self._is_patient and module != COMPILER_CALLBACKS:
            raise KeyboardInterrupt

    @contextmanager
    def patience(self, is_patient: bool) -> Iterator[None]:
        """Wait for `check` in the block, or do not."""
        before, self._is_patient = self._is_patient, is_patient
        try:
            yield
        finally:
            self._is_patient = before

    def check(self) -> None:
        """Raise what was heard."""
        if self._is_heard:
            raise KeyboardInterrupt


@app.command()
def run(
    context: typer.Context,
    model: Model,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="MACHINE", help=f"{A_MACHINE} Default: mnf-22nm, flexnn-edge, hybrid-256."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="mnf|flexnn|auto|FILE.yaml",
            help="Execution mode; auto chooses by layer, a file names layers; default: the "
            "machine's.",
        ),
    ] = None,
    input: Input = None,
    frames: Frames = None,
    layers: Layers = None,
    preset: Preset = None,
    weights: Weights = None,
    activations: Activations = None,
    seed: Seed = None,
    calibration: Calibration = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of the machine, such as pe.fire_lanes=3; repeatable.",
        ),
    ] = None,
    router: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.yaml",
            help="The machine's router: simple, P4, P3, P2, P4c2, P4islip, or a YAML file.",
        ),
    ] = None,
    schedule: Schedule = None,
    objective: Objective = None,
    dataflow: Dataflow = None,
    keep: Keep = None,
    links: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a map of the links' load goes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every tensor with the integer reference.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.h5", help="Record every memory access and packet in this file."),
    ] = None,
    values: Annotated[
        bool,
        typer.Option("--values", help="With --trace: also record weights and values of events."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --trace: go on from an unfinished trace.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --trace: replace what is there.")
    ] = False,
) -> None:
    """Run a network on a machine and print cycles, slots and energy."""
    from ..models.zoo import load
    from .inputs import find_frames, read_frames
    from .machine import MachineError
    from .modes import find_machine, side_of
    from .outputs import check_figure, check_outputs

    options: dict[str, Any] = {
        "preset": preset,
        "seed": seed,
        "weights": weights,
        "activations": activations,
        "layers": layers,
    }
    name, found, modes = find_machine(mode, machine)
    described = side_of(_changed(_with_router(found, router), setting or []), name)
    searched = {"schedule": schedule, "objective": objective, "dataflow": dataflow, "keep": keep}
    _check_mode(described, searched, links)
    taken = (machine or "", router or "", trace or "", schedule or "", mode or "")
    check_outputs({"--links": links}, (model, *taken))
    read = {Path(p).resolve() for p in (model, *taken) if p and p != trace}
    if trace is not None and trace.resolve() in read:
        raise MachineError(f"--trace {trace}: is given twice; name different files")
    check_figure("--links", links)
    samples = None if calibration is None else read_frames(calibration)
    network = load(model, **options, calibration=samples)
    inputs, labels = find_frames(network, input, frames, model, **options)
    with waiting("loading; the first time, kernels are compiled for about half a minute"):
        from ..traces.errors import TraceError
        from .run import Tally, recording
    recorded = {"values": values, "resume": resume, "force": force}
    if trace is None and any(recorded.values()):
        option = next(option for option, is_set in recorded.items() if is_set)
        raise MachineError(f"--{option}: is of a trace; add --trace FILE.h5")
    given = _search(searched, network) | {"modes": modes, "frames": inputs}
    emulation = _emulation(network, described, given, context.obj)
    tally = Tally(emulation, name)
    checked: dict[str, Any] = {"tensors_compared": 0, "differences": []} if check else {}
    failure: Exception | None = None
    with recording(emulation, inputs, name, _command(context), trace, **recorded) as recorder:
        try:
            _go_through(emulation, tally, inputs, checked, context.obj, recorder)
            is_complete = True
        except KeyboardInterrupt:
            is_complete = False
        except (TraceError, OSError) as error:
            is_complete, failure = False, error
    result = tally.result()
    if result.frames:
        more: dict[str, Any] = {"accuracy": _accuracy(result, labels), "is_complete": is_complete}
        if trace and is_complete:
            more["trace"] = {"path": str(trace), "bytes": trace.stat().st_size}
        _print(result, more | checked, as_json, setting or [])
        if links:
            from .interconnect import topology
            from .noc_figures import draw_links

            title = f"{result.network}: {described.noc.router_name}, {described.noc.multicast}"
            draw_links(links, topology(described), result.link_flits, result.cycles, title)
    if failure:
        raise failure
    _conclude(checked.get("differences", []), None if is_complete else result.frames, trace)


def _check_mode(machine: "AnyMachine", searched: dict[str, Any], links: Path | None) -> None:
    """Refuse options that the machine's mode, or network, does not have."""
    from .description import BUS
    from .machine import Machine, MachineError

    if isinstance(machine, Machine):
        for name, value in searched.items():
            if value is not None:
                raise MachineError(
                    f"--{name}: is of modes flexnn and auto, {machine.name} runs mnf here; add "
                    "--mode flexnn"
                )
    elif links is not None and machine.router_name == BUS:
        raise MachineError(
            f"--links: draws a mesh, {machine.name} has buses; leave it out, or add "
            "--set sdn.kind=mesh"
        )


def _search(given: dict[str, Any], network: "Network") -> dict[str, Any]:
    """Return schedule and search of mode flexnn, as far as they are given."""
    if all(value is None for value in given.values()):
        return {}
    from ..models.network import Conv, Linear
    from .flexnn.plan import Search
    from .flexnn.schedule_file import read_schedule

    path = given["schedule"]
    options = {n: value for n, value in given.items() if value is not None and n != "schedule"}
    layers = [layer.name for layer in network.layers if isinstance(layer, Conv | Linear)]
    return {
        "schedule": None if path is None else read_schedule(path, layers),
        "search": Search(**options),
    }


def _command(context: typer.Context) -> str:
    """Return the command for a trace: with every option that changes it, without folders."""
    words = ["firemesh", "run"]
    for name, value in sorted(
        context.params.items(), key=lambda item: (item[0] != "model", item[0])
    ):
        if name in ("trace", "resume", "force", "as_json", "check") or value in (None, False, []):
            continue
        option = {"model": [], "setting": ["--set"]}.get(name, [f"--{name}"])
        for one in value if isinstance(value, list | tuple) else [value]:
            shown = [] if one is True else [os.path.basename(str(one)) or str(one)]
            words += [*option, *shown]
    return shlex.join(words)


def _emulation(
    network: "Network", machine: "AnyMachine", given: dict[str, Any], ctrl_c: _CtrlC
) -> "Emulation":
    """Return a network on a machine; show progress where layers are tried in both modes."""
    from .machine import HybridMachine
    from .run import make_emulation

    if not isinstance(machine, HybridMachine):
        return make_emulation(network, machine, **given)
    with progress() as bar:
        task = bar.add_task("choosing modes", total=None)

        def begin(number: int, layer: str) -> None:
            ctrl_c.check()
            bar.update(task, description=f"choosing modes: {layer}")

        with ctrl_c.patience(True):
            return make_emulation(network, machine, **given, progress=begin)


def _go_through(
    emulation: "Emulation",
    tally: "Tally",
    values: Any,
    checked: dict[str, Any],
    ctrl_c: _CtrlC,
    recorder: "Recorder | None",
) -> None:
    """Run the frames, show progress, and keep what is done when interrupted."""
    from .check import differences

    network, threshold = emulation.plan.network, emulation.plan.machine.threshold_of
    with progress() as bar:
        task = bar.add_task("", total=len(values))

        def begin(number: int, layer: str) -> None:
            ctrl_c.check()
            bar.update(task, description=layer, completed=number)

        with ctrl_c.patience(True):
            for frame in emulation.frames(values, begin, recorder, tally, False):
                if checked:
                    with ctrl_c.patience(False):
                        n, found = differences(network, frame, values[frame.number], threshold)
                    checked["tensors_compared"] += n
                    checked["differences"] += found
                tally.add(frame)
                bar.advance(task)


def _accuracy(result: "Result", labels: Any) -> float | None:
    if labels is None:
        return None
    answers = result.outputs.reshape(result.frames, -1).argmax(axis=1)
    return float((answers == labels[: result.frames]).mean())


def _print(result: "Result", more: dict[str, Any], as_json: bool, changes: Sequence[str]) -> None:
    from .hybrid.report import show_decision
    from .tables import show

    if as_json:
        typer.echo(json.dumps(result.to_dict() | more, indent=1))
        return
    with console() as page:
        show(result, page, more["accuracy"], changes)
        if result.decision:
            show_decision(result.decision, page)
    if "trace" in more:
        accesses = sum(int(layer.counts.sum()) for layer in result.layers)
        size = more["trace"]["bytes"]
        typer.echo(f"trace: {accesses:,} accesses in {size:,} bytes, {more['trace']['path']}")
    if "differences" in more and not more["differences"]:
        typer.echo(f"check: {more['tensors_compared']} tensors equal the integer reference")


def partial_exists(trace: Path) -> bool:
    """Tell whether an unfinished trace can be gone on from."""
    from ..traces.partial import partial_of

    return partial_of(trace).is_dir()


def _conclude(wrong: list[str], interrupted_after: int | None, trace: Path | None) -> None:
    for sentence in wrong[:MOST_SENTENCES]:
        typer.echo(f"check: {sentence}", err=True)
    if len(wrong) > MOST_SENTENCES:
        typer.echo(f"check: and {len(wrong) - MOST_SENTENCES} tensors more", err=True)
    if interrupted_after is not None:
        finished = f"the result is of the {interrupted_after} frames that were finished"
        nothing = "no frame was finished"
        kept = "; --resume goes on with its trace" if trace and partial_exists(trace) else ""
        typer.echo(f"interrupted: {finished if interrupted_after else nothing}{kept}", err=True)
        raise typer.Exit(INTERRUPTED)
    if wrong:
        raise typer.Exit(MISMATCH)


@machines.command("list")
def machines_list() -> None:
    """List the shipped machines."""
    from .machine import machine, presets

    for name in presets():
        typer.echo(f"{name:13} {machine(name).summary}")


@machines.command("show")
def machines_show(
    name: Annotated[str, typer.Argument(metavar="MACHINE", help=A_MACHINE)],
) -> None:
    """Print a machine as YAML, to copy and change."""
    from .machine import machine, preset_text, presets

    described = machine(name)
    typer.echo(preset_text(name) if name in presets() else described.to_yaml(), nl=False)


@models.command("list")
def models_list() -> None:
    """List the networks of the zoo."""
    from ..models.zoo import ZOO

    for entry in ZOO.values():
        typer.echo(f"{entry.name:14} {entry.description}")


@models.command("show")
def models_show(
    name: Model,
) -> None:
    """Print a network's layers, shapes and sizes."""
    from ..models.zoo import load
    from .inputs import entry
    from .tables import network_table

    network = load(name)
    with console() as page:
        page.print(network_table(network))
        known = entry(network)
        if known:
            page.print(f"{known.description}; {known.source}", highlight=False)
        if known and known.accuracy_float is not None and known.accuracy_int8 is not None:
            page.print(
                f"accuracy on the held-back images: {100 * known.accuracy_float:.2f} % float, "
                f"{100 * known.accuracy_int8:.2f} % int8",
                highlight=False,
            )


def _fail(error: Exception) -> int:
    """Tell a user's mistake; return the exit code."""
    from .errors import sentence

    told = sentence(error)
    if told is None:
        raise error
    typer.echo(f"firemesh: {told}", err=True)
    return USER_ERROR


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        with _CtrlC() as ctrl_c:
            code = app(args=arguments, prog_name="firemesh", standalone_mode=False, obj=ctrl_c)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        code = _fail(error)
    if code:
        sys.exit(code)
