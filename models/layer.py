"""What every layer has: a name, its tensors, and fields that are checked where they enter."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


class ModelError(ValueError):
    """A network or a model file that cannot be used; one sentence says what to change."""


def is_integer(value: object) -> bool:
    """Tell whether a value is an integer, of Python or numpy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def total(shape: Iterable[int]) -> int:
    """Return the number of values in a shape, exact for any size."""
    count = 1
    for size in shape:
        count *= size
    return count


def is_scale(scale: float) -> bool:
    """Return whether a scale is in 2^-50..2^50, where no ratio of two scales leaves float32."""
    return 2.0**-50 <= scale <= 2.0**50


@dataclass(frozen=True, eq=False)
class Named:
    """What every layer has: a name, the tensors it reads and the tensor it writes."""

    op: ClassVar[str] = ""
    n_inputs: ClassVar[int] = 1
    is_variadic: ClassVar[bool] = False

    name: str
    inputs: tuple[str, ...]
    output: str

    def __post_init__(self) -> None:
        """Check every field."""
        self._require(bool(self.name), "name", "a non-empty string", self.name)
        self._require(
            len(self.inputs) == self.n_inputs or (self.is_variadic and len(self.inputs) > 0),
            "inputs",
            f"a tuple of {self.n_inputs}{' or more' * self.is_variadic} tensor names",
            self.inputs,
        )
        self._require(self.output not in self.inputs, "output", "not an input", self.output)

    def _require(self, holds: bool, field: str, what: str, got: object) -> None:
        if not holds:
            where = f"{type(self).__name__}.{field}"
            raise ModelError(f"{where}: must be {what}, got {got!r} (layer {self.name!r})")

    def _freeze(self, field: str, dtypes: tuple[type, ...], shape: tuple[int | None, ...]) -> None:
        """Check dtype and shape (None is any size) and store a read-only copy."""
        array = np.asarray(getattr(self, field))
        names = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        self._require(any(array.dtype == t for t in dtypes), field, f"{names} array", array.dtype)
        fits = array.ndim == len(shape) and all(
            size >= 1 and wanted in (None, size)
            for size, wanted in zip(array.shape, shape, strict=True)
        )
        self._require(fits, field, f"of shape {shape} (None: any size)", array.shape)
        frozen = np.array(array, order="C", copy=True)
        frozen.setflags(write=False)
        object.__setattr__(self, field, frozen)

    def _require_ints(self, field: str, count: int, least: int) -> None:
        value = getattr(self, field)
        holds = isinstance(value, tuple) and len(value) == count
        holds = holds and all(is_integer(v) and v >= least for v in value)
        self._require(holds, field, f"{count} integers of at least {least}", value)
        object.__setattr__(self, field, tuple(int(v) for v in value))
