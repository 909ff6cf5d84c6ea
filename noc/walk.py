"""The kernel that walks a routing table's paths from one source."""

from typing import Any

from numpy.typing import NDArray

from .kernel import outer_kernel


@outer_kernel
def walk(
    ports: NDArray[Any],
    upper: NDArray[Any],
    neighbour: NDArray[Any],
    source: int,
    destinations: NDArray[Any],
    taken: NDArray[Any],
    lower: NDArray[Any],
) -> int:
    """Mark what the paths to some destinations take, at each node the lowest permitted port.

    Parameters
    ----------
    ports, upper : uint16[n, n]
        Of a `firemesh.noc.table.Table`; one class where ``upper`` is of another shape.
    neighbour : int64[n, radix]
    source : int
    destinations : int64[n_destinations]
    taken : uint16[n]
        The output ports of the paths are added as bits.
    lower : uint16[n]
        Those that some path enters in class 0 are added as bits.

    Returns
    -------
    int
        The first destination whose path does not arrive, -1 for none.
    """
    n, radix = neighbour.shape
    has_classes = upper.shape == ports.shape
    for to in destinations:
        node = source
        port = -1
        steps = 0
        while port != radix:
            mask = ports[node, to]
            port = 0
            while port <= radix and (mask >> port) & 1 == 0:
                port += 1
            if port > radix or (port == radix) != (node == to) or steps == n:
                return int(to)
            taken[node] |= 1 << port
            if not has_classes or (upper[node, to] >> port) & 1 == 0:
                lower[node] |= 1 << port
            if port < radix:
                node = neighbour[node, port]
                steps += 1
                if node < 0:
                    return int(to)
    return -1
