"""Machine descriptions: the same in YAML, every number with a source, every mistake a sentence."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from small_layers import machines

from firemesh.emulator.machine import (
    Machine,
    MachineError,
    machine,
    parse,
    parse_yaml,
    preset_text,
    presets,
)

quick = settings(deadline=None)
few = settings(deadline=None, max_examples=50)
every_preset = pytest.mark.parametrize("name", presets())
NOT_NUMBERS = {"name", "summary", "sources"}


def fields(model, prefix=""):
    """Yield the dotted path of each leaf field of a description."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def tree(**changes):
    """Return the mapping of a preset, with values changed at dotted paths."""
    whole = yaml.safe_load(preset_text("mnf-tiny"))
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        at = whole
        for part in parents:
            at = at[part]
        at[leaf] = value
    return whole


# --- YAML ---


@every_preset
def test_a_preset_survives_the_round_trip_through_yaml(name):
    one = machine(name)
    assert one.name == name
    assert parse_yaml(one.to_yaml(), "again") == one
    assert parse_yaml(one.to_yaml(), "again").to_yaml() == one.to_yaml()


@few
@given(one=machines(), summary=st.text(), source=st.text())
def test_a_random_machine_survives_the_round_trip_through_yaml(one, summary, source):
    one = one.replace(summary=summary, sources={"clock_hz": source})
    assert parse_yaml(one.to_yaml(), "again") == one


@every_preset
def test_a_preset_says_where_every_field_comes_from_and_names_no_other(name):
    one = machine(name)
    expected = {path for path in fields(one) if path not in NOT_NUMBERS}
    expected -= set() if getattr(one, "layer_thresholds", None) else {"layer_thresholds"}
    assert set(one.sources) == expected
    assert all(text.strip() for text in one.sources.values())


@every_preset
def test_a_preset_spells_out_every_field(name):
    def leaves(part, prefix=""):
        for key, value in part.items():
            if isinstance(value, dict) and key not in ("sources", "layer_thresholds"):
                yield from leaves(value, f"{prefix}{key}.")
            else:
                yield prefix + key

    assert set(leaves(yaml.safe_load(preset_text(name)))) == set(fields(machine(name)))


def test_the_shipped_machines_are_listed_by_name():
    assert {"mnf-22nm", "mnf-tiny"} <= set(presets())
    assert presets() == sorted(presets())


def test_a_machine_may_be_given_by_name_by_path_or_as_it_is(tmp_path):
    one = machine("mnf-tiny")
    path = tmp_path / "mine.yaml"
    path.write_text(one.to_yaml(), "utf-8")
    assert machine(one) is one
    assert machine(str(path)) == machine(path) == one


@pytest.mark.paper
def test_the_machine_of_the_paper_has_the_numbers_of_its_table_3():
    """MNF, Table 3 and section 6: exact; 67.5 KB are taken as one module's accumulate SRAM."""
    one = machine("mnf-22nm")
    assert (one.n_pes, one.pe.modules, one.pe.lanes, one.clock_hz) == (11, 9, 3, 200_000_000)
    assert (one.pe.weight_bytes, one.pe.psum_bank_bytes) == (691_200, 67_500)
    assert (one.pe.weight_rows, one.pe.bank_words) == (25_600, 75 * 75)
    assert (one.pe.multipliers, one.multipliers) == (27, 297)


@few
@given(one=machines())
def test_sizes_follow_from_modules_lanes_and_bytes(one):
    pe = one.pe
    assert one.n_pes == one.mesh.width * one.mesh.height - 1
    assert (
        pe.weight_rows * pe.multipliers <= pe.weight_bytes < (pe.weight_rows + 1) * pe.multipliers
    )
    word = 4 * pe.lanes
    assert pe.bank_words * word <= pe.psum_bank_bytes < (pe.bank_words + 1) * word
    assert all(pe.modules % (a * b) == 0 for a, b in pe.tiles)
    assert (1, 1) in pe.tiles
    sides = {9: 1, 4: 3, 3: 2, 1: 1}  # tiles of nine positions, four, three and one
    assert len(pe.tiles) == sum(n for size, n in sides.items() if pe.modules % size == 0)


def test_a_machine_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        machine("mnf-tiny").clock_hz = 5
    with pytest.raises(ValidationError):
        machine("mnf-tiny").pe.lanes = 5


# --- Changes ---


@few
@given(one=machines(), depth=st.integers(1, 99), clock_hz=st.integers(1, 10**10))
def test_replace_changes_the_named_fields_and_no_other(one, depth, clock_hz):
    other = one.replace(pe__row_fifo=depth, clock_hz=clock_hz)
    expected = one.model_dump()
    expected["pe"]["row_fifo"], expected["clock_hz"] = depth, clock_hz
    assert other.model_dump() == expected
    assert one.replace() == one


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pe__speed": 1}, r"^mnf-tiny: pe\.speed: unknown key; known here: modules, lanes, "),
        ({"cache__bytes": 1}, r"^mnf-tiny: cache: unknown key; known here: name, summary, "),
        ({"clock_hz__fast": 1}, r"^mnf-tiny: clock_hz\.fast: clock_hz is a value"),
        ({"pe__lanes": 0}, r"^mnf-tiny: pe\.lanes: must be greater than or equal to 1, got 0$"),
    ],
)
def test_replace_refuses_what_a_file_could_not_say(change, sentence):
    with pytest.raises(MachineError, match=sentence):
        machine("mnf-tiny").replace(**change)


# --- Mistakes ---


@pytest.mark.parametrize("part", ["", "mesh", "noc", "pe", "storage"])
def test_an_unknown_key_at_any_level_names_the_known_ones(part):
    whole = tree()
    (whole[part] if part else whole)["colour"] = "red"
    with pytest.raises(MachineError) as error:
        parse(whole, "file.yaml")
    model = Machine.model_fields[part].annotation if part else Machine
    path = f"{part}.colour" if part else "colour"
    known = ", ".join(model.model_fields)
    assert str(error.value) == f"file.yaml: {path}: unknown key; known here: {known}"


MISTAKES = [
    ({"mesh__width": 0}, "mesh.width: must be greater than or equal to 1, got 0"),
    ({"mesh__width": True}, "mesh.width: must be a valid integer, got True"),
    ({"mesh__width": 2.0}, "mesh.width: must be a valid integer, got 2.0"),
    ({"clock_hz": "fast"}, "clock_hz: must be a valid integer, got 'fast'"),
    ({"clock_hz": None}, "clock_hz: must be a valid integer, got None"),
    ({"name": 7}, "name: must be a valid string, got 7"),
    ({"threshold": 256}, "threshold: must be less than or equal to 255, got 256"),
    ({"mesh": 3}, "mesh: must be a mapping of fields, got 3"),
    ({"mesh__width": 1, "mesh__height": 1},
     "mesh: must have 2 to 4096 nodes (one storage PE and at least one PE), got 1 x 1"),
    ({"mesh__width": 64, "mesh__height": 65},
     "mesh: must have 2 to 4096 nodes (one storage PE and at least one PE), got 64 x 65"),
    ({"noc__router": "torus"}, "noc.router: must be one of simple, P4, P3, P2, P4c2, P4islip or "
     "the description of one, got 'torus'"),
    ({"noc__router": {"hops": 2}}, "noc.router.hops: unknown key; known here: routing_delay, "
     "vc_alloc_delay, sw_alloc_delay, st_delay, credit_delay, link_delay, speculative, "
     "vc_allocator, sw_allocator, switching"),
    ({"noc__router": {"st_delay": 0}},
     "noc.router.st_delay: must be greater than or equal to 1, got 0"),
    ({"noc__router": 4}, "noc.router: must be a mapping of fields, got 4"),
    ({"noc__routing": "west-first"},
     "noc.routing: west-first needs a router with virtual channels, such as P4, got simple"),
    ({"noc__multicast": "flood"},
     "noc.multicast: must be 'tree', 'chain' or 'unicast', got 'flood'"),
    ({"noc__buffer_flits": 4097}, "noc.buffer_flits: must be less than or equal to 4096, got 4097"),
    ({"pe__forwarding": 1}, "pe.forwarding: must be a valid boolean, got 1"),
    ({"pe__fire_lanes": 5}, "pe.fire_lanes: must be one of 1, 2, 6 (1, L or M*L), got 5"),
    ({"pe__tile": "3x3"},
     "pe.tile: must be auto or one of 3x1, 1x3, 1x1, so that A*B divides the 3 modules, got 3x3"),
    ({"pe__weights": "ideal", "pe__row_layout": "linear"},
     "pe.weights: ideal needs row_layout tile, got row_layout linear"),
    ({"pe__weight_bytes": 5},
     "pe.weight_bytes: must hold at least one access of 6 bytes, got 5"),
    ({"pe__psum_bank_bytes": 7},
     "pe.psum_bank_bytes: must hold at least one access of 8 bytes, got 7"),
    ({"storage__bytes": 7}, "storage.bytes: must be greater than or equal to 8, got 7"),
    ({"storage__event_order": "z"},
     "storage.event_order: must be 'row', 'channel' or 'raster', got 'z'"),
    ({"sources": "me"}, "sources: must be a mapping of fields, got 'me'"),
    ({"sources": {"clock_hz": 1}}, "sources.clock_hz: must be a valid string, got 1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES)
def test_a_bad_value_is_refused_with_file_key_rule_and_value(changes, sentence):
    with pytest.raises(MachineError, match="^" + re.escape(f"file.yaml: {sentence}") + "$"):
        parse(tree(**changes), "file.yaml")


def test_memories_of_one_access_are_allowed():
    one = machine("mnf-tiny").replace(pe__weight_bytes=6, pe__psum_bank_bytes=8)
    assert (one.pe.weight_rows, one.pe.bank_words) == (1, 1)


@pytest.mark.parametrize("path", ["name", "clock_hz", "mesh", "pe", "mesh.width", "pe.modules"])
def test_a_missing_field_is_named(path):
    whole = tree()
    *parents, leaf = path.split(".")
    del (whole[parents[0]] if parents else whole)[leaf]
    with pytest.raises(MachineError, match=rf"^file\.yaml: {re.escape(path)}: missing; add this"):
        parse(whole, "file.yaml")


@pytest.mark.parametrize(("value", "kind"), [([], "list"), (None, "NoneType"), ("pe", "str")])
def test_what_is_no_mapping_is_refused_with_a_start(value, kind):
    sentence = f"^file.yaml: must be a YAML mapping of machine fields, got {kind}; .*mnf-22nm"
    with pytest.raises(MachineError, match=sentence):
        parse(value, "file.yaml")


def test_a_file_that_is_no_yaml_is_refused_with_its_line():
    with pytest.raises(MachineError, match=r"^file\.yaml, line 2: is not valid YAML; correct it"):
        parse_yaml("name: x\nmesh: ]\n", "file.yaml")


def test_an_unknown_name_lists_the_known_machines(tmp_path):
    with pytest.raises(MachineError, match=r"^mnf-23nm: no machine .* known machines: .*mnf-22nm"):
        machine("mnf-23nm")


def test_a_folder_and_a_file_of_bytes_are_refused_with_the_reason(tmp_path):
    with pytest.raises(MachineError, match=r"cannot be read \(Is a directory\); give a YAML file$"):
        machine(tmp_path)
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(MachineError, match=r"cannot be read \(it is not a text file\)"):
        machine(path)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=2) | st.dictionaries(SCALARS, v, max_size=2),
    max_leaves=4,
)


@quick
@given(data=st.data(), value=VALUES)
def test_any_value_in_any_place_makes_a_machine_or_a_sentence(data, value):
    whole = tree()
    at = whole
    if data.draw(st.booleans(), label="inside a part"):
        at = whole[data.draw(st.sampled_from(("mesh", "noc", "pe", "storage", "sources")))]
    key = data.draw(st.sampled_from(sorted(at)) | SCALARS, label="key")
    at[key] = value
    try:
        assert isinstance(parse(whole, "file.yaml"), Machine)
    except MachineError as error:
        assert str(error).startswith("file.yaml: ")


@quick
@given(text=st.text())
def test_any_text_is_refused_with_a_sentence(text):
    with pytest.raises(MachineError, match=r"^file\.yaml"):
        parse_yaml(text, "file.yaml")
