"""The virtual-channel router's kernel: oracle, conservation, order, multicast."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iq_case import Run
from oracle_iq import ALLOCATORS, random_case

from firemesh.noc.iq_state import Clock, Router, Sink, Source, Vc, Way

LIMIT = 20_000
LAWS = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)


def compare(case):
    """Assert that kernel and oracle deliver the same flits in the same cycles."""
    oracle = case.oracle()
    expected = oracle.run(case.packets, case.ready, max_cycles=LIMIT)
    assert len(expected) == len(case.expected), "the oracle's network is wedged"
    run = Run(case).run(oracle.cycles)
    flits = sorted((flit.cycle, flit.node, flit.packet) for flit in oracle.flits)
    assert sorted(run.flits) == flits
    assert sorted(run.deliveries) == [tuple(delivery) for delivery in expected]
    sent = np.zeros_like(run.network.state.link_flits)
    for (node, output), count in oracle.link_flits.items():
        sent[node, min(output, sent.shape[1] - 1)] += count
    assert np.array_equal(run.network.state.link_flits, sent)


@pytest.mark.parametrize("seed", range(120))
def test_the_kernel_equals_the_oracle_flit_for_flit(seed):
    compare(random_case(random.Random(seed)))


@pytest.mark.parametrize("vc_allocator", ALLOCATORS)
@pytest.mark.parametrize("sw_allocator", ALLOCATORS)
@pytest.mark.parametrize("seed", range(4))
def test_every_pair_of_allocators_equals_the_oracle(vc_allocator, sw_allocator, seed):
    fixed = {"vc_allocator": vc_allocator, "sw_allocator": sw_allocator}
    compare(random_case(random.Random(1000 + seed), **fixed))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2000, 3000, 100))
def test_the_kernel_equals_the_oracle_on_many_networks(first):
    for seed in range(first, first + 100):
        compare(random_case(random.Random(seed)))


def held(network):
    """Return the flits in buffers, on channels and at sinks."""
    s = network.state
    on_way = int(s.on_way[Way.FLITS].sum())
    return int(s.vc[:, Vc.COUNT].sum()) + on_way + int(s.sink_at[:, Sink.COUNT].sum())


@LAWS
@given(seed=seeds)
def test_flits_in_are_flits_out_and_flits_inside_in_every_cycle(seed):
    case = random_case(random.Random(seed))
    alone = [(cycle, source, nodes[:1], flits) for cycle, source, nodes, flits in case.packets]
    run = Run(replace(case, packets=alone))
    while len(run.deliveries) < len(alone):
        run.step()
        sent = sum(len(cycles) for cycles in run.injected.values())
        assert sent == len(run.flits) + held(run.network)
        assert run.network.flits_inside() == held(run.network)
        assert run.cycle < LIMIT


@LAWS
@given(seed=seeds)
def test_places_are_credits_flits_behind_them_and_credits_on_their_way(seed):
    case = random_case(random.Random(seed))
    run = Run(case)
    while len(run.deliveries) < len(case.expected):
        run.step()
        if run.cycle % 7 == 0:
            assert_places(run.network)


def assert_places(network):
    """Assert that each lane's credits, flits and returning credits make a buffer."""
    s = network.state
    d = s.design
    behind = np.concatenate([s.vc[:, Vc.COUNT], s.sink_at[:, Sink.COUNT]])
    for slot in range(s.on_way.shape[1]):
        for k in range(s.on_way[Way.FLITS, slot]):
            behind[s.flying[slot, k, 0]] += 1
    total = s.credits.copy()
    for slot in range(s.on_way.shape[1]):
        for k in range(s.on_way[Way.CREDITS, slot]):
            total[s.returning[slot, k]] += 1
    for node in range(d.nodes):
        for output in range(d.outputs):
            for w in range(d.vcs):
                lane = (node * d.outputs + output) * d.vcs + w
                place = s.target[node, output]
                assert place < 0 or total[lane] + behind[place + w] == d.buffer
    for node in range(d.nodes):
        for v in range(d.vcs):
            place = (node * (d.radix + 1) + d.radix) * d.vcs + v
            lane = d.nodes * d.outputs * d.vcs + node * d.vcs + v
            assert total[lane] + behind[place] == d.buffer


@LAWS
@given(seed=seeds)
def test_afterwards_every_vc_is_idle_every_credit_back_and_nothing_owned(seed):
    case = random_case(random.Random(seed))
    run = Run(case)
    while len(run.deliveries) < len(case.expected):
        run.step()
    run.run(run.cycle + 40)
    s = run.network.state
    assert_places(run.network)
    assert s.on_way.sum() == 0
    assert not s.vc[:, Vc.PHASE].any()
    assert not s.router[:, [Router.BUSY, Router.ROUTING, Router.HEADS, Router.MOVERS]].any()
    fresh = Run(case).network.state
    assert np.array_equal(s.router[:, Router.FREE], fresh.router[:, Router.FREE])
    assert np.array_equal(s.credits, fresh.credits)
    assert (s.source[:, Source.VC] == -1).all()


@LAWS
@given(seed=seeds)
def test_each_copy_of_a_multicast_arrives_once_and_uses_each_link_of_its_tree_once(seed):
    case = random_case(random.Random(seed), ejecting=1)
    run = Run(case)
    while len(run.deliveries) < len(case.expected):
        run.step()
    assert sorted((number, node) for number, node, *_ in run.deliveries) == case.expected
    delivered = Counter((number, node) for _, node, number in run.flits)
    assert delivered == {(number, node): case.packets[number][3] for number, node in case.expected}
    network = run.network
    links = 0
    for _, source, destinations, flits in case.packets:
        if len(destinations) > 1:
            number = network.destinations(source, destinations)
            tree = network.state.routes.tree[network.state.routes.tree_of[source, number]]
            links += flits * sum(int(mask).bit_count() for mask in tree)
    single = [number for number, packet in enumerate(case.packets) if len(packet[2]) == 1]
    links += sum(
        case.packets[number][3] * routers
        for number, _, *_, routers in run.deliveries
        if number in set(single)
    )
    assert network.state.link_flits.sum() == links


@LAWS
@given(seed=seeds)
def test_the_order_in_which_routers_are_visited_changes_nothing(seed):
    case = random_case(random.Random(seed))
    one, other = Run(case), Run(case)
    rng = np.random.default_rng(seed)
    while len(one.deliveries) < len(case.expected):
        one.step()
        s = other.network.state
        rng.shuffle(s.active[: s.clock[Clock.ACTIVE]])
        other.step()
    assert one.flits == other.flits
    assert np.array_equal(one.network.state.stalls, other.network.state.stalls)


@LAWS
@given(seed=seeds)
def test_a_state_that_was_saved_goes_on_as_the_one_that_was_not(seed):
    case = random_case(random.Random(seed))
    one, other = Run(case), Run(case)
    half = max(len(case.packets) // 2, 3)
    one.run(half)
    other.run(half)
    kept = one.network.saved()
    fresh = Run(case).network
    for number, (_, source, destinations, _) in enumerate(case.packets):
        assert other.packets.destinations[number] == fresh.destinations(source, destinations)
    fresh.restore(kept)
    for field in ("tx", "rx", "tail", "routers", "ready"):
        getattr(fresh.ports, field)[:] = getattr(one.network.ports, field)
    one.network = fresh
    while len(other.deliveries) < len(case.expected):
        one.step()
        other.step()
    assert one.flits == other.flits


@LAWS
@given(seed=seeds)
def test_cycles_left_out_while_nothing_is_inside_change_nothing(seed):
    rng = random.Random(seed)
    case = random_case(rng)
    parts = len(case.packets) // 2
    gap = rng.randint(1, 60)
    one, other = Run(case), Run(case)
    for run in (one, other):
        run.pending = type(run.pending)(list(run.pending)[:parts])
        while run.pending or len(run.deliveries) < len(case.expected):
            if not run.pending and not any(run.queues) and (run.network.ports.tx < 0).all():
                if run.network.flits_inside() == 0:
                    break
            run.step()
    one.run(one.cycle + gap)
    other.cycle += gap
    assert one.cycle == other.cycle
    rest = list(enumerate(case.packets))[parts:]
    for run in (one, other):
        run.pending = type(run.pending)(rest)
        while len(run.deliveries) < len(case.expected):
            run.step()
    assert one.flits == other.flits
