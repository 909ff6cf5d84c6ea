"""Random strongly connected graphs, and walks on routing tables in plain Python, for tests."""

import networkx as nx
from hypothesis import strategies as st


@st.composite
def digraphs(draw, most_nodes=7):
    """Draw a strongly connected graph of nodes 0..: a ring or a tree, and random further links."""
    n = draw(st.integers(1, most_nodes))
    order = draw(st.permutations(range(n)))
    pairs = [(a, b) for a in range(n) for b in range(n) if a != b]
    more = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    is_directed = draw(st.booleans())
    graph = nx.DiGraph() if is_directed else nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(more)
    for i in range(n if is_directed and n > 1 else n - 1):
        before = i if is_directed else draw(st.integers(0, i))
        graph.add_edge(order[before], order[(i + 1) % n])
    return graph


def bits(mask):
    """Return the numbers of the bits that are set."""
    return [bit for bit in range(16) if int(mask) >> bit & 1]


def target_of(graph, node, port):
    """Return the node behind an output port."""
    (target,) = [b for _, b, its in graph.out_edges(node, data="port") if its == port]
    return target


def class_of(table, node, destination, port):
    """Return in which class a link is entered."""
    return int(table.upper[node, destination]) >> port & 1 if table.classes == 2 else 0


def path(graph, table, source, destination):
    """Return the (node, output port, class) of a path by lowest ports, its delivery included."""
    steps, node = [], source
    while not steps or steps[-1][1] != graph.graph["radix"]:
        assert len(steps) <= len(graph)
        port = bits(table.ports[node, destination])[0]
        steps.append((node, port, class_of(table, node, destination, port)))
        node = node if port == graph.graph["radix"] else target_of(graph, node, port)
    return steps


def all_paths(graph, table, source, destination):
    """Yield the nodes of every path that the table permits."""
    waiting = [[source]]
    while waiting:
        nodes = waiting.pop()
        assert len(nodes) <= len(graph), f"a path from {source} to {destination} does not end"
        for port in bits(table.ports[nodes[-1], destination]):
            if port == graph.graph["radix"]:
                yield nodes
            else:
                waiting.append([*nodes, target_of(graph, nodes[-1], port)])
