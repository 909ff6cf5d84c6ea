"""Points on workers of dask.distributed: of a cluster of one's own, or of one that is there."""

import asyncio
import logging
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from typing import Any

from ... import __version__
from ..description import MachineError
from ..studies.job import code_digest

DEATHS = 3
"""How often a worker of the own cluster may end in a point before the point has failed."""

CONNECT_SECONDS = 5.0
ONE_THREAD = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

SETTINGS: Mapping[str, Any] = {
    "distributed.scheduler.allowed-failures": DEATHS - 1,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ONE_THREAD, "1"),
}
"""Of the own cluster: a worker that needs more memory than its part ends, and does not wait."""

Connected = Any
"""A dask.distributed Client."""


def check() -> None:
    """Raise an error when what sweeps need is missing.

    Raises
    ------
    MachineError
        That says how to install it.
    """
    try:
        import distributed  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError:
        raise MachineError(
            "sweeps need dask.distributed and pyarrow; install them with: "
            "pip install 'firemesh[sweep]'"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing in the block: dask's loggers tell what is told otherwise, with tracebacks."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def own_cluster(workers: int) -> Iterator[Connected]:
    """Start processes of one thread each, and end them after the block.

    Parameters
    ----------
    workers : int

    Raises
    ------
    MachineError
        When they cannot be started.
    """
    import dask
    from distributed import Client

    resource_tracker.ensure_running()  # which would let the thread that starts it hear Ctrl-C
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(dask.config.set(SETTINGS))
        scratch = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        deaf = stack.enter_context(ThreadPoolExecutor(1, initializer=_ignore_ctrl_c))
        starting = deaf.submit(_started, workers, scratch)
        stack.callback(_close, starting)
        try:
            cluster = starting.result()
            client = stack.enter_context(Client(cluster, set_as_default=False))
        except (OSError, RuntimeError, TimeoutError) as error:
            raise MachineError(
                f"--workers {workers}: they cannot be started ({words(error)}); try fewer"
            ) from None
        yield client


def _ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the main thread; processes that this one's threads start inherit that."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _started(workers: int, scratch: str) -> Any:
    """Return a cluster of processes with one thread each."""
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=MEMORY_LIMIT // workers,
        local_directory=scratch,
        preload=[f"{__package__}.worker"],
        silence_logs=logging.CRITICAL + 1,
    )


def _close(starting: "Future[Any]") -> None:
    """Close a cluster when it has started, if it does."""
    if starting.exception() is None:
        starting.result().close()


@contextmanager
def cluster_at(address: str) -> Iterator[Connected]:
    """Connect to a scheduler that has this firemesh, as its workers have, for the block.

    Parameters
    ----------
    address : str

    Raises
    ------
    MachineError
        When none answers, or it or a worker has another firemesh or none.
    """
    from distributed import Client

    with quiet():
        # a Client that cannot connect would tell so once more when it is collected
        try:
            asyncio.run(_call(address))
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:  # of comms, names, numbers and versions: no base of their own
            raise MachineError(
                f"--scheduler {address}: no scheduler can be reached there ({words(error)}); give "
                "the address that `dask scheduler` prints, such as tcp://127.0.0.1:8786"
            ) from None
        with client:
            _check_code(client, address)
            yield client


async def _call(address: str) -> None:
    """Ask a scheduler who it is."""
    from distributed.core import rpc

    async def ask() -> object:
        async with rpc(address, timeout=CONNECT_SECONDS) as other:
            return await other.identity()

    found = await asyncio.wait_for(ask(), 2 * CONNECT_SECONDS)
    if not isinstance(found, dict) or found.get("type") != "Scheduler":
        raise MachineError("what answers is no scheduler")


def words(error: BaseException) -> str:
    """Return an error's message on one line, or its name."""
    return " ".join((str(error) or type(error).__name__).split())[:120]


def about() -> tuple[str, str]:
    """Return version and digest of the code that runs here."""
    return __version__, code_digest()


def _check_code(client: Connected, address: str) -> None:
    """Refuse a cluster with other code, whose results would not be the points'."""
    found: dict[str, Any] = {}
    try:
        found["the scheduler"] = client.run_on_scheduler(about)
    except Exception as error:  # whatever the import of another firemesh, or of none, raises
        found["the scheduler"] = error
    workers = client.run(about, on_error="return") if found["the scheduler"] == about() else {}
    found |= {f"worker {worker}": known for worker, known in workers.items()}
    for where, known in found.items():
        if known == about():
            continue
        what = "no firemesh that runs" if isinstance(known, BaseException) else "another firemesh"
        raise MachineError(
            f"--scheduler {address}: {where} has {what}; install firemesh {__version__} there, "
            "with the same code as here"
        )
