"""Destination patterns of synthetic traffic: who sends to whom.

Definitions are those of Dally and Towles, Principles and Practices of Interconnection Networks
(2004), section 3.2, as BookSim 2 has them in ``traffic.cpp``, on a mesh whose node
``x + width*y`` lies at (x, y). A node that a pattern maps to itself sends to itself.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MANTISSA_BITS = 53


class Pattern(Protocol):
    """Destinations of a network's packets."""

    @property
    def n_nodes(self) -> int:
        """Nodes of the network."""

    def destinations(
        self, sources: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """Return int32[m], the destinations of packets from ``sources``, int32[m]."""


def uniforms(rng: np.random.Generator, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers from 0 to below 1, each made of one word of the bit generator.

    numpy promises that the words of a bit generator stay the same for ever, but not so the numbers
    of a `numpy.random.Generator`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of a bit generator with words of 64 bits, as PCG64 has.
    shape : int or tuple of int

    Returns
    -------
    float64[shape]
        Multiples of 2**-53.

    Raises
    ------
    ValueError
        When the words have 32 bits.
    """
    if isinstance(rng.bit_generator, np.random.MT19937):
        raise ValueError("rng: must have words of 64 bits, got MT19937; take numpy.random.PCG64")
    words = np.asarray(rng.bit_generator.random_raw(shape), np.uint64)
    top = words >> np.uint64(64 - MANTISSA_BITS)
    return top.astype(np.float64) * np.float64(2.0**-MANTISSA_BITS)


@dataclass(frozen=True)
class Fixed:
    """Every node has one destination, ``to`` int32[n_nodes]."""

    to: NDArray[np.int32]

    @property
    def n_nodes(self) -> int:
        """Nodes of the network."""
        return len(self.to)

    def destinations(
        self, sources: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """Return int32[m]; draws nothing."""
        return self.to[sources]


@dataclass(frozen=True)
class Uniform:
    """Every node, the source among them, is equally likely."""

    n_nodes: int

    def destinations(
        self, sources: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """Return int32[m]; draws one number per packet."""
        return (uniforms(rng, len(sources)) * self.n_nodes).astype(np.int32)


@dataclass(frozen=True)
class Hotspot:
    """A ``fraction`` of the packets goes to ``nodes``, each alike; the others are uniform.

    With a fraction of 1 this is BookSim 2's hotspot with equal rates.
    """

    n_nodes: int
    nodes: NDArray[np.int32]
    fraction: float

    def destinations(
        self, sources: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """Return int32[m]; draws two numbers per packet."""
        which, where = uniforms(rng, (len(sources), 2)).T
        hot = self.nodes[(where * len(self.nodes)).astype(np.int64)]
        any_node = (where * self.n_nodes).astype(np.int32)
        to: NDArray[np.int32] = np.where(which < self.fraction, hot, any_node)
        return to


def uniform(width: int, height: int) -> Uniform:
    """Send to any node, the source among them."""
    return Uniform(_sides(width, height))


def transpose(width: int, height: int) -> Fixed:
    """Send from (x, y) to (y, x); for square meshes of any side, not only powers of two."""
    if width != height:
        raise ValueError(
            f"transpose: needs a square mesh, got {width} x {height}; "
            "make width and height equal or take another pattern"
        )
    return _by_coordinates(width, height, lambda x, y: (y, x))


def bit_complement(width: int, height: int) -> Fixed:
    """Send from node i to node n - 1 - i: all bits of i inverted where n is a power of two.

    Where it is not (BookSim 2 refuses that) this is still the point reflection of the mesh.
    """
    n = _sides(width, height)
    return Fixed(np.arange(n - 1, -1, -1, dtype=np.int32))


def shuffle(width: int, height: int) -> Fixed:
    """Send from node i to the node whose bits are those of i rotated left by one."""
    n = _sides(width, height)
    if n & (n - 1):
        raise ValueError(
            f"shuffle: needs a number of nodes that is a power of two, got {n}; "
            "change width and height or take another pattern"
        )
    node = np.arange(n)
    return Fixed((2 * node % n + 2 * node // n).astype(np.int32))


def tornado(width: int, height: int) -> Fixed:
    """Send ceil(k/2) - 1 further in x and in y, with k the side, round the edge."""
    return _by_coordinates(
        width, height, lambda x, y: (x + (width + 1) // 2 - 1, y + (height + 1) // 2 - 1)
    )


def neighbour(width: int, height: int) -> Fixed:
    """Send one further in x and in y, round the edge."""
    return _by_coordinates(width, height, lambda x, y: (x + 1, y + 1))


def hotspot(width: int, height: int, *, nodes: Sequence[int], fraction: float) -> Hotspot:
    """Send a fraction of the packets to few nodes, the others to any node.

    Parameters
    ----------
    width, height : int
    nodes : sequence of int
        The hot nodes; one that is named twice gets twice as much.
    fraction : float
        From 0 to 1; of the packets of each node, a hot one included.
    """
    n = _sides(width, height)
    if not len(nodes) or not all(0 <= node < n for node in nodes):
        raise ValueError(
            f"hotspot.nodes: must be one or more of the nodes 0..{n - 1}, got {list(nodes)}; "
            "correct them"
        )
    if not 0 <= fraction <= 1:
        raise ValueError(f"hotspot.fraction: must be from 0 to 1, got {fraction}; correct it")
    return Hotspot(n, np.array(nodes, np.int32), float(fraction))


PATTERNS: dict[str, Callable[..., Pattern]] = {
    "uniform": uniform,
    "transpose": transpose,
    "bit-complement": bit_complement,
    "tornado": tornado,
    "hotspot": hotspot,
    "shuffle": shuffle,
    "neighbour": neighbour,
}


def make_pattern(name: str, width: int, height: int, **options: Any) -> Pattern:
    """Return a pattern of `PATTERNS` for a mesh.

    Parameters
    ----------
    name : str
    width, height : int
        Nodes in x and y.
    **options
        What the pattern needs beyond them: ``nodes`` and ``fraction`` of hotspot.

    Raises
    ------
    ValueError
        When the name is unknown, an option is missing, unknown or out of range, or the mesh does
        not suit the pattern.
    """
    if name not in PATTERNS:
        raise ValueError(f"pattern: must be one of {', '.join(PATTERNS)}, got {name!r}")
    needed = list(inspect.signature(PATTERNS[name]).parameters)[2:]
    if sorted(options) != sorted(needed):
        raise ValueError(
            f"{name}: must have {' and '.join(needed) or 'no options'}, "
            f"got {' and '.join(options) or 'none'}; add what is missing, leave out the rest"
        )
    return PATTERNS[name](width, height, **options)


def _sides(width: int, height: int) -> int:
    """Return the number of nodes."""
    for name, side in (("width", width), ("height", height)):
        if side < 1:
            raise ValueError(f"pattern.{name}: must be at least 1, got {side}; make it larger")
    return width * height


def _by_coordinates(
    width: int, height: int, send: Callable[[NDArray[Any], NDArray[Any]], tuple[Any, Any]]
) -> Fixed:
    """Return the pattern that sends from (x, y) to ``send(x, y)``, taken modulo the sides."""
    y, x = np.divmod(np.arange(_sides(width, height)), width)
    to_x, to_y = send(x, y)
    return Fixed((to_x % width + width * (to_y % height)).astype(np.int32))
