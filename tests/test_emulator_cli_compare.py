"""``firemesh compare``: ratios, winners, names and notes; each damaged file is one sentence."""

import contextlib
import copy
import io
import itertools
import json
import math
import re
from pathlib import Path

import pytest

import firemesh
from firemesh.emulator.cli import main
from firemesh.emulator.cli_compare import column_names
from firemesh.emulator.compare import best, compare, ratios
from firemesh.emulator.result_record import ComparisonError

MAKE = "make it with firemesh run MODEL --json > FILE.json"
DAMAGED = "the file is damaged: make it anew"
TITLES = ("Totals", "Multiplier slots, %", "Layers, ")
MACHINES = ("mnf-22nm", "mnf-tiny")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def texts():
    """Return what ``run --json`` prints, by machine."""
    found = {}
    for machine in MACHINES:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            main(["run", "digits", "--frames", "1", "--machine", machine, "--json"])
        found[machine] = out.getvalue()
    return found


@pytest.fixture
def records(texts):
    """Return a run of each machine, and what another mode could have come to over two frames."""
    found = {machine: json.loads(text) for machine, text in texts.items()}
    return found | {"other": other_mode(found["mnf-22nm"])}


def other_mode(record):
    other = copy.deepcopy(record)
    other["machine"] |= {"name": "other", "clock_hz": 250_000_000, "energy": "eyeriss"}
    other |= {"mode": "auto", "frames": 2, "load_cycles": 0, "dram_bytes": 4001}
    pool = {"name": "conv1_pool", "mode": "host", "cycles": 5, "noc_pj": 2.0, "dram_pj": 1.0}
    for number, layer in enumerate(other["layers"]):
        layer |= {"mode": "flexnn", "cycles": 100 + 501 * number}
    other["layers"].insert(1, pool)
    other["cycles"] = sum(layer["cycles"] for layer in other["layers"])
    other["outputs"] += copy.deepcopy(other["outputs"])
    other["slots"] = dict.fromkeys(other["slots"], 0)
    other["slots"] |= {"dram": 49999, "load": 25, "fill": 24, "executed": 49952}
    other["energy_pj"] |= {"DRAM": 5e6}
    return other


def written(records, folder=""):
    """Write records as files of their names; return their paths."""
    for name, record in records.items():
        path = Path(folder, f"{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record if isinstance(record, str) else json.dumps(record))
    return [str(Path(folder, f"{name}.json")) for name in records]


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["compare", *arguments])
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr())


def printed(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, err) == (0, "")
    return out


def refused(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("firemesh: ") and err.count("\n") == 1
    return err.removeprefix("firemesh: ").strip()


def tables(out):
    """Return the lines of rows by the start of the table's title."""
    found, title = {}, None
    for line in out.splitlines():
        title = next((start for start in TITLES if line.startswith(start)), title)
        if title and line.startswith(" ") and "─" not in line:
            found.setdefault(title, []).append(line)
    return found


def totals(out):
    """Return values and ratios of the rows of totals that have ratios, by label."""
    found = {}
    for line in tables(out)["Totals"]:
        match = re.fullmatch(r" +(.*?) +((?:[-\d.,e+]+ +(?:[-\d.,e+]+x|-) *)+)", line)
        if match:
            cells = match[2].split()
            found[match[1]] = [cell.replace(",", "") for cell in cells[::2]], cells[1::2]
    return found


def layers(out):
    """Return by layer what each run has: value, mode, ratio, whether it has the star."""
    found = {}
    for line in tables(out)["Layers, "][1:]:
        label, *cells = line.replace(" others", "_others").split()
        row = []
        while cells:
            value = cells.pop(0)
            mode = "" if value == "-" or cells[0][-1] in "x-" else cells.pop(0)
            row.append((value.strip("*").replace(",", ""), mode, cells.pop(0), value[0] == "*"))
        found[label] = row
    return found


def near(text, number):
    """Tell whether a table's text is a number in four digits, or to the unit."""
    return math.isclose(float(text), number, rel_tol=6e-4, abs_tol=1e-12) or (
        number >= 999 and abs(float(text) - number) <= 0.5
    )


def is_ratio(text, of, to):
    if to == 0:
        return text == "-"
    is_rough = not 0.01 <= of / to < 1e6 and of
    return text.endswith("x") and math.isclose(
        float(text[:-1].replace(",", "")),
        of / to,
        abs_tol=0.501 if 100 <= of / to < 1e6 else 0.00501,
        rel_tol=0.05 if is_rough else 1e-9,
    )


# Totals


def frame_of(record):
    """Return what a frame comes to, by the label of the table."""
    frames, clock = record["frames"], record["machine"]["clock_hz"]
    uj = sum(record["energy_pj"].values()) / 1e6 / frames
    seconds = record["cycles"] / frames / clock
    return {
        "frames": frames,
        "multipliers": sum(record["slots"].values()) / record["cycles"],
        "clock, MHz": clock / 1e6,
        "loading, cycles": record["load_cycles"],
        "cycles a frame": record["cycles"] / frames,
        "frames/s": record["fps"],
        "utilisation, %": 100 * record["utilization"],
        "energy, µJ a frame": uj,
        "EDP, µJ ms": uj * seconds * 1e3,
        "DRAM, B a frame": record["dram_bytes"] / frames,
        "power, mW": record["power_mw"],
    } | {name: pj / 1e6 / frames for name, pj in record["energy_pj"].items() if pj}


def test_totals_are_of_a_frame_and_ratios_are_to_the_first(capsys, records):
    out = printed(capsys, *written(records))
    assert out.startswith("digits, 3 runs; ratios are to mnf-22nm\n")
    wanted = {name: frame_of(record) for name, record in records.items()}
    wanted["other"]["multipliers"] = None
    found = totals(out)
    assert set(found) == set().union(*wanted.values())
    for label, (values, multiples) in found.items():
        row = [run.get(label, 0.0) for run in wanted.values()]
        for value, multiple, number in zip(values, multiples, row, strict=True):
            if number is None:
                assert (value, multiple) == ("-", "-")
                continue
            assert near(value, number), (label, value, number)
            assert is_ratio(multiple, number, row[0]), (label, multiple, number, row[0])


def test_totals_of_words_stand_above_and_below(capsys, records):
    rows = [line.split() for line in tables(printed(capsys, *written(records)))["Totals"]]
    assert rows[0] == ["mnf-22nm", "mnf-tiny", "other"]
    assert rows[1] == ["machine", "mnf-22nm", "mnf-tiny", "other"]
    assert rows[2] == ["mode", "mnf", "mnf", "auto"]
    assert ["priced", "by", "mnf-table5", "mnf-table5", "eyeriss"] in rows


def test_multipliers_are_those_of_the_machine(records):
    found = compare([records["mnf-22nm"], records["mnf-tiny"]], ["a", "b"]).rows("totals")
    shipped = [firemesh.machine(name).multipliers for name in MACHINES]
    assert found["multipliers"] == tuple(shipped)


def test_a_component_or_loading_that_no_run_has_is_no_row(capsys, records):
    for record in records.values():
        record["load_cycles"] = 0
    found = totals(printed(capsys, *written(records)))
    assert "loading, cycles" not in found and "sparsity" not in found and "DRAM" in found


def test_ratios_are_missing_where_there_is_nothing_to_divide():
    assert ratios((2.0, 1.0, None, 0.0)) == (1.0, 0.5, None, 0.0)
    assert ratios((0.0, 1.0)) == ratios((None, 1.0)) == (None, None)
    assert ratios((5e-324, 1e300)) == (1.0, None)


@pytest.mark.parametrize(
    ("cycles", "shown"),
    [
        (1, "1.1e-03x"),
        (8, "9.1e-03x"),
        (876, "1.00x"),
        (876 * 123, "123x"),
        (876 * 54321, "54,321x"),
        (876 * 10**7, "1.0e+07x"),
        (0, "0.00x"),
    ],
)
def test_ratios_have_digits_at_any_size(capsys, records, cycles, shown):
    records["mnf-tiny"]["cycles"] = cycles
    found = totals(printed(capsys, *written(records)))
    assert records["mnf-22nm"]["cycles"] == 876
    assert found["cycles a frame"][1][1] == shown


# Slots


def test_slots_are_parts_of_all_and_causes_below_a_twentieth_per_cent_are_left_out(capsys, records):
    out = printed(capsys, *written({name: records[name] for name in ("mnf-22nm", "other")}))
    parts = [
        {cause: count / sum(record["slots"].values()) for cause, count in record["slots"].items()}
        for record in (records["mnf-22nm"], records["other"])
    ]
    rows = tables(out)["Multiplier slots, %"]
    assert rows[0].split() == ["mnf-22nm", "other"]
    found = {" ".join(line.split()[:-2]): line.split()[-2:] for line in rows[1:]}
    wanted = [c for c in parts[0] if max(parts[0][c], parts[1][c]) > 0.0005]
    assert list(found) == [cause.replace("_", " ") for cause in wanted]
    assert "dram" in found and "load" not in found and "fill" not in found
    for cause in wanted:
        assert found[cause.replace("_", " ")] == [f"{100 * part[cause]:.1f}" for part in parts]


# Layers


def rows_by_hand(records, quantity):
    """Return the numbers of each layer of each run by another way: network order is the other's."""
    names = ["conv1", "conv1_pool", "conv2", "fc1", "fc2"]

    def of(record, name):
        for layer in record["layers"]:
            if layer["name"] == name:
                pj = [value for key, value in layer.items() if key.endswith("_pj")]
                whole = layer["cycles"] if quantity == "cycles" else sum(pj) / 1e6
                return whole / record["frames"], layer["mode"]
        return None, ""

    return {name: [of(record, name) for record in records.values()] for name in names}


@pytest.mark.parametrize("quantity", ["cycles", "energy"])
def test_layers_have_value_mode_ratio_and_a_star_at_the_least(capsys, records, quantity):
    found = layers(printed(capsys, *written(records), "--by", quantity))
    wanted = rows_by_hand(records, quantity)
    sums = [sum(number or 0.0 for number, _ in run) for run in zip(*wanted.values(), strict=True)]
    assert list(found) == [*wanted, "all"]
    assert not any(is_best for *_, is_best in found["conv1_pool"])
    for name, row in (wanted | {"all": [(number, "") for number in sums]}).items():
        known = [number for number, _ in row if number is not None]
        for cell, (number, mode) in zip(found[name], row, strict=True):
            if number is None:
                assert cell == ("-", "", "-", False)
                continue
            assert near(cell[0], number) and cell[1] == mode
            assert is_ratio(cell[2], number, row[0][0] or 0)
            assert cell[3] == (len(known) > 1 and number == min(known))
    stars = [[is_best for *_, is_best in row].index(True) for row in found.values() if len(row) > 1
             and any(is_best for *_, is_best in row)]  # fmt: skip
    assert len(set(stars)) > 1, "the case has but one winner"


def test_runs_compete_for_a_layer_that_the_first_lacks(capsys, records):
    quick = copy.deepcopy(records["other"])
    quick["layers"][1]["cycles"] = 4
    found = layers(printed(capsys, *written(records | {"quick": quick})))
    assert [cell[::3] for cell in found["conv1_pool"]] == [
        ("-", False),
        ("-", False),
        ("2.500", False),
        ("2", True),
    ]


def test_the_least_wins_with_those_that_equal_it_unless_all_are_equal():
    assert best((3.0, 1.0, 2.0)) == (False, True, False)
    assert best((1.0, 2.0, 1.0)) == (True, False, True)
    assert best((None, 2.0, 3.0)) == (False, True, False)
    assert best((2.0, 2.0)) == (False, False)
    assert best((None, 2.0)) == (False, False)
    assert best((None, None)) == (False, False)


def test_a_layer_that_the_first_run_lacks_comes_after_what_it_follows(records):
    a, b = records["mnf-22nm"], copy.deepcopy(records["mnf-22nm"])
    pieces = {layer["name"]: layer for layer in a["layers"]}

    def named(*names):
        return [pieces.get(name, pieces["fc1"]) | {"name": name} for name in names]

    a["layers"] = named("conv1", "conv2", "fc1")
    b["layers"] = named("in", "conv1", "pool", "to_bitmap", "conv2", "fc1", "out")
    found = compare([a, b], ["a", "b"]).rows("layer_cycles")
    assert list(found) == ["in", "conv1", "pool", "to_bitmap", "conv2", "fc1", "out"]
    assert found["pool"] == (None, pieces["fc1"]["cycles"])


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9])
def test_the_heaviest_layers_stay_in_order_and_the_others_are_summed(capsys, records, n):
    paths = written(records)
    whole = layers(printed(capsys, *paths))
    found = layers(printed(capsys, *paths, "--layers", str(n)))
    del whole["all"]

    def weight(name):
        return max(float(value) for value, *_ in whole[name] if value != "-")

    kept = sorted(whole, key=weight)[-n:]
    rest = [name for name in whole if name not in kept]
    others = [f"{len(rest)}_others"] if rest else []
    assert list(found) == [name for name in whole if name in kept] + [*others, "all"]
    if rest:
        for run, (value, mode, _, _) in enumerate(found[others[0]]):
            cells = [whole[name][run][0] for name in rest]
            assert float(value) == pytest.approx(sum(float(c) for c in cells if c != "-"), abs=2)
            assert mode == ""
    assert found["all"] == layers(printed(capsys, *paths))["all"]


def test_a_layer_named_as_the_sum_is_a_row_of_its_own(capsys, records):
    pair = {name: records[name] for name in MACHINES}
    for record in pair.values():
        record["layers"][0]["name"] = "all"
    rows = [line.split() for line in tables(printed(capsys, *written(pair)))["Layers, "]]
    cycles = [f"{record['layers'][0]['cycles']:,}" for record in pair.values()]
    assert [row[0] for row in rows[1:]] == ["all", "conv2", "fc1", "fc2", "all"]
    assert [rows[1][1].strip("*"), rows[1][4].strip("*")] == cycles


# The same as JSON, and from Python


def test_json_is_what_the_tables_show(capsys, records):
    paths = written(records)
    out, found = printed(capsys, *paths), json.loads(printed(capsys, *paths, "--json"))
    assert (found["schema"], found["schema_version"]) == ("firemesh-comparison", 1)
    assert found["network"] == "digits"
    assert found["network_digest"] == firemesh.load("digits").digest
    assert [run["name"] for run in found["runs"]] == list(records)
    assert found["runs"][2] == {
        "name": "other", "machine": "other", "mode": "auto", "energy_table": "eyeriss"
    }  # fmt: skip
    units = {"clock_hz": 1e-6, "utilization": 100.0, "energy_pj": 1e-6, "edp_pj_s": 1e-3}
    shown = totals(out)
    rows = list(found["totals"].items())
    place = 1 + [name for name, _ in rows].index("energy_pj")
    rows[place:place] = [
        (name, row) for name, row in found["energy_pj"].items() if any(row["values"])
    ]
    assert len(shown) == len(rows)
    for (name, row), (values, multiples) in zip(rows, shown.values(), strict=True):
        scale = 1e-6 if name in found["energy_pj"] else units.get(name, 1.0)
        for number, ratio, value, multiple in zip(
            row["values"], row["ratios"], values, multiples, strict=True
        ):
            assert value == "-" if number is None else near(value, number * scale)
            assert multiple == "-" if ratio is None else is_ratio(multiple, ratio, 1.0)
    by_layer = layers(out)
    assert [layer["name"] for layer in found["layers"]] == list(by_layer)[:-1]
    for layer in found["layers"]:
        cycles = layer["cycles"]
        for number, cell in enumerate(by_layer[layer["name"]]):
            assert layer["modes"][number] == (cell[1] or None)
            assert cycles["best"][number] == cell[3]
            value, ratio = cycles["values"][number], cycles["ratios"][number]
            assert cell[0] == "-" if value is None else near(cell[0], value)
            assert cell[2] == "-" if ratio is None else is_ratio(cell[2], ratio, 1.0)
    slots = tables(out)["Multiplier slots, %"][1:]
    for line in slots:
        *label, a, b, c = line.split()
        assert [a, b, c] == [f"{100 * part:.1f}" for part in found["slots"]["_".join(label)]]
    assert list(found["slots"]) == list(records["other"]["slots"])
    assert all(note["told"] in out for note in found["notes"])


def test_json_of_layers_has_energy_beside_cycles(capsys, records):
    found = json.loads(printed(capsys, *written(records), "--json", "--layers", "1"))
    by_hand = rows_by_hand(records, "energy")
    for layer in found["layers"]:
        wanted = [None if uj is None else uj * 1e6 for uj, _ in by_hand[layer["name"]]]
        assert layer["energy_pj"]["values"] == pytest.approx(wanted)
        known = [pj for pj in wanted if pj is not None]
        assert layer["energy_pj"]["best"] == pytest.approx(
            [len(known) > 1 and pj is not None and pj == min(known) for pj in wanted]
        )


def test_results_of_python_compare_as_their_files_do(capsys, texts):
    images = firemesh.images("digits", 1)[0]
    results = [firemesh.run("digits", images, machine=machine).to_dict() for machine in MACHINES]
    found = compare(results, MACHINES)
    assert found.to_dict() == json.loads(printed(capsys, *written(texts), "--json"))
    assert compare([results[0], json.loads(texts["mnf-22nm"])], ["a", "b"]).notes == ()


def test_an_order_of_files_is_an_order_of_columns(capsys, records):
    whole = compare(list(records.values()), list(records)).to_dict()
    for order in itertools.permutations(range(3)):
        names = [list(records)[number] for number in order]
        found = json.loads(
            printed(capsys, *written({name: records[name] for name in names}), "--json")
        )
        assert [run["name"] for run in found["runs"]] == names

        def moved(row, order=order):
            return [row[number] for number in order]

        for section in ("totals", "energy_pj"):
            for name, row in whole[section].items():
                values = moved(row["values"])
                assert found[section][name]["values"] == values
                assert found[section][name]["ratios"] == pytest.approx(list(ratios(tuple(values))))
        assert found["slots"] == {cause: moved(row) for cause, row in whole["slots"].items()}
        assert [layer["name"] for layer in found["layers"]] == [
            layer["name"] for layer in whole["layers"]
        ]
        for layer, first in zip(found["layers"], whole["layers"], strict=True):
            assert layer["modes"] == moved(first["modes"])
            for quantity in ("cycles", "energy_pj"):
                for field in ("values", "best"):
                    assert layer[quantity][field] == moved(first[quantity][field])


# Names of columns


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.json", "runs/b.json"], ["a", "b"]),
        (["x/a.json", "y/a.json", "b.json"], ["x/a", "y/a", "b"]),
        (["x/1/a.json", "y/1/a.json"], ["x/1/a", "y/1/a"]),
        (["a.json", "a.txt"], ["a.json", "a.txt"]),
        (["a.json", "a.json", "./a.json"], ["a", "a (2)", "a (3)"]),
        (["x/a.json", "x/../x/a.json", "y/a.json"], ["x/a", "x/a (2)", "y/a"]),
        (["mnf-22nm.v2.json", "mnf-22nm.json"], ["mnf-22nm.v2", "mnf-22nm"]),
        ([".json", "a"], [".json", "a"]),
    ],
)
def test_a_column_is_named_by_stem_or_the_shortest_path_that_tells_it(paths, names):
    assert column_names([Path(path) for path in paths]) == names


def test_a_file_in_the_parent_folder_is_told_from_one_below_it(tmp_path):
    (above, below) = column_names([Path("a.json"), Path("x/a.json")])
    assert (above, below) == (f"{tmp_path.name}/a", "x/a")


def test_a_run_beside_itself_has_ratios_of_one_and_no_winner(capsys, records):
    (path,) = written({"a": records["mnf-22nm"]})
    found = json.loads(printed(capsys, path, path, "--json"))
    assert [run["name"] for run in found["runs"]] == ["a", "a (2)"]
    every = [*found["totals"].values(), *found["energy_pj"].values(),
             *(layer["cycles"] for layer in found["layers"])]  # fmt: skip
    assert all(row["ratios"] in ([1.0, 1.0], [None, None]) for row in every)
    assert not any(any(layer["cycles"]["best"]) for layer in found["layers"])
    assert found["notes"] == []


# What to know


def notes(*records):
    found = compare(records, [f"r{number}" for number in range(len(records))])
    return dict(found.notes)


def test_energies_of_different_tables_are_flagged_under_the_totals(capsys, records):
    out = printed(capsys, *written(records), "--by", "energy")
    told = (
        "Energies, EDP and power do not compare: they are priced by mnf-table5 (mnf-22nm, "
        "mnf-tiny) and eyeriss (other)."
    )
    first, second = (match.start() for match in re.finditer(re.escape(told), out))
    assert out.index("power, mW") < first < out.index("Multiplier slots") < second
    assert out.index("Layers, ") < second
    assert printed(capsys, *written(records)).count(told) == 1
    assert "Energies" not in printed(capsys, "mnf-22nm.json", "mnf-tiny.json")


def test_clocks_that_differ_are_told_under_cycles_only(capsys, records):
    paths = written({name: records[name] for name in MACHINES})
    told = "Clocks differ: fewer cycles need not be less time; see frames/s."
    out = printed(capsys, *paths)
    assert out.index("Layers, ") < out.index(told)
    assert told not in printed(capsys, *paths, "--by", "energy")
    records["mnf-tiny"]["machine"]["clock_hz"] = records["mnf-22nm"]["machine"]["clock_hz"]
    assert "cycles" not in notes(records["mnf-22nm"], records["mnf-tiny"])


def test_layers_that_some_run_lacks_are_told(capsys, records):
    told = "Some runs lack layers (a dash): pools in the layer before, conversions.\n"
    assert told in printed(capsys, *written(records), "--layers", "1")
    assert told not in printed(capsys, "mnf-22nm.json", "mnf-tiny.json")


def test_numbers_of_frames_that_differ_are_told(records):
    told = "Numbers of frames differ: each run tells the mean of its own."
    assert notes(records["mnf-22nm"], records["other"])["frames"] == told
    assert "frames" not in notes(records["mnf-22nm"], records["mnf-tiny"])


def test_fields_of_a_machine_of_the_same_name_are_told_where_they_differ(records):
    a, b = records["mnf-22nm"], copy.deepcopy(records["mnf-22nm"])
    b["machine"]["sources"]["threshold"] = "another"
    b["machine"]["newer"] = 1
    assert notes(a, b) == {}
    b["machine"]["pe"]["fire_lanes"] = 3
    assert notes(a, b) == {"machine": "mnf-22nm of r1 is not r0's: pe.fire_lanes=3 instead of 1."}
    assert notes(records["mnf-tiny"], a, b)["machine"].startswith("mnf-22nm of r2 is not r1's: ")
    b["machine"]["noc"]["router"] = {"vcs": 2}
    b["machine"]["mesh"]["width"] = 6
    b["machine"]["threshold"] = 1
    assert notes(a, b)["machine"].endswith(" and 1 more.")
    b["machine"] = a["machine"] | {"noc": a["machine"]["noc"] | {"router": {"vcs": 2}}}
    assert notes(a, b)["machine"] == "mnf-22nm of r1 is not r0's: noc.router."


def test_outputs_that_differ_are_told_for_the_frames_that_both_have(records):
    a, b = records["mnf-22nm"], records["other"]
    assert "outputs" not in notes(a, b)
    b["outputs"][1][0] += 1
    assert "outputs" not in notes(a, b)
    b["outputs"][0][0] += 1
    assert notes(a, b)["outputs"] == (
        "r1 has other outputs than r0: its frames are others, or one of the machines has a "
        "threshold."
    )


# Terminals


@pytest.mark.parametrize("columns", [80, 120])
def test_runs_that_do_not_fit_go_into_tables_that_follow(capsys, monkeypatch, records, columns):
    long = {"a-name-that-is-wider-than-its-column-and-would-push-out-others": records["mnf-tiny"]}
    many = records | long | {f"run{number}": records["other"] for number in range(4)}
    paths = written(many)
    whole = layers(printed(capsys, *written(records)))
    monkeypatch.setenv("COLUMNS", str(columns))
    out = printed(capsys, *paths)
    assert max(map(len, out.splitlines())) <= columns and "…" not in out
    assert "\x1b" not in out
    for title in ("Totals", "Layers, cycles a frame, * fewest"):
        assert out.count(f"{title}\n") == 1
        assert f"{title} (continued)\n" in out
    fc2 = [line for line in out.splitlines() if line.startswith(" fc2 ")]
    cells = [word.strip("*") for line in fc2 for word in line.split()[1::3]]
    single = [cell[0] for cell in whole["fc2"]]
    assert [cell.replace(",", "") for cell in cells] == [*single, single[1], *[single[2]] * 4]
    assert len(fc2) == out.count("Layers, ")


def test_long_names_of_layers_are_folded(capsys, monkeypatch, records):
    name = "/features/features.0/Conv_output_0_QuantizeLinear_Output of block-7 to events"
    for record in records.values():
        record["layers"][0]["name"] = name
    paths = written(records)
    monkeypatch.setenv("COLUMNS", "80")
    out = printed(capsys, *paths)
    assert max(map(len, out.splitlines())) <= 80 and "…" not in out
    (first, last) = (out.index(" /features"), out.index(" conv2 "))
    pieces = [re.split(" {2,}", line[1:])[0] for line in out[first:last].splitlines()]
    assert "".join("".join(pieces).split()).startswith(name.replace(" ", ""))


def test_digits_on_three_machines_fits_a_terminal_of_80_columns(capsys, monkeypatch, records):
    monkeypatch.setenv("COLUMNS", "80")
    out = printed(capsys, *written(records))
    assert max(map(len, out.splitlines())) <= 80 and "continued" not in out and "…" not in out


def test_a_run_of_no_cycles_and_no_layers_has_dashes(capsys, records):
    empty = records["mnf-22nm"] | {"cycles": 0, "layers": [], "fps": 0.0, "power_mw": 0.0}
    empty["slots"] = dict.fromkeys(empty["slots"], 0)
    empty["energy_pj"] = dict.fromkeys(empty["energy_pj"], 0.0)
    paths = written({"a": empty, "b": empty, "c": records["mnf-tiny"]})
    found = totals(printed(capsys, *paths))
    assert found["cycles a frame"] == (["0", "0", "7033"], ["-", "-", "-"])
    assert found["multipliers"] == (["-", "-", "18"], ["-", "-", "-"])
    out = printed(capsys, *paths[:2])
    assert "Multiplier slots" not in out
    assert layers(out) == {"all": [("0", "", "-", False), ("0", "", "-", False)]}
    json.loads(printed(capsys, *paths, "--json"))


# Mistakes


@pytest.mark.parametrize("given", [[], ["a.json"]])
def test_fewer_than_two_files_are_refused(capsys, records, given):
    written({"a": records["mnf-22nm"]})
    assert refused(capsys, *given) == (
        f"compare: takes two results or more, got {len(given)}; "
        "firemesh run MODEL --json > FILE.json makes one"
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.json", None, f"gone.json: cannot be read (No such file or directory); {MAKE}"),
        (".", None, f".: cannot be read (Is a directory); {MAKE}"),
        ("b.json", b"", f"b.json, line 1: is not JSON; {MAKE}"),
        ("b.json", b'{\n "schema": "fir', f"b.json, line 2: is not JSON; {MAKE}"),
        ("b.json", b"\x89HDF\r\n\x1a\n\x00\xff", f"b.json: is not JSON; {MAKE}"),
        ("b.json", b"[" * 100000, f"b.json: is not JSON; {MAKE}"),
        ("b.json", b"1" * 5000, f"b.json: is not JSON; {MAKE}"),
        ("b.json", b"[]", f"b.json: is no result of a run but JSON without a schema; {MAKE}"),
        ("b.json", b"null", f"b.json: is no result of a run but JSON without a schema; {MAKE}"),
        ("b.json", b"{}", f"b.json: is no result of a run but JSON without a schema; {MAKE}"),
        (
            "b.json",
            b'{"schema": "firemesh-comparison"}',
            f"b.json: is no result of a run but JSON of schema firemesh-comparison; {MAKE}",
        ),
    ],
)
def test_a_file_that_is_no_result_is_one_sentence(capsys, records, name, content, sentence):
    written({"a": records["mnf-22nm"]})
    if content is not None:
        Path(name).write_bytes(content)
    assert refused(capsys, "a.json", name) == sentence
    assert refused(capsys, name, "a.json") == sentence


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_shells_that_write_a_mark_or_utf_16_are_read(capsys, texts, encoding):
    written(texts)
    Path("b.json").write_text(texts["mnf-tiny"], encoding)
    printed(capsys, "mnf-22nm.json", "b.json")


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1]])
def test_a_result_of_an_unknown_version_is_refused(capsys, records, version):
    b = records["mnf-tiny"] | {"schema_version": version}
    assert refused(capsys, *written({"a": records["mnf-22nm"], "b": b})) == (
        f"b.json: schema_version: must be 1, got {version!r}; make it anew with this firemesh"
    )


def test_runs_of_different_networks_are_refused_with_both_names(capsys, records):
    b = records["mnf-tiny"] | {"network": "lenet5", "network_digest": "0" * 64}
    assert refused(capsys, *written({"a": records["mnf-22nm"], "b": b})) == (
        "b.json: is a run of lenet5, a.json one of digits, whose layers are others; "
        "compare runs of one network"
    )


def test_another_network_of_the_same_name_is_refused_as_that(capsys, records):
    a = records["mnf-22nm"]
    b = records["mnf-tiny"] | {"network_digest": "0" * 64}
    assert refused(capsys, *written({"a": a, "b": b})) == (
        "b.json: is a run of another network of the same name, digits, than a.json (digests "
        f"000000000000 and {a['network_digest'][:12]}); run both with the same model, layers, "
        "weights and seed"
    )


def test_no_frames_are_refused(capsys, records):
    b = records["mnf-tiny"] | {"frames": 0}
    assert refused(capsys, *written({"a": records["mnf-22nm"], "b": b})) == (
        "b.json: frames: must be 1 or more, got 0; run it with --frames 1"
    )


READ = [
    ("network",), ("network_digest",), ("mode",), ("frames",), ("cycles",), ("load_cycles",),
    ("dram_bytes",), ("fps",), ("utilization",), ("power_mw",), ("slots",), ("slots", "executed"),
    ("energy_pj",), ("energy_pj", "MAC"), ("layers",), ("layers", 1), ("layers", 1, "name"),
    ("layers", 1, "mode"), ("layers", 1, "cycles"), ("layers", 1, "mac_pj"), ("outputs",),
    ("machine",), ("machine", "name"), ("machine", "clock_hz"), ("machine", "energy"),
]  # fmt: skip
NOT_NEEDED = {("slots", "executed"), ("energy_pj", "MAC"), ("layers", 1), ("layers", 1, "mac_pj")}
ODD = [None, "x", True, -1, -1e308, math.nan, math.inf, 1e308, 5e-324, 10**400, 2**62, 0, 1.5,
       [], {}, [1], {"x": 1}]  # fmt: skip


def changed(record, path, value):
    changed = copy.deepcopy(record)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def without(record, path):
    cut = copy.deepcopy(record)
    place = cut
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return cut


@pytest.mark.parametrize("path", READ, ids=lambda path: ".".join(map(str, path)))
def test_a_key_that_is_missing_or_odd_is_one_sentence_that_names_it(capsys, records, path):
    where = ".".join(map(str, path))
    a, b = records["mnf-22nm"], records["mnf-tiny"]
    if path not in NOT_NEEDED:
        paths = written({"a": a, "b": without(b, path)})
        assert refused(capsys, *paths) == f"b.json: {where}: is missing; {DAMAGED}"
    is_refused = False
    for value in ODD:
        paths = written({"a": a, "b": changed(b, path, value)})
        for arguments in (paths, [*paths[::-1], "--json"]):
            code, out, err = ended(capsys, *arguments)
            if code == 0:
                assert err == "" and not re.search(r"\b(nan|inf|nanx|infx)\b", out, re.IGNORECASE)
                continue
            is_refused = True
            assert (code, out, err.count("\n")) == (2, "", 1)
            is_digest_or_name = "another network" in err or "whose layers" in err
            is_no_frame = err == "firemesh: b.json: frames: must be 1 or more, got 0; " \
                "run it with --frames 1\n"  # fmt: skip
            is_damage = err.startswith(f"firemesh: b.json: {where}") and err.endswith(
                f"; {DAMAGED}\n"
            )
            assert is_digest_or_name or is_no_frame or is_damage, (value, err)
    assert is_refused


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("cycles",), 1.5, "must be a valid integer, got 1.5"),
        (("cycles",), -1, "must be greater than or equal to 0, got -1"),
        (("cycles",), 2**63, f"must be a number that a run can have, got {2**63}"),
        (("fps",), math.nan, "must be a finite number, got nan"),
        (("fps",), 1e300, "must be a number that a run can have, got 1e+300"),
        (("layers", 0, "mac_pj"), "x", "must be a valid number, got 'x'"),
        (("layers", 0), 3, "must be a mapping, got 3"),
        (("layers", 0), {"name": "a", "mode": "mnf", "cycles": 3},
         "is without energies (keys that end in _pj)"),
        (("slots",), [], "must be a mapping, got list"),
        (("machine",), 0, "must be a mapping, got 0"),
    ],
)  # fmt: skip
def test_damage_is_told_by_key_rule_and_value(capsys, records, path, value, told):
    b = changed(records["mnf-tiny"], path, value)
    where = ".".join(map(str, path))
    assert refused(capsys, *written({"a": records["mnf-22nm"], "b": b})) == (
        f"b.json: {where}: {told}; {DAMAGED}"
    )


def test_a_layer_that_is_there_twice_is_refused(capsys, records):
    b = records["mnf-tiny"]
    b["layers"][2]["name"] = "conv1"
    assert refused(capsys, *written({"a": records["mnf-22nm"], "b": b})) == (
        f"b.json: layers: two are named conv1; {DAMAGED}"
    )


def test_lists_without_end_are_refused(records):
    deep = []
    for _ in range(100000):
        deep = [deep]
    with pytest.raises(ComparisonError, match="^a, b: lists within lists; the file is damaged"):
        compare([records["mnf-22nm"], records["mnf-tiny"] | {"outputs": [deep]}], ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layers", "0"], "--layers: must be all or a number from 1, got 0"),
        (["--layers", "-1"], "--layers: must be all or a number from 1, got -1"),
        (["--layers", "²"], "--layers: must be all or a number from 1, got ²"),
        (["--layers", "conv"], "--layers: must be all or a number from 1, got conv"),
    ],
)
def test_options_are_checked_before_files(capsys, arguments, sentence):
    assert refused(capsys, "gone.json", *arguments) == sentence


def test_an_unknown_quantity_is_refused_with_those_that_there_are(capsys):
    assert re.fullmatch(
        "invalid value for '--by': .*'cycles', 'energy'; see firemesh compare --help",
        refused(capsys, "a.json", "b.json", "--by", "time"),
    )
