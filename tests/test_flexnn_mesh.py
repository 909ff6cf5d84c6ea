"""Laws of loads and drains over the mesh, and their equality with the oracle."""

from collections import Counter

import numpy as np
import oracle_flexnn_mesh as messages
import oracle_iq
import pytest
from oracle_flexnn import Layer, set_loads_and_drains
from oracle_flexnn import run_layer as oracle
from oracle_flexnn_ranges import Mapping, has_work
from test_flexnn_engine import case, compared, described, dims_of, parsed

from firemesh.emulator.cli import main
from firemesh.emulator.flexnn.descriptor import Cut
from firemesh.emulator.flexnn.engine import prepare, run_layer
from firemesh.emulator.flexnn.exchanges import exchanges, packets_of
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.emulator.flexnn.mesh import Mesh
from firemesh.emulator.flexnn.wires import Load
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import MachineError, machine

SEEDS = range(60)


def on_mesh(seed, **noc):
    """Return a random case on a machine with a mesh."""
    x, w, shape, of, descriptor, tree, y = case(seed)
    rng = np.random.default_rng(seed + 1_000_000)
    draw = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    tree["noc"] = {
        "router": draw("simple", "simple", "P4", "P3", "P2"),
        "routing": "xy",
        "vcs": draw(1, 2, 4),
        "buffer_flits": draw(1, 2, 4, 8),
        "flit_bits": draw(8, 12, 16, 64),
        "multicast": draw("tree", "unicast"),
        **noc,
    }
    more = {"packet_flits": draw(1, 2, 5, 16), "storage_ports": draw(1, 2)}
    tree["sdn"] = {**tree["sdn"], "kind": "mesh", **more}
    flit = -(-tree["noc"]["flit_bits"] // 8)
    for name in ("column_bytes", "drain_bytes"):
        tree["sdn"][name] = max(tree["sdn"][name], flit)
    return x, w, shape, of, descriptor, tree, y


def layer_of(x, w, shape, of, descriptor, tree, y):
    cut = Cut(parsed(descriptor), dims_of(x, shape, of))
    return prepare(cut, described(tree), x.astype(np.int16), w.astype(np.int16))


def run(x, w, shape, of, descriptor, tree, y):
    cut = Cut(parsed(descriptor), dims_of(x, shape, of))
    values = x.astype(np.int16), w.astype(np.int16)
    return run_layer(cut, described(tree), *values, lambda psum: y, True)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_equals_the_oracle_on_the_mesh(seed):
    given = on_mesh(seed)
    x, w, shape, _, descriptor, tree, y = given
    want = oracle(x, w, shape, descriptor, tree, y)
    got = run(*given)
    compared(got, want)
    links = got.traffic.link_flits
    assert {(int(n), int(o)): int(links[n, o]) for n, o in np.argwhere(links)} == want.links


@pytest.mark.parametrize("seed", SEEDS)
def test_psums_and_pairs_do_not_depend_on_the_network(seed):
    x, w, shape, of, descriptor, tree, y = on_mesh(seed)
    mesh = run(x, w, shape, of, descriptor, tree, y)
    bus = run(x, w, shape, of, descriptor, {**tree, "sdn": {**tree["sdn"], "kind": "bus"}}, y)
    assert np.array_equal(mesh.psum, bus.psum)
    assert mesh.pairs == bus.pairs
    not_bus = np.arange(len(Memory)) != Memory.BUS
    assert np.array_equal(mesh.counts[:, not_bus], bus.counts[:, not_bus])
    assert np.array_equal(mesh.bytes[:, not_bus], bus.bytes[:, not_bus])
    assert not mesh.counts[:, Memory.BUS, 0].any()
    assert not mesh.bytes[:, Memory.BUS, 0].any()
    assert np.array_equal(mesh.bytes[:, Memory.BUS, 1], bus.bytes[:, Memory.BUS, 1])
    assert not bus.traffic.link_flits.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_flits_in_are_flits_delivered_and_loads_take_at_least_those_of_storage(seed):
    given = on_mesh(seed)
    done, layer = run(*given), layer_of(*given)
    delivered, sent = np.zeros((2, layer.machine.n_nodes), np.int64)
    for r, found in enumerate(exchanges(layer)):
        for trace, rows in ((found.load, found.loaded), (found.drain, found.drained)):
            wanted = {(i, node) for i, g in enumerate(trace.destinations) for node in trace.sets[g]}
            assert sorted(wanted) == list(zip(rows["idx"], rows["dst"], strict=True))
            assert (rows["size"] == trace.flits[rows["idx"]]).all()
            delivered += np.bincount(rows["dst"], rows["size"], len(delivered)).astype(int)
            sent += np.bincount(trace.source, trace.flits, len(sent)).astype(int)
        assert done.loads[r, Load.CYCLES] >= found.load.flits.sum()
        ports = layer.machine.sdn.storage_ports
        assert done.loads[r, Load.DRAIN] * ports >= found.drain.flits.sum()
    assert np.array_equal(done.traffic.link_flits[:, 4], delivered)
    assert np.array_equal(done.traffic.sent_flits, sent)
    assert not done.traffic.link_flits[layer.machine.n_units :, 4].any()  # nobody there


@pytest.mark.parametrize("seed", SEEDS)
def test_every_vpe_is_sent_the_bytes_of_each_of_its_boxes_once(seed):
    x, w, shape, of, descriptor, tree, y = on_mesh(seed, flit_bits=8)
    theirs = Layer(x, w, shape, descriptor, tree, y)
    mapping = Mapping(theirs.sizes, descriptor, tree["array"]["columns"])
    layer = layer_of(x, w, shape, of, descriptor, tree, y)
    n_vpes = tree["array"]["rows"] * tree["array"]["columns"]
    done = run(x, w, shape, of, descriptor, tree, y)
    for this, found in zip(mapping.rounds, exchanges(layer), strict=True):
        wanted = Counter()
        loads = done.loads[this.number, [Load.IF, Load.FL, Load.PSUM]]
        for v in (v for v in range(n_vpes) if mapping.is_used(v)):
            ranges = mapping.vpe_ranges(this, v)
            for tensor, size in zip(("IF", "FL", "psums"), loads, strict=True):
                is_wanted = tensor != "psums" or mapping.holds_results(v)
                if size and has_work(ranges) and is_wanted:
                    wanted[v + 1] += theirs.box_bytes(tensor, ranges)
        taken = Counter()
        for row in found.loaded:
            taken[int(row["dst"])] += int(row["size"])
        assert taken == wanted
        out = found.drain.flits.sum()
        assert out == done.loads[this.number, Load.DRAINED]


@pytest.mark.parametrize("seed", SEEDS)
def test_packets_are_those_of_the_page_in_their_order(seed):
    x, w, shape, of, descriptor, tree, y = on_mesh(seed)
    theirs = Layer(x, w, shape, descriptor, tree, y)
    mapping = Mapping(theirs.sizes, descriptor, tree["array"]["columns"])
    n_vpes = tree["array"]["rows"] * tree["array"]["columns"]
    used = [v for v in range(n_vpes) if mapping.is_used(v)]
    set_loads_and_drains(theirs, mapping, descriptor, tree, used, Counter())
    layer = layer_of(x, w, shape, of, descriptor, tree, y)
    for this, found in zip(mapping.rounds, exchanges(layer), strict=True):
        loads = messages.loads(theirs, mapping, this, tree, used)
        drains = messages.drains(mapping, this, tree, used, this.ends) if this.drain else []
        for trace, wanted in ((found.load, loads), (found.drain, drains)):
            columns = zip(trace.source, trace.destinations, trace.flits, strict=True)
            sent = [(int(source), trace.sets[g], int(flits)) for source, g, flits in columns]
            assert sent == messages.packets(wanted, tree)
            assert not trace.cycle.any()


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_the_exchange_of_a_round_is_the_same_alone(seed):
    layer = layer_of(*on_mesh(seed))
    for number, found in enumerate(exchanges(layer)):
        if number % 5 == 0:
            alone = packets_of(layer, number)
            assert alone.load == found.load
            assert alone.drain == found.drain
            assert np.array_equal(alone.loaded, found.loaded)
            assert np.array_equal(alone.drained, found.drained)


def targets_of(nodes, tree):
    return tuple(messages.place_of(node, tree) for node in nodes)


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("multicast", ["tree", "unicast"])
def test_rounds_take_as_long_as_in_the_oracle_of_the_routers(seed, multicast):
    given = on_mesh(seed, router="P4", multicast=multicast)
    layer, tree = layer_of(*given), given[5]
    width, height = layer.machine.sides
    slow = oracle_iq.Oracle(
        oracle_iq.mesh(width, height), oracle_iq.mesh_xy(width, height), vcs=tree["noc"]["vcs"],
        buffer_flits=tree["noc"]["buffer_flits"], ejecting=tree["sdn"]["storage_ports"],
    )  # fmt: skip
    for r, found in enumerate(exchanges(layer)):
        if r % 7 or found.load.flits.sum() > 300:
            continue
        for trace, rows in ((found.load, found.loaded), (found.drain, found.drained)):
            order = np.argsort(trace.source, kind="stable")
            columns = (trace.source[order], trace.destinations[order], trace.flits[order])
            packets = [
                (0, messages.place_of(source, tree), targets_of(trace.sets[group], tree), flits)
                for source, group, flits in zip(*(c.tolist() for c in columns), strict=True)
            ]
            slow.run(packets)
            assert slow.cycles == (rows["t_ej_tail"].max() + 1 if len(rows) else 0)


@pytest.mark.parametrize("seed", [3, 5, 11, 17])
def test_equal_rounds_are_simulated_once(seed, monkeypatch):
    x, w, shape, of, descriptor, tree, y = on_mesh(seed)
    simulated = []
    whole = Mesh._simulated

    def noted(self, messages):
        simulated.append(tuple(column.tobytes() for column in messages))
        return whole(self, messages)

    monkeypatch.setattr(Mesh, "_simulated", noted)
    run(x, w, shape, of, {**descriptor, "sparsity": "dense"}, tree, y)
    assert len(set(simulated)) == len(simulated)


def test_a_box_that_several_columns_want_is_sent_once_along_a_tree():
    tree = machine("flexnn-edge").model_dump()
    tree["sdn"] |= {"kind": "mesh"}
    tree["array"] |= {"rows": 1, "columns": 4, "lanes": 1}
    x, w = np.ones((1, 1, 1, 1), int), np.ones((4, 1, 1, 1), int)
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1, "ofmap": (1, 1)}
    of = {"N": 1, "G": 1, "OY": 1, "OX": 1, "OC": 4, "IC": 1, "FY": 1, "FX": 1}
    cut = Cut(parsed({"block": {}, "columns": {"OC": 4}}), dims_of(x, shape, of))
    flex = FlexMachine.parse(tree, "small")
    done = run_layer(cut, flex, x.astype(np.int16), w.astype(np.int16))
    # one flit of IF to four VPEs, one of FL to each: storage sends 5, and takes 4
    assert done.traffic.sent_flits.tolist() == [5, 1, 1, 1, 1, 0, 0, 0]
    assert done.traffic.link_flits[:, 4].tolist() == [4, 2, 2, 2, 2, 0, 0, 0]
    # along row 0 the multicast passes each link once; the others go to x = 1, 2, 3
    row = [0, 5, 6, 7]  # storage, and the routers without a VPE
    assert done.traffic.link_flits[row, 0].tolist() == [1 + 3, 1 + 2, 1 + 1, 0]
    assert done.traffic.link_flits[row, 2].tolist() == [2, 2, 2, 2]


def test_a_row_that_two_output_rows_want_through_two_kernel_rows_is_sent_once():
    tree = machine("flexnn-edge").model_dump()
    tree["sdn"] |= {"kind": "mesh"}
    tree["array"] |= {"rows": 2, "columns": 2, "lanes": 1}
    x, w = np.ones((1, 1, 3, 1), int), np.ones((1, 1, 2, 1), int)
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1, "ofmap": (2, 1)}
    of = {"N": 1, "G": 1, "OY": 2, "OX": 1, "OC": 1, "IC": 1, "FY": 2, "FX": 1}
    descriptor = {"block": {}, "rows": {"FY": 2}, "columns": {"OY": 2}, "sparsity": "dense"}
    cut = Cut(parsed(descriptor), dims_of(x, shape, of))
    flex = FlexMachine.parse(tree, "small")
    layer = prepare(cut, flex, x.astype(np.int16), w.astype(np.int16))
    sent = packets_of(layer, 0).load
    # VPEs (fy, oy) = (0, 0), (0, 1), (1, 0), (1, 1) are nodes 1 to 4 and want rows 0, 1, 1, 2;
    # kernel rows go along the rows of the array
    want = [(1,), (2, 3), (4,), (1, 2), (3, 4)]
    assert [sent.sets[group] for group in sent.destinations] == want


def test_a_machine_refuses_what_the_mesh_of_flexnn_has_not():
    with pytest.raises(MachineError, match="tree or unicast with sdn.kind mesh, got chain"):
        machine("flexnn-edge").replace(sdn__kind="mesh", noc__multicast="chain")
    with pytest.raises(MachineError, match="at most 4096 nodes .* got 64 x 65"):
        machine("flexnn-edge").replace(sdn__kind="mesh", array__rows=64, array__columns=64)


def test_packets_fit_into_buffers_where_routers_hold_them_whole():
    base = machine("flexnn-edge").replace(sdn__kind="mesh")
    assert base.packet_flits == 16
    assert base.replace(noc__router="P3").packet_flits == base.noc.buffer_flits == 4
    assert base.replace(noc__router="P3", noc__multicast="unicast").packet_flits == 16
    through = {"switching": "cut-through"}
    whole = base.replace(noc__router=through, noc__multicast="unicast")
    assert whole.packet_flits == 4


@pytest.mark.parametrize("router", ["simple", "P3"])
@pytest.mark.parametrize("multicast", ["tree", "unicast"])
def test_the_command_runs_a_network_over_the_mesh(capsys, router, multicast):
    set_ = ["--set", "sdn.kind=mesh", "--set", f"noc.multicast={multicast}"]
    small = ["--set", "array.rows=4", "--set", "array.columns=4"]
    run_ = ["run", "digits", "--mode", "flexnn", "--frames", "1", "--keep", "0", "--check"]
    main([*run_, "--router", router, *set_, *small])
    assert "tensors equal the integer reference" in capsys.readouterr().out


def test_the_command_draws_the_links_of_a_mesh_and_refuses_those_of_buses(capsys, tmp_path):
    figure = tmp_path / "links.png"
    digits = ["run", "digits", "--mode", "flexnn", "--frames", "1", "--keep", "0"]
    with pytest.raises(SystemExit):
        main([*digits, "--links", str(figure)])
    assert "flexnn-edge has buses; leave it out, or add --set sdn.kind" in capsys.readouterr().err
    main([*digits, "--links", str(figure), "--set", "sdn.kind=mesh"])
    assert figure.read_bytes().startswith(b"\x89PNG")
