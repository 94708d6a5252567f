"""What the commands share: errors on one line, bytes in and out of files and pipes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import click

from cotam_cli.api import read_file
from cotam_cli.errors import CotamError
from cotam_cli.images.writing import write_atomic

P = ParamSpec("P")


def fail(message: str) -> NoReturn:
    """Print one line on stderr and leave with exit code 1."""
    click.echo(f"cotam: {' '.join(message.split())}", err=True)
    sys.exit(1)


def one_line_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turn every error of a user's or a machine's making into one line and exit code 1."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except CotamError as error:
            fail(str(error))
        except MemoryError:
            fail("not enough memory for this picture; scale it down or use a larger machine")

    return wrapper


def read_input(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`."""
    if path != "-":
        return read_file(path)
    if sys.stdin.isatty():
        raise CotamError("stdin is a terminal; pipe a file into it or give a path")
    return sys.stdin.buffer.read()


def check_output(path: str, force: bool) -> None:
    """Refuse an existing regular file unless forced, and binary data on a terminal, before any work is done."""
    if path == "-":
        if sys.stdout.isatty():
            raise CotamError("stdout is a terminal; give -o FILE or pipe the output on")
    elif os.path.isfile(path) and not force:
        raise CotamError(f"{path} exists; use --force to replace it")


def write_output(path: str, data: bytes) -> None:
    """Write a file atomically, or stdout for `-`."""
    write_atomic("/dev/stdout" if path == "-" else path, data)


force_option = click.option("-f", "--force", is_flag=True, help="Replace an existing output file.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Print sizes and times on stderr.")
