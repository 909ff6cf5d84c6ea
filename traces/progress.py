"""How long work tells of its progress."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""
