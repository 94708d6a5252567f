"""Many files: which there are, and where each goes."""

from __future__ import annotations

import codecs
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from cotam_cli.cli.common import check_folder, check_output, check_stdin, write_output
from cotam_cli.errors import CotamError
from cotam_cli.files import read_file

_SUFFIXES = """
apng avif bmp dib gif heic heif ico j2k jfif jp2 jpe jpeg jpg jxl mpo pbm pcx pgm png pnm ppm psd qoi tga tif tiff webp
"""
PICTURES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Suffixes of what is taken from folders; a file that is named is taken whatever its suffix."""


@dataclass(frozen=True)
class Job:
    """One file to work on: its path, or its bytes with a name for them; and where the result goes.

    `fault` says what is wrong with it, where that is known before any work.
    """

    source: str
    output: str
    data: bytes | None = field(default=None, repr=False)
    fault: str = ""

    def read(self) -> bytes:
        return read_file(self.source) if self.data is None else self.data

    def write(self, data: bytes) -> None:
        """Write the output, and the folders above it. Raises CotamError where either cannot be."""
        folder = os.path.dirname(self.output) or "."
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            reason = f"{error.strerror or error}; free its place or choose another"
            raise CotamError(f"the folder {folder} cannot be made: {reason}") from error
        write_output(self.output, data)


@dataclass(frozen=True)
class Result:
    """What became of a job: "done", "skipped" or "failed", and facts for people and for JSON."""

    job: Job
    status: str
    facts: dict[str, object] = field(default_factory=dict)
    error: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    data: bytes | None = field(default=None, repr=False)  # of a stream, which is written in order

    def as_json(self) -> dict[str, object]:
        row: dict[str, object] = {"status": self.status, "input": self.job.source, "output": self.job.output}
        return row | self.facts | ({"error": self.error} if self.error else {})


Work = Callable[[Job], Result]


def is_batch(sources: tuple[str, ...], output: str, files_from: str | None) -> bool:
    """Whether OUT is a folder that files go into, rather than one file."""
    return (
        files_from is not None
        or len(sources) > 1
        or output.endswith((os.sep, "/"))
        or os.path.isdir(output)
        or any(os.path.isdir(source) for source in sources)
    )


def plan(
    sources: tuple[str, ...],
    output: str,
    *,
    files_from: str | None,
    recursive: bool,
    suffixes: frozenset[str],
    suffix: str,
) -> list[Job]:
    """The jobs of a batch, each output below the folder `output`.

    A folder's files keep their place below it (below the folder's own name, where several are given); paths of a
    list keep their folders; a file that is named keeps its name. Files that differ only in their suffix keep it:
    a.jpg.ctm, a.png.ctm. A path that names no file and a folder that cannot be read become jobs with a fault.

    Raises CotamError for a folder without `recursive`, an output that is no folder, two files with one output.
    """
    folders = [source for source in sources if os.path.isdir(source)]
    if folders and not recursive:
        raise CotamError(f"{folders[0]} is a folder; use -r to take the files below it")
    like_a_file = not output.endswith("/") and PurePath(output).suffix.lower() in PICTURES | {
        ".ctm",
        ".npy",
        ".safetensors",
    }
    if output == "-" or os.path.isfile(output) or (like_a_file and not os.path.isdir(output)):
        raise CotamError(f"{output} is no folder, and several files need one; give -o FOLDER/")
    places: list[tuple[str, PurePath]] = []
    shut: list[OSError] = []
    for source in sources:
        if source in folders:
            base = PurePath(Path(source).resolve().name) if len(folders) > 1 else PurePath()
            places += [(path, base / os.path.relpath(path, source)) for path in _walk(source, suffixes, shut)]
        elif source == "-":
            raise CotamError(
                "stdin cannot be one of several inputs, nor go into a folder; give -o FILE, paths, or --files-from -"
            )
        else:
            places.append((source, PurePath(os.path.basename(source))))
    if files_from is not None:
        places += [(path, _inside(path)) for path in _listed(files_from)]
    return _jobs(places, Path(output), suffix) + [_unread(error, output) for error in shut]


def _unread(error: OSError, output: str) -> Job:
    folder = str(error.filename)
    return Job(folder, output, fault=f"{folder} cannot be read ({error.strerror}); check its permissions")


def _walk(folder: str, suffixes: frozenset[str], shut: list[OSError]) -> Iterator[str]:
    """The files with these suffixes below a folder; errors of folders that cannot be read are added to `shut`."""
    for root, folders, files in os.walk(folder, onerror=shut.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            wanted = not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
            if wanted and os.path.isfile(path):  # reading a pipe would wait for ever
                yield path


def _listed(path: str) -> list[str]:
    if path == "-":
        check_stdin()
    raw = sys.stdin.buffer.read() if path == "-" else read_file(path)
    text = os.fsdecode(raw.removeprefix(codecs.BOM_UTF8))
    lines = text.split("\0") if "\0" in text else [line.removesuffix("\r") for line in text.split("\n")]
    return [line for line in lines if line]


def _inside(path: str) -> PurePath:
    """A path made to lie below a folder: no root, no drive, no steps up."""
    pure = PurePath(os.path.normpath(path))
    parts = pure.parts[1:] if pure.anchor else pure.parts
    return PurePath(*(part for part in parts if part != os.pardir))


def _jobs(places: list[tuple[str, PurePath]], output: Path, suffix: str) -> list[Job]:
    places = list(dict.fromkeys(places))  # a file may be named twice
    nameless = [
        Job(source, str(output), fault=f"{source!r} names no file; give a file's path")
        for source, place in places
        if not place.name
    ]
    places = [(source, place) for source, place in places if place.name]
    short = Counter(place.with_suffix(suffix) for _, place in places)
    sources: dict[PurePath, str] = {}
    for source, place in places:
        name = place.with_suffix(suffix)
        if short[name] > 1:
            name = place.with_name(place.name + suffix)
        if name in sources:
            raise CotamError(
                f"{sources[name]} and {source} would both become {output / name}; give their folder with -r instead"
            )
        sources[name] = source
    return [Job(source, str(output / name)) for name, source in sources.items()] + nameless


def attempt(job: Job, work: Work, *, force: bool, skip_existing: bool, short_of_memory: str) -> Result:
    """Do a job, unless its output is there; errors become a failed result that names the file.

    `short_of_memory` says what to do when memory runs out.
    """
    if job.fault:
        return Result(job, "failed", error=job.fault)
    try:
        if job.output != "-" and os.path.isfile(job.output):
            if skip_existing:
                return Result(job, "skipped")
            check_output(job.output, force)
        return work(job)
    except CotamError as error:
        message = str(error)
    except MemoryError:
        message = f"not enough memory for this picture; {short_of_memory}"
    return failed(job, message)


def failed(job: Job, message: str) -> Result:
    """The result of a job that failed; its error names the file."""
    if not message.startswith((job.source, job.output)):
        message = f"{job.source}: {message}"
    return Result(job, "failed", error=message)


def alone(
    source: str,
    output: str,
    work: Work,
    *,
    read: Callable[[str], bytes],
    force: bool,
    skip_existing: bool,
    short_of_memory: str,
) -> Result:
    """As `attempt`, for the only file of a run, or stdin for `-`; `read` gives its bytes once nothing is in the way.

    Raises CotamError where stdout cannot take the output.
    """
    if output == "-":
        check_output(output, force)

    def read_and_work(job: Job) -> Result:
        check_folder(output)  # those of a batch are made
        return work(replace(job, data=read(source)))

    job = Job("stdin" if source == "-" else source, output)
    return attempt(
        job, read_and_work, force=force, skip_existing=skip_existing, short_of_memory=short_of_memory
    )


def run(jobs: Iterable[Job], work: Work, processes: int) -> Iterator[Result]:
    """Do all jobs, some at a time; results in the order of the jobs. A job whose process dies has failed."""
    if processes == 1:
        return map(work, jobs)
    from cotam_cli.processes import in_processes

    return in_processes(work, jobs, processes, died=_died)


def _died(job: Job) -> Result:
    return Result(job, "failed", error=f"{job.source}: its process died, perhaps for want of memory")
