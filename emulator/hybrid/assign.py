"""Which layer runs in which mode: the assignment of least cycles, energy or EDP, found exactly.

A weighted sum of cycles and energy is least on a minimum cut (Kolmogorov and Zabih, IEEE Trans.
PAMI 26(2), 2004). A layer is a node: on the source's side it runs in mnf, on the sink's in flexnn,
and the edge that this cuts is its cost there. A tensor is two nodes more, one per form::

    producer -- to_zvc --> zvc == free ==> each consumer
    each consumer == free ==> events -- to_events --> producer

A free edge is never cut. So the node zvc is in flexnn as soon as one consumer is, and the tensor is
paid for if the producer is in mnf; the node events is in mnf as soon as one consumer is.

EDP, total energy times total cycles, is no sum. But it is least on a vertex of the lower convex
hull of all (cycles, energy), since among the points of a triangle a product of two positives is
least in a corner; and each vertex of the hull is least in some weighted sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

from .forms import FORM

Weights: TypeAlias = tuple[int, int]
"""Of a cycle, of a fJ."""
Node: TypeAlias = tuple[str, str | int]
"""Of the cut's graph: a mode, a layer, or a form with the tensor's number."""

MNF: Node = ("mode", "mnf")
FLEXNN: Node = ("mode", "flexnn")


@dataclass(frozen=True)
class Cost:
    """What a layer or a change of form takes.

    Parameters
    ----------
    cycles : int
    energy_fj : int
        Whole numbers, for a minimum cut is exact only on those.

    Raises
    ------
    ValueError
        When one is negative or no Python int: numpy's wrap.
    """

    cycles: int
    energy_fj: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, given in (("cycles", self.cycles), ("energy_fj", self.energy_fj)):
            if not isinstance(given, int) or given < 0:
                raise ValueError(f"Cost.{name}: must be an int of at least 0, got {given!r}")

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both."""
        return Cost(self.cycles + other.cycles, self.energy_fj + other.energy_fj)

    def weighed(self, weights: Weights) -> int:
        """Return the weighted sum."""
        return weights[0] * self.cycles + weights[1] * self.energy_fj


OBJECTIVES = ("cycles", "energy", "edp")
"""What is to be small; EDP is the product of the others."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that a layer makes, and what changing its form takes.

    Parameters
    ----------
    name : str
    producer : str
        Layer that makes it.
    consumers : tuple of str
        Layers that read it; none where it only leaves the network.
    to_events : Cost
        Of the events, once for all consumers in mnf, where the producer runs in flexnn.
    to_zvc : Cost
        Of the ZVC tensor, once for all consumers in flexnn, where the producer runs in mnf.
    """

    name: str
    producer: str
    consumers: tuple[str, ...]
    to_events: Cost
    to_zvc: Cost

    def cost(self, form: str) -> Cost:
        """Return what it takes to make a form of the other."""
        return self.to_events if form == "events" else self.to_zvc


@dataclass(frozen=True)
class Problem:
    """A network whose layers may run in either mode.

    Parameters
    ----------
    layers : mapping of str to mapping of str to Cost
        Of each layer the cost in each mode that it can run in.
    tensors : tuple of Tensor
        All but the network's inputs, which come in either form.

    Raises
    ------
    ValueError
        When a layer has no mode or an unknown one, or a tensor an unknown layer.
    """

    layers: Mapping[str, Mapping[str, Cost]]
    tensors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        """Check the names."""
        for layer, costs in self.layers.items():
            if not costs or not set(costs) <= set(FORM):
                raise ValueError(
                    f"Problem.layers: {layer} must have costs in {', '.join(FORM)} or one of "
                    f"them, got {', '.join(costs) or 'none'}"
                )
        for tensor in self.tensors:
            for layer in (tensor.producer, *tensor.consumers):
                if layer not in self.layers:
                    raise ValueError(
                        f"Problem.tensors: {tensor.name} must be of layers of the problem, got "
                        f"{layer!r}"
                    )


def conversions(problem: Problem, modes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the changes of form that an assignment needs.

    Parameters
    ----------
    problem : Problem
    modes : mapping of str to str
        Of each layer its mode.

    Returns
    -------
    list of (str, str)
        Tensor and the form that is made, "events" or "zvc", in the order of the problem's tensors.
    """
    return [(tensor.name, form) for tensor, form in _changes(problem, modes)]


def total(problem: Problem, modes: Mapping[str, str]) -> Cost:
    """Return what an assignment takes: all layers in their modes, and all changes of form."""
    parts = [costs[modes[layer]] for layer, costs in problem.layers.items()]
    parts += [tensor.cost(form) for tensor, form in _changes(problem, modes)]
    return sum(parts, Cost(0, 0))


def _changes(problem: Problem, modes: Mapping[str, str]) -> list[tuple[Tensor, str]]:
    """Return tensors and the forms that are made of them: one where a consumer wants the other."""
    return [
        (tensor, form)
        for tensor in problem.tensors
        for mode, form in FORM.items()
        if mode != modes[tensor.producer]
        and any(modes[consumer] == mode for consumer in tensor.consumers)
    ]


def assign(problem: Problem, objective: str) -> dict[str, str]:
    """Return the assignment of modes with the least total.

    Of assignments that are equal in the objective it is one of the fewest cycles, and of those one
    of the least energy. Of those that still tie it is the one that runs a layer in flexnn only
    where all of them do: networkx returns as the sink's side the nodes that still reach the sink,
    which is the smallest side of all minimum cuts, whatever the flow.

    Parameters
    ----------
    problem : Problem
    objective : {"cycles", "energy", "edp"}

    Returns
    -------
    dict of str to str
        Of each layer its mode, in the order of the problem's layers.

    Raises
    ------
    ValueError
        When the objective is unknown.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if objective == "edp":
        return _least_product(problem).modes
    return _least_sum(problem, _lexicographic(problem)[objective]).modes


@dataclass(frozen=True)
class _Point:
    """An assignment, its total, and the weights whose sum it makes least."""

    modes: dict[str, str]
    cost: Cost
    weights: Weights


def _lexicographic(problem: Problem) -> dict[str, Weights]:
    """Return weights at which one cycle outweighs all energy there is, and one fJ all cycles."""
    parts = [cost for costs in problem.layers.values() for cost in costs.values()]
    parts += [tensor.cost(form) for tensor in problem.tensors for form in FORM.values()]
    most = sum(parts, Cost(0, 0))
    return {"cycles": (1 + most.energy_fj, 1), "energy": (1, 1 + most.cycles)}


def _least_sum(problem: Problem, weights: Weights) -> _Point:
    """Return the assignment with the least weighted sum of cycles and energy."""
    graph = _cut_graph(problem, weights)
    # Of networkx's algorithms this one was the fastest, or near it, on all networks tried.
    _, (_, sink_side) = nx.minimum_cut(graph, MNF, FLEXNN, flow_func=boykov_kolmogorov)
    modes = {
        layer: "flexnn" if ("layer", layer) in sink_side else "mnf" for layer in problem.layers
    }
    return _Point(modes, total(problem, modes), weights)


def _cut_graph(problem: Problem, weights: Weights) -> "nx.DiGraph[Node]":
    """Return the graph whose cuts are the assignments; an edge without capacity is never cut."""
    graph: nx.DiGraph[Node] = nx.DiGraph()
    graph.add_nodes_from((MNF, FLEXNN))
    for layer, costs in problem.layers.items():
        cut = {mode: {"capacity": cost.weighed(weights)} for mode, cost in costs.items()}
        graph.add_edge(MNF, ("layer", layer), **cut.get("flexnn", {}))
        graph.add_edge(("layer", layer), FLEXNN, **cut.get("mnf", {}))
    for number, tensor in enumerate(problem.tensors):
        zvc, events = ("zvc", number), ("events", number)
        producer = ("layer", tensor.producer)
        graph.add_edge(producer, zvc, capacity=tensor.to_zvc.weighed(weights))
        graph.add_edge(events, producer, capacity=tensor.to_events.weighed(weights))
        for consumer in tensor.consumers:
            graph.add_edge(zvc, ("layer", consumer))
            graph.add_edge(("layer", consumer), events)
    return graph


def _least_product(problem: Problem) -> _Point:
    """Return the assignment with the least EDP.

    Between two vertices of the hull the next one is least in the sum in which the two are equal.
    Segments are left out where no point below can be as good as the best so far.
    """

    def rank(point: _Point) -> tuple[int, int, int]:
        cycles, energy = point.cost.cycles, point.cost.energy_fj
        return cycles * energy, cycles, energy

    weights = _lexicographic(problem)
    ends = _least_sum(problem, weights["cycles"]), _least_sum(problem, weights["energy"])
    best = min(ends, key=rank)
    segments = [ends] if ends[0].cost != ends[1].cost else []
    while segments:
        left, right = segments.pop()
        if _bound(left, right) > rank(best)[0]:
            continue
        drop = left.cost.energy_fj - right.cost.energy_fj
        between = _least_sum(problem, (drop, right.cost.cycles - left.cost.cycles))
        if between.cost.weighed(between.weights) < left.cost.weighed(between.weights):
            best = min(best, between, key=rank)
            segments += [(left, between), (between, right)]
    return best


def _bound(left: _Point, right: _Point) -> int:
    """Return what no EDP is less than whose point lies below a segment of the hull.

    Each end makes its own weighted sum least, so no point lies below its line of equal sums. Points
    below the segment then lie in the triangle of both ends and of where the two lines cross, and
    the product is least in a corner: there, for the ends' products are known. It is rounded up.
    """
    (of_cycle, of_fj), (of_cycle_right, of_fj_right) = left.weights, right.weights
    least, least_right = left.cost.weighed(left.weights), right.cost.weighed(right.weights)
    scale = of_cycle * of_fj_right - of_cycle_right * of_fj
    cycles = least * of_fj_right - least_right * of_fj
    energy = of_cycle * least_right - of_cycle_right * least
    return -(-cycles * energy // scale**2)
