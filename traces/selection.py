"""Selections: which accesses or packets of a trace, by names or numbers and cycles."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .errors import TraceError

Wanted = str | int | Sequence[str | int] | None


@dataclass(frozen=True)
class Selection:
    """Which part of a trace; fields are the arguments of `firemesh.traces.reader.Trace.accesses`.

    Parameters
    ----------
    layer, unit, memory, op : name, number, several of these, or None
        None for all; the network's doors must be named.
    frame : int, optional
    cycles : (int, int), optional
        Half-open range of the run's cycles.
    """

    layer: Wanted = None
    unit: Wanted = None
    memory: Wanted = None
    op: Wanted = None
    frame: int | None = None
    cycles: tuple[int, int] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def facts(self) -> dict[str, Any]:
        """Return the fields as JSON has them: lists of names or numbers, null for all."""

        def plain(wanted: Any) -> Any:
            several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
            return list(wanted) if several else [wanted]

        names = ("layer", "unit", "memory", "op")
        found = {name: getattr(self, name) for name in names}
        told = {name: None if one is None else plain(one) for name, one in found.items()}
        cycles = None if self.cycles is None else list(self.cycles)
        return told | {"frame": self.frame, "cycles": cycles}


ALL = Selection()
"""The whole trace."""


def numbers(names: list[str], wanted: Wanted, what: str) -> set[int] | None:
    """Return the numbers of wanted things, given by name, number or several of these."""
    if wanted is None:
        return None
    found = set()
    for one in [wanted] if isinstance(wanted, str | int | np.integer) else wanted:
        if isinstance(one, str) and one in names:
            found.add(names.index(one))
        elif not isinstance(one, str) and 0 <= one < len(names):
            found.add(int(one))
        else:
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise TraceError(f"{what}: must be one of {known}, got {one}")
    return found


def number_of(names: list[str], wanted: str | int, what: str) -> int:
    """Return the number of one thing, given by name or number."""
    found = numbers(names, [wanted], what) or set()
    return found.pop()
