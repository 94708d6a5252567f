"""cotam decode: pictures as they arrive, each frame into a numbered file, or all to stdout"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

from cotam_cli.bitstream import Container, parse
from cotam_cli.cli.batch import Job, Result, attempt, failed
from cotam_cli.cli.common import check_output, ctm_files, tell, write_output
from cotam_cli.cli.decode import SHORT_OF_MEMORY, Settings, facts, frames_of, one_file
from cotam_cli.cli.reporting import line, report
from cotam_cli.cli.values import numbered
from cotam_cli.errors import CotamError


def write_numbered(source: str, output: str, settings: Settings, *, as_json: bool, verbose: bool) -> None:
    """Each frame of each picture into a file of its own; those of a .ctm file once its hash is right.

    Raises CotamError for an unknown format; all else is a failed file.
    """
    from cotam_cli.images import format_for

    kind = format_for(output, settings.kind)
    report(
        _frame_files(source, output, kind, settings), None, as_json=as_json, verbose=verbose, verb="decode"
    )


def write_stream(source: str, settings: Settings, *, verbose: bool) -> None:
    """Stills one after the other to stdout, an animation as one file or its frames. Raises CotamError."""
    from cotam_cli.images import format_for
    from cotam_cli.images.formats import holds_frames

    check_output("-", settings.force)
    kind = format_for("-", settings.kind)
    for number, (container, coded) in enumerate(_containers(source, settings), 1):
        began = time.perf_counter()
        if container.header.animation and not holds_frames(kind):
            data = b"".join(_pictures(container, kind, settings))
        else:
            data = one_file([container], "-", settings)
        write_output("-", data)
        if verbose:
            told = facts([container], coded, data, began)
            tell(
                line(
                    Result(Job(f"{_name(source)}, picture {number}", "-"), "done", told, "", coded, len(data))
                )
            )


def _name(source: str) -> str:
    return "stdin" if source == "-" else source


def _containers(source: str, settings: Settings) -> Iterator[tuple[Container, int]]:
    """The .ctm files of one input and their bytes, as they arrive."""
    for data in ctm_files(source):
        yield parse(data, max_pixels=settings.max_pixels), len(data)


def _pictures(container: Container, kind: str, settings: Settings) -> Iterator[bytes]:
    """A picture file of each frame."""
    from cotam_cli.api import metadata_of
    from cotam_cli.images import encode_picture

    metadata, colour = metadata_of(container), settings.background
    for frame in frames_of([container], settings):
        yield encode_picture(frame.pixels, kind, alpha=frame.alpha, metadata=metadata, background=colour)


def _frame_files(source: str, output: str, kind: str, settings: Settings) -> Iterator[Result]:
    """What becomes of each frame; the first .ctm file that cannot be decoded is the last result."""
    name, number = _name(source), 0
    try:
        for container, coded in _containers(source, settings):
            numbers = range(number + 1, number + len(container.frames()) + 1)
            number = numbers[-1]
            jobs = [Job(f"{name}, frame {each}", numbered(output, each)) for each in numbers]
            yield from _write_frames(container, coded, jobs, kind, settings)
    except CotamError as error:
        yield failed(Job(name, output), str(error))


def _write_frames(
    container: Container, coded: int, jobs: list[Job], kind: str, settings: Settings
) -> Iterator[Result]:
    """All frames of a .ctm file of `coded` bytes into the outputs of as many jobs."""
    if settings.skip_existing and all(os.path.isfile(job.output) for job in jobs):
        yield from (Result(job, "skipped") for job in jobs)
        return
    began, done = time.perf_counter(), []
    for data in _pictures(container, kind, settings):
        done.append((data, facts([container], coded, data, began) | {"frames": 1}))
        began = time.perf_counter()
    for job, (data, told) in zip(jobs, done, strict=True):
        yield attempt(
            job,
            partial(_write, data, told, coded // len(jobs)),
            force=settings.force,
            skip_existing=settings.skip_existing,
            short_of_memory=SHORT_OF_MEMORY,
        )


def _write(data: bytes, told: dict[str, object], coded: int, job: Job) -> Result:
    job.write(data)
    return Result(job, "done", told, bytes_in=coded, bytes_out=len(data))
