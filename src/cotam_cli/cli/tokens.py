"""cotam decode --tokens"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial

from cotam_cli.cli.batch import Job, Result, attempt, is_batch, plan, run
from cotam_cli.cli.common import check_output, cores, read_input, write_output

SUFFIX = ".safetensors"
CTM = frozenset({".ctm"})


@dataclass(frozen=True)
class TokenSettings:
    """What every file of a run shares."""

    encoder: str | None
    force: bool
    skip_existing: bool


def write_tokens(
    sources: tuple[str, ...],
    output: str,
    encoder: str | None,
    files_from: str | None,
    recursive: bool,
    jobs: int | None,
    skip_existing: bool,
    as_json: bool,
    force: bool,
    verbose: bool,
) -> None:
    """Tokens of one file into a file, or of several into a folder; results are told as `cotam decode` does.

    Raises CotamError where an output cannot be written or a single file cannot be decoded.
    """
    from cotam_cli.cli.reporting import report

    settings = TokenSettings(encoder, force, skip_existing)
    if is_batch(sources, output, files_from):
        todo = plan(sources, output, files_from=files_from, recursive=recursive, suffixes=CTM, suffix=SUFFIX)
    else:
        if not skip_existing:
            check_output(output, force)
        source = sources[0]
        todo = [Job("stdin" if source == "-" else source, output, read_input(source))]
    processes = min(jobs or cores(), max(1, len(todo)))
    results = run(todo, partial(tokens_one, settings), processes)
    report(results, len(todo), as_json=as_json, verbose=verbose, verb="decode")


def tokens_one(settings: TokenSettings, job: Job) -> Result:
    """Tokens of one file; its errors become a failed result. Runs in any process."""
    return attempt(job, partial(_tokens, settings), "use a larger machine or fewer --jobs")


def _tokens(settings: TokenSettings, job: Job) -> Result:
    from cotam_cli.bitstream import parse
    from cotam_cli.codec.tokens import safetensors, tokens_of

    if os.path.exists(job.output):
        if settings.skip_existing:
            return Result(job, "skipped")
        check_output(job.output, settings.force)
    raw = job.read()
    began = time.perf_counter()
    tokens, metadata = tokens_of(raw, settings.encoder)
    data = safetensors({"tokens": tokens.tokens}, metadata)
    os.makedirs(os.path.dirname(job.output) or ".", exist_ok=True)
    write_output(job.output, data)
    header = parse(raw).header
    facts: dict[str, object] = {
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "bpp": round(8 * len(raw) / (header.width * header.height), 5),
        "quality": round(header.quality_value, 4),
        "model": header.model,
        "encoder": metadata["encoder"],
        "shape": list(tokens.tokens.shape),
        "ms": round(1000 * (time.perf_counter() - began)),
    }
    return Result(job, "done", facts, "", len(raw), len(data))
