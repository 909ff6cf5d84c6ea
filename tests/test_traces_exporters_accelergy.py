"""Accelergy's files, read by the rules of its version 0.4: names, quotes, counts, energies."""

import json
import re
from collections import Counter

import pytest
import yaml
from exported_traces import ended, record

import firemesh
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.selection import Selection

FILES = ("architecture", "action_counts", "ERT")
TRACES = ("mnf", "streamed", "flexnn", "mixed")
MODES = {"conv1": "flexnn", "conv2": "mnf", "fc1": "flexnn", "fc2": "mnf"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Return the paths of traces of each mode, made once."""
    folder, images = tmp_path_factory.mktemp("accelergy"), firemesh.images("digits", 2)[0]
    firemesh.run("digits", images, trace=folder / "mnf.h5")
    firemesh.run("digits", images[:1], mode="flexnn", trace=folder / "flexnn.h5")
    firemesh.run("digits", images[:1], mode=MODES, trace=folder / "mixed.h5")
    record("streamed", "tree", folder / "streamed.h5")
    return {name: folder / f"{name}.h5" for name in TRACES}


def exported(path, out, **selection):
    """Export; return the content of each file, and what the side file tells."""
    with firemesh.open_trace(path) as trace:
        export(trace, "accelergy", out, Options(Selection(**selection)))
    assert {file.name for file in out.iterdir()} == {f"{name}.yaml" for name in FILES}
    content = [yaml.safe_load((out / f"{name}.yaml").read_text())[name] for name in FILES]
    return *content, json.loads(out.with_name(f"{out.name}.meta.json").read_text())


def flattened(node, prefix="", shared=()):
    """Return full name -> component of an architecture; attributes go down the tree."""
    found = {}
    for one in node.get("local", ()):
        attributes = dict(shared) | one["attributes"]
        found[prefix + one["name"]] = one | {"attributes": attributes}
    for one in node.get("subtree", ()):
        below = dict(shared) | one.get("attributes", {})
        found |= flattened(one, f"{prefix}{one['name']}.", below)
    return found


def find(name, tables):
    """Return what Accelergy finds for a name of the counts: an index must lie in the range."""
    base = re.sub(r"\[[^]]*\]", "", name)
    (full,) = (one for one in tables if re.sub(r"\[[^]]*\]", "", one) == base)
    indices = map(int, re.findall(r"\[(\d+)\]", name))
    ranges = re.findall(r"\[(\d+)\.\.(\d+)\]", full)
    assert name.count("[") == full.count("[") == len(ranges)
    assert all(int(low) <= i <= int(high) for i, (low, high) in zip(indices, ranges, strict=True))
    return tables[full]


def count_by_name(counts):
    """Return (name, action) -> counts, each once."""
    found = {}
    for component in counts["local"]:
        for action in component["action_counts"]:
            key = component["name"], action["name"]
            assert key not in found and isinstance(action["counts"], int) and action["counts"] > 0
            found[key] = action["counts"]
    return found


@pytest.mark.parametrize("name", TRACES)
def test_each_counted_action_is_one_of_a_component_of_the_architecture(paths, tmp_path, name):
    architecture, counts, energies, _ = exported(paths[name], tmp_path / "out")
    assert {architecture["version"], counts["version"], energies["version"]} == {0.4}
    parts = flattened(architecture)
    tables = {one["name"]: {a["name"] for a in one["actions"]} for one in energies["tables"]}
    assert set(parts) == set(tables)
    for part, one in parts.items():
        assert {"technology", "global_cycle_seconds"} <= set(one["attributes"])
        assert set(one["required_actions"]) == tables[part]
    for part, action in count_by_name(counts):
        assert action in find(part, tables)


def text_nodes(node):
    """Yield the scalars of a YAML file that are no keys."""
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from text_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from text_nodes(value)
    else:
        yield node


def test_all_text_is_in_double_quotes(paths, tmp_path):
    exported(paths["mnf"], tmp_path / "out")
    for name in FILES:
        nodes = list(text_nodes(yaml.compose((tmp_path / "out" / f"{name}.yaml").read_text())))
        texts = [node for node in nodes if node.tag.endswith(":str")]
        assert len(texts) > 10 and {node.style for node in texts} == {'"'}
        numbers = [node for node in nodes if not node.tag.endswith(":str")]
        assert numbers and {node.style for node in numbers} == {None}


SELECTIONS = {"all": {}, "layer": {"layer": "conv2"}, "frame": {"frame": 0, "layer": ["fc1"]}}


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("name", TRACES)
def test_counts_times_energies_are_the_energy_of_the_trace(paths, tmp_path, name, selection):
    architecture, counts, energies, _ = exported(paths[name], tmp_path / "out", **selection)
    prices = {
        one["name"]: {a["name"]: a["energy"] for a in one["actions"]} for one in energies["tables"]
    }
    parts, found, room = flattened(architecture), Counter(), Counter()
    for (part, action), count in count_by_name(counts).items():
        component = re.sub(r"\[\d+\]$", "", part.split(".")[-1])
        price = find(part, prices)[action]
        found[component] += count * price
        if find(part, parts)["attributes"].get("width", 8) > 8:  # of less than a word
            room[component] += price
    with firemesh.open_trace(paths[name]) as trace:
        wanted = Counter()
        for row in trace.energy(by=("frame", "layer")):
            if "layer" in selection and row["layer"] not in selection["layer"]:
                continue
            if row["frame"] == selection.get("frame", row["frame"]):
                for component, pj in row.items():
                    if component not in ("frame", "layer", "idle"):
                        wanted[{"noc": "link"}.get(component, component)] += pj
    assert {c for c, pj in wanted.items() if pj} == {c for c, pj in found.items() if pj}
    for component, pj in found.items():
        small = 1e-9 * pj
        assert wanted[component] - small <= pj <= wanted[component] + room[component] + small


def test_counts_are_words_multiplications_and_flits_that_the_engine_counted(paths, tmp_path):
    _, counts, _, told = exported(paths["mnf"], tmp_path / "out", layer="conv2", frame=1)
    found = count_by_name(counts)
    with firemesh.open_trace(paths["mnf"]) as trace:
        width = dict(
            zip(trace.memories, trace.table("memories")["word_bytes"].tolist(), strict=True)
        )
        mine = {"layer": "conv2", "frame": 1}
        size, wanted = Counter(), {}
        for block in trace.accesses(**mine):
            for unit, memory, op, one in block[["unit", "memory", "op", "size"]].tolist():
                size[trace.units[unit], trace.memories[memory], trace.ops[op]] += one
        for (unit, memory, op), total in size.items():
            place = "chip" if unit == "storage" else f"chip.PE[{int(unit[2:]) - 1}]"
            wanted[f"system.{place}.{memory}", op] = -(-total // width[memory])
        busy = trace.table("causes")["is_busy"]
        (number,) = [
            i for i, one in enumerate(trace.segments)
            if (one["frame"], trace.layers[one["layer"]]) == (1, "conv2")
        ]  # fmt: skip
        for segment, unit, cause, count in trace.table("slots").tolist():
            if segment == number and busy[cause]:
                key = f"system.chip.PE[{unit - 1}].mac", "compute"
                wanted[key] = wanted.get(key, 0) + count
        for segment, link, count in trace.table("flits").tolist():
            if segment == number:
                wanted[f"system.chip.link[{link}]", "transfer"] = count
        assert told["link"] == {str(i): name for i, name in enumerate(trace.links)}
        assert told["PE"] == {str(i): f"pe{i + 1}" for i in range(11)}
    assert found == wanted
    memories = {key: n for key, n in wanted.items() if key[1] in ("read", "write")}
    assert told["written"]["records"] == sum(memories.values())
    assert told["selected"]["bytes"] == sum(size.values())


def test_a_window_is_counted_access_by_access_and_has_no_multipliers(paths, tmp_path):
    window = (300, 420)
    _, counts, _, told = exported(paths["mnf"], tmp_path / "out", cycles=window, unit=[0, 3])
    size, n = Counter(), 0
    with firemesh.open_trace(paths["mnf"]) as trace:
        width = dict(
            zip(trace.memories, trace.table("memories")["word_bytes"].tolist(), strict=True)
        )
        for block in trace.accesses():
            for access in block[(block["cycle"] >= 300) & (block["cycle"] < 420)]:
                if access["unit"] in (0, 3):
                    place = "chip" if access["unit"] == 0 else "chip.PE[2]"
                    memory, op = trace.memories[access["memory"]], trace.ops[access["op"]]
                    size[f"system.{place}.{memory}", op] += int(access["size"])
                    n += 1
    assert count_by_name(counts) == {
        key: -(-total // width[key[0].split(".")[-1]]) for key, total in size.items()
    }
    assert told["selected"]["accesses"] == n > 0
    assert told["note"] == (
        "multipliers and links are counted by segments: with --cycles they are left out"
    )


def test_no_access_is_gone_through_but_in_a_window(paths, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("expanded")

    monkeypatch.setattr(firemesh.Trace, "accesses", fail)
    exported(paths["mnf"], tmp_path / "a", layer="conv1", memory=["psum"])
    with pytest.raises(AssertionError, match="expanded"):
        exported(paths["mnf"], tmp_path / "b", cycles=(0, 9))


def test_a_selection_of_memories_has_no_multipliers_and_says_so(capsys, paths, tmp_path):
    code, out, err = ended(
        capsys, paths["mnf"], "--to", "accelergy", "--out", tmp_path / "o", "--memory", "psum",
        "--op", "read",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.startswith(
        "multipliers and links are no memories: with --memory or --op they are left out\n"
        "accelergy: 11 components, "
    )
    counts = yaml.safe_load((tmp_path / "o" / "action_counts.yaml").read_text())["action_counts"]
    keys = {(name.split(".")[-1], action) for name, action in count_by_name(counts)}
    assert keys == {("psum", "read")}


def test_units_have_their_own_multipliers_and_the_links_on_which_they_send(paths, tmp_path):
    _, counts, _, told = exported(paths["mnf"], tmp_path / "out", unit="pe2")
    found = count_by_name(counts)
    links = {int(name[:-1].split("[")[-1]) for name, action in found if action == "transfer"}
    assert links and all(told["link"][str(link)].startswith("pe2>") for link in links)
    others = {name for name, action in found if action != "transfer"}
    assert all(name.startswith("system.chip.PE[1].") for name in others)
    assert "system.chip.PE[1].mac" in others


def test_the_same_trace_gives_the_same_bytes(paths, tmp_path):
    for name in "ab":
        exported(paths["mixed"], tmp_path / name)
    for name in FILES:
        first, second = ((tmp_path / one / f"{name}.yaml").read_bytes() for one in "ab")
        assert first == second
