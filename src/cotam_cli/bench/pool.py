"""Work in several processes, of which one may die without taking the rest along."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, *, died: Callable[[Item], Result]
) -> Iterator[Result]:
    """`function` of every item, as they are finished, not in order.

    One worker means this process. Where a process is killed (for its memory, say), what it and the others
    had not finished is done again one by one, and `died` answers for the item that kills a process twice.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    left = dict(enumerate(items))
    pool = _pool(workers)
    try:
        futures = {pool.submit(function, item): number for number, item in left.items()}
        for future in as_completed(futures):
            result = future.result()
            del left[futures[future]]
            yield result
    except BrokenProcessPool:
        pass
    finally:
        pool.shutdown(cancel_futures=True)
    for item in left.values():
        yield alone(function, item, died=died)


def alone(function: Callable[[Item], Result], item: Item, *, died: Callable[[Item], Result]) -> Result:
    """`function` of one item in a fresh process; `died` of it when the process is killed."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return died(item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Fresh processes: networks and their threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare, initargs=(workers > 1,))


def _prepare(several: bool) -> None:
    """Interrupts are the parent's; processes side by side do not also share every core among threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if several:
        os.environ.setdefault("COTAM_THREADS", "1")
