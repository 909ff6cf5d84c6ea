"""Selections: layers, units and memories by name or number."""

from collections.abc import Sequence

import numpy as np

from .errors import TraceError

Wanted = str | int | Sequence[str | int] | None


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
