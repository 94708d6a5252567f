"""What surrounds every command, its imports too: signals, closed streams, and streams that cannot be written."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

arrived: list[int] = []
"""Signals so far. A library that is loading may turn what a signal raises into an error of its own."""


@contextmanager
def guarded() -> Iterator[None]:
    """Ctrl-C ends in exit code 130, SIGTERM in 143, a stream that cannot be written in one line and exit code 1.

    Libraries' warnings (Pillow's of large pictures) are dropped, unless Python was told what to do with them.
    """
    for number in (0, 1, 2):
        _reserve(number)
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = _once_more
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, _interrupt)  # SIGTERM too, so that temporary files and processes go
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    except KeyboardInterrupt:
        number = arrived[0] if arrived else signal.SIGINT
        click.echo("cotam: interrupted; files that were written are whole", err=True)
        sys.exit(128 + number)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # click ends quietly with exit code 1
        click.echo(
            f"cotam: {error.strerror or error}; free what is used up or choose another place", err=True
        )
        sys.exit(1)


def _reserve(number: int) -> None:
    """Where a standard stream is closed, keep its number from the next file that is opened."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class Interrupted(KeyboardInterrupt):
    """A plain KeyboardInterrupt that leaves `exec` of a string, as libraries do while they load, makes `python -m`
    end by SIGINT whatever the exit code; a child of it does not."""


def _once_more(unraisable: sys.UnraisableHookArgs) -> None:
    """A signal in mid-destructor, where Python drops what is raised, comes again a moment later."""
    if unraisable.exc_type is not Interrupted:
        sys.__unraisablehook__(unraisable)
        return
    again = threading.Timer(0.02, os.kill, [os.getpid(), arrived[-1]])
    again.daemon = True
    again.start()


def _interrupt(number: int, _frame: object) -> NoReturn:
    arrived.append(number)
    raise Interrupted
