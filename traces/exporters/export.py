"""The exporters by name, and how a file comes to be whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from ..errors import TraceError
from ..reader import Trace
from .exporter import Exporter, Options, Progress, Report
from .netrace import write_netrace
from .noxim import FORMS, write_noxim
from .packets import write_packets

EXPORTERS = {
    "netrace": Exporter(
        write_netrace, "netrace v1.0 with dependencies, bzip2", ".bz2", ("relative",)
    ),
    "noxim": Exporter(write_noxim, "Noxim's traffic files", "", ("form",), FORMS),
    "packets": Exporter(
        write_packets, "text, a line `cycle src dst size` a packet", "", ("relative", "split")
    ),
}
"""Name -> exporter."""

ALWAYS = ("layer", "frame")


def side_file(out: Path) -> Path:
    """Return the path of the JSON beside an exported file, which says what was done."""
    return out.with_name(f"{out.name}.json")


def export(
    trace: Trace,
    format: str,
    out: str | Path,
    options: Options | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a trace in another program's format, and beside it ``OUT.json``, which tells the facts.

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
        Called with segments done and segments in all.

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
            report = exporter.write(trace, new, options, progress or (lambda done, total: None))
            told = {"format": format, "counts": report.counts} | report.facts
            new_side.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
            _put(new_side, side)
            _put(new, out)
    except OSError as error:  # a full disk tells no name, others the one that was written under
        raise OSError(error.errno, error.strerror or str(error), str(out)) from None
    return report


def find_exporter(format: str, options: Options) -> Exporter:
    """Return an exporter by name, after a look at its options."""
    if format not in EXPORTERS:
        raise TraceError(f"--format: must be one of {', '.join(EXPORTERS)}, got {format}")
    exporter = EXPORTERS[format]
    for one in fields(options):
        if one.name in ALWAYS or one.name in exporter.options:
            continue
        if getattr(options, one.name) != one.default:
            others = [name for name, other in EXPORTERS.items() if one.name in other.options]
            raise TraceError(f"--{one.name}: is of {', '.join(others)}; leave it out for {format}")
    if options.form is not None and options.form not in exporter.forms:
        raise TraceError(f"--form: must be one of {', '.join(exporter.forms)}, got {options.form}")
    return exporter


def _check_out(trace: Trace, out: Path, format: str, exporter: Exporter, force: bool) -> None:
    if out.is_dir():
        raise TraceError(f"{out}: is a folder; name a file")
    if not out.name.endswith(exporter.suffix) or out.name == exporter.suffix:
        raise TraceError(
            f"{out}: a file for {format} must be named NAME{exporter.suffix}; "
            f"try {out.name or 'trace'}{exporter.suffix}"
        )
    if not out.parent.is_dir():
        raise TraceError(f"{out}: there is no folder {out.parent}; make it, or name another place")
    for path in (out, side_file(out)):
        if path.is_dir():
            raise TraceError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():
            raise TraceError(f"{path}: is no file but a device or pipe; name a file")
        if path.exists() and trace.path.exists() and path.samefile(trace.path):
            raise TraceError(f"{path}: is the trace itself; name another file")
        if os.path.lexists(path) and not force:
            raise TraceError(f"{path}: exists; name another file, or replace it with --force")


def _put(new: Path, path: Path) -> None:
    """Give a whole file its name, once it is on the disk."""
    if new.is_file():
        with open(new, "rb+") as file:
            os.fsync(file.fileno())
    os.replace(new, path)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Give another name to write under; what is left there at the end is removed."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield new
    finally:
        with suppress(OSError):
            if new.is_dir():
                shutil.rmtree(new)
            else:
                new.unlink(missing_ok=True)
