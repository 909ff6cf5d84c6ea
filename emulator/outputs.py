"""Files that a command writes: checked before it begins, written whole or not at all."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from .machine import MachineError


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path] = ()) -> None:
    """Raise when a file cannot be written, or is one of the others.

    Parameters
    ----------
    outputs : mapping of str to Path or None
        Option -> its file; None where it is not given.
    inputs : iterable of str or Path
        What the command reads; a name that is no file does no harm.

    Raises
    ------
    MachineError
        Names option and file.
    """
    taken = {Path(path).resolve() for path in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.resolve() in taken:
            raise MachineError(f"{option} {path}: is given twice; name different files")
        taken.add(path.resolve())
        if path.is_dir():
            raise MachineError(f"{option} {path}: is a folder; give the name of a file in it")
        if not path.parent.is_dir():
            raise MachineError(
                f"{option} {path}: there is no folder {path.parent}; make it or name another place"
            )
        if not os.access(path.parent, os.W_OK):
            raise MachineError(
                f"{option} {path}: nothing can be written in {path.parent}; name another place"
            )


def check_figure(option: str, path: Path | None) -> None:
    """Raise when a figure cannot be drawn into a file, or at all; None where it is not given.

    Raises
    ------
    MachineError
        When the file is no .png or .svg, or matplotlib is missing.
    """
    from ..traces.figures import FORMS, check

    if path is None:
        return
    if path.suffix not in FORMS:
        raise MachineError(f"{option} {path}: must end in {' or '.join(FORMS)}; rename it")
    check()


@contextmanager
def whole(path: Path) -> Iterator[TextIO]:
    """Open a text file that replaces what is there when the block ends without an exception.

    What is there but is no file, such as ``/dev/stdout``, is written to.
    """
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as device:
            yield device
        return
    part = path.with_name(f".{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows, at least one, as CSV with a header."""
    with whole(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
