"""How kernels are compiled, in one place.

Kernels get NamedTuples of arrays that their driver owns and keeps. So they run without numba's
reference counting (``_nrt``), which would make two atomic operations of each access to a field of
such a tuple, and are inlined into their caller: on the zoo's digits both together make a cycle
eight times shorter. A kernel therefore never allocates an array.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False}


_config: Any = numba.config
_njit: Any = numba.njit
_cfunc: Any = numba.cfunc
_typeof: Any = numba.typeof


def is_writable(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or in its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def choose_cache(package: Path, home: Path) -> str:
    """Return where compiled kernels go: "" for numba's own choice, else a temporary folder.

    Parameters
    ----------
    package : Path
        The package's folder; numba's first choice.
    home : Path
        The user's folder; its second.
    """
    if _config.CACHE_DIR:
        return str(_config.CACHE_DIR)
    if is_writable(package) or is_writable(home):
        return ""
    return os.path.join(tempfile.gettempdir(), f"firemesh-kernels-{os.getuid()}")


_config.CACHE_DIR = choose_cache(Path(__file__).parent, Path.home())


def kernel(function: Function) -> Function:
    """Compile a kernel that other kernels of its file call."""
    return cast(Function, _njit(forceinline=True, **OPTIONS)(function))


def outer_kernel(function: Function) -> Function:
    """Compile a kernel that Python calls."""
    return cast(Function, _njit(**OPTIONS)(function))


def signature(*examples: Any) -> Any:
    """Return the signature of a kernel that takes values of the examples' types, gives int64."""
    return numba.int64(*(_typeof(example) for example in examples))


def first_class(types: Any) -> Callable[[Function], Any]:
    """Compile a kernel that kernels of other files take as an argument.

    Its cache entry, and that of the kernel which takes it, stay valid when the other one changes.
    With ``NUMBA_DISABLE_JIT=1`` it stays the Python function, as the other kernels do.
    """

    def compile_it(function: Function) -> Any:
        return function if _config.DISABLE_JIT else _cfunc(types, **OPTIONS)(function)

    return compile_it
