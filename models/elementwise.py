"""Layers that join tensors element by element, or one behind the other."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .layer import Named, is_integer, is_scale

INFINITY = float("inf")


@dataclass(frozen=True, eq=False)
class _Joined(Named):
    """Two or more tensors to one, with the bounds of a Relu or Clip behind them.

    Parameters
    ----------
    low, high : float
        Real values. With a finite one ONNX Runtime dequantises, computes and clips in float32,
        and quantises; without, its integer operator runs.
    """

    op: ClassVar[str] = ""
    n_inputs: ClassVar[int] = 2

    low: float = -INFINITY
    high: float = INFINITY

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._require(self.low <= self.high, "low", f"at most high ({self.high})", self.low)

    @property
    def is_clipped(self) -> bool:
        """Whether a Relu or Clip stands behind the operation."""
        return (self.low, self.high) != (-INFINITY, INFINITY)


@dataclass(frozen=True, eq=False)
class Add(_Joined):
    """Sum of two tensors, requantised; shapes may broadcast against each other."""

    op: ClassVar[str] = "Add"


@dataclass(frozen=True, eq=False)
class Mul(_Joined):
    """Product of two tensors, requantised; shapes may broadcast against each other."""

    op: ClassVar[str] = "Mul"


@dataclass(frozen=True, eq=False, kw_only=True)
class _WithConstant(_Joined):
    """What AddConstant and MulConstant share: the constant operand.

    Parameters
    ----------
    constant : int8 or uint8, broadcasts to the input's shape
    scale : float
        Scale of the constant.
    zero_point : int
        Zero point of the constant.
    """

    n_inputs: ClassVar[int] = 1

    constant: NDArray[Any]
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        rank = np.ndim(self.constant)
        self._freeze("constant", (np.int8, np.uint8), (None,) * rank)
        self._require(is_scale(self.scale), "scale", "2^-50..2^50", self.scale)
        limits = np.iinfo(self.constant.dtype)
        inside = is_integer(self.zero_point) and limits.min <= self.zero_point <= limits.max
        self._require(inside, "zero_point", f"a code of {self.constant.dtype}", self.zero_point)


@dataclass(frozen=True, eq=False, kw_only=True)
class AddConstant(_WithConstant):
    """Sum of a tensor and constant codes (a bias after MatMul), requantised.

    Parameters
    ----------
    is_first : bool
        Whether the constant is the first operand (it matters to the last bit).
    """

    op: ClassVar[str] = "Add"

    is_first: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class MulConstant(_WithConstant):
    """Product of a tensor and constant codes, requantised."""

    op: ClassVar[str] = "Mul"


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(_Joined):
    """Tensors one behind the other, each requantised.

    Parameters
    ----------
    axis : int
        Behind the batch axis: 0 is the channel of [c, h, w].
    """

    op: ClassVar[str] = "Concat"
    n_inputs: ClassVar[int] = 1
    is_variadic: ClassVar[bool] = True

    axis: int

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        good = is_integer(self.axis) and self.axis >= 0
        self._require(good, "axis", "an axis behind the batch axis, from 0", self.axis)
