"""How kernels are compiled, in one place.

Kernels get NamedTuples of arrays that their driver owns and keeps. So they run without numba's
reference counting (``_nrt``), which would make two atomic operations of each access to a field of
such a tuple, and are inlined into their caller: on the zoo's digits both together make a cycle
eight times shorter. A kernel therefore never allocates an array.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.extending import intrinsic as _intrinsic

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


def constants_digest(package: Path) -> str:
    """Return a digest of the files that define the IntEnums which kernels use.

    numba's cache does not see a change in another file; a folder named by this digest does.
    """
    state = hashlib.sha256()
    for path in sorted(package.glob("*/*.py")):
        text = path.read_bytes()
        if b"IntEnum" in text:
            state.update(path.name.encode() + text)
    return state.hexdigest()[:12]


def cache_folder(package: Path, home: Path, given: str) -> Path:
    """Return where compiled kernels go.

    Parameters
    ----------
    package : Path
        The package's folder; its ``__pycache__`` is the first choice.
    home : Path
        The user's cache folder, the second. Where neither can be written, a new temporary folder.
    given : str
        What ``NUMBA_CACHE_DIR`` says; goes before all, unless empty.
    """
    choices = [Path(given)] if given else [package / "__pycache__", home / "firemesh"]
    base = next((folder for folder in choices if is_writable(folder)), None)
    if base is None:
        base = Path(tempfile.mkdtemp(prefix="firemesh-"))
    return base / f"kernels-{constants_digest(package)}"


FOLDER = cache_folder(
    Path(__file__).parents[1],
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"),
    _config.CACHE_DIR,
)


@contextmanager
def _own_cache() -> Iterator[None]:
    """Let numba keep what is compiled inside in `FOLDER`; a user's own kernels stay elsewhere."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(FOLDER)
    try:
        yield
    finally:
        _config.CACHE_DIR = before


def kernel(function: Function) -> Function:
    """Compile a kernel that other kernels of its file call."""
    with _own_cache():
        return cast(Function, _njit(forceinline=True, **OPTIONS)(function))


def outer_kernel(function: Function) -> Function:
    """Compile a kernel that Python calls."""
    with _own_cache():
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
        if _config.DISABLE_JIT:
            return function
        with _own_cache():
            return _cfunc(types, **OPTIONS)(function)

    return compile_it


if _config.DISABLE_JIT:

    def lowest_bit(mask: int) -> int:
        """Return the number of the lowest bit that is set; the mask is not 0."""
        return (int(mask) & -int(mask)).bit_length() - 1

    def popcount(mask: int) -> int:
        """Return the number of bits that are set, of 64."""
        return (int(mask) & (1 << 64) - 1).bit_count()

else:

    @_intrinsic
    def lowest_bit(context: Any, mask: Any) -> Any:
        """Return the number of the lowest bit that is set; the mask is not 0."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return numba.int64(numba.int64), code

    @_intrinsic
    def popcount(context: Any, mask: Any) -> Any:
        """Return the number of bits that are set, of 64."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return numba.int64(numba.int64), code
