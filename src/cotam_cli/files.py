"""Files to read, and what is wrong with those that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from cotam_cli.errors import CotamError


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes; CotamError with the cure when it cannot be read, or changed meanwhile."""
    with open_file(path) as file:
        return file.read()


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to read from. What cannot be read, or is written to in the meantime, raises CotamError with the cure."""
    try:
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            yield file
            after = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise CotamError(f"{path} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise CotamError(f"{path} is a folder; give a file") from error
    except OSError as error:
        raise CotamError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except ValueError as error:  # a NUL in the name
        raise CotamError(f"{str(path)!r} cannot be read ({error}); check the path") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise CotamError(f"{path} changed while it was read; try again once it is whole")
