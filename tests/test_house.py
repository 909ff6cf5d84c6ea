"""The rules of the house, read from the source: imports, kernels, packaging."""

import ast
import builtins
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import firemesh

ROOT = Path(__file__).parents[1]
NOT_PRODUCT = {"tests", "docs", "build", "dist"}
ALLOWED = {
    "emulator": {"emulator", "models", "encoders", "noc", "traces"},
    "models": {"models"},
    "encoders": {"encoders"},
    "noc": {"noc"},
    "traces": {"traces"},
}
KERNELS = {"kernel", "outer_kernel", "first_class"}


def is_product(path):
    top = path.relative_to(ROOT).parts[0]
    return top not in NOT_PRODUCT and not top.startswith(".") and not top.endswith(".egg-info")


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if is_product(path)]
every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES]
)


def parse(path):
    return ast.parse(path.read_text("utf-8"))


def imported(path):
    """Yield (is relative, dotted name from the package's root or of the other package)."""
    here = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield False, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield False, node.module
        elif isinstance(node, ast.ImportFrom):
            up = here[: len(here) - node.level + 1]
            assert node.level - 1 <= len(here), f"{path}: an import from above the package"
            for alias in node.names:
                yield True, ".".join([*up, *filter(None, [node.module]), alias.name])


def test_there_are_modules_in_every_folder():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == {"__init__.py", *ALLOWED}


@every_module
def test_imports_run_downward_only(path):
    folder = path.relative_to(ROOT).parts[0]
    for is_relative, name in imported(path):
        if is_relative and folder != "__init__.py" and name != "__version__":
            assert name.split(".")[0] in ALLOWED[folder], f"{path.name} imports {name}"


@every_module
def test_product_code_imports_the_package_relatively(path):
    for is_relative, name in imported(path):
        if not is_relative:
            assert name.split(".")[0] not in {"firemesh", "tests", *ALLOWED}


def test_only_check_training_calibration_and_sizes_of_formats_read_the_reference():
    readers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for is_relative, name in imported(path)
        if is_relative and f"{name}.".startswith("models.reference.")
    }
    assert readers == {
        "emulator/check.py",
        "emulator/formats.py",
        "models/cut.py",
        "models/stages.py",
        "models/train_digits.py",
    }


def test_only_the_recorder_writes_traces():
    writers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for is_relative, name in imported(path)
        if is_relative and name == "traces.writer.TraceWriter"
    }
    assert writers == {"emulator/recorder.py"}


def names_of(decorator):
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.id if isinstance(target, ast.Name) else None


def kernels(tree):
    """Return the functions that are compiled, by name."""
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(names_of(decorator) in KERNELS for decorator in node.decorator_list)
    }


WITH_KERNELS = [path for path in MODULES if kernels(parse(path))]
every_kernel_file = pytest.mark.parametrize(
    "path", WITH_KERNELS, ids=[str(path.relative_to(ROOT)) for path in WITH_KERNELS]
)


def test_there_are_kernels_of_network_pes_and_engine():
    assert {"noc/step_simple.py", "emulator/mnf/pe.py", "emulator/mnf/engine.py"} <= {
        str(path.relative_to(ROOT)) for path in WITH_KERNELS
    }


@every_kernel_file
def test_a_kernel_calls_only_kernels_of_its_file_numpy_builtins_and_its_arguments(path):
    tree = parse(path)
    known = kernels(tree)
    for kernel in known.values():
        arguments = {argument.arg for argument in ast.walk(kernel.args) if hasattr(argument, "arg")}
        allowed = set(known) | arguments | set(dir(builtins)) | {"lowest_bit", "popcount"}
        for statement in kernel.body:
            for call in ast.walk(statement):
                if not isinstance(call, ast.Call):
                    continue
                target = call.func
                while isinstance(target, ast.Attribute):
                    target = target.value
                assert isinstance(target, ast.Name), ast.unparse(call)
                is_numpy = target.id == "np" and isinstance(call.func, ast.Attribute)
                is_plain = isinstance(call.func, ast.Name) and target.id in allowed
                assert is_numpy or is_plain, f"{kernel.name} calls {ast.unparse(call.func)}"


@every_kernel_file
def test_a_kernel_raises_and_prints_nothing_and_makes_no_array(path):
    for kernel in kernels(parse(path)).values():
        for node in ast.walk(kernel):
            assert not isinstance(node, ast.Raise | ast.Try | ast.With | ast.JoinedStr)
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print"
                assert called not in {"np.zeros", "np.empty", "np.full", "np.ones", "np.array"}


@every_module
def test_kernels_are_compiled_in_one_place_of_noc_and_one_of_traces(path):
    if path.relative_to(ROOT) in (Path("noc/kernel.py"), Path("traces/kernel.py")):
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "numba":
            assert node.attr not in {"njit", "jit", "cfunc", "vectorize", "guvectorize"}


def setuptools():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def folder_of(package):
    return ROOT.joinpath(*package.split(".")[1:])


def test_the_package_list_is_the_folders():
    folders = {path.parent for path in MODULES}
    packages = setuptools()["packages"]
    assert sorted(packages) == sorted(set(packages))
    assert {folder_of(package) for package in packages} == folders
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_package_data_names_the_files_that_exist_and_nothing_else():
    named = set()
    for package, globs in setuptools()["package-data"].items():
        for glob in globs:
            found = set(folder_of(package).glob(glob))
            assert found, f"{package}: no file is named {glob}"
            named |= found
    inside = {
        path
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert named == inside | {ROOT / "py.typed"}


def test_the_root_holds_no_module_but_its_own():
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


def test_importing_firemesh_imports_neither_numba_nor_numpy_nor_any_part_of_it():
    code = "import sys, firemesh; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules = done.stdout.split()
    assert "firemesh" in modules
    tops = {name.split(".")[0] for name in modules}
    assert not tops & {"numba", "numpy", "networkx", "pydantic", "yaml", "onnx", "scipy"}
    assert not [name for name in modules if name.startswith("firemesh.")]


def test_every_public_name_is_there():
    names = ["Machine", "Network", "Result", "Selection", "Trace", "TraceError", "analyse",
             "export", "formats", "images", "load", "machine", "open_trace", "run",
             "sample_trace"]  # fmt: skip
    assert firemesh.__all__ == names
    assert [getattr(firemesh, name).__name__ for name in names] == names


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="^module 'firemesh' has no attribute 'fire'$"):
        _ = firemesh.fire
