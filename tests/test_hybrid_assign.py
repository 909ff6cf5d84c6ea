"""Laws of the assignment of modes to layers: no other is better, and which of equals it is."""

import random
from functools import cache
from itertools import product
from time import process_time

import pytest

from firemesh.emulator.hybrid.assign import (
    OBJECTIVES,
    Cost,
    Problem,
    Tensor,
    assign,
    conversions,
    total,
)

MODES = ("mnf", "flexnn")
FREE = Cost(0, 0)
SCALES = (0, 1, 3, 40, 10**6, 10**15)
"""Largest costs; the small ones give many ties."""
SEEDS = range(360)

every_objective = pytest.mark.parametrize("objective", OBJECTIVES)
every_seed = pytest.mark.parametrize("seeds", [SEEDS[i::12] for i in range(12)], ids=str)


def drawn_cost(rng, most):
    return Cost(rng.randint(0, most), rng.randint(0, most * rng.choice((1, 1, 7))))


def drawn(seed, n=None, reach=6):
    """Return a random network: layer i reads tensors of some of the layers before it."""
    rng = random.Random(seed)
    n = n or rng.randint(1, 10)
    most, most_change = rng.choice(SCALES), rng.choice(SCALES[:4])
    if most > 40:
        most_change = most // rng.choice((1, 3, 10))
    share = rng.choice((0.1, 0.3, 0.7))
    names = [f"layer{i}" for i in range(n)]
    layers, tensors = {}, []
    for i, name in enumerate(names):
        costs = {mode: drawn_cost(rng, most) for mode in MODES}
        if rng.random() < 0.2:
            costs["flexnn"] = costs["mnf"]
        if rng.random() < 0.1:
            del costs[rng.choice(MODES)]
        layers[name] = costs
        for part in range(rng.choice((0, 1, 1, 1, 2))):
            near = names[i + 1 : i + 1 + reach]
            consumers = tuple(x for x in near if x == near[0] or rng.random() < share)
            if rng.random() < 0.15:
                consumers = ()
            changes = [drawn_cost(rng, most_change) for _ in MODES]
            tensors.append(Tensor(f"{name}.{part}", name, consumers, *changes))
    return Problem(layers, tuple(tensors))


def chain(costs, changes):
    """Return a chain of layers of costs {mode: cost}; changes are (to_events, to_zvc)."""
    layers = {f"layer{i}": cost for i, cost in enumerate(costs)}
    names = list(layers)
    tensors = [
        Tensor(f"t{i}", name, tuple(names[i + 1 : i + 2]), *change)
        for i, (name, change) in enumerate(zip(names, changes, strict=True))
    ]
    return Problem(layers, tuple(tensors))


def drawn_chain(seed, n, most):
    rng = random.Random(seed)
    costs = [{mode: drawn_cost(rng, most) for mode in MODES} for _ in range(n)]
    return chain(costs, [[drawn_cost(rng, most // 2) for _ in MODES] for _ in range(n)])


def slow_total(problem, modes):
    """Return (cycles, energy), written again."""
    cycles = energy = 0
    for layer, mode in modes.items():
        cycles += problem.layers[layer][mode].cycles
        energy += problem.layers[layer][mode].energy_fj
    for tensor in problem.tensors:
        wanted = {modes[consumer] for consumer in tensor.consumers}
        if modes[tensor.producer] == "mnf" and "flexnn" in wanted:
            cycles += tensor.to_zvc.cycles
            energy += tensor.to_zvc.energy_fj
        elif modes[tensor.producer] == "flexnn" and "mnf" in wanted:
            cycles += tensor.to_events.cycles
            energy += tensor.to_events.energy_fj
    return cycles, energy


def value(objective, pair):
    cycles, energy = pair
    return {"cycles": cycles, "energy": energy, "edp": cycles * energy}[objective]


def ranked(objective, pair):
    """Return what is to be small: the objective, of equals the cycles, of those the energy."""
    return value(objective, pair), *pair


@cache
def all_assignments(seed):
    """Return every assignment of a random network with its total."""
    problem = drawn(seed)
    every = [
        dict(zip(problem.layers, modes, strict=True)) for modes in product(*problem.layers.values())
    ]
    return [(modes, slow_total(problem, modes)) for modes in every]


def runs_in_flexnn(modes):
    return {layer for layer, mode in modes.items() if mode == "flexnn"}


@every_objective
@every_seed
def test_no_assignment_has_a_smaller_objective(seeds, objective):
    for seed in seeds:
        problem = drawn(seed)
        found = slow_total(problem, assign(problem, objective))
        least = min(value(objective, pair) for _, pair in all_assignments(seed))
        assert value(objective, found) == least, seed


@every_objective
@every_seed
def test_ties_go_to_fewer_cycles_then_less_energy_then_the_fewest_layers_in_flexnn(
    seeds, objective
):
    for seed in seeds:
        found = assign(drawn(seed), objective)
        every = all_assignments(seed)
        best = min(ranked(objective, pair) for _, pair in every)
        tied = [runs_in_flexnn(modes) for modes, pair in every if ranked(objective, pair) == best]
        assert ranked(objective, slow_total(drawn(seed), found)) == best, seed
        assert runs_in_flexnn(found) == set.intersection(*tied), seed


@every_seed
def test_totals_and_conversions_are_those_of_the_slow_sum(seeds):
    for seed in seeds:
        problem = drawn(seed)
        by_name = {tensor.name: tensor for tensor in problem.tensors}
        for modes, (cycles, energy) in all_assignments(seed)[:40]:
            assert total(problem, modes) == Cost(cycles, energy), seed
            changes = conversions(problem, modes)
            paid = [getattr(by_name[name], f"to_{form}") for name, form in changes]
            paid += [problem.layers[layer][mode] for layer, mode in modes.items()]
            assert sum(paid, FREE) == Cost(cycles, energy), seed
            assert changes == sorted(changes, key=lambda change: list(by_name).index(change[0]))


def test_the_random_networks_hold_every_case_that_the_laws_are_about():
    networks = [drawn(seed) for seed in SEEDS]
    tensors = [tensor for network in networks for tensor in network.tensors]
    assert {len(network.layers) for network in networks} == set(range(1, 11))
    assert {0, 1, 2, 3, 4, 5, 6} == {len(tensor.consumers) for tensor in tensors}
    assert any(len(costs) == 1 for network in networks for costs in network.layers.values())
    mixed = inside = tied = 0
    for seed, network in zip(SEEDS, networks, strict=True):
        chosen = {objective: assign(network, objective) for objective in OBJECTIVES}
        mixed += bool(conversions(network, chosen["cycles"]))
        pairs = {objective: slow_total(network, chosen[objective]) for objective in OBJECTIVES}
        inside += pairs["edp"] not in (pairs["cycles"], pairs["energy"])
        totals = [pair for _, pair in all_assignments(seed)]
        tied += 1 < totals.count(pairs["cycles"]) < len(totals)
    assert min(mixed, inside, tied) >= 30


@every_objective
@pytest.mark.parametrize("seed", range(12))
def test_neither_pure_assignment_is_better(seed, objective):
    for problem in (drawn(seed), drawn(1000 + seed, n=80)):
        found = slow_total(problem, assign(problem, objective))
        for mode in MODES:
            if all(mode in costs for costs in problem.layers.values()):
                pure = slow_total(problem, dict.fromkeys(problem.layers, mode))
                assert value(objective, found) <= value(objective, pure)


def of_chain(problem, least):
    """Return the best totals of a chain: `least` thins out those that end in the same mode."""
    ways = {mode: [(0, 0)] for mode in MODES}
    change = dict.fromkeys(MODES, FREE)
    made = {tensor.producer: tensor for tensor in problem.tensors}
    for layer, costs in problem.layers.items():
        ways = {
            mode: least(
                [
                    (
                        cycles + cost.cycles + (mode != before) * change[mode].cycles,
                        energy + cost.energy_fj + (mode != before) * change[mode].energy_fj,
                    )
                    for before in MODES
                    for cycles, energy in ways[before]
                ]
            )
            for mode, cost in costs.items()
        }
        change = {"mnf": made[layer].to_events, "flexnn": made[layer].to_zvc}
    return least([pair for mode in MODES for pair in ways[mode]])


def undominated(pairs):
    """Return the pairs that no other is below in cycles and not above in energy, or equal."""
    kept = []
    for cycles, energy in sorted(set(pairs)):
        if not kept or energy < kept[-1][1]:
            kept.append((cycles, energy))
    return kept


@pytest.mark.parametrize("objective", ["cycles", "energy"])
@pytest.mark.parametrize("most", [4, 10**12])
@pytest.mark.parametrize("n", [1, 2, 30, 200])
def test_on_a_chain_the_least_sum_is_the_shortest_path(n, most, objective):
    for seed in range(3):
        problem = drawn_chain(seed, n, most)
        [best] = of_chain(problem, lambda pairs: [min(pairs, key=lambda p: ranked(objective, p))])
        assert slow_total(problem, assign(problem, objective)) == best


@pytest.mark.parametrize("n, most", [(1, 9), (12, 10**12), (25, 30), (60, 12)])
def test_on_a_chain_the_least_edp_is_that_of_all_undominated_paths(n, most):
    for seed in range(6):
        problem = drawn_chain(seed, n, most)
        best = min(of_chain(problem, undominated), key=lambda pair: ranked("edp", pair))
        assert slow_total(problem, assign(problem, "edp")) == best


def forked(change=5, gains=(4, 4)):
    """Return a layer only in mnf and its tensor's two consumers, which gain in flexnn."""
    layers = {"stem": {"mnf": Cost(1, 1)}}
    for name, gain in zip("ab", gains, strict=True):
        layers[name] = {"mnf": Cost(10, 10), "flexnn": Cost(10 - gain, 10 - gain)}
    return Problem(layers, (Tensor("x", "stem", ("a", "b"), FREE, Cost(change, change)),))


@every_objective
def test_a_tensor_is_paid_for_once_however_many_consumers_want_it(objective):
    for change, mode in ((7, "flexnn"), (9, "mnf")):
        found = assign(forked(change), objective)
        assert found == {"stem": "mnf", "a": mode, "b": mode}


def test_one_consumer_in_the_other_mode_is_enough_to_pay():
    problem = forked(gains=(4, -1))
    modes = {"stem": "mnf", "a": "flexnn", "b": "mnf"}
    assert total(problem, modes) == Cost(1 + 6 + 10 + 5, 1 + 6 + 10 + 5)
    assert conversions(problem, modes) == [("x", "zvc")]
    assert assign(problem, "cycles")["a"] == "mnf"
    assert assign(forked(change=3, gains=(4, -1)), "cycles") == modes


def test_each_direction_has_its_own_cost():
    costs = [{mode: FREE} for mode in ("mnf", "flexnn", "mnf")]
    problem = chain(costs, [[Cost(1, 2), Cost(4, 8)], [Cost(16, 32), Cost(64, 128)], [FREE, FREE]])
    modes = assign(problem, "cycles")
    assert list(modes.values()) == ["mnf", "flexnn", "mnf"]
    assert conversions(problem, modes) == [("t0", "zvc"), ("t1", "events")]
    assert total(problem, modes) == Cost(4 + 16, 8 + 32)


def test_a_tensor_without_consumers_costs_nothing():
    layers = {"only": {"mnf": Cost(2, 2), "flexnn": Cost(1, 1)}}
    problem = Problem(layers, (Tensor("out", "only", (), Cost(9, 9), Cost(9, 9)),))
    assert assign(problem, "cycles") == {"only": "flexnn"}
    assert total(problem, {"only": "flexnn"}) == Cost(1, 1)


def test_the_least_edp_may_have_neither_the_least_cycles_nor_the_least_energy():
    costs = [{"mnf": Cost(1, 10), "flexnn": Cost(2, 1)}, {"mnf": Cost(1, 2), "flexnn": Cost(10, 1)}]
    problem = chain(costs, [[FREE, FREE]] * 2)
    found = {objective: list(assign(problem, objective).values()) for objective in OBJECTIVES}
    assert found["cycles"] == ["mnf", "mnf"]
    assert found["energy"] == ["flexnn", "flexnn"]
    assert found["edp"] == ["flexnn", "mnf"]


def test_of_equal_edps_the_one_of_fewer_cycles_is_found_where_the_bound_just_allows_it():
    """The hull is 5 49, 6 39, 7 32, 8 28, 11 25; the third comes last, its lines cross in it."""
    pairs = [((0, 10), (1, 0)), ((0, 7), (1, 0)), ((1, 0), (0, 4)), ((0, 3), (3, 0))]
    costs = [{"mnf": Cost(5, 25)}]
    costs += [{"mnf": Cost(*mnf), "flexnn": Cost(*flexnn)} for mnf, flexnn in pairs]
    problem = chain(costs, [[FREE, FREE]] * 5)
    assert 7 * 32 == 8 * 28
    assert total(problem, assign(problem, "edp")) == Cost(7, 32)


@every_objective
def test_one_in_ten_to_the_eighteen_counts(objective):
    many = 10**18
    for mode, other in (MODES, MODES[::-1]):
        costs = {mode: Cost(many, many), other: Cost(many + 1, many + 1)}
        assert assign(chain([costs], [[FREE, FREE]]), objective) == {"layer0": mode}


@every_objective
def test_what_all_can_do_for_nothing_is_mnf(objective):
    costs = [dict.fromkeys(MODES, FREE)] * 3
    assert set(assign(chain(costs, [[FREE, FREE]] * 3), objective).values()) == {"mnf"}


@every_objective
def test_a_network_without_layers_has_an_assignment(objective):
    assert assign(Problem({}, ()), objective) == {}


def shuffled(problem, rng):
    """Return the same network with layers, modes, tensors and consumers in other orders."""
    layers = [
        (name, dict(rng.sample(list(c.items()), len(c)))) for name, c in problem.layers.items()
    ]
    tensors = [
        Tensor(t.name, t.producer, tuple(rng.sample(t.consumers, len(t.consumers))), *changes)
        for t in problem.tensors
        for changes in [(t.to_events, t.to_zvc)]
    ]
    return Problem(dict(rng.sample(layers, len(layers))), tuple(rng.sample(tensors, len(tensors))))


@every_objective
@pytest.mark.parametrize("seed", range(12))
def test_the_assignment_is_a_function_of_the_problem_in_any_order(seed, objective):
    rng = random.Random(seed)
    for problem in (drawn(seed), drawn(2000 + seed, n=40)):
        found = assign(problem, objective)
        assert assign(problem, objective) == found
        assert list(found) == list(problem.layers)
        assert assign(shuffled(problem, rng), objective) == found


@pytest.mark.parametrize("objective, most_s", [("cycles", 1), ("energy", 1), ("edp", 10)])
def test_400_layers_are_assigned_in_time(objective, most_s):
    problem = drawn(3, n=400)
    assert min(len(problem.layers), len(problem.tensors)) >= 300
    begun = process_time()
    assign(problem, objective)
    assert process_time() - begun < most_s


def test_an_unknown_objective_is_told_with_those_there_are():
    with pytest.raises(
        ValueError, match="^objective: must be one of cycles, energy, edp, got 'x'$"
    ):
        assign(forked(), "x")


@pytest.mark.parametrize(
    "layers, sentence",
    [
        ({}, "^Problem.tensors: x must be of layers of the problem, got 'stem'$"),
        ({"stem": {}}, "^Problem.layers: stem must have costs in mnf, flexnn .*, got none$"),
        ({"stem": {"tpu": FREE}}, "^Problem.layers: stem must have costs in .*, got tpu$"),
        ({"stem": {"mnf": FREE}}, "^Problem.tensors: x must be of layers of the problem, got 'a'$"),
    ],
)
def test_a_problem_with_unknown_names_is_told(layers, sentence):
    with pytest.raises(ValueError, match=sentence):
        Problem(layers, forked().tensors)


@pytest.mark.parametrize("wrong", [-1, 0.5])
def test_a_cost_that_no_cut_can_have_is_told(wrong):
    with pytest.raises(ValueError, match=f"^Cost.cycles: must be .* at least 0, got {wrong}$"):
        Cost(wrong, 0)
    with pytest.raises(ValueError, match=f"^Cost.energy_fj: must be .* at least 0, got {wrong}$"):
        Cost(0, wrong)
