"""The layers a quantised network is made of: frozen descriptions, no arithmetic."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .elementwise import Add, AddConstant, Concat, Mul, MulConstant
from .layer import ModelError, Named, is_integer
from .pools import AveragePool, GlobalAveragePool, MaxPool

__all__ = [
    "Add",
    "AddConstant",
    "AveragePool",
    "Concat",
    "Conv",
    "Dequantize",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "MaxPool",
    "ModelError",
    "Mul",
    "MulConstant",
    "Quantize",
    "Rescale",
    "Reshape",
    "Softmax",
    "Transpose",
]


@dataclass(frozen=True, eq=False)
class _Weighted(Named):
    """What Conv and Linear share: weights, requantisation and the code range of the output.

    Parameters
    ----------
    weight : int8 or uint8 array, filter first
    weight_zero_point : int32[k]
    multiplier : float32[k]
        ``(scale_x * scale_w_k) / scale_y``, in this order in float32.
    bias : int32[k]
    low, high : int
        Code range of the output after a fused Relu or Clip; the type's range without one.
    """

    weight: NDArray[Any]
    weight_zero_point: NDArray[np.int32]
    multiplier: NDArray[np.float32]
    bias: NDArray[np.int32]
    low: int
    high: int

    def _check_weights(self, shape: tuple[int | None, ...]) -> None:
        self._freeze("weight", (np.int8, np.uint8), shape)
        k = self.weight.shape[0]
        self._freeze("weight_zero_point", (np.int32,), (k,))
        self._freeze("multiplier", (np.float32,), (k,))
        self._freeze("bias", (np.int32,), (k,))
        good = bool(np.isfinite(self.multiplier).all() and (self.multiplier >= 0).all())
        self._require(good, "multiplier", "finite and not negative", self.multiplier)
        limits = np.iinfo(self.weight.dtype)
        points = self.weight_zero_point
        inside = bool((points >= limits.min).all() and (points <= limits.max).all())
        self._require(inside, "weight_zero_point", "codes of the weight's type", points)
        self._require(is_integer(self.low), "low", "an integer", self.low)
        self._require(is_integer(self.high), "high", "an integer", self.high)
        self._require(self.low <= self.high, "low", f"at most high ({self.high})", self.low)


@dataclass(frozen=True, eq=False)
class Conv(_Weighted):
    """A two-dimensional convolution with bias and requantisation.

    Parameters
    ----------
    weight : int8 or uint8 [k, c/groups, r, s]
    strides, dilations : (y, x)
    pads : (top, left, bottom, right)
    groups : int
    """

    op: ClassVar[str] = "Conv"

    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._check_weights((None, None, None, None))
        self._require_ints("strides", 2, 1)
        self._require_ints("pads", 4, 0)
        self._require_ints("dilations", 2, 1)
        k = self.weight.shape[0]
        divides = is_integer(self.groups) and self.groups >= 1 and k % self.groups == 0
        self._require(divides, "groups", f"a divisor of the {k} filters", self.groups)

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel height and width."""
        return self.weight.shape[2], self.weight.shape[3]


@dataclass(frozen=True, eq=False)
class Linear(_Weighted):
    """A fully connected layer (Gemm, MatMul) with bias and requantisation.

    Parameters
    ----------
    weight : int8 or uint8 [k, n]
    """

    op: ClassVar[str] = "Linear"

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._check_weights((None, None))


@dataclass(frozen=True, eq=False)
class Reshape(Named):
    """The same codes in another shape (Flatten, Reshape, Squeeze, Unsqueeze)."""

    op: ClassVar[str] = "Reshape"


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Named):
    """The same codes in another order of axes.

    Parameters
    ----------
    permutation : tuple of int
        Axis of the input for each axis of the output, both behind the batch axis.
    """

    op: ClassVar[str] = "Transpose"

    permutation: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        axes = self.permutation
        good = isinstance(axes, tuple) and all(is_integer(axis) for axis in axes)
        good = good and sorted(axes) == list(range(len(axes)))
        self._require(good, "permutation", "a tuple of every axis once", axes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Named):
    """Softmax of codes along an axis, to codes or, at the network's end, to float32.

    Parameters
    ----------
    axis : int
        Behind the batch axis.
    """

    op: ClassVar[str] = "Softmax"

    axis: int

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        good = is_integer(self.axis) and self.axis >= 0
        self._require(good, "axis", "an axis behind the batch axis, from 0", self.axis)


@dataclass(frozen=True, eq=False)
class Rescale(Named):
    """Dequantise, clip to low..high (real values) and quantise with the output's parameters.

    ONNX Runtime drops a bare DequantizeLinear and QuantizeLinear that stand between two other
    QuantizeLinear and DequantizeLinear and so rounds once where the file says twice; equality
    with it is claimed only where a Relu, Clip, MaxPool or Reshape stands between them.
    """

    op: ClassVar[str] = "Rescale"

    low: float = float("-inf")
    high: float = float("inf")

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._require(self.low <= self.high, "low", f"at most high ({self.high})", self.low)


@dataclass(frozen=True, eq=False)
class Quantize(Named):
    """Real values to codes (the network's input)."""

    op: ClassVar[str] = "Quantize"


@dataclass(frozen=True, eq=False)
class Dequantize(Named):
    """Codes to real values (the network's output)."""

    op: ClassVar[str] = "Dequantize"


Layer = (
    Conv
    | Linear
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Add
    | AddConstant
    | Mul
    | MulConstant
    | Concat
    | Reshape
    | Transpose
    | Softmax
    | Rescale
    | Quantize
    | Dequantize
)
