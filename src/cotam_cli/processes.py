"""Work in several processes, of which any may die without taking the rest along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = (
    "COTAM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
AHEAD = 4  # items in hand for each process; items may come from a stream without end


def in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    died: Callable[[Item], Result],
) -> Iterator[Result]:
    """`function` of every item, some at a time, in the order of the items. One worker means this process.

    Where a process is killed (for its memory, say), what was in hand is done again, each in a process of its own,
    and `died` answers for the item that kills a process twice. On an exception, Ctrl-C too, what has begun is finished
    and the rest dropped.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    pending: deque[tuple[Item, Future[Result]]] = deque()
    todo = iter(items)
    pool = _pool(workers)
    try:
        while True:
            for item in todo:
                try:
                    pending.append((item, pool.submit(function, item)))
                except BrokenProcessPool:
                    pool = _pool(workers)
                    pending.append((item, pool.submit(function, item)))
                if len(pending) >= AHEAD * workers:
                    break
            if not pending:
                return
            item, future = pending.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                yield alone(function, item, died=died)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def alone(function: Callable[[Item], Result], item: Item, *, died: Callable[[Item], Result]) -> Result:
    """`function` of one item in a fresh process; `died` of it when the process is killed."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return died(item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: networks and their threads do not survive it.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=start, initargs=(workers > 1,))


def start(several: bool = True) -> None:
    """The first act of a new process: deaf to Ctrl-C (the parent ends it), and gone when the parent is; its libraries
    warn of nothing, unless Python was told otherwise. Of several side by side, each keeps to one thread."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if several:
        for name in THREADS:
            os.environ[name] = "1"  # before NumPy and onnxruntime, which read it when they load
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
