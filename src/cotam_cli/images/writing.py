"""Bytes to disk: the whole file or nothing. Standard library only, so that no command's start pays for it."""

import errno
import os
import re
import secrets
import stat
from contextlib import suppress

from cotam_cli.errors import CotamError

_STREAM = re.compile(r"/dev/std(out|err)|(?:/dev|/proc/self)/fd/(\d+)")

_ADVICE = {
    errno.ENOENT: "the folder does not exist; make it first",
    errno.ENOTDIR: "a part of the path is not a folder; choose another path",
    errno.EISDIR: "it is a folder; give a file name",
    errno.EACCES: "no permission; choose another place or change the permissions",
    errno.EPERM: "no permission; choose another place or change the permissions",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its symbolic links go in a circle; choose another path",
    errno.EPIPE: "the reader has closed the pipe; check the command behind it",
}


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that at every moment the old one or the whole new one stands there.

    The bytes go to a temporary file in the same folder, without a name until it is whole where the system has such
    files, are synced to the disk and renamed over `path`. A new
    file gets the mode bits that any new file gets, a replaced one keeps its own. A symbolic link stays and
    its target is replaced; a hard link is parted from its twins. Pipes, devices and the process's own
    streams (/dev/stdout, /dev/fd/3) are written straight.

    Raises:
        CotamError: it cannot be written. What stood at `path` is untouched, and no temporary file is left.
    """
    try:
        _write(os.fspath(path), data)
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0) or f"{error.strerror or error}; choose another place"
        raise CotamError(f"{os.fspath(path)}: cannot be written: {reason}") from error
    except ValueError as error:  # a NUL in the name
        raise CotamError(f"{os.fspath(path)!r}: cannot be written: {error}; choose another name") from error


def _write(path: str, data: bytes) -> None:
    stream = _STREAM.fullmatch(os.path.abspath(path))
    if stream:
        number = int(stream[2]) if stream[2] else {"out": 1, "err": 2}[stream[1]]
        _write_open(number, data, closefd=False)
        return
    try:
        status = os.stat(path)
    except FileNotFoundError:
        status = None
    if status is None or stat.S_ISREG(status.st_mode):
        _replace(os.path.realpath(path), data, status)
    elif stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    else:
        _write_open(os.open(path, os.O_WRONLY), data)


def _write_open(descriptor: int, data: bytes, *, closefd: bool = True) -> None:
    with open(descriptor, "wb", closefd=closefd) as file:
        file.write(data)


def _replace(target: str, data: bytes, old: os.stat_result | None) -> None:
    if old is not None and not os.access(target, os.W_OK):
        # Renaming over a read-only file would succeed; a plain write would not.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = os.path.join(os.path.dirname(target), f".cotam-{secrets.token_hex(8)}.tmp")
    try:
        descriptor, unnamed = _open_new(temporary)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if unnamed:
                # src_dir_fd, which an absolute path overrides, makes Python follow the link.
                os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor)
        if old is not None:
            os.chmod(temporary, stat.S_IMODE(old.st_mode) & 0o777)
        os.replace(temporary, target)
    except BaseException:  # KeyboardInterrupt too
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _open_new(path: str) -> tuple[int, bool]:
    """A new file to write, and whether it has no name yet: such a one goes by itself when the process is killed.

    0o666 less the umask, and the folder's default ACL: what any new file gets (tempfile gives 0o600).
    """
    if hasattr(os, "O_TMPFILE") and os.path.exists("/proc/self/fd"):
        with suppress(OSError):  # not every file system has them
            return os.open(os.path.dirname(path) or ".", os.O_WRONLY | os.O_TMPFILE, 0o666), True
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), False
