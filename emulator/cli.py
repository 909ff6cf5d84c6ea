"""The command line: ``firemesh``."""

import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

from .. import __version__

try:
    import typer
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from .machine import Machine
    from .result import Result
    from .run import Emulation, Tally

MISMATCH = 1
USER_ERROR = 2
INTERRUPTED = 130
MOST_SENTENCES = 20
FILE_COLUMNS = 200
COMPILER_CALLBACKS = "llvmlite.binding.executionengine"
A_MODEL = "Name in the zoo, or path of an ONNX file."
A_MACHINE = "Preset, or path of a YAML file."
FIELD = re.compile(r"[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)*")


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _group(what: str) -> typer.Typer:
    return typer.Typer(
        help=what,
        callback=_help,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group("Emulates event-driven sparse DNN accelerators, cycle by cycle.")
machines = _group("Machine descriptions.")
models = _group("Networks of the zoo.")
app.add_typer(machines, name="machines")
app.add_typer(models, name="models")


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
    _help(context)


def _changed(found: "Machine", settings: Sequence[str]) -> "Machine":
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


@contextmanager
def _console() -> Iterator["Console"]:
    """Print what is written to the console at the end; a file is not as narrow as a terminal."""
    from rich.console import Console

    console = Console(markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_COLUMNS
    with console.capture() as shown:
        yield console
    typer.echo(re.sub(" +$", "", shown.get(), flags=re.MULTILINE), nl=False)


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("frame"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _waiting(what: str) -> AbstractContextManager[object]:
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(what) if console.is_terminal else nullcontext()


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
    model: Annotated[str, typer.Argument(metavar="MODEL", help=A_MODEL)],
    machine: Annotated[str, typer.Option(metavar="MACHINE", help=A_MACHINE)] = "mnf-22nm",
    mode: Annotated[str, typer.Option(metavar="MODE", help="Execution mode: mnf.")] = "mnf",
    input: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help=".npy or .npz file with frames; default: the zoo's images."
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="How many frames; default: 10, or what there is."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of the machine, such as pe.fire_lanes=3; repeatable.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every tensor with the integer reference.")
    ] = False,
) -> None:
    """Run a network on a machine and print cycles, slots and energy."""
    from ..models.zoo import load
    from .inputs import find_frames
    from .machine import machine as find_machine

    network = load(model)
    described = _changed(find_machine(machine), setting or [])
    values, labels = find_frames(network, input, frames)
    with _waiting("loading; the first time, kernels are compiled for about half a minute"):
        from .machine import MachineError
        from .run import MODES, Emulation, Tally
    if mode not in MODES:
        raise MachineError(f"--mode: must be one of {', '.join(MODES)}, got {mode}")
    emulation = Emulation(network, described)
    tally = Tally(emulation, mode)
    checked: dict[str, Any] = {"tensors_compared": 0, "differences": []} if check else {}
    try:
        _go_through(emulation, tally, values, checked, context.obj)
        is_complete = True
    except KeyboardInterrupt:
        is_complete = False
    result = tally.result()
    if result.frames:
        more = {"accuracy": _accuracy(result, labels), "is_complete": is_complete}
        _print(result, more | checked, as_json, setting or [])
    _conclude(checked.get("differences", []), None if is_complete else result.frames)


def _go_through(
    emulation: "Emulation", tally: "Tally", values: Any, checked: dict[str, Any], ctrl_c: _CtrlC
) -> None:
    """Run the frames, show progress, and keep what is done when interrupted."""
    from .check import differences

    network, threshold = emulation.plan.network, emulation.plan.machine.threshold
    with _progress() as bar:
        task = bar.add_task("", total=len(values))

        def begin(number: int, layer: str) -> None:
            ctrl_c.check()
            bar.update(task, description=layer)

        with ctrl_c.patience(True):
            for frame in emulation.frames(values, begin):
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
    from .tables import show

    if as_json:
        typer.echo(json.dumps(result.to_dict() | more, indent=1))
        return
    with _console() as console:
        show(result, console, more["accuracy"], changes)
    if "differences" in more and not more["differences"]:
        typer.echo(f"check: {more['tensors_compared']} tensors equal the integer reference")


def _conclude(wrong: list[str], interrupted_after: int | None) -> None:
    for sentence in wrong[:MOST_SENTENCES]:
        typer.echo(f"check: {sentence}", err=True)
    if len(wrong) > MOST_SENTENCES:
        typer.echo(f"check: and {len(wrong) - MOST_SENTENCES} tensors more", err=True)
    if interrupted_after is not None:
        finished = f"the result is of the {interrupted_after} frames that were finished"
        nothing = "no frame was finished"
        typer.echo(f"interrupted: {finished if interrupted_after else nothing}", err=True)
        raise typer.Exit(INTERRUPTED)
    if wrong:
        raise typer.Exit(MISMATCH)


@machines.command("list")
def machines_list() -> None:
    """List the shipped machines."""
    from .machine import machine, presets

    for name in presets():
        typer.echo(f"{name:12} {machine(name).summary}")


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
    name: Annotated[str, typer.Argument(metavar="MODEL", help=A_MODEL)],
) -> None:
    """Print a network's layers, shapes and sizes."""
    from ..models.zoo import load
    from .inputs import entry
    from .tables import network_table

    network = load(name)
    with _console() as console:
        console.print(network_table(network))
        known = entry(network)
        if known:
            console.print(f"{known.description}; {known.source}", highlight=False)
            console.print(
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
