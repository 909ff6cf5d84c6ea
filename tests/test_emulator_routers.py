"""The machine on every router: exact outputs, same links; latency and stalls, in the trace too."""

import numpy as np
import pytest

import firemesh
from firemesh.emulator.kinds import Kind
from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.run import EngineError
from firemesh.noc.profiles import ROUTERS
from firemesh.traces.verify import verify

WITH_VCS = [router for router in ROUTERS if router != "simple"]
OWN = {"routing_delay": 2, "sw_allocator": "matrix", "switching": "cut-through"}


def run(router, trace=None, frames=2, **changes):
    described = machine("mnf-22nm").replace(noc__router=router, **changes)
    return firemesh.run("digits", firemesh.images("digits", frames)[0], described, trace=trace)


@pytest.fixture(scope="module")
def simple():
    return {
        multicast: run("simple", noc__multicast=multicast)
        for multicast in ("tree", "chain", "unicast")
    }


@pytest.mark.parametrize("multicast", ["tree", "chain", "unicast"])
@pytest.mark.parametrize("router", [*WITH_VCS, OWN], ids=str)
def test_outputs_accesses_and_links_are_those_of_the_simple_router(simple, router, multicast):
    result, expected = run(router, noc__multicast=multicast), simple[multicast]
    assert np.array_equal(result.outputs, expected.outputs)
    assert np.array_equal(result.link_flits, expected.link_flits)
    for one, other in zip(result.layers, expected.layers, strict=True):
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.bytes, other.bytes)
        assert np.array_equal(one.sent_flits, other.sent_flits)
        assert np.array_equal(one.latency[:, 0], other.latency[:, 0])
    assert result.cycles >= 0.98 * expected.cycles
    assert result.noc["mean_latency_cycles"] > expected.noc["mean_latency_cycles"]


@pytest.mark.parametrize("routing", ["yx", "west-first"])
def test_other_routings_give_the_same_outputs(simple, routing):
    result = run("P3", noc__routing=routing)
    assert np.array_equal(result.outputs, simple["tree"].outputs)
    is_other = not np.array_equal(result.link_flits, simple["tree"].link_flits)
    assert is_other == (routing == "yx")  # to and from a corner west-first's trees are those of xy


@pytest.mark.parametrize("ports", [1, 2, 4])
@pytest.mark.parametrize("router", ["simple", "P3"])
def test_storage_takes_no_more_flits_a_cycle_than_it_has_ports(router, ports):
    result = run(router, storage__ports=ports, frames=3)
    assert result.noc["storage_takes"] <= ports
    one = run(router, frames=3)
    assert result.cycles <= one.cycles
    assert np.array_equal(result.outputs, one.outputs)


@pytest.mark.parametrize("router", ["simple", "P4", "P2", OWN], ids=str)
@pytest.mark.parametrize("multicast", ["tree", "chain"])
def test_latencies_and_stalls_of_the_result_are_the_traces(tmp_path, router, multicast):
    path = tmp_path / "run.h5"
    result = run(router, path, noc__multicast=multicast)
    with firemesh.open_trace(path) as trace:
        assert verify(trace).problems == []
        kinds = [row["name"].decode() for row in trace.table("kinds")]
        assert kinds == [kind.name.lower() for kind in Kind]
        found = {}
        for sent, arrived in zip(trace.packets(), trace.deliveries(), strict=True):
            created = {(row["source"], row["number"]): row for row in sent}
            for row in arrived:
                packet = created[row["source"], row["number"]]
                key = trace.layers[row["layer"]], int(packet["kind"])
                taken = int(row["cycle"]) - int(packet["created"])
                count, cycles, most = found.get(key, (0, 0, 0))
                found[key] = count + 1, cycles + taken, max(most, taken)
        for layer in result.layers:
            for kind, row in enumerate(layer.latency.tolist()):
                assert tuple(row) == found.get((layer.name, kind), (0, 0, 0))
        stalls = {(row["layer"], row["unit"], row["wait"]): int(row["count"])
                  for row in trace.vc_stalls(("layer", "unit", "wait"))}  # fmt: skip
        for layer in result.layers:
            for (node, wait), count in np.ndenumerate(layer.stalls):
                key = layer.name, trace.units[node], trace.waits[wait]
                assert stalls.get(key, 0) == count
    assert (sum(result.noc["stalls"].values()) == 0) == (router == "simple")


def test_a_packet_too_long_for_a_vc_ends_the_run_with_the_remedy():
    with pytest.raises(EngineError, match="more flits than a VC holds.*chain or unicast"):
        run("P4", noc__flit_bits=16, noc__buffer_flits=2)
    assert run("P4", noc__flit_bits=16, noc__buffer_flits=2, noc__multicast="unicast").cycles > 0


def test_two_runs_on_a_router_with_vcs_write_the_same_bytes(tmp_path):
    paths = tmp_path / "a.h5", tmp_path / "b.h5"
    for path in paths:
        run("P2", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
