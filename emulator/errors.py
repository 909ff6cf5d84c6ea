"""Errors that are a user's to mend, each as one sentence."""

import os
from typing import Any

import typer

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's, which typer keeps in one place or another."""


def sentence(error: Exception) -> str | None:
    """Return what to tell the user; None for a defect, whose traceback is needed."""
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use a smaller mesh, shorter FIFOs or fewer frames"
    if isinstance(error, OSError):
        place = "the output" if error.filename is None else os.fsdecode(error.filename)
        return f"{place}: cannot be used ({error.strerror or error}); name another place"
    return str(error).replace("\n", " ") if _is_emulators(error) else None


def _usage(error: Any) -> str:
    """Return a mistake in the arguments as a sentence with the command that explains them."""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx else "firemesh"
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"


def _is_emulators(error: Exception) -> bool:
    """Return whether it is one of the emulator's; kernels are imported only if they could run."""
    from ..models.network import ModelError
    from .machine import MachineError
    from .mnf.mapping import MappingError

    if isinstance(error, ModelError | MachineError | MappingError):
        return True
    from ..traces.errors import TraceError

    if isinstance(error, TraceError):
        return True
    from ..noc.network import NetworkError
    from .engine_error import EngineError

    return isinstance(error, NetworkError | EngineError)
