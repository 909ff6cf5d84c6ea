"""``firemesh formats``: sizes of real tensors, the same from Python, mistakes told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import firemesh
from firemesh.emulator.cli import main
from firemesh.emulator.emulation import Emulation
from firemesh.emulator.formats import TensorSizes, total
from firemesh.emulator.shape import conv_shape
from firemesh.emulator.tables import formats_table
from firemesh.encoders.bits import event_fields
from firemesh.encoders.sizes import FORMATS
from firemesh.models.network import MaxPool, ModelError, Network, Tensor
from firemesh.models.zoo import ZOO


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["formats", *arguments])
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
    assert err.count("\n") == 1
    return err.removeprefix("firemesh: ").strip()


def rows_of(out):
    """Return the cells of each row of each table, by layer."""
    tables = [[]]
    for line in out.splitlines():
        if "─" in line:
            tables.append([])
        elif line.strip():
            tables[-1].append(line.split())
    return [{cells[0]: cells[1:] for cells in table if len(cells) > 5} for table in tables[1:]]


def test_rows_are_the_layers_and_their_sum_with_a_star_at_the_smallest(capsys):
    out = printed(capsys, "digits", "--frames", "3")
    assert out.splitlines()[0] == (
        "digits: activations that layers read, bits per value, mean of 3 frames"
    )
    (table,) = rows_of(out)
    assert list(table) == ["conv1", "conv2", "fc1", "fc2", "all"]
    found = firemesh.formats("digits", firemesh.images("digits", 3)[0])
    for row in [*found, total(found)]:
        cells = table[row.layer]
        assert cells[: len(cells) - len(FORMATS) - 1] == (
            ["x".join(map(str, row.shape))] if row.shape else []
        )
        assert cells[-len(FORMATS) - 1] == f"{row.density:.2f}"
        assert [float(cell.strip("*")) for cell in cells[-len(FORMATS) :]] == pytest.approx(
            [row.bits[name] / row.values for name in FORMATS], rel=5e-3, abs=5e-3
        )
        stars = {
            name
            for name, c in zip(FORMATS, cells[-len(FORMATS) :], strict=True)
            if c.startswith("*")
        }
        least = min(row.bits.values())
        assert stars == {name for name in FORMATS if row.bits[name] == least}


def test_totals_are_whole_tensors_in_si_words(capsys):
    out = printed(capsys, "digits", "--frames", "1", "--total")
    assert "activations that layers read, bits, 1 frame\n" in out
    line = next(line for line in out.splitlines() if line.split()[:1] == ["conv2"])
    assert line.split()[1] == "16x4x4" and " *2.048 kb " in line
    assert next(line for line in out.splitlines() if "all" in line).split()[2:4] == ["4.096", "kb"]


def test_formats_of_the_same_size_share_the_star():
    bits = {"dense": 64.0, "coo": 80.0, "bitmap": 64.0}
    row = TensorSizes("conv1", "x", (1, 2, 4), 8, 0.875, bits)
    page = Console(width=80)
    with page.capture() as shown:
        page.print(formats_table("title", [row], False))
    (table,) = rows_of(shown.get())
    assert table == {"conv1": ["1x2x4", "0.88", "*8.00", "10.0", "*8.00"]}


def test_a_table_of_digits_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = printed(capsys, "digits", "--weights")
    assert max(map(len, out.splitlines())) <= 80 and "…" not in out


def test_json_holds_what_python_returns(capsys):
    found = json.loads(printed(capsys, "digits-pruned", "--frames", "2", "--weights", "--json"))
    network = firemesh.load("digits-pruned")
    images = firemesh.images("digits-pruned", 2)[0]
    assert found == {
        "network": "digits-pruned",
        "network_digest": network.digest,
        "frames": 2,
        "activations": [row.to_dict() for row in firemesh.formats(network, images)],
        "weights": [row.to_dict() for row in firemesh.formats(network, weights=True)],
    }


def test_densities_and_events_are_those_of_a_run():
    network = firemesh.load("digits")
    images = firemesh.images("digits", 3)[0]
    rows = firemesh.formats(network, images)
    result = firemesh.run(network, images)
    assert [row.density for row in rows] == pytest.approx([r.density for r in result.layers])
    layers = {layer.name: layer for layer in network.layers}
    for row, counted in zip(rows, result.layers, strict=True):
        layer = layers[row.layer]
        ends = (network.tensors[name] for name in (layer.inputs[0], layer.output))
        shape = conv_shape(layer, *ends)
        fields = event_fields((shape.channels, shape.height, shape.width), shape.window)
        assert row.bits["event_full"] * 3 == pytest.approx(counted.events * sum(fields.values()))


def test_sizes_are_the_means_over_frames():
    network = firemesh.load("digits")
    images = firemesh.images("digits", 5)[0]
    singles = [firemesh.formats(network, images[i : i + 1]) for i in range(5)]
    for row, *each in zip(firemesh.formats(network, images), *singles, strict=True):
        assert row.density == pytest.approx(np.mean([one.density for one in each]))
        for name, bits in row.bits.items():
            assert bits == pytest.approx(np.mean([one.bits[name] for one in each]))


def test_the_sum_is_that_of_the_bits_and_knows_only_what_all_know():
    rows = firemesh.formats("digits", firemesh.images("digits", 2)[0])
    kernels = firemesh.formats("digits", weights=True)
    assert "event_full" not in kernels[0].bits
    both = total([rows[0], kernels[0]])
    assert both.values == rows[0].values + kernels[0].values
    assert both.bits == {
        name: rows[0].bits[name] + kernels[0].bits[name] for name in kernels[0].bits
    }
    entries = rows[0].density * rows[0].values + kernels[0].density * kernels[0].values
    assert both.density == pytest.approx(entries / both.values)


def test_weights_are_the_networks_and_pruned_rows_are_no_entries(capsys):
    _, table = rows_of(printed(capsys, "digits-pruned", "--frames", "1", "--weights"))
    network = firemesh.load("digits-pruned")
    rows = {row.layer: row for row in firemesh.formats(network, weights=True)}
    for layer in network.layers:
        if layer.name in rows:
            weight, row = layer.weight, rows[layer.name]
            points = layer.weight_zero_point.reshape(-1, *[1] * (weight.ndim - 1))
            assert row.shape == weight.shape and row.tensor == "weight"
            assert row.density == (weight != points).mean()
            assert row.bits["bitmap"] == weight.size + 8 * (weight != points).sum()
            assert table[layer.name][1] == f"{row.density:.2f}"


def test_weights_are_entries_where_they_differ_from_the_zero_point_of_their_filter():
    net = firemesh.load("digits-pruned")
    conv = next(layer for layer in net.layers if layer.name == "conv2")
    points = np.arange(len(conv.weight), dtype=np.int32) + 100
    shifted = np.clip(conv.weight.astype(int) + points[:, None, None, None], 0, 255)
    moved = replace(conv, weight=shifted.astype(np.uint8), weight_zero_point=points)
    layers = tuple(moved if layer is conv else layer for layer in net.layers)
    other = Network("moved", layers, net.tensors, net.inputs, net.outputs)
    assert (conv.weight_zero_point == 0).all()
    assert firemesh.formats(other, weights=True) == firemesh.formats(net, weights=True)


def test_progress_counts_the_frames():
    begun = []
    firemesh.formats("digits", firemesh.images("digits", 3)[0], progress=begun.append)
    assert begun == [0, 1, 2]


def test_nothing_is_emulated(capsys, monkeypatch):
    monkeypatch.setattr(Emulation, "frames", None)
    printed(capsys, "digits", "--frames", "1")


def test_frames_come_from_a_file(capsys):
    images = firemesh.images("digits", 4)[0]
    np.save("frames.npy", images[2:])
    found = json.loads(printed(capsys, "digits", "--input", "frames.npy", "--json"))
    rows = firemesh.formats("digits", images[2:])
    assert found["frames"] == 2
    assert found["activations"] == [row.to_dict() for row in rows]


def test_without_frames_the_images_of_the_zoo_are_taken():
    network = firemesh.load("digits")
    everything = firemesh.formats(network, firemesh.images("digits")[0])
    assert firemesh.formats("digits") == everything


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "missing argument 'MODEL'; see firemesh formats --help"),
        (
            ["digits", "--input"],
            "option '--input' requires an argument; see firemesh --help",
        ),
        (
            ["lenet"],
            "lenet: no network of this name and no such file; known networks: "
            f"{', '.join(ZOO)}; or give the path of an ONNX file",
        ),
        (
            ["digits", "--frames", "361"],
            "--frames: must be all or 1..360 (360 frames in digits), got 361",
        ),
        (
            ["digits", "--input", "none.npy"],
            "none.npy: cannot be read (No such file or directory); give a .npy or .npz file",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(capsys, arguments, sentence):
    assert refused(capsys, *arguments) == sentence


def test_frames_of_another_shape_and_networks_without_images_are_refused(capsys):
    np.save("frames.npy", np.zeros((2, 3)))
    assert refused(capsys, "digits", "--input", "frames.npy").startswith(
        "frames.npy: must have shape frames x 1 x 8 x 8 for network digits, got 2 x 3"
    )
    digits = firemesh.load("digits")
    mine = Network("mine", digits.layers, digits.tensors, digits.inputs, digits.outputs)
    with pytest.raises(ModelError, match="^images: network mine brings none; pass an array"):
        firemesh.formats(mine)
    Path("mine.onnx").write_bytes(b"hello")
    assert "must be an ONNX file" in refused(capsys, "mine.onnx")


def test_a_network_without_weighted_layers_is_refused():
    tensors = {name: Tensor(name, (1, 4, 4), "int8", 1.0, 0) for name in ("x", "y")}
    pool = MaxPool("pool", ("x",), "y", (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    network = Network("pools", (pool,), tensors, ("x",), ("y",))
    with pytest.raises(ModelError, match="^network pools: has no Conv or Linear layer; "):
        firemesh.formats(network, np.zeros((1, 1, 4, 4), np.int8))
