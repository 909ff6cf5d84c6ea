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

    def __post_init__(self) -> None:
        """Take numpy's numbers and arrays as Python's own."""
        for name in ("layer", "unit", "memory", "op"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if self.frame is not None:
            object.__setattr__(self, "frame", int(self.frame))
        if self.cycles is not None:
            object.__setattr__(self, "cycles", cycle_range(self.cycles))

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


def _plain(wanted: Any) -> Any:
    """Return names and numbers as Python's own: numpy's are neither JSON nor equal to them."""
    if isinstance(wanted, np.ndarray | np.generic):
        return _plain(wanted.tolist())
    if isinstance(wanted, list | tuple):
        return type(wanted)(_plain(one) for one in wanted)
    return wanted


def cycle_range(cycles: Any) -> tuple[int, int]:
    """Return the first cycle of a range and the one after its last, as Python's numbers.

    Raises
    ------
    TraceError
        When they are not two.
    """
    try:
        low, high = (int(cycle) for cycle in cycles)
    except (TypeError, ValueError):
        raise TraceError(f"cycles: must be (FROM, TO), two numbers, got {cycles!r}") from None
    return low, high


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
