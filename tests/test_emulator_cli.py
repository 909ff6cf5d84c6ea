"""The command line: one sentence for each mistake, the same result as the API, Ctrl-C."""

import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

import firemesh
from firemesh.emulator import check
from firemesh.emulator.cli import main
from firemesh.emulator.emulation import Emulation
from firemesh.emulator.layer_result import LayerResult
from firemesh.emulator.machine import preset_text, presets
from firemesh.emulator.tables import FLEXNN
from firemesh.models import zoo

DIGITS = (zoo.DATA / zoo.ZOO["digits"].file).read_bytes()
PRESET = preset_text("mnf-22nm")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def ended(capsys, *arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    try:
        main(list(arguments))
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr())


def refused(capsys, *arguments):
    """Return the one sentence with which a mistake is refused."""
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("firemesh: ") and err.endswith("\n")
    assert err.count("\n") == 1 and "Traceback" not in err
    return err.removeprefix("firemesh: ").strip()


def printed(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, err) == (0, "")
    return out


def result_of(capsys, *arguments):
    return json.loads(printed(capsys, "run", *arguments, "--json"))


# Arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "missing argument 'MODEL'; see firemesh run --help"),
        (["nope"], "no such command 'nope'; see firemesh --help"),
        (["machines", "nope"], "no such command 'nope'; see firemesh machines --help"),
        (["models", "show"], "missing argument 'MODEL'; see firemesh models show --help"),
        (["--nope"], "no such option: --nope; see firemesh --help"),
        (["run", "digits", "--nope"], "no such option: --nope.*; see firemesh run --help"),
        (["run", "digits", "more"], r"got unexpected extra argument.*more.*run --help"),
        (["run", "digits", "--set"], "option '--set' requires an argument; see firemesh"),
        (["run", "digits", "--check=3"], "option '--check' does not take a value; see firemesh"),
        (
            ["run", "digits", "--mode", "nope"],
            "mode: must be one of mnf, flexnn, auto or a YAML file .* got 'nope'",
        ),
        (
            ["run", "lenet"],
            "lenet: no network .* googlenet; or give the path of an ONNX file",
        ),
        (
            ["models", "show", "lenet"],
            "lenet: no network .* googlenet; or give the path of an ONNX file",
        ),
        (["run", "x" * 5000], "no network of this name and no such file"),
        (["machines", "show", "x"], "^x: no machine of this name .* known machines: eyeriss-168"),
        (["run", "digits", "--machine", "x"], "^x: no machine of this name and no such file"),
        (["run", "digits", "--machine", "x" * 5000], "xx: no machine of this name"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_sentence_that_says_where_to_look(capsys, arguments, sentence):
    assert re.search(sentence, refused(capsys, *arguments))


@pytest.mark.parametrize(
    "count", ["0", "-1", "abc", "1e9", "361", "", "1.5", "²", "+1", "ALL", "9" * 30, "9" * 5000]
)
def test_a_number_of_frames_that_there_is_not_is_refused_with_the_range(capsys, count):
    sentence = refused(capsys, "run", "digits", "--frames", count)
    assert (
        sentence == f"--frames: must be all or 1..360 (360 frames in digits), got {count}".strip()
    )


# Networks


def float_model(op, constants=(), domain=None):
    shapes = {name: [None, 1, 8, 8] for name in "xy"}
    x, y = (
        helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in shapes.items()
    )
    names = [constant.name for constant in constants]
    node = helper.make_node(op, ["x", *names], ["y"], "node", domain=domain)
    graph = helper.make_graph([node], "graph", [x], [y], list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain or "other", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model.SerializeToString()


def edited(edit):
    model = onnx.load_from_string(DIGITS)
    edit(model.graph)
    return model.SerializeToString()


def transpose_convolutions(graph):
    for node in graph.node:
        if node.op_type == "Conv":
            node.op_type = "ConvTranspose"


def resize_input(axis, size):
    def edit(graph):
        dimension = graph.input[0].type.tensor_type.shape.dim[axis]
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size

    return edit


def cut_constant(graph):
    graph.initializer[0].raw_data = graph.initializer[0].raw_data[:-1]


ONES = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "ones")
NETWORKS = {
    "text": (b"hello world", "must be an ONNX file, got something else"),
    "truncated": (DIGITS[: len(DIGITS) // 2], "must be an ONNX file, got .* truncated"),
    "last byte missing": (DIGITS[:-1], "must be an ONNX file, got .* truncated"),
    "empty": (b"", "must be an ONNX file, got an empty file; export it again"),
    "float": (float_model("Conv", [ONES]), "must be a quantised model, got float.*quantise it"),
    "unknown operator": (
        edited(transpose_convolutions),
        r"node 'conv1' \(ConvTranspose\): this operator is not supported; supported are Add, ",
    ),
    "other domain": (float_model("Foo", domain="other"), "must be a quantised model"),
    "empty batch": (edited(resize_input(0, 0)), r"first axis for the batch.*, 1, 8, 8\]; export"),
    "open size": (edited(resize_input(2, "h")), "must have a known shape .*fixed sizes"),
    "short constant": (edited(cut_constant), "must be a well-formed ONNX model.*export it again"),
    "other shape": (
        edited(resize_input(2, 9)),
        "brings no images; give frames x 1 x 9 x 8 with --input FILE.npy",
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_that_cannot_be_used_is_refused_with_file_and_remedy(capsys, kind):
    content, sentence = NETWORKS[kind]
    Path("net.onnx").write_bytes(content)
    found = refused(capsys, "run", "net.onnx")
    assert found.startswith("net") and re.search(sentence, found)


def test_a_missing_network_and_a_folder_are_refused(capsys):
    Path("folder.onnx").mkdir()
    assert "got nothing: there is no such file" in refused(capsys, "run", "none.onnx")
    assert "got a folder; name the file in it" in refused(capsys, "run", "folder.onnx")


def test_another_network_with_the_name_of_one_of_the_zoo_gets_neither_images_nor_accuracy(capsys):
    Path("digits.onnx").write_bytes(NETWORKS["other shape"][0])
    assert "digits: brings no images" in refused(capsys, "run", "digits.onnx")
    assert "accuracy" not in printed(capsys, "models", "show", "digits.onnx")


def test_a_network_of_the_zoo_given_by_path_is_that_of_the_zoo(capsys):
    Path("digits.onnx").write_bytes(DIGITS)
    by_path = result_of(capsys, "digits.onnx", "--frames", "2")
    assert by_path == result_of(capsys, "digits", "--frames", "2")
    assert by_path["accuracy"] == 1.0


def test_a_file_that_may_not_be_read_is_refused_with_the_reason(capsys, monkeypatch):
    def deny(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", "file")

    Path("net.onnx").write_bytes(DIGITS)
    Path("machine.yaml").write_text(PRESET)
    np.save("frames.npy", np.zeros((1, 1, 8, 8)))
    monkeypatch.setattr(np, "load", deny)
    sentence = refused(capsys, "run", "digits", "--input", "frames.npy")
    assert sentence == "frames.npy: cannot be read (Permission denied); give a .npy or .npz file"
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "net.onnx: must be readable, got: Permission denied" in refused(
        capsys, "run", "net.onnx"
    )
    read_text = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda p, *a: deny() if p.name == "machine.yaml" else read_text(p, *a)
    )
    sentence = refused(capsys, "machines", "show", "machine.yaml")
    assert sentence == "machine.yaml: cannot be read (Permission denied); give a YAML file"


# Frames

FRAMES = zoo.images("digits", 2)[0]


def frames_with(value):
    frames = FRAMES.copy()
    frames[1, 0, 3, 3] = value
    return frames


ARRAYS = {
    "shape": (FRAMES[:, :, :7], "must have shape frames x 1 x 8 x 8 .*, got 2 x 1 x 7 x 8"),
    "rank below": (FRAMES[0, 0], "must have shape frames x 1 x 8 x 8 .*, got 8 x 8"),
    "rank above": (FRAMES[None], "must have shape frames x .*, got 1 x 2 x 1 x 8 x 8"),
    "no frames": (FRAMES[:0], "must have shape frames x .*, got 0 x 1 x 8 x 8"),
    "nothing": (np.zeros(0), "must have shape frames x .*, got 0$"),
    "one number": (np.float32(3), "must have shape frames x .*, got a single value"),
    "strings": (FRAMES.astype(str), "must hold numbers, got <U32; convert to float32"),
    "bytes": (FRAMES.astype("S3"), "must hold numbers, got .S3; convert to float32"),
    "complex": (FRAMES.astype(complex), "must hold numbers, got complex128"),
    "dates": (np.zeros(FRAMES.shape, "M8[s]"), "must hold numbers, got datetime64"),
    "records": (np.zeros(FRAMES.shape, [("a", "f4")]), "must hold numbers, got"),
    "nan": (frames_with(np.nan), "must be finite in float32, got NaN or infinity; replace"),
    "infinity": (frames_with(-np.inf), "must be finite in float32"),
    "beyond float32": (frames_with(0).astype(float) + 1e300, "must be finite in float32"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_that_does_not_fit_is_refused_with_what_is_wanted_and_given(capsys, kind):
    array, sentence = ARRAYS[kind]
    np.save("frames.npy", array)
    found = refused(capsys, "run", "digits", "--input", "frames.npy")
    assert found.startswith("frames.npy: ") and re.search(sentence, found)


def npy(header, data=b""):
    """Return a .npy file with a header of one's own."""
    text = (header + " " * (117 - len(header)) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def npz(**members):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def damaged(path):
    np.savez_compressed(path, images=FRAMES)
    content = bytearray(Path(path).read_bytes())
    content[60:90] = bytes(30)
    Path(path).write_bytes(content)


def cut_in_half(path):
    np.savez(path, images=FRAMES)
    Path(path).write_bytes(Path(path).read_bytes()[:300])


INCOMPLETE = r"is not a complete .npy or .npz file of numbers; save it with numpy.save"
SHAPE = "'fortran_order': False, 'shape': (2, 1, 8, 8)"
FILES = {
    "missing": (lambda path: None, "cannot be read .No such file or directory.; give a .npy"),
    "folder": (lambda path: Path(path).mkdir(), "cannot be read .Is a directory.; give a .npy"),
    "empty": (b"", INCOMPLETE),
    "text": (b"hello", INCOMPLETE),
    "pickle": (pickle.dumps(FRAMES), INCOMPLETE),
    "pickled objects": (lambda path: np.save(path, FRAMES.astype(object)), INCOMPLETE),
    "data missing": (npy("{'descr': '<f4', " + SHAPE + "}", bytes(100)), INCOMPLETE),
    "header cut": (npy("")[:20], INCOMPLETE),
    "header open": (npy("{'descr': '<f4', " + SHAPE), INCOMPLETE),
    "unknown type": (npy("{'descr': '|Q9', " + SHAPE + "}"), INCOMPLETE),
    "larger than memory": (
        npy("{'descr': '<f4', " + SHAPE.replace("2,", "10**0, ").replace("10**0", "9" * 14) + "}"),
        "needs more memory than there is; give a file with fewer frames",
    ),
    "archive without arrays": (lambda path: np.savez(path), "holds no arrays; name the frames'"),
    "archive with two": (lambda path: np.savez(path, a=FRAMES, b=FRAMES), "holds a, b; name the"),
    "archive of objects": (lambda p: np.savez(p, images=FRAMES.astype(object)), INCOMPLETE),
    "archive of text": (npz(**{"notes.txt": "hi"}), "notes.txt is not an array; save it with"),
    "archive damaged": (damaged, INCOMPLETE),
    "archive cut": (cut_in_half, INCOMPLETE),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_without_frames_is_refused_with_its_name(capsys, kind):
    content, sentence = FILES[kind]
    name = "frames.npz" if kind.startswith("archive") else "frames.npy"
    if callable(content):
        content(name)
    else:
        Path(name).write_bytes(content)
    found = refused(capsys, "run", "digits", "--input", name)
    assert found.startswith(f"{name}: ") and re.search(sentence, found)


def test_frames_come_from_npy_and_npz_alike(capsys):
    wanted = result_of(capsys, "digits", "--frames", "2")
    np.save("frames.npy", FRAMES)
    np.savez("one.npz", some_name=FRAMES)
    np.savez("more.npz", labels=np.arange(2), images=FRAMES.astype(np.float64))
    np.save("single.npy", FRAMES[0])
    for name in ("frames.npy", "one.npz", "more.npz"):
        found = result_of(capsys, "digits", "--input", name)
        assert found == wanted | {"accuracy": None}
    assert result_of(capsys, "digits", "--input", "single.npy")["outputs"] == wanted["outputs"][:1]
    sentence = refused(capsys, "run", "digits", "--input", "one.npz", "--frames", "3")
    assert sentence == "--frames: must be all or 1..2 (2 frames in one.npz), got 3"


# Machines

BELOW, ABOVE = "must be greater than or equal to", "must be less than or equal to"
SETTINGS = {
    "pe": "^--set pe: must be FIELD=VALUE, such as pe.fire_lanes=3",
    "=3": "^--set =3: must be FIELD=VALUE",
    "": "^--set : must be FIELD=VALUE",
    "pe.=3": "must be FIELD=VALUE",
    "pe..lanes=3": "must be FIELD=VALUE",
    "pe__modules=9": "must be FIELD=VALUE",
    "a b=1": "must be FIELD=VALUE",
    "\n=1": "must be FIELD=VALUE",
    "unknown=1": "^--set on mnf-22nm: unknown: unknown key; known here: name, summary, clock_hz",
    "unknown.field=1": "mnf-22nm: unknown: unknown key; known here: name,",
    "a.b.c.d=1": "mnf-22nm: a: unknown key; known here: name,",
    "self=1": "mnf-22nm: self: unknown key; known here: name,",
    "pe.unknown=1": "mnf-22nm: pe.unknown: unknown key; known here: modules, lanes,",
    "pe.a.b.c=1": "mnf-22nm: pe.a: unknown key; known here: modules,",
    "pe.modules.x=3": "mnf-22nm: pe.modules.x: modules is a value",
    "name.x=3": "mnf-22nm: name.x: name is a value",
    "storage.bytes.x=3": "mnf-22nm: storage.bytes.x: bytes is a value",
    "pe=3": "mnf-22nm: pe: must be a mapping of fields, got 3",
    "mesh=[]": r"mnf-22nm: mesh: must be a mapping of fields, got \[\]",
    "noc=null": "mnf-22nm: noc: must be a mapping of fields, got None",
    "pe={}": "mnf-22nm: pe.modules: missing; add this key",
    "mesh={3: 4}": "mnf-22nm: mesh.width: missing; add this key",
    "pe.fire_lanes=[": r"--set pe.fire_lanes: must be a YAML value, got \[",
    "pe.fire_lanes={a: b: c}": "--set pe.fire_lanes: must be a YAML value",
    "pe.fire_lanes=2020-13-45": "--set pe.fire_lanes: must be a YAML value",
    "pe.fire_lanes=!!python/object:os.system x": "must be a YAML value",
    "pe.fire_lanes=" + "9" * 5000: "--set pe.fire_lanes: must be a YAML value",
    "pe.fire_lanes=": "pe.fire_lanes: must be a valid integer, got None",
    "pe.fire_lanes=abc": "pe.fire_lanes: must be a valid integer, got 'abc'",
    "pe.fire_lanes=1.0": "pe.fire_lanes: must be a valid integer, got 1.0",
    "pe.fire_lanes=true": "pe.fire_lanes: must be a valid integer, got True",
    "pe.fire_lanes='3'": "pe.fire_lanes: must be a valid integer, got '3'",
    "pe.fire_lanes=.inf": "pe.fire_lanes: must be a valid integer, got inf",
    "pe.fire_lanes=2": r"pe.fire_lanes: must be one of 1, 3, 27 .1, L or M\*L., got 2",
    "pe.fire_lanes=-1": f"pe.fire_lanes: {BELOW} 1, got -1",
    f"pe.fire_lanes={10**30}": "pe.fire_lanes: must be one of 1, 3, 27",
    f"pe.event_fifo={10**30}": f"pe.event_fifo: {ABOVE} 65536",
    f"pe.weight_bytes={10**30}": f"pe.weight_bytes: {ABOVE} {2**40}",
    f"pe.psum_bank_bytes={10**30}": f"pe.psum_bank_bytes: {ABOVE} {2**40}",
    f"storage.bytes={10**30}": f"storage.bytes: {ABOVE} {2**40}",
    f"clock_hz={10**400}": f"clock_hz: {ABOVE} {10**12}",
    "clock_hz=0": f"clock_hz: {BELOW} 1",
    "clock_hz=2e8": "clock_hz: must be a valid integer, got '2e8'",
    "threshold=256": f"threshold: {ABOVE} 255",
    "pe.modules=0": f"pe.modules: {BELOW} 1",
    "pe.tile=5x5": "pe.tile: must be 'auto', '3x3', .*, '1x3' or '1x1', got '5x5'",
    "pe.forwarding=1": "pe.forwarding: must be a valid boolean, got 1",
    "pe.weight_bytes=1": "pe.weight_bytes: must hold at least one access of 27 bytes, got 1",
    "noc.multicast=no": "noc.multicast: must be 'tree', 'chain' or 'unicast', got False",
    "noc.router=iq": "noc.router: must be one of simple, P4",
    "name=3": "name: must be a valid string, got 3",
    "sources={3: x}": r"sources.3.*must be a valid string, got 3",
    "mesh.width=0": f"mesh.width: {BELOW} 1, got 0",
    "mesh.width=100000": "mesh: must have 2 to 4096 nodes .*, got 100000 x 3",
    f"mesh.width={10**30}": "mesh: must have 2 to 4096 nodes",
    "mesh={width: 1, height: 1}": "mesh: must have 2 to 4096 nodes .*, got 1 x 1",
    "energy=nope": "energy: must be one of eyeriss, maestro, mnf-calibrated, .*, got 'nope'",
    "energy=3": "energy: must be a valid string, got 3",
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: repr(setting)[:40])
def test_a_wrong_setting_is_refused_with_its_field(capsys, setting):
    found = refused(capsys, "run", "digits", "--frames", "1", "--set", setting)
    assert re.search(SETTINGS[setting], found)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("pe.tile=1x1", "pe.weight_bytes=216"), "layer conv1: .* pe.weight_bytes of at least 243"),
        (("pe.psum_bank_bytes=12",), "layer conv1: .* pe.psum_bank_bytes of at least 36"),
        (("storage.bytes=64",), "network digits: .* set storage.bytes to at least 3584 or to null"),
    ],
)
def test_a_machine_that_is_too_small_is_refused_with_the_size_that_would_do(
    capsys, settings, sentence
):
    options = [part for setting in settings for part in ("--set", setting)]
    assert re.search(sentence, refused(capsys, "run", "digits", *options))


LEAST = {"pe.psum_bank_bytes": (36, 12), "pe.weight_bytes": (243, 1), "storage.bytes": (3584, 8)}


@pytest.mark.parametrize("field", LEAST)
def test_the_sizes_that_are_named_are_the_least_that_do(capsys, field):
    least, step = LEAST[field]
    tile = "1x1" if field == "pe.weight_bytes" else "auto"
    options = ("digits", "--frames", "1", "--set", f"pe.tile={tile}", "--set")
    result_of(capsys, *options, f"{field}={least}")
    refused(capsys, "run", *options, f"{field}={least - step}")


def changed_preset(*path, to):
    tree = yaml.safe_load(PRESET)
    at = tree
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return yaml.safe_dump(tree)


MACHINES = {
    "missing key": (PRESET.replace("  width: 4\n", ""), "^my.yaml: mesh.width: missing; add this"),
    "missing part": (yaml.safe_dump({"name": "x", "clock_hz": 1}), "^my.yaml: mesh: missing; add"),
    "unknown key": (PRESET + "extra: 1\n", "^my.yaml: extra: unknown key; known here: name, summ"),
    "unknown key of noc": (changed_preset("noc", "x", to=1), "my.yaml: noc.x: unknown key; known"),
    "unknown key of mesh": (changed_preset("mesh", "x", to=1), "mesh.x: .* known here: width, he"),
    "unknown key of storage": (changed_preset("storage", "x", to=1), "storage.x: unknown key"),
    "a number as key": (changed_preset("mesh", 3, to=1), "mesh.3: unknown key; known here: width"),
    "nothing as key": (changed_preset("mesh", None, to=1), "mesh.None: unknown key; known here"),
    "key twice": (PRESET + "threshold: 3\n", r"^my.yaml, line \d+: .*threshold is given twice"),
    "wrong type": (changed_preset("pe", "lanes", to="3"), "^my.yaml: pe.lanes: must be a valid in"),
    "long value": (changed_preset("pe", "lanes", to="x" * 9999), "pe.lanes: must be a valid int"),
    "open bracket": ("a: [1", "^my.yaml, line 1: is not valid YAML; correct it there"),
    "tab": ("a:\n\t- 1", "^my.yaml, line 2: is not valid YAML; correct it there"),
    "two documents": (PRESET + "---\nb: 2\n", "^my.yaml, line .* is not valid YAML"),
    "control character": ("a: \x01", "is not valid YAML"),
    "a list as key": ("{[1, 2]: 3}", "is not valid YAML"),
    "a Python object": ("!!python/object/apply:os.system [echo]", "is not valid YAML"),
    "deep": ("[" * 5000, "is not valid YAML"),
    "a list": ("- 1", "must be a YAML mapping of machine fields, got list; `firemesh machines"),
    "empty": ("", "must be a YAML mapping of machine fields, got NoneType"),
    "a number": ("3", "must be a YAML mapping of machine fields, got int"),
    "bytes": (bytes(range(256)), "cannot be read .it is not a text file.; give a YAML file"),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_a_machine_file_with_a_mistake_is_refused_with_file_and_key(capsys, kind):
    content, sentence = MACHINES[kind]
    Path("my.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refused(capsys, "run", "digits", "--frames", "1", "--machine", "my.yaml")
    assert found.startswith("my.yaml") and re.search(sentence, found) and len(found) < 400


def test_a_folder_is_no_machine(capsys):
    Path("my.yaml").mkdir()
    found = refused(capsys, "run", "digits", "--machine", "my.yaml")
    assert found == "my.yaml: cannot be read (Is a directory); give a YAML file"


FIFOS = ("event_fifo", "forward_fifo", "row_fifo", "mac_fifo", "fire_fifo")
CORNERS = {
    "narrow flits": ["noc.flit_bits=8"],
    "fifos of one": [*(f"pe.{name}=1" for name in FIFOS), "noc.buffer_flits=1"],
    "deep fifos": ["pe.event_fifo=65536", "pe.row_fifo=65536", "noc.buffer_flits=4096"],
    "one PE": ["mesh.width=1", "mesh.height=2"],
    "one multiplier": ["pe.modules=1", "pe.lanes=1", "pe.weight_latency_cycles=64"],
    "chain": ["noc.multicast=chain", "pe.forward_fifo=1", "noc.buffer_flits=1", "pe.event_fifo=1"],
    "wide PE": ["pe.modules=256", "pe.lanes=64", "pe.weight_bytes=9999999"],
}


@pytest.mark.parametrize("kind", CORNERS)
def test_machines_in_the_corners_run_and_are_exact(capsys, kind):
    settings = [word for setting in CORNERS[kind] for word in ("--set", setting)]
    out = printed(capsys, "run", "digits", "--frames", "2", "--check", *settings)
    assert "check: 18 tensors equal the integer reference" in out


def test_too_little_memory_is_one_sentence(capsys, monkeypatch):
    def allocate(*arguments):
        raise MemoryError("Unable to allocate 30.0 GiB")

    monkeypatch.setattr(Emulation, "frames", allocate)
    found = refused(capsys, "run", "digits")
    assert found.startswith("not enough memory (Unable to allocate 30.0 GiB); use a smaller mesh")


def test_a_defect_of_firemesh_keeps_its_traceback(capsys, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Emulation, "frames", fail)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        main(["run", "digits"])


# Good runs


def test_a_run_shows_cycles_speed_slots_energy_layers_and_accuracy(capsys):
    out = printed(capsys, "run", "digits")
    result = firemesh.run("digits", firemesh.images("digits", 10)[0])
    assert out.startswith("digits on mnf-22nm, mode mnf, 10 frames\n")
    assert f"{result.cycles:,} ({result.cycles / 10:,.0f} a frame)" in out
    assert f"{result.fps:,.1f} frames/s at 200 MHz" in out
    assert f"{100 * result.utilization:.1f} % of 297 multipliers" in out
    assert "100.00 % of these frames" in out
    lines = [line.split() for line in out.splitlines()]
    total = sum(result.slots.values())
    for cause, count in result.slots.items():
        shown = f"{cause.replace('_', ' ')} {100 * count / total:.1f} % "
        assert any(" ".join(line + [""]).startswith(shown) for line in lines) is bool(count)
    for component in result.energy:
        assert (f" {component} " in out) is (component not in FLEXNN)
    for layer in result.layers:
        (row,) = [line for line in lines if line and line[0] == layer.name]
        cycles, events = layer.cycles / 10, layer.events / 10
        assert row[1:4] == [layer.tile, f"{cycles:,.0f}", f"{events:,.0f}"]


def rename_layer(graph):
    (node,) = [node for node in graph.node if node.name == "conv1"]
    node.name = "[red]c1"


def test_names_are_shown_as_they_are_not_as_markup(capsys):
    Path("[red]net.onnx").write_bytes(edited(rename_layer))
    np.save("frames.npy", FRAMES)
    setting = ["--set", "name='[/bold]x'"]
    out = printed(capsys, "run", "[red]net.onnx", "--input", "frames.npy", *setting)
    heading = "[red]net on [/bold]x with name='[/bold]x', mode mnf, 2 frames\n"
    assert out.startswith(heading)
    shown = printed(capsys, "models", "show", "[red]net.onnx")
    assert "[red]net" in shown and "[red]c1" in shown and "[red]c1" in out


KEYS = (
    "schema schema_version network network_digest mode frames cycles load_cycles dram_bytes fps "
    "utilization slots energy_pj power_mw noc storage_bytes layers outputs all_outputs machine "
    "accuracy is_complete"
)


def test_json_is_the_result_of_the_api(capsys):
    found = result_of(capsys, "digits-pruned", "--machine", "mnf-tiny", "--frames", "3")
    images, labels = firemesh.images("digits-pruned", 3)
    result = firemesh.run("digits-pruned", images, "mnf-tiny")
    assert list(found) == KEYS.split()
    more = {"accuracy": (result.outputs.argmax(axis=1) == labels).mean(), "is_complete": True}
    assert found == json.loads(json.dumps(result.to_dict())) | more
    assert sum(found["slots"].values()) == found["cycles"] * result.machine.multipliers
    assert found["cycles"] == sum(layer["cycles"] for layer in found["layers"])


def test_check_tells_how_many_tensors_equal_the_reference(capsys):
    out = printed(capsys, "run", "digits", "--frames", "3", "--check")
    stored = len(firemesh.load("digits").tensors) - 1  # all but the float input
    assert out.endswith(f"check: {3 * stored} tensors equal the integer reference\n")
    found = result_of(capsys, "digits", "--frames", "3", "--check")
    assert (found["tensors_compared"], found["differences"]) == (3 * stored, [])


@pytest.mark.parametrize("setting", ["pe.weight_bytes=540", "pe.psum_bank_bytes=60"])
def test_check_passes_with_waves_and_with_weights_that_come_in(capsys, setting):
    found = result_of(capsys, "digits", "--frames", "2", "--check", "--set", setting)
    stored = len(firemesh.load("digits").tensors) - 1
    assert (found["tensors_compared"], found["differences"]) == (2 * stored, [])
    assert max(layer["waves"] for layer in found["layers"]) > 1
    assert (found["slots"]["weights"] > 0) is (found["load_cycles"] == 0) is ("weight" in setting)


def test_check_names_a_tensor_that_differs_and_fails(capsys, monkeypatch):
    forward = check.forward
    name = firemesh.load("digits").layers[3].output

    def planted(*arguments):
        tensors = dict(forward(*arguments))
        tensors[name] = tensors[name].copy()
        tensors[name][0, 5, 1, 2] ^= 1
        return tensors

    monkeypatch.setattr(check, "forward", planted)
    code, out, err = ended(capsys, "run", "digits", "--frames", "2", "--check")
    sentences = [
        f"frame {n}: tensor {name} differs in 1 of 512 values, first at (5, 1, 2)" for n in range(2)
    ]
    assert code == 1 and "equal" not in out
    assert err.splitlines() == [f"check: {sentence}" for sentence in sentences]
    code, out, _ = ended(capsys, "run", "digits", "--frames", "2", "--check", "--json")
    assert code == 1 and json.loads(out)["differences"] == sentences
    code, _, err = ended(capsys, "run", "digits", "--frames", "23", "--check")
    assert code == 1 and err.endswith("check: and 3 tensors more\n") and err.count("\n") == 21


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("noc", "multicast"), "unicast"),
        (("pe", "forwarding"), False),
        (("storage", "bytes"), 4000),
        (("threshold",), 7),
        (("energy",), "timeloop-45nm"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_setting_equals_a_file_with_that_change(capsys, path, value):
    Path("my.yaml").write_text(changed_preset(*path, to=value))
    by_file = result_of(capsys, "digits", "--frames", "2", "--machine", "my.yaml")
    setting = f"{'.'.join(path)}={json.dumps(value)}"
    assert by_file == result_of(capsys, "digits", "--frames", "2", "--set", setting)
    assert by_file != result_of(capsys, "digits", "--frames", "2")


def test_the_last_of_several_settings_counts(capsys):
    twice = ["--set", "threshold=3", "--set", "pe.fire_lanes=3", "--set", "threshold=9"]
    found = result_of(capsys, "digits", "--frames", "1", *twice)["machine"]
    assert (found["threshold"], found["pe"]["fire_lanes"]) == (9, 3)


@pytest.mark.parametrize("name", presets())
def test_a_machine_that_was_shown_is_accepted_again(capsys, name):
    Path("my.yaml").write_text(printed(capsys, "machines", "show", name))
    assert firemesh.machine("my.yaml") == firemesh.machine(name)
    Path("again.yaml").write_text(printed(capsys, "machines", "show", "my.yaml"))
    assert firemesh.machine("again.yaml") == firemesh.machine(name)
    by_file = result_of(capsys, "digits", "--frames", "1", "--machine", "again.yaml")
    assert by_file == result_of(capsys, "digits", "--frames", "1", "--machine", name)


def test_machines_and_models_are_listed_with_what_they_are(capsys):
    lines = printed(capsys, "machines", "list").splitlines()
    assert [line.split()[0] for line in lines] == presets()
    assert all(firemesh.machine(line.split()[0]).summary in line for line in lines)
    lines = printed(capsys, "models", "list").splitlines()
    assert [line.split()[0] for line in lines] == list(zoo.ZOO)
    assert all(zoo.ZOO[line.split()[0]].description in line for line in lines)


def test_a_shown_model_has_its_layers_weights_macs_and_accuracy(capsys):
    out = printed(capsys, "models", "show", "digits")
    network = firemesh.load("digits")
    rows = {line.split()[0]: line for line in out.splitlines() if line.split()}
    for layer in network.layers:
        assert layer.op in rows[layer.name]
        assert not network.macs(layer) or f"{network.macs(layer):,}" in rows[layer.name]
    assert "98.33 % float, 98.61 % int8" in out


def test_an_output_to_a_file_is_as_wide_as_it_needs_to_be(tmp_path):
    narrow = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    for arguments in (["run", "digits", "--frames", "1"], ["models", "show", "digits"]):
        lines = ended_process(*arguments, env=narrow).stdout.splitlines()
        assert lines and not any(line.endswith(" ") or "…" in line for line in lines)


def test_all_frames_are_the_held_back_images_with_the_accuracy_of_the_zoo(capsys):
    found = result_of(capsys, "digits", "--frames", "all")
    assert found["frames"] == len(found["outputs"]) == 360
    assert found["accuracy"] == pytest.approx(zoo.ZOO["digits"].accuracy_int8, abs=5e-5)


def test_a_synthetic_network_runs_on_as_many_images_as_asked_for(capsys):
    assert result_of(capsys, "lenet5")["frames"] == 1
    found = result_of(capsys, "lenet5", "--frames", "2", "--check")
    assert found["frames"] == 2 and found["accuracy"] is None
    refusal = "--frames: must be all or 1..1000 .1000 frames in lenet5., got 0"
    assert re.search(refusal, refused(capsys, "run", "lenet5", "--frames", "0"))
    assert "accuracy" not in printed(capsys, "models", "show", "lenet5")


def test_help_and_version_go_to_stdout(capsys):
    assert printed(capsys, "--version") == f"firemesh {firemesh.__version__}\n"
    assert printed(capsys) == printed(capsys, "--help")
    assert printed(capsys, "machines") == printed(capsys, "machines", "--help")
    for option in ("--machine", "--input", "--frames", "--set", "--json", "--check"):
        assert option in printed(capsys, "run", "--help")


# Processes: exit codes, pipes, Ctrl-C

COMMAND = [sys.executable, "-c", "from firemesh.emulator.cli import main; main()"]


def ended_process(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.run([*COMMAND, *arguments], timeout=300, **options)


def test_exit_codes_and_streams_of_a_process():
    good = ended_process("machines", "list")
    assert (good.returncode, good.stderr) == (0, "") and good.stdout.startswith("eyeriss-168")
    bad = ended_process("run", "lenet")
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "arguments", [["run", "digits"], ["run", "digits", "--json"], ["machines", "list"], ["--help"]]
)
def test_a_reader_that_goes_away_is_no_error_to_tell(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    found = ended_process(*arguments, stdout=writing)
    os.close(writing)
    assert (found.returncode, found.stderr) == (1, "")


def test_an_output_that_cannot_be_written_is_one_sentence(capsys, monkeypatch):
    def write(*arguments, err=False, **options):
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")
        print(*arguments, file=sys.stderr)

    sentence = "the output: cannot be used (No space left on device); name another place"
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            found = ended_process("machines", "list", stdout=full)
        assert (found.returncode, found.stderr) == (2, f"firemesh: {sentence}\n")
    monkeypatch.setattr("firemesh.emulator.cli.typer.echo", write)
    assert refused(capsys, "machines", "list") == sentence


IN_IMPORT = """
import signal, sys

class CtrlC:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
from firemesh.emulator.cli import main
main(["run", "digits", "--json"])
"""


@pytest.mark.parametrize("module", ["typer", "onnx", "rich.console", "firemesh.emulator.mnf.pe"])
def test_ctrl_c_during_an_import_ends_quietly(module):
    command = [sys.executable, "-c", IN_IMPORT, module]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")


LOST = """
import signal, sys

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # Python ignores an exception here

callback = '''
def call():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("raised in a callback of the compiler")
'''
compiler = {"signal": signal, "__name__": "llvmlite.binding.executionengine"}
exec(callback, compiler)

class CtrlC:
    def find_spec(self, name, path, target=None):
        if name == "firemesh.emulator.mnf.pe":
            Finalised() if sys.argv[1] == "finalised" else compiler["call"]()

sys.meta_path.insert(0, CtrlC())
from firemesh.emulator.cli import main
main(["run", "digits", "--json"])
"""


@pytest.mark.parametrize("where", ["finalised", "compiler"])
def test_ctrl_c_that_is_lost_during_an_import_ends_the_run_before_its_first_frame(where):
    command = [sys.executable, "-c", LOST, where]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout) == (130, "")
    assert found.stderr.endswith("interrupted: no frame was finished\n")


def interrupting(monkeypatch, owner, name, after):
    """Let SIGINT come at a call of a function."""
    function, calls = getattr(owner, name), []

    def call(*arguments, **options):
        calls.append(name)
        if len(calls) == after:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


def test_ctrl_c_before_the_first_frame_is_done_prints_no_result(capsys, monkeypatch):
    interrupting(monkeypatch, Emulation, "_frame", after=1)
    found = ended(capsys, "run", "digits", "--json")
    assert found == (130, "", "interrupted: no frame was finished\n")


@pytest.mark.parametrize(
    ("owner", "name", "after", "frames"),
    [
        (Emulation, "_frame", 3, 2),
        (LayerResult, "__add__", 6, 3),  # of the third frame's second layer
        (check, "forward", 3, 2),
    ],
)
def test_ctrl_c_anywhere_keeps_whole_frames_only(capsys, monkeypatch, owner, name, after, frames):
    before = signal.getsignal(signal.SIGINT)
    interrupting(monkeypatch, owner, name, after)
    code, out, err = ended(capsys, "run", "digits", "--json", "--check")
    assert code == 130
    assert err == f"interrupted: the result is of the {frames} frames that were finished\n"
    assert signal.getsignal(signal.SIGINT) is before
    found = json.loads(out)
    more = {
        "accuracy": 1.0,
        "is_complete": False,
        "tensors_compared": 9 * frames,
        "differences": [],
    }
    whole = firemesh.run("digits", firemesh.images("digits", frames)[0])
    assert found == json.loads(json.dumps(whole.to_dict())) | more


def calls_of_numba(heard):
    """Return a profiler that tells each call of a function of numba, by name."""

    def profile(frame, event, argument):
        module = frame.f_globals.get("__name__") or ""
        if event == "call" and module.startswith("numba."):
            heard((module, frame.f_code.co_name))

    return profile


def test_ctrl_c_while_compiled_code_calls_python_is_put_off(capsys):
    """Numba turns an exception in some of these functions into a TypeError."""
    images = firemesh.images("digits", 1)[0]
    firemesh.run("digits", images)  # from here numba is called only where kernels are
    functions = []
    sys.setprofile(calls_of_numba(functions.append))
    firemesh.run("digits", images)
    sys.setprofile(None)
    assert functions
    for function in set(functions):
        left = [function]

        def interrupt(called, left=left):
            if called in left:
                left.clear()
                signal.raise_signal(signal.SIGINT)

        sys.setprofile(calls_of_numba(interrupt))
        try:
            found = ended(capsys, "run", "digits", "--json")
        finally:
            sys.setprofile(None)
        assert found == (130, "", "interrupted: no frame was finished\n"), function


@pytest.mark.parametrize("form", [["--json"], []])
def test_ctrl_c_ends_a_process_with_the_frames_that_were_finished(form):
    n = 14400
    np.save("many.npy", np.tile(zoo.images("digits")[0], (40, 1, 1, 1)))
    process = subprocess.Popen(
        [*COMMAND, "run", "digits", "--input", "many.npy", "--frames", "all", *form],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"},
    )
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    seen = b""
    while not re.search(rb"\b[1-9]\d*/14400", seen):
        more = os.read(process.stderr.fileno(), 65536)
        assert more, f"the run ended without progress: {seen!r}"
        seen += more
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    watchdog.cancel()
    assert process.returncode == 130 and b"Traceback" not in err
    told = re.search(rb"interrupted: the result is of the (\d+) frames that were finished", err)
    frames = int(told[1])
    assert 1 <= frames < n
    if form:
        found = json.loads(out)
        whole = firemesh.run("digits", np.load("many.npy")[:frames])
        more = {"accuracy": None, "is_complete": False}
        assert found == json.loads(json.dumps(whole.to_dict())) | more
    else:
        assert f"mode mnf, {frames} frame".encode() in out
