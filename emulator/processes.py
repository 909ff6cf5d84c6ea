"""Work in processes side by side, which end when the caller is interrupted."""

import signal
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Choose = Callable[[Sequence[Item], Collection[Item]], Item | None]
"""``choose(waiting, at_work)``: the item to begin next, None to wait until one is done."""


def first(waiting: Sequence[Item], at_work: Collection[Item]) -> Item | None:
    """Return the item that waits longest."""
    return next(iter(waiting), None)


def side_by_side(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    choose: Choose[Item] = first,
    started: Callable[[Collection[Item]], None] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Call a function in processes; yield each item and its result when it is done.

    Parameters
    ----------
    function : callable
        Of a module, so that a new process finds it.
    items : sequence
    workers : int
        Processes, each with one item at a time.
    choose : callable
    started : callable, optional
        Called now and then with the items at work.

    Raises
    ------
    concurrent.futures.process.BrokenProcessPool
        When a process ended before its item was done.
    """
    if not items:
        return
    others = active_children()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _ignore_ctrl_c)
    waiting = list(items)
    at_work: dict[Future[Result], Item] = {}
    try:
        while waiting or at_work:
            while (
                len(at_work) < workers
                and (one := choose(waiting, list(at_work.values()))) is not None
            ):
                waiting.remove(one)
                at_work[pool.submit(function, one)] = one
            if started:
                started(list(at_work.values()))
            for future in wait(at_work, timeout=1, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield at_work.pop(future), result
        pool.shutdown()
    finally:
        _end(pool, others)


def _ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the process that waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(pool: ProcessPoolExecutor, others: list[BaseProcess]) -> None:
    """End what is still at work."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in active_children():
        if child not in others:
            child.terminate()
