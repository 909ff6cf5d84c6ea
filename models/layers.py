"""The layers a quantised network is made of: frozen descriptions, no arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Add",
    "AddConstant",
    "Conv",
    "Dequantize",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "MaxPool",
    "ModelError",
    "Quantize",
    "Rescale",
    "Reshape",
]


class ModelError(ValueError):
    """A network or a model file that cannot be used; one sentence says what to change."""


def is_integer(value: object) -> bool:
    """Tell whether a value is an integer, of Python or numpy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True, eq=False)
class _Named:
    """What every layer has: a name, the tensors it reads and the tensor it writes."""

    op: ClassVar[str] = ""
    n_inputs: ClassVar[int] = 1

    name: str
    inputs: tuple[str, ...]
    output: str

    def __post_init__(self) -> None:
        """Check every field."""
        self._require(bool(self.name), "name", "a non-empty string", self.name)
        self._require(
            len(self.inputs) == self.n_inputs,
            "inputs",
            f"a tuple of {self.n_inputs} tensor names",
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


@dataclass(frozen=True, eq=False)
class _Weighted(_Named):
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
class MaxPool(_Named):
    """Maximum over windows, on codes; padding is the type's minimum.

    Parameters
    ----------
    kernel, strides, dilations : (y, x)
    pads : (top, left, bottom, right)
        With ceil_mode the output shape asks for more rows below and right than the pads say.
    """

    op: ClassVar[str] = "MaxPool"

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._require_ints("kernel", 2, 1)
        self._require_ints("strides", 2, 1)
        self._require_ints("pads", 4, 0)
        self._require_ints("dilations", 2, 1)
        inside = all(pad < self.kernel[axis % 2] for axis, pad in enumerate(self.pads))
        self._require(inside, "pads", f"smaller than the kernel {self.kernel}", self.pads)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(_Named):
    """Mean over height and width, requantised."""

    op: ClassVar[str] = "GlobalAveragePool"


@dataclass(frozen=True, eq=False)
class Add(_Named):
    """Sum of two tensors, requantised; shapes may broadcast against each other."""

    op: ClassVar[str] = "Add"
    n_inputs: ClassVar[int] = 2


@dataclass(frozen=True, eq=False)
class AddConstant(_Named):
    """Sum of a tensor and constant codes (a bias after MatMul), requantised.

    Parameters
    ----------
    constant : int8 or uint8, broadcasts to the input's shape
    scale : float
        Scale of the constant.
    zero_point : int
        Zero point of the constant.
    is_first : bool
        Whether the constant is the first operand (it matters to the last bit).
    """

    op: ClassVar[str] = "Add"

    constant: NDArray[Any]
    scale: float
    zero_point: int
    is_first: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        rank = np.ndim(self.constant)
        self._freeze("constant", (np.int8, np.uint8), (None,) * rank)
        self._require(is_scale(self.scale), "scale", "2^-50..2^50", self.scale)
        limits = np.iinfo(self.constant.dtype)
        inside = is_integer(self.zero_point) and limits.min <= self.zero_point <= limits.max
        self._require(inside, "zero_point", f"a code of {self.constant.dtype}", self.zero_point)


@dataclass(frozen=True, eq=False)
class Reshape(_Named):
    """The same codes in another shape (Flatten, Reshape, Squeeze)."""

    op: ClassVar[str] = "Reshape"


@dataclass(frozen=True, eq=False)
class Rescale(_Named):
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
class Quantize(_Named):
    """Real values to codes (the network's input)."""

    op: ClassVar[str] = "Quantize"


@dataclass(frozen=True, eq=False)
class Dequantize(_Named):
    """Codes to real values (the network's output)."""

    op: ClassVar[str] = "Dequantize"


Layer = (
    Conv
    | Linear
    | MaxPool
    | GlobalAveragePool
    | Add
    | AddConstant
    | Reshape
    | Rescale
    | Quantize
    | Dequantize
)


def total(shape: Iterable[int]) -> int:
    """Return the number of values in a shape, exact for any size."""
    count = 1
    for size in shape:
        count *= size
    return count


def is_scale(scale: float) -> bool:
    """Return whether a scale is in 2^-50..2^50, where no ratio of two scales leaves float32."""
    return 2.0**-50 <= scale <= 2.0**50
