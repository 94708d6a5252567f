"""Codecs that are commands: `name=enc {in} {out} -q {q} ;; dec {in} {out}`.

No shell sees them: the words are split once and the names of files put in afterwards, so a blank or a quote in
a path does no harm. Each command gets a folder of its own and a limit of time.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cotam_cli.bench.codecs import Codec, Pixels
from cotam_cli.bench.pictures import load_pixels
from cotam_cli.errors import CotamError

TIMEOUT = 120.0  # seconds a command
QUALITIES = (5.0, 15.0, 30.0, 50.0, 70.0, 90.0)  # where a template names none: the usual scale to 100
MOST_BYTES = 1 << 30  # of what a command may write

_NAME = re.compile(r"([\w.-]+)(?:@([\d.,]+))?")
_FILE = re.compile(r"\{(in|out)\}(\.\w+)?")


class MissingProgram(CotamError):
    """A command whose program is not installed."""


@dataclass(frozen=True)
class Command:
    """One of a codec's two commands, in words. source, target: suffixes of its files, from the words or as given."""

    words: tuple[str, ...]
    source: str
    target: str

    @classmethod
    def parse(cls, text: str, *, source: str, target: str) -> Command:
        """Raises CotamError when {in} or {out} is missing, or a quote is left open."""
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise CotamError(f"{text!r} cannot be split into words ({error})") from error
        suffixes = {"in": source, "out": target}
        seen = set()
        for kind, suffix in (found for word in words for found in _FILE.findall(word)):
            seen.add(kind)
            suffixes[kind] = suffix or suffixes[kind]
        if seen != {"in", "out"}:
            raise CotamError(f"{text!r} needs {{in}} and {{out}}, the files that it reads and writes")
        return cls(words, suffixes["in"], suffixes["out"])

    def found(self) -> Command:
        """The same with the program's whole path, as it runs in another folder. Raises MissingProgram."""
        program = shutil.which(self.words[0])
        if program is None:
            raise MissingProgram(f"the program {self.words[0]} is not installed, or not on the PATH")
        return replace(self, words=(os.path.abspath(program), *self.words[1:]))

    def run(self, data: bytes, setting: float, timeout: float) -> bytes:
        """What the command writes for a file. Raises CotamError when it fails, writes nothing or is too slow."""
        with tempfile.TemporaryDirectory(prefix="cotam-bench-") as folder:
            files = {
                "in": Path(folder, f"in{self.source}"),
                "out": Path(folder, f"out{self.target}"),
            }
            files["in"].write_bytes(data)
            _run(self._words(files, setting), folder, timeout)
            out = files["out"]
            if not out.is_file() or not out.stat().st_size:
                raise CotamError(f"{self.words[0]} ended well but wrote nothing to {{out}}")
            if out.stat().st_size > MOST_BYTES:
                raise CotamError(f"{self.words[0]} wrote more than {MOST_BYTES >> 20} MB")
            return out.read_bytes()

    def _words(self, files: Mapping[str, Path], setting: float) -> list[str]:
        q = f"{setting:g}"
        # One pass over each word, so that nothing in a file's name is taken for a placeholder.
        pattern = re.compile(r"\{(in|out|q)\}(?:(?<!\{q\})\.\w+)?")
        return [pattern.sub(lambda m: q if m[1] == "q" else str(files[m[1]]), word) for word in self.words]


def _run(words: list[str], folder: str, timeout: float) -> None:
    """Raises CotamError with the command's last line on stderr. Its children are ended with it."""
    try:
        process = subprocess.Popen(  # noqa: S603 the user's own command, without a shell
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingProgram(f"{words[0]} cannot be started ({error.strerror}); install it") from error
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise CotamError(f"{words[0]} took more than {timeout:g} s and was ended") from error
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise CotamError(f"{words[0]} failed with {process.returncode}: {lines[-1][:200]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def external_codec(template: str, timeout: float = TIMEOUT) -> Codec:
    """A codec from `name=enc ... ;; dec ...` or, with its own settings, `name@10,40,80=...`.

    Raises CotamError when the template is not of this shape, MissingProgram when a program is not installed.
    """
    head, equals, commands = template.partition("=")
    named = _NAME.fullmatch(head.strip())
    halves = commands.split(";;")
    if not equals or not named or len(halves) != 2:
        raise CotamError(
            f"{template!r} is no codec; write 'name=enc {{in}} {{out}} -q {{q}} ;; dec {{in}} {{out}}'"
        )
    encode = Command.parse(halves[0], source=".png", target="").found()
    decode = Command.parse(halves[1], source=encode.target, target=".png").found()
    ladder, settings = _settings(named[2], encode)
    return Codec(
        name=named[1],
        version=_version(template, encode, decode),
        ladder=ladder,
        settings=settings,
        encode=partial(_encode, command=encode, timeout=timeout),
        decode=partial(_decode, command=decode, timeout=timeout),
        about=" ".join(commands.split()),
    )


def _settings(listed: str | None, encode: Command) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not any("{q}" in word for word in encode.words):
        return (0.0,), (0.0,)
    if listed is None:
        return QUALITIES, tuple(map(float, range(101)))
    try:
        chosen = tuple(sorted({float(part) for part in listed.split(",") if part}))
    except ValueError as error:
        raise CotamError(f"{listed} are no settings; write numbers, such as name@10,40,80=...") from error
    return chosen, chosen


def _version(template: str, *commands: Command) -> str:
    """The template, and for each program where it is, how large, and how old."""
    parts = [template]
    for command in commands:
        program = command.words[0]
        status = Path(program).stat()
        parts.append(f"{program} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _encode(pixels: Pixels, setting: float, command: Command, timeout: float) -> bytes:
    return command.run(_picture(pixels, command.source), setting, timeout)


def _decode(data: bytes, command: Command, timeout: float) -> Pixels:
    written = command.run(data, 0, timeout)
    with tempfile.TemporaryDirectory(prefix="cotam-bench-") as folder:
        path = Path(folder, f"decoded{command.target}")
        path.write_bytes(written)
        return load_pixels(path)


def _picture(pixels: Pixels, suffix: str) -> bytes:
    out = io.BytesIO()
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None:
        raise CotamError(f"no picture can be written as {suffix}; use {{in}}.png or {{in}}.ppm")
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, kind)
    return out.getvalue()
