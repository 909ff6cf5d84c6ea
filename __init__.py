"""Firemesh emulates event-driven sparse DNN accelerators, cycle by cycle."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Machine",
    "Network",
    "Result",
    "Selection",
    "Trace",
    "TraceError",
    "analyse",
    "export",
    "formats",
    "images",
    "load",
    "machine",
    "open_trace",
    "run",
    "sample_trace",
]

if TYPE_CHECKING:
    from .emulator.formats import formats
    from .emulator.machine import Machine, machine
    from .emulator.result import Result
    from .emulator.run import run
    from .models.network import Network
    from .models.zoo import images, load
    from .traces.analyses.catalogue import analyse
    from .traces.errors import TraceError
    from .traces.exporters.export import export
    from .traces.opened import open_trace, sample_trace
    from .traces.reader import Trace
    from .traces.selection import Selection

_WHERE = {
    "formats": "emulator.formats",
    "Machine": "emulator.machine",
    "machine": "emulator.machine",
    "Result": "emulator.result",
    "run": "emulator.run",
    "Network": "models.network",
    "images": "models.zoo",
    "load": "models.zoo",
    "analyse": "traces.analyses.catalogue",
    "export": "traces.exporters.export",
    "Selection": "traces.selection",
    "Trace": "traces.reader",
    "open_trace": "traces.opened",
    "sample_trace": "traces.opened",
    "TraceError": "traces.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``import firemesh`` costs nothing."""
    if name not in _WHERE:
        raise AttributeError(f"module 'firemesh' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
