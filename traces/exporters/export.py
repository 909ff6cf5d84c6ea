"""The exporters by name, and how a file comes to be whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import TraceError
from ..progress import silent
from ..reader import Trace
from .accelergy import ACCELERGY
from .ctf import CTF
from .dinero import DINERO
from .dramsim3 import DRAMSIM3
from .dramsys import DRAMSYS
from .exporter import Exporter, Options, Progress, Report
from .gem5 import GEM5
from .netrace import NETRACE
from .noxim import NOXIM
from .packets import TEXT
from .parquet import PARQUET
from .perfetto import PERFETTO
from .prospero import PROSPERO
from .ramulator1 import RAMULATOR1
from .ramulator2 import RAMULATOR2
from .scalesim import SCALESIM
from .vcd import VCD

EXPORTERS: dict[str, Exporter] = {
    "accelergy": ACCELERGY,
    "ctf": CTF,
    "dinero": DINERO,
    "dramsim3": DRAMSIM3,
    "dramsys": DRAMSYS,
    "gem5": GEM5,
    "parquet": PARQUET,
    "perfetto": PERFETTO,
    "prospero": PROSPERO,
    "ramulator1": RAMULATOR1,
    "ramulator2": RAMULATOR2,
    "scalesim": SCALESIM,
    "vcd": VCD,
    "netrace": NETRACE,
    "noxim": NOXIM,
    "text": TEXT,
}
"""Name -> exporter."""

SIDE_SUFFIX = ".meta.json"
FLAGS = {"clock_hz": "clock", "burst_bytes": "burst-bytes"}
"""Options of the command line that are named otherwise."""


def side_file(out: Path) -> Path:
    """Return the path of the JSON beside an exported file, which says what was done."""
    return out.with_name(f"{out.name}{SIDE_SUFFIX}")


def export(
    trace: Trace,
    format: str,
    out: str | Path,
    options: Options | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a trace in another program's format, and beside it ``OUT.meta.json``, the facts.

    Parameters
    ----------
    trace : Trace
    format : str
        A key of `EXPORTERS`.
    out : str or Path
    options : Options, optional
    force : bool
        Replace what is there.
    progress : callable, optional
        Called with what is done and what there is in all.

    Returns
    -------
    Report

    Raises
    ------
    TraceError
        When the format is unknown, an option is not of it, the file exists, or the trace does
        not fit the format or is damaged.
    OSError
        When the file cannot be written.
    """
    options, out = options or Options(), Path(out)
    exporter = find_exporter(format, options)
    _check_out(trace, out, format, exporter, force)
    side = side_file(out)
    try:
        with _unfinished(out) as new, _unfinished(side) as new_side:
            report = exporter.write(trace, new, options, progress or silent)
            told = _run(trace) | report.facts
            told = {"format": format} | _of(exporter) | {"counts": report.counts} | told
            new_side.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
            _put(new, out)
            _put(new_side, side)
    except OSError as error:  # a full disk tells no name, others the one that was written under
        raise OSError(error.errno, error.strerror or str(error), str(out)) from None
    return report


def _of(exporter: Exporter) -> dict[str, Any]:
    return {name: getattr(exporter, name) for name in ("consumer", "keeps", "loses")}


def _run(trace: Trace) -> dict[str, Any]:
    """Return what every side file tells of the run."""
    names = {name: trace.attribute(name) for name in ("network", "command")}
    return {"trace": trace.path.name} | names | {"complete": trace.complete}


def find_exporter(format: str, options: Options) -> Exporter:
    """Return an exporter by name, after a look at its options."""
    if format not in EXPORTERS:
        raise TraceError(f"--to: must be one of {', '.join(EXPORTERS)}, got {format}")
    exporter = EXPORTERS[format]
    for one in fields(options):
        if one.name == "selection" or one.name in exporter.options:
            continue
        if getattr(options, one.name) != one.default:
            others = [name for name, other in EXPORTERS.items() if one.name in other.options]
            flag = FLAGS.get(one.name, one.name)
            raise TraceError(f"--{flag}: is of {', '.join(others)}; leave it out for {format}")
    for name in exporter.ignores:
        if getattr(options.selection, name) is not None:
            raise TraceError(f"--{name}: cannot be heeded by {format}; leave it out")
    if options.form is not None and options.form not in exporter.forms:
        raise TraceError(f"--form: must be one of {', '.join(exporter.forms)}, got {options.form}")
    if options.form in exporter.folder_forms:
        exporter = exporter._replace(is_folder=True)
    return exporter


def _check_out(trace: Trace, out: Path, format: str, exporter: Exporter, force: bool) -> None:
    if out.is_dir() and not exporter.is_folder:
        raise TraceError(f"{out}: is a folder; name a file")
    if exporter.is_folder and out.is_file():
        raise TraceError(f"{out}: is a file, and a folder is to be made; name another place")
    if exporter.is_folder and out.is_dir() and force and not _is_exported(out, format):
        raise TraceError(f"{out}: is no folder that --to {format} made; name another place")
    if not out.name.endswith(exporter.suffix) or out.name == exporter.suffix:
        raise TraceError(
            f"{out}: a file for {format} must be named NAME{exporter.suffix}; "
            f"try {out.name or 'trace'}{exporter.suffix}"
        )
    if not out.parent.is_dir():
        raise TraceError(f"{out}: there is no folder {out.parent}; make it, or name another place")
    for path in (out, side_file(out)):
        if path.is_dir() and not (exporter.is_folder and path == out):
            raise TraceError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise TraceError(f"{path}: is no file but a device or pipe; name a file")
        if path.resolve() == trace.path.resolve() or _is_same(path, trace.path):
            raise TraceError(f"{path}: is the trace itself; name another file")
        if os.path.lexists(path) and not force:
            raise TraceError(f"{path}: exists; name another file, or replace it with --force")


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _is_exported(out: Path, format: str) -> bool:
    """Return whether a folder was exported in a format, by the file beside it."""
    try:
        told = json.loads(side_file(out).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("format") == format


def _put(new: Path, path: Path) -> None:
    """Give a whole file or folder its name, once it is on the disk."""
    for part in new.rglob("*") if new.is_dir() else [new]:
        if part.is_file():
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
    if new.is_dir() and path.is_dir():
        with _unfinished(path, "old.") as old:
            os.replace(path, old)
            try:
                os.replace(new, path)
            except BaseException:
                os.replace(old, path)
                raise
    else:
        os.replace(new, path)


@contextmanager
def _unfinished(path: Path, kind: str = "") -> Iterator[Path]:
    """Give another name to write under; what is left there at the end is removed."""
    new = path.with_name(f".{os.getpid()}.{kind}{path.name}")
    try:
        yield new
    finally:
        with suppress(OSError):
            if new.is_dir() and not new.is_symlink():
                shutil.rmtree(new)
            else:
                new.unlink(missing_ok=True)
