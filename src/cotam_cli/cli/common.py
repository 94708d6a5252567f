"""What the commands share: errors on one line, bytes in and out of files and pipes, options."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from cotam_cli.cli.guard import arrived
from cotam_cli.errors import CotamError
from cotam_cli.files import open_file, read_file
from cotam_cli.images.writing import write_atomic

PATH = click.Path(allow_dash=True, readable=False)
"""What cannot be read or written fails by itself, with the cure, and stops no other file."""

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


def fail(message: str) -> NoReturn:
    """Print one line on stderr and leave with exit code 1."""
    say(message)
    sys.exit(1)


def say(message: str) -> None:
    """One line of status text on stderr."""
    tell(f"cotam: {' '.join(message.split())}")


def tell(text: str) -> None:
    """A line on stderr; what would steer the terminal (file names may hold anything) is spelled out."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    click.echo(safe, err=True)


def tell_json(row: dict[str, object]) -> None:
    """A JSON object in a line on stdout; escapes stand for all beyond ASCII only where stdout's encoding lacks some."""
    import json

    try:
        text = json.dumps(row, ensure_ascii=False)
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(row)
    click.echo(text)


def one_line_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turn every error of a user's or a machine's making into one line and exit code 1; see guard.py for signals."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except CotamError as error:
            if arrived:
                raise KeyboardInterrupt from error
            fail(str(error))
        except MemoryError:
            fail("not enough memory for this picture; scale it down or use a larger machine")

    return wrapper


def read_input(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`."""
    if path != "-":
        return read_file(path)
    check_stdin()
    return sys.stdin.buffer.read()


def ctm_files(path: str) -> Iterator[bytes]:
    """The .ctm files in a file, or in stdin for `-`, as they arrive. Raises FormatError for what is none."""
    from cotam_cli.cli.streams import split_ctm

    if path == "-":
        check_stdin()
        yield from split_ctm(sys.stdin.buffer)
    else:
        with open_file(path) as file:
            yield from split_ctm(file)


def read_ctm(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises FormatError from the first bytes of what is no .ctm."""
    return b"".join(ctm_files(path))


def check_stdin() -> None:
    """Refuse to wait for a picture that is typed in."""
    if sys.stdin is None:
        raise CotamError("stdin is closed; pipe a file into it or give a path")
    if sys.stdin.isatty():
        raise CotamError("stdin is a terminal; pipe a file into it or give a path")


def check_output(path: str, force: bool) -> None:
    """Refuse an existing regular file unless forced, and binary data on a terminal, before any work is done."""
    if not path:
        raise CotamError("the output's name is empty; give -o FILE, or - for stdout")
    if path == "-":
        if sys.stdout is None:
            raise CotamError("stdout is closed; give -o FILE or pipe the output on")
        if sys.stdout.isatty():
            raise CotamError("stdout is a terminal; give -o FILE or pipe the output on")
    elif os.path.isfile(path) and not force:
        raise CotamError(f"{path} exists; use --force to replace it")


def check_folder(path: str) -> None:
    """Refuse an output whose folder is not there."""
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise CotamError(f"{path}: cannot be written: the folder does not exist; make it first")


def write_output(path: str, data: bytes) -> None:
    """Write a file atomically, or stdout for `-`."""
    write_atomic("/dev/stdout" if path == "-" else path, data)


force_option = click.option("-f", "--force", is_flag=True, help="Replace existing output files.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Print sizes and times on stderr.")


def batch_options(function: F) -> F:
    """The options of commands that take many files."""
    for option in reversed(
        (
            click.option("-r", "--recursive", is_flag=True, help="Take all pictures below folders."),
            click.option(
                "--files-from",
                metavar="LIST",
                type=PATH,
                help="Read paths from a file, or - for stdin: one a line, or ended by NUL as of find -print0.",
            ),
            click.option(
                "-j",
                "--jobs",
                type=click.IntRange(1, 256),
                help="Files at once. Default: the number of cores; 1 for a stream.",
            ),
            click.option("--skip-existing", is_flag=True, help="Leave out files whose output exists."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object a file on stdout."),
            force_option,
            verbose_option,
        )
    ):
        function = option(function)
    return function
