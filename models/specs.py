"""What an architecture is told by: its layers and sizes, each layer with the name of what it reads.

A layer reads the one before it, unless it names another; so a chain is a list, and branches are
names.
"""

from dataclasses import dataclass

from .layers import ModelError

IMAGE = "image"
"""The name that reads the network's input."""


@dataclass(frozen=True)
class PoolSpec:
    """A square max-pool.

    Parameters
    ----------
    kernel, stride, pad : int
    is_ceiled : bool
        Whether a last window may hang over the lower and right edge.
    """

    kernel: int
    stride: int
    pad: int = 0
    is_ceiled: bool = False


@dataclass(frozen=True)
class AddSpec:
    """An addition behind a convolution, in front of its ReLU.

    Parameters
    ----------
    name : str
    shortcut : str
        The layer whose output is added.
    """

    name: str
    shortcut: str


@dataclass(frozen=True)
class ConvSpec:
    """A square convolution, and the addition, ReLU and pool behind it, in this order.

    Parameters
    ----------
    name : str
    filters, kernel, stride, pad, groups : int
    pool : PoolSpec, optional
    tile : (int, int)
        Kernel rows and columns in a weight row: what ``tile: auto`` takes on the machine of the
        MNF paper, 11 PEs of 9 x 3 multipliers.
    reads : str
        The layer whose output, pool and addition included, is read; ``image`` for the network's
        input; by default the layer before.
    add : AddSpec, optional
    has_relu : bool
    cap : float, optional
        The real value at which the ReLU is clipped, 6 of a ReLU6: code 255.
    """

    name: str
    filters: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    pool: PoolSpec | None = None
    tile: tuple[int, int] = (3, 3)
    reads: str = ""
    add: AddSpec | None = None
    has_relu: bool = True
    cap: float | None = None

    def __post_init__(self) -> None:
        """Check that what stands behind the convolution can be calibrated."""
        if self.add and (self.pool or self.cap is not None):
            raise ModelError(
                f"ConvSpec.add: must stand without pool and cap, got both behind {self.name!r}; "
                f"give the pool a MaxPoolSpec"
            )
        if not self.has_relu and (self.pool or self.cap is not None):
            raise ModelError(
                f"ConvSpec.has_relu: must be True with a pool or cap, got False for {self.name!r}"
            )

    @property
    def is_depthwise(self) -> bool:
        """Whether every filter has an input channel of its own.

        A weight row of such a layer is a filter, or a part of one that no other row makes up for:
        the layer is not pruned.
        """
        return self.groups == self.filters > 1


@dataclass(frozen=True)
class LinearSpec:
    """A fully connected layer; with ReLU unless it is the network's last.

    Parameters
    ----------
    name : str
    filters : int
        Outputs.
    tile : (int, int)
        As in ``ConvSpec``: of a kernel of one position only the number of filters in a row counts.
    reads : str
        As in ``ConvSpec``.
    """

    name: str
    filters: int
    tile: tuple[int, int] = (1, 1)
    reads: str = ""

    @property
    def is_depthwise(self) -> bool:
        """Never: every filter reads all inputs."""
        return False


@dataclass(frozen=True)
class ConcatSpec:
    """Channels of several layers one behind the other, and the pool behind.

    The layers are convolutions with ReLU; their codes get the scale of the first one's, so that
    joining changes none.

    Parameters
    ----------
    name : str
    parts : tuple of str
        The layers.
    pool : PoolSpec, optional
    """

    name: str
    parts: tuple[str, ...]
    pool: PoolSpec | None = None


@dataclass(frozen=True)
class MaxPoolSpec:
    """A max-pool that stands alone, because others read what it reads.

    Parameters
    ----------
    name : str
    pool : PoolSpec
    reads : str
        As in ``ConvSpec``.
    """

    name: str
    pool: PoolSpec
    reads: str = ""


@dataclass(frozen=True)
class MeanSpec:
    """The mean over height and width.

    Parameters
    ----------
    name : str
    reads : str
        As in ``ConvSpec``.
    """

    name: str
    reads: str = ""


WeightedSpec = ConvSpec | LinearSpec
Spec = WeightedSpec | ConcatSpec | MaxPoolSpec | MeanSpec


def pointwise_tile(filters: int) -> tuple[int, int]:
    """Return the tile of weight rows for a kernel of one position.

    Only the number of filters in a row counts, 27, 9 or 3: the tile is the largest with which
    each of 11 PEs has one row per input channel; beyond 99 filters it holds 27.

    Parameters
    ----------
    filters : int
    """
    if filters <= 33:
        return 3, 3
    return (3, 1) if filters <= 99 else (1, 1)
