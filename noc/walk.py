"""The kernels that walk a routing table: on from one source, back from all destinations."""

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


@outer_kernel
def settle(
    ports: NDArray[Any],
    before: NDArray[Any],
    output: NDArray[Any],
    length: NDArray[Any],
    unsettled: NDArray[Any],
    queue: NDArray[Any],
) -> int:
    """Find the longest permitted path between any two nodes.

    Goes back from each destination. A node is settled when all its permitted steps lead to settled
    nodes; so all are settled exactly when no path can come back to where it was.

    Parameters
    ----------
    ports : uint16[n, n]
        Of a `firemesh.noc.table.Table` whose masks hold links only.
    before, output : int64[n, radix]
        Of `firemesh.noc.topology.sources`.
    length : int16[n, n]
        0; receives the links by (node, destination).
    unsettled : int64[n]
        Receives, for the last destination that was looked at, how many permitted steps of a node
        lead to nodes that are not settled.
    queue : int64[n]
        For the kernel's own use.

    Returns
    -------
    int
        The first destination that not every node is settled for, -1 for none.
    """
    n, radix = before.shape
    for to in range(n):
        for node in range(n):
            unsettled[node] = 0
            for port in range(radix):
                unsettled[node] += (ports[node, to] >> port) & 1
        queue[0] = to
        n_done, n_settled = 0, 1
        while n_done < n_settled:
            node = queue[n_done]
            n_done += 1
            for entry in range(radix):
                back = before[node, entry]
                if back < 0 or (ports[back, to] >> output[node, entry]) & 1 == 0:
                    continue
                length[back, to] = length[node, to] + 1
                unsettled[back] -= 1
                if unsettled[back] == 0:
                    queue[n_settled] = back
                    n_settled += 1
        if n_settled < n:
            return to
    return -1
