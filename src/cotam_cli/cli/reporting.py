"""A run over files, and what it says: a bar and errors on stderr, JSON lines on stdout, and the exit code."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable

from cotam_cli.cli.batch import Job, Result, Work, run
from cotam_cli.cli.common import say, tell, tell_json, write_output
from cotam_cli.errors import CotamError
from cotam_cli.sessions import cores


def work_off(
    todo: list[Job], work: Work, *, jobs: int | None, as_json: bool, verbose: bool, verb: str
) -> None:
    """Do all of `todo`, `jobs` at a time (None: one a core), and report; exit with 1 if any failed."""
    processes = min(jobs or cores(), max(1, len(todo)))
    report(run(todo, work, processes), len(todo), as_json=as_json, verbose=verbose, verb=verb)


def report(results: Iterable[Result], total: int | None, *, as_json: bool, verbose: bool, verb: str) -> None:
    """Show results as they come, and a line at the end; exit with 1 if any failed."""
    from tqdm import tqdm

    began = time.perf_counter()
    counts: Counter[str] = Counter()
    bytes_in = bytes_out = 0
    with tqdm(total=total, unit="file", disable=None, file=sys.stderr, leave=False) as bar:
        for result in results:
            counts[result.status] += 1
            bytes_in, bytes_out = bytes_in + result.bytes_in, bytes_out + result.bytes_out
            bar.update()
            bar.set_postfix_str(f"{_size(bytes_in)} -> {_size(bytes_out)}", refresh=False)
            if as_json:
                with bar.external_write_mode(file=sys.stdout):
                    tell_json(result.as_json())
            if result.status == "failed":
                with bar.external_write_mode(file=sys.stderr):
                    say(result.error)
            elif verbose:
                with bar.external_write_mode(file=sys.stderr):
                    tell(line(result))
    seconds = time.perf_counter() - began
    said = (
        ", ".join(f"{counts[k]} {k}" for k in ("done", "skipped", "failed") if counts[k]) or "nothing to do"
    )
    saved = ""
    if counts["done"]:
        saved = f"; {_size(bytes_in)} -> {_size(bytes_out)}, {counts['done'] / seconds:.1f} files/s"
    say(f"{verb}: {said}{saved}")
    if counts["failed"]:
        sys.exit(1)


def settle(result: Result, *, as_json: bool, verbose: bool) -> None:
    """Tell of the only file of a run. Raises CotamError where it failed."""
    if as_json:
        tell_json(result.as_json())
    if result.status == "failed":
        raise CotamError(result.error)
    if result.data is not None:
        write_output("-", result.data)
    if verbose:
        tell(line(result))


def line(result: Result) -> str:
    """One result for people."""
    facts = result.facts
    if result.status == "skipped":
        return f"{result.job.output}: exists, skipped"
    size = f"{facts['width']}x{facts['height']}"
    if int(str(facts.get("frames", 1))) > 1:
        size += f" x {facts['frames']} frames"
    return (
        f"{result.job.source}: {size}, quality {facts['quality']:.4g}, {result.bytes_in} -> {result.bytes_out} bytes, "
        f"{facts['bpp']:.4f} bpp, {facts['ms']} ms"
    )


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
