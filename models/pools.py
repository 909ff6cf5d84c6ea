"""Layers that pool: maximum or mean over windows, or over the whole frame."""

from dataclasses import dataclass
from typing import ClassVar

from .layer import Named


@dataclass(frozen=True, eq=False)
class _Pool(Named):
    """What MaxPool and AveragePool share: the windows.

    Parameters
    ----------
    kernel, strides : (y, x)
    pads : (top, left, bottom, right)
        With ceil_mode the output shape asks for more rows below and right than the pads say.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._require_ints("kernel", 2, 1)
        self._require_ints("strides", 2, 1)
        self._require_ints("pads", 4, 0)
        inside = all(pad < self.kernel[axis % 2] for axis, pad in enumerate(self.pads))
        self._require(inside, "pads", f"smaller than the kernel {self.kernel}", self.pads)


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """Maximum over windows, on codes; padding is the type's minimum.

    Parameters
    ----------
    dilations : (y, x)
    """

    op: ClassVar[str] = "MaxPool"

    dilations: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._require_ints("dilations", 2, 1)


@dataclass(frozen=True, eq=False)
class AveragePool(_Pool):
    """Mean over windows, requantised.

    Parameters
    ----------
    counts_padding : bool
        Whether a mean divides by the kernel's area, and not by the positions inside the frame.
    """

    op: ClassVar[str] = "AveragePool"

    counts_padding: bool = False

    @property
    def dilations(self) -> tuple[int, int]:
        """One in both directions: ONNX Runtime's integer kernel has no others."""
        return (1, 1)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(Named):
    """Mean over height and width, requantised."""

    op: ClassVar[str] = "GlobalAveragePool"
