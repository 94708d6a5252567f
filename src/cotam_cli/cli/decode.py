"""cotam decode"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from cotam_cli.bitstream import MAX_PIXELS, Container, parse
from cotam_cli.cli.batch import Job, Result, alone, attempt, is_batch, plan
from cotam_cli.cli.common import PATH, batch_options, ctm_files, one_line_errors, read_ctm
from cotam_cli.cli.reporting import settle, work_off
from cotam_cli.cli.values import Colour, Sides, is_numbered
from cotam_cli.errors import CotamError

if TYPE_CHECKING:
    from cotam_cli.images import Output

FORMATS = ("png", "jpg", "webp", "avif", "ppm", "npy")
CTM = frozenset({".ctm"})
OF_PICTURES = {"kind": "--format", "target": "--target", "size": "--size", "background": "--background"}
SHORT_OF_MEMORY = "use a larger machine or fewer --jobs"


class Formats(click.Choice[str]):
    """Names of formats, in upper case too, and jpeg."""

    def __init__(self) -> None:
        super().__init__(FORMATS, case_sensitive=False)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("jpg" if value.lower() == "jpeg" else value, param, ctx)


@dataclass(frozen=True)
class Settings:
    """What every file of a run shares."""

    kind: str | None
    target: Literal["mllm", "human"]
    size: tuple[int, int] | None
    background: tuple[int, int, int]
    max_pixels: int
    force: bool = False
    skip_existing: bool = False


@click.command("decode")
@click.argument("sources", metavar="IN...", nargs=-1, type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=PATH,
    help="The picture; a folder for several inputs; NAME-%06d.png for frames; or - for stdout.",
)
@click.option("--format", "kind", type=Formats(), help="Default: by OUT's suffix, else png.")
@click.option(
    "--target",
    type=click.Choice(["mllm", "human"]),
    default="mllm",
    show_default=True,
    help="With or without the model's adapter for machines.",
)
@click.option("--size", metavar="N|WxH", type=Sides(), help="Scale down to fit, sides in pixels.")
@click.option(
    "--background",
    metavar="COLOUR",
    type=Colour(),
    default="white",
    show_default=True,
    help="Behind transparent parts, in formats without transparency.",
)
@click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(1, 65535**2),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures: what decoding costs goes by their pixels.",
)
@click.option(
    "--tokens",
    metavar="OUT",
    type=click.Path(),
    help="Instead of a picture: tokens for a vision encoder's transformer, a .safetensors file or a folder of them.",
)
@click.option(
    "--encoder",
    metavar="NAME|DIR",
    help="Whose tokens: an encoder, or an adapter's folder.  [default: the newest]",
)
@batch_options
@one_line_errors
def command(
    sources: tuple[str, ...],
    output: str | None,
    kind: str | None,
    target: Literal["mllm", "human"],
    size: tuple[int, int] | None,
    background: tuple[int, int, int],
    max_pixels: int,
    tokens: str | None,
    encoder: str | None,
    files_from: str | None,
    recursive: bool,
    jobs: int | None,
    skip_existing: bool,
    as_json: bool,
    force: bool,
    verbose: bool,
) -> None:
    """Decode .ctm files to pictures.

    IN is a .ctm file, several, folders (with -r), or - for stdin, which may be a stream of .ctm files. Animations
    become an animated png, webp or avif, or numbered frames.
    """
    if not sources and files_from is None:
        raise click.UsageError("Missing argument 'IN...'.")
    if tokens is not None:
        from cotam_cli.cli.tokens import TokenSettings, write_tokens

        if output is not None:
            raise click.UsageError("--tokens takes the place of -o; run it twice for both")
        _refuse_picture_options()
        write_tokens(
            sources,
            tokens,
            TokenSettings(encoder, max_pixels, force, skip_existing),
            files_from=files_from,
            recursive=recursive,
            jobs=jobs,
            as_json=as_json,
            verbose=verbose,
        )
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    if encoder is not None:
        raise click.UsageError("--encoder goes with --tokens")
    if as_json and output == "-":
        raise click.UsageError("stdout takes the picture or --json, not both")
    settings = Settings(kind, target, size, background, max_pixels, force, skip_existing)
    if not is_batch(sources, output, files_from):
        _one(sources[0], output, settings, as_json, verbose)
        return
    suffix = f".{kind or 'png'}"
    todo = plan(sources, output, files_from=files_from, recursive=recursive, suffixes=CTM, suffix=suffix)
    work = partial(decode_one, settings)
    work_off(todo, work, jobs=jobs, as_json=as_json, verbose=verbose, verb="decode")


def _refuse_picture_options() -> None:
    source = click.get_current_context().get_parameter_source
    for name, option in OF_PICTURES.items():
        if source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option} is for pictures; --tokens makes none")


def decode_one(settings: Settings, job: Job) -> Result:
    """Decode one file to one file; its errors become a failed result. Runs in any process."""
    return attempt(
        job,
        partial(_decode, settings),
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )


def _decode(settings: Settings, job: Job) -> Result:
    from cotam_cli.cli.streams import split_ctm

    began = time.perf_counter()
    files = list(ctm_files(job.source) if job.data is None else split_ctm(io.BytesIO(job.data)))
    containers = [parse(each, max_pixels=settings.max_pixels) for each in files]
    data = one_file(containers, job.output, settings)
    job.write(data)
    coded = sum(map(len, files))
    return Result(job, "done", facts(containers, coded, data, began), "", coded, len(data))


def facts(containers: list[Container], coded: int, data: bytes, began: float) -> dict[str, object]:
    """What a result tells: of the .ctm files, `coded` bytes in all, of `data` that became of them, and the time since
    `began`. Bits per pixel are those of whole files, as `cotam encode` tells them."""
    header = containers[0].header
    frames = sum(len(each.frames()) for each in containers)
    return {
        "width": header.width,
        "height": header.height,
        "frames": frames,
        "bytes": len(data),
        "bpp": round(8 * coded / (header.width * header.height * frames), 5),
        "quality": round(header.quality_value, 4),
        "model": header.model,
        "ms": round(1000 * (time.perf_counter() - began)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def one_file(containers: list[Container], output: str, settings: Settings) -> bytes:
    """A picture file of a still, or of an animation, which may go on over several .ctm files."""
    from cotam_cli.api import metadata_of
    from cotam_cli.images import encode_animation, encode_picture, format_for

    kind, first = format_for(output, settings.kind), containers[0]
    metadata, colour = metadata_of(first), settings.background
    if len(containers) == 1 and not first.header.animation:
        frame = next(frames_of(containers, settings))
        return encode_picture(frame.pixels, kind, alpha=frame.alpha, metadata=metadata, background=colour)
    sizes = {(each.header.width, each.header.height) for each in containers}
    if not all(each.header.animation for each in containers) or len(sizes) > 1:
        raise CotamError(
            f"{len(containers)} pictures do not go into one file; number them: -o NAME-%06d.{kind}"
        )
    return encode_animation(frames_of(containers, settings), kind, metadata=metadata, background=colour)


def frames_of(containers: Iterable[Container], settings: Settings) -> Iterator[Output]:
    """The decoded frames of .ctm files, scaled down where that is wished. Raises CotamError for damage, at the latest
    after a file's last frame."""
    from cotam_cli.codec.decoder import decode_frames
    from cotam_cli.images import Output
    from cotam_cli.images.scaling import fit

    for container in containers:
        for frame in decode_frames(container, target=settings.target):
            pixels, alpha = frame.pixels, frame.alpha
            if settings.size is not None:
                pixels, alpha = fit(pixels, alpha, settings.size)
            yield Output(pixels, alpha, frame.duration_ms)


def _one(source: str, output: str, settings: Settings, as_json: bool, verbose: bool) -> None:
    """One input: a file, or stdin, with one picture or many."""
    from cotam_cli.cli.frames import write_numbered, write_stream

    if is_numbered(output):
        write_numbered(source, output, settings, as_json=as_json, verbose=verbose)
        return
    if output == "-":
        write_stream(source, settings, verbose=verbose)
        return
    result = alone(
        source,
        output,
        partial(_decode, settings),
        read=read_ctm,
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )
    settle(result, as_json=as_json, verbose=verbose)
