"""cotam encode"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

import click

from cotam_cli.cli.batch import PICTURES, Job, Result, alone, attempt, is_batch, plan, run
from cotam_cli.cli.common import (
    PATH,
    batch_options,
    check_output,
    check_stdin,
    one_line_errors,
    read_input,
    say,
    tell,
    write_output,
)
from cotam_cli.cli.guiding import guide_option, strength_option
from cotam_cli.cli.reporting import line, report, settle, work_off
from cotam_cli.cli.values import Bytes, Colour, is_numbered, numbered
from cotam_cli.errors import CotamError
from cotam_cli.guidance.options import GuideOptions

SHORT_OF_MEMORY = "scale it down or use a larger machine"


@dataclass(frozen=True)
class Settings:
    """What every file of a run shares: keyword arguments of `encode`, and what to do with old files."""

    arguments: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    skip_existing: bool = False


@click.command("encode")
@click.argument("sources", metavar="IN...", nargs=-1, type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=PATH,
    help="The .ctm file; a folder for several inputs; NAME-%06d.ctm for a stream; or - for stdout.",
)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 8),
    help="1 (small) to 8 (fine), fractions allowed. Default: 3.",
)
@click.option(
    "--target-size",
    "--max-bytes",
    "max_bytes",
    metavar="SIZE",
    type=Bytes(),
    help="Instead of a quality: the finest file of at most this size, such as 200KB.",
)
@click.option("--target-bpp", type=click.FloatRange(0, min_open=True), help="The same, in bits per pixel.")
@click.option(
    "--effort",
    type=click.IntRange(0, 10),
    default=0,
    show_default=True,
    help="Steps that refine what is coded: more for the same bytes, at a few decodings' time each.",
)
@click.option("--base64", is_flag=True, help="Count the size after base64, as most APIs do.")
@click.option(
    "--max-side",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="Scale down first, so that no side is longer, in pixels.",
)
@click.option(
    "--background",
    metavar="COLOUR",
    type=Colour(),
    default="white",
    show_default=True,
    help="What stands behind transparent parts: white, black, grey or #rrggbb.",
)
@click.option("--alpha", is_flag=True, help="Keep transparency, without loss, instead.")
@click.option("--keep-icc", is_flag=True, help="Keep colours and ICC profile instead of converting to sRGB.")
@click.option("--keep-metadata", is_flag=True, help="Keep EXIF and XMP: place, time and camera too.")
@guide_option("auto")
@strength_option
@batch_options
@one_line_errors
def command(
    sources: tuple[str, ...],
    output: str,
    quality: float | None,
    max_bytes: int | None,
    target_bpp: float | None,
    base64: bool,
    files_from: str | None,
    recursive: bool,
    jobs: int | None,
    skip_existing: bool,
    as_json: bool,
    force: bool,
    verbose: bool,
    guide_strength: float,
    **others: Any,
) -> None:
    """Code pictures as .ctm files.

    IN is a picture, several, folders (with -r), or - for stdin. Animations (GIF, WebP, APNG) become one .ctm.
    stdin may be a stream of pictures, as `ffmpeg -f image2pipe` makes it.
    """
    budget = max_bytes is not None or target_bpp is not None
    if quality is not None and budget:
        raise click.UsageError("give a quality or a size, not both")
    if base64 and max_bytes is None:
        raise click.UsageError("--base64 counts a size: give --target-size too")
    if not sources and files_from is None:
        raise click.UsageError("Missing argument 'IN...'.")
    arguments = others | {
        "quality": 3.0 if quality is None else quality,
        "max_bytes": max_bytes,
        "target_bpp": target_bpp,
        "base64": base64,
        "guide_options": GuideOptions(strength=guide_strength),
    }
    settings = Settings(arguments, force, skip_existing)
    if as_json and output == "-":
        raise click.UsageError("stdout takes the file or --json, not both")
    if sources == ("-",) and files_from is None and (output == "-" or is_numbered(output)):
        _stream(output, settings, jobs or 1, as_json, verbose)
        return
    if not is_batch(sources, output, files_from):
        _check_name(output)
        _one(sources[0], output, settings, as_json, verbose, budget)
        return
    todo = plan(sources, output, files_from=files_from, recursive=recursive, suffixes=PICTURES, suffix=".ctm")
    work = partial(encode_one, settings)
    work_off(todo, work, jobs=jobs, as_json=as_json, verbose=verbose, verb="encode")


def _check_name(output: str) -> None:
    """Refuse what a finger on the wrong key would make of a picture, and a number's place without a stream."""
    if PurePath(output).suffix.lower() in PICTURES:
        raise CotamError(
            f"{output} is a picture's name, and what is written is a .ctm; choose another ending"
        )
    if output != "-" and is_numbered(output):
        raise CotamError(
            f"{output} has a place for numbers, which a stream needs; give - as input, or a plain name"
        )


def encode_one(settings: Settings, job: Job) -> Result:
    """Code one file; its errors become a failed result. Runs in any process."""
    return attempt(
        job,
        partial(_encode, settings),
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )


def _encode(settings: Settings, job: Job) -> Result:
    from cotam_cli.api import encode_parts, info

    raw = job.read()
    began = time.perf_counter()
    parts = encode_parts(raw, name=job.source, **settings.arguments)
    data = b"".join(parts)
    milliseconds = round(1000 * (time.perf_counter() - began))
    if job.output != "-":
        job.write(data)
    each = [info(part) for part in parts]
    facts, frames = each[0], sum(one.frames for one in each)
    told = {
        "width": facts.width,
        "height": facts.height,
        "frames": frames,
        "bytes": len(data),
        "bpp": round(8 * len(data) / (facts.width * facts.height * frames), 5),
        "quality": round(facts.quality, 4),
        "model": facts.model,
        "ms": milliseconds,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return Result(
        job,
        "done",
        told,
        bytes_in=len(raw),
        bytes_out=len(data),
        data=data if job.output == "-" else None,
    )


def _one(source: str, output: str, settings: Settings, as_json: bool, verbose: bool, budget: bool) -> None:
    result = alone(
        source,
        output,
        partial(_encode, settings),
        read=_only_picture,
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )
    settle(result, as_json=as_json, verbose=verbose)
    if budget and not as_json and not verbose and result.status == "done":
        say(f"{result.job.source}: quality {result.facts['quality']:.4g}, {result.bytes_out} bytes")


def _only_picture(source: str) -> bytes:
    """The bytes of a file, or of the one picture in stdin; what follows it and is no picture is left out."""
    if source != "-":
        return read_input(source)
    from cotam_cli.cli.streams import begins_picture, split

    check_stdin()
    pictures = split(sys.stdin.buffer)
    first = next(pictures)
    following = next(pictures, b"")
    if begins_picture(following):
        raise CotamError(
            "several pictures follow each other; number them: -o NAME-%06d.ctm, or -o - for a stream"
        )
    return first


def _stream(output: str, settings: Settings, processes: int, as_json: bool, verbose: bool) -> None:
    """stdin's pictures, one after the other, into numbered files or a stream of .ctm files."""
    from cotam_cli.cli.streams import split

    check_stdin()
    if output == "-":
        check_output(output, settings.force)

    def todo() -> Iterator[Job]:
        for number, data in enumerate(split(sys.stdin.buffer), 1):
            yield Job(f"stdin, picture {number}", "-" if output == "-" else numbered(output, number), data)

    results = run(todo(), partial(encode_one, settings), processes)
    if output != "-":
        report(results, None, as_json=as_json, verbose=verbose, verb="encode")
        return
    for result in results:
        if result.data is None:
            raise CotamError(result.error)  # a gap would go unnoticed behind the pipe
        write_output("-", result.data)
        if verbose:
            tell(line(result))
