"""The errors that users see, and a check that raises one."""

from typing import Any

from numpy.typing import NDArray


class TraceError(ValueError):
    """A trace that cannot be written or read; one sentence with the way out."""


class DamageError(ValueError):
    """A trace whose tables contradict each other; what is wrong, without the file's name."""


def check_range(name: str, values: NDArray[Any], least: int, most: int) -> None:
    """Raise `DamageError` unless all values lie between two numbers."""
    if len(values) and not (least <= values.min() and values.max() <= most):
        raise DamageError(f"{name} is {values.min()} to {values.max()}, must be {least} to {most}")
