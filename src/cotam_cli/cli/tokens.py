"""cotam decode --tokens"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from cotam_cli.cli.batch import Job, Result, alone, attempt, is_batch, plan
from cotam_cli.cli.common import read_input
from cotam_cli.cli.decode import CTM, SHORT_OF_MEMORY, facts
from cotam_cli.cli.reporting import settle, work_off

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TokenSettings:
    """What every file of a run shares."""

    encoder: str | None
    max_pixels: int
    force: bool
    skip_existing: bool


def write_tokens(
    sources: tuple[str, ...],
    output: str,
    settings: TokenSettings,
    *,
    files_from: str | None,
    recursive: bool,
    jobs: int | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Tokens of one file into a file, or of several into a folder; results are told as `cotam decode` does.

    Raises CotamError where an output cannot be written or a single file cannot be decoded.
    """
    if is_batch(sources, output, files_from):
        todo = plan(sources, output, files_from=files_from, recursive=recursive, suffixes=CTM, suffix=SUFFIX)
        work = partial(tokens_one, settings)
        work_off(todo, work, jobs=jobs, as_json=as_json, verbose=verbose, verb="decode")
        return
    result = alone(
        sources[0],
        output,
        partial(_tokens, settings),
        read=read_input,
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )
    settle(result, as_json=as_json, verbose=verbose)


def tokens_one(settings: TokenSettings, job: Job) -> Result:
    """Tokens of one file; its errors become a failed result. Runs in any process."""
    return attempt(
        job,
        partial(_tokens, settings),
        force=settings.force,
        skip_existing=settings.skip_existing,
        short_of_memory=SHORT_OF_MEMORY,
    )


def _tokens(settings: TokenSettings, job: Job) -> Result:
    from cotam_cli.bitstream import parse
    from cotam_cli.codec.tokens import safetensors, tokens_of

    raw = job.read()
    began = time.perf_counter()
    tokens, metadata = tokens_of(raw, settings.encoder, max_pixels=settings.max_pixels)
    data = safetensors({"tokens": tokens.tokens}, metadata)
    job.write(data)
    told = facts([parse(raw, max_pixels=settings.max_pixels)], len(raw), data, began)
    told |= {"encoder": metadata["encoder"], "shape": list(tokens.tokens.shape)}
    return Result(job, "done", told, "", len(raw), len(data))
