"""Legality: each rule of docs/flexnn-cycles.md, section 2, refused with its numbers."""

import pytest

from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims
from firemesh.emulator.flexnn.rules import bank_bytes, banks_needed, broken, check, sram_bytes
from firemesh.emulator.machine import MachineError
from firemesh.emulator.machine import machine as find_machine

EDGE = find_machine("flexnn-edge")
CONV = LayerDims((2, 1, 12, 12, 32, 20, 3, 3), (2, 2), (1, 1), (1, 1), (24, 24))
DEPTHWISE = LayerDims((1, 16, 8, 8, 1, 1, 3, 3), pads=(1, 1), ifmap=(8, 8))
FREE = {"banks": {"if": 5, "fl": 6, "of": 5}, "sparsity": "dense"}


def problems(layer=CONV, machine=EDGE, **fields):
    descriptor = Descriptor.parse({"block": {"IC": 8}} | FREE | fields, "")
    return list(broken(Cut(descriptor, layer), machine))


def test_a_descriptor_that_keeps_all_rules_is_legal():
    assert problems() == []
    cut = check(Descriptor.parse({"block": {"IC": 8}, **FREE}, ""), CONV, EDGE, "x")
    assert cut.block[5] == 8


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"block": {"IC": 8, "OX": 13}}, "block.OX: must be at most 12, got 13"),
        ({"block": {"IC": 32}}, "block.IC: must be at most 24, got 32"),
        ({"block": {"OC": 40}, "lanes": "mxm"}, "block.OC: must be at most 32, got 40"),
        ({"tile": {"OY": 13}}, "tile.OY: must be at most 12, got 13"),
        (
            {"tile": {"OY": 5}, "rows": {"OY": 2}},
            "tile.OY: must be 12 or a multiple of block times partitions (2), got 5",
        ),
        (
            {"rows": {"OC": 8, "OY": 3}},
            "rows: partitions must multiply to at most 16, got 24",
        ),
        (
            {"columns": {"OX": 17}},
            "columns: partitions must multiply to at most 16, got 17",
        ),
        (
            {"rows": {"FY": 2}, "columns": {"IC": 2}},
            "rows, columns: partitions of IC, FY and FX must lie on one axis, got both",
        ),
        (
            {"rows": {"FY": 3}},
            "reduction: tree needs partitions of IC, FY and FX that multiply to a power of two, "
            "got 3; use chain",
        ),
        ({"block": {"IC": 12}}, "block.IC: must be a multiple of the 8 lanes, got 12"),
        ({"block": {"OC": 4}, "lanes": "mxm"},
         "block.OC: must be a multiple of the 8 lanes, got 4"),
        (
            {"tile": {"IC": 8, "OC": 16}, "tile_order": ["IC", "OC"]},
            "tile_order: tiles of IC must lie inside those of OC, so that psums stay out of DRAM",
        ),
        (
            {"block": {"IC": 8, "FX": 3, "OC": 8}, "banks": {"if": 5, "fl": 5, "of": 6}},
            "banks.fl: must be at least 6 sub-banks of 64 bytes for 384 bytes, got 5",
        ),
        (
            {"banks": {"if": 5, "fl": 6, "of": 6}},
            "banks: must add up to at most 16, got 17",
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_with_its_numbers(fields, wanted):
    assert problems(**fields)[0] == wanted


@pytest.mark.parametrize(
    ("changes", "fields", "wanted"),
    [
        ({"sram__bytes": 1000}, {}, "tile: needs 26656 bytes of SRAM, flexnn-edge has 1000"),
        ({"array__lane_modes": ["mxm"]}, {}, "lanes: flexnn-edge has mxm, got vxv"),
        (
            {"array__reductions": ["tree"]},
            {"rows": {"IC": 2}, "reduction": "chain"},
            "reduction: flexnn-edge has tree, got chain",
        ),
        (
            {"sparsity__modes": ["dense", "weight"]},
            {"sparsity": "both"},
            "sparsity: flexnn-edge has dense, weight, got both",
        ),
        (
            {"array__dataflow": "output"},
            {"order": ["IC", "OY"]},
            "flexnn-edge has the dataflow output: IC, FX and FY must be innermost in order, "
            "IC is not",
        ),
    ],
)
def test_what_the_machine_lacks_is_told(changes, fields, wanted):
    if "sram__bytes" in changes:
        size = sram_bytes(Cut(Descriptor.parse({"block": {"IC": 8}, **FREE}, ""), CONV))
        wanted = wanted.replace("26656", str(size))
    assert problems(machine=EDGE.replace(**changes), **fields) == [wanted]


def test_a_reduction_that_is_not_there_needs_no_machine_with_it():
    assert problems(machine=EDGE.replace(array__reductions=["tree"]), reduction="chain") == []


def test_a_depthwise_layer_has_no_lanes_of_other_filters():
    found = problems(DEPTHWISE, block={"OC": 8}, lanes="mxm")
    assert found == ["lanes: must be vxv in a depth-wise layer, got mxm"]


def test_only_tiles_that_are_cut_have_an_order():
    assert problems(tile={"IC": 8}, tile_order=["IC", "OC"]) == []
    assert problems(tile={"IC": 8, "OC": 16}, tile_order=["OC", "IC"]) == []


def bytes_of(layer=CONV, **fields):
    return bank_bytes(Cut(Descriptor.parse(FREE | fields, ""), layer))


def test_register_files_hold_two_blocks_of_what_changes_and_a_bitmap_of_what_may_be_skipped():
    block = {"IC": 8, "OC": 4, "OX": 3, "OY": 2, "FX": 3, "FY": 3}
    once = ((3 - 1) * 2 + 3) * ((2 - 1) * 2 + 3) * 8, 3 * 3 * 8 * 4, 4 * 3 * 2 * 4
    assert bytes_of(block=block) == tuple(2 * size for size in once)
    bits = tuple(size + -(-size // 8) for size in once)
    assert bytes_of(block=block, sparsity="activation")[0] == 2 * bits[0]
    assert bytes_of(block=block, sparsity="weight")[1] == 2 * bits[1]
    assert bytes_of(block=block, sparsity="both")[2] == 2 * once[2]
    # all of the reduction, and all filters: weights do not change
    whole = {"IC": 24, "OC": 32, "FX": 3, "FY": 3}
    assert bytes_of(block=whole)[1] == 3 * 3 * 24 * 32
    # partitions count as well
    spread = bytes_of(block={"IC": 8, "FX": 3, "FY": 3}, rows={"IC": 3}, columns={"OC": 32})
    assert spread[1] == 3 * 3 * 8


def test_banks_are_whole():
    cut = Cut(Descriptor.parse({"block": {"IC": 8, "OX": 3}, **FREE}, ""), CONV)
    assert bank_bytes(cut) == (2 * 5 * 8, 2 * 8, 2 * 12)
    assert banks_needed(cut, EDGE) == (2, 1, 1)


def test_padding_is_in_register_files_but_not_in_sram():
    cut = Cut(Descriptor.parse({"block": {"OX": 12, "FX": 3}, **FREE}, ""), CONV)
    assert cut.ifmap_box(cut.block) == 25 and cut.ifmap_box(cut.block, is_clipped=True) == 24


def sram_of(**fields):
    return sram_bytes(Cut(Descriptor.parse({"block": {"IC": 8}} | FREE | fields, ""), CONV))


def test_sram_holds_a_tile_twice_where_there_are_several_and_psums_where_they_spill():
    ifmap, weights, ofmap = 24 * 24 * 20 * 2, 3 * 3 * 20 * 32, 2 * 12 * 12 * 32
    assert sram_of(order=["N", "OY", "OX", "OC"]) == ifmap + weights + ofmap
    assert sram_of(order=["IC", "FY", "FX"]) == ifmap + weights + 4 * ofmap
    bits = ifmap + ifmap // 8 + weights + weights // 8
    assert sram_of(order=["N", "OY", "OX", "OC"], sparsity="both") == bits + ofmap
    halves = (2 * 5 + 3) * 24 * 20 * 2 + weights + ofmap // 2
    assert sram_of(tile={"OY": 6}) == 2 * halves
    # the reduction is cut into tiles and the ofmap into blocks: psums leave between the tiles
    parts = 24 * 24 * 8 * 2 + 3 * 3 * 8 * 32 + 4 * ofmap
    assert sram_of(tile={"IC": 8}) == 2 * parts


@pytest.mark.parametrize(
    ("flow", "fields", "wanted"),
    [
        ("weight", {"order": ["OC", "IC", "FY", "FX", "N", "OY", "OX"]}, None),
        ("weight", {"order": ["OX", "OC"]}, "OX, OY and N must be innermost in order, OX is not"),
        ("input", {"order": ["N", "OY", "OX", "IC", "FY", "FX"]}, None),
        ("input", {"order": ["OC"]}, "OC must be innermost in order"),
        ("output", {}, None),
        ("none", {}, None),
        ("none", {"block": {"IC": 16}}, "block.IC must be 8, got 16"),
        ("none", {"block": {"OC": 8, "OX": 2}, "lanes": "mxm"}, "block.OX must be 1, got 2"),
        ("row", {}, "reduction must be chain"),
        (
            "row",
            {"reduction": "chain", "columns": {"FY": 3}},
            "FY must be partitioned over rows only",
        ),
        (
            "row",
            {"reduction": "chain", "rows": {"OY": 3}},
            "OY must be partitioned over columns only",
        ),
        ("row", {"reduction": "chain"}, "block.FX must be 3, got 1"),
        (
            "row",
            {"reduction": "chain", "block": {"IC": 8, "FX": 3}},
            "OX must be innermost in order",
        ),
        (
            "row",
            {"reduction": "chain", "block": {"IC": 8, "FX": 3, "OY": 2}},
            "block.OY must be 1, got 2",
        ),
        (
            "row",
            {"reduction": "chain", "block": {"IC": 8, "FX": 3}, "columns": {"OX": 2}},
            "OX must not be partitioned",
        ),
        (
            "row",
            {
                "reduction": "chain",
                "block": {"IC": 8, "FX": 3},
                "rows": {"FY": 3},
                "columns": {"OY": 12},
                "order": ["N", "OC", "IC", "OX"],
            },
            None,
        ),
    ],
)
def test_a_dataflow_is_a_restriction(flow, fields, wanted):
    machine = EDGE.replace(array__dataflow=flow)
    found = problems(machine=machine, **fields)
    assert found == ([] if wanted is None else [f"flexnn-edge has the dataflow {flow}: {wanted}"])


def test_check_names_file_and_layer():
    descriptor = Descriptor.parse({"block": {"IC": 12}, **FREE}, "")
    with pytest.raises(MachineError) as caught:
        check(descriptor, CONV, EDGE, "plan.yaml: conv1")
    assert str(caught.value) == (
        "plan.yaml: conv1: block.IC: must be a multiple of the 8 lanes, got 12"
    )
