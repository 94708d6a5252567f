"""cotam bench"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cotam_cli.cli.common import PATH, check_output, fail, force_option, one_line_errors, say, write_output
from cotam_cli.errors import CotamError

if TYPE_CHECKING:
    from cotam_cli.bench.run import Result

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
MOST_NAMED = 20  # failures on the terminal; the report and the JSON have all
MOST_RATE = 24  # bits per pixel: more than the picture itself


def _rates(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """Bits per pixel, with commas between them."""
    if value is None:
        return ()
    try:
        rates = tuple(sorted({float(part) for part in value.split(",")}))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of bits per pixel; write 0.1,0.2,0.4") from error
    if not all(0 < rate <= MOST_RATE for rate in rates):
        raise click.BadParameter(f"bits per pixel lie above 0 and up to {MOST_RATE}")
    return rates


@click.command("bench")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--codecs",
    default="cotam,jpeg,webp,avif,jxl",
    show_default=True,
    metavar="LIST",
    help="compressai:ARCHITECTURE too, with the extra torch.",
)
@click.option(
    "--codec",
    "templates",
    multiple=True,
    metavar="TEMPLATE",
    help="Any other: 'name=enc {in} {out} -q {q} ;; dec {in} {out}'; with settings: name@10,40,80=...",
)
@click.option(
    "--rates", metavar="LIST", callback=_rates, help="Bits per pixel to come near to, instead of settings."
)
@click.option("--anchor", metavar="CODEC", help="What you use today.  [default: jpeg]")
@click.option(
    "--tasks",
    metavar="LIST",
    help="ocr, ocr:LANGUAGE, JSON contracts of networks, or none.  [default: ocr where a truth.json is]",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="TOWER",
    help="Similarity of features: MODEL/WEIGHTS of open_clip, or a contract.",
)
@click.option("--truth", type=FILE, help="The pictures' words.  [default: DIR/truth.json]")
@click.option("--labels", type=FILE, help="The pictures' classes.  [default: DIR/labels.json]")
@click.option("--vlm", metavar="URL", help="Your multimodal model: http://localhost:8000/v1.")
@click.option("--vlm-model", metavar="NAME", help="Its name there.")
@click.option("--questions", type=FILE, help="What to ask it, as JSON lines.")
@click.option("--vlm-rpm", type=click.FloatRange(0), default=0.0, help="Most requests a minute; 0: no limit.")
@click.option(
    "--vlm-timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds a request."
)
@click.option(
    "--vlm-price",
    type=(float, float),
    default=(0.0, 0.0),
    metavar="IN OUT",
    help="Money for a million tokens.",
)
@click.option("--limit", type=click.IntRange(1), help="So many pictures, spread evenly.  [default: all]")
@click.option("--report", metavar="HTML", type=click.Path(), help="One page to look at.")
@click.option("--json", "record", metavar="JSON", type=PATH, help="All figures.")
@click.option("--plot", metavar="SVG", type=click.Path(), help="The curves as one drawing.")
@click.option("--curves", type=FOLDER, help="A JSON file a codec, for python -m compressai.utils.plot.")
@click.option("--cache", type=FOLDER, help="What is done already.  [default: the user's cache folder]")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=120.0,
    show_default=True,
    help="Seconds that a codec's command may take.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@force_option
@one_line_errors
def command(
    folder: Path,
    anchor: str | None,
    report: str | None,
    record: str | None,
    plot: str | None,
    curves: Path | None,
    force: bool,
    **options: Any,
) -> None:
    """Compare codecs on the pictures of the folder DIR: bytes, quality, what machines still see, time, memory.

    Cut off? Run the same command again: it goes on where it was.
    """
    outputs = [path for path in (report, record, plot) if path is not None]
    for path in outputs:
        _check_place(path, force)
    from cotam_cli.bench.planning import Options, choose_anchor, make_plan
    from cotam_cli.bench.run import run_bench

    if not folder.is_dir():
        raise CotamError(f"{folder} is no folder that is there; give one with pictures")
    plan = make_plan(folder, Options(**options))
    against = choose_anchor(plan, anchor)
    if curves is not None:
        for codec in plan.codecs:
            check_output(_curve_file(curves, codec.name), force)
    _check_cache(plan.kept)
    try:
        result = run_bench(plan)
    except KeyboardInterrupt:
        say("stopped; the same command goes on where it was")
        raise
    _write(result, against, report, record, plot, curves)
    if record != "-":
        from cotam_cli.bench.tables import render

        click.echo(render(result, against))
    _tell_failures(result)


def _check_cache(folder: Path) -> None:
    """Refuse a cache that cannot be written to, before anything is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CotamError(
            f"the cache {folder} cannot be made ({error.strerror}); give another, --cache"
        ) from error
    if not os.access(folder, os.W_OK):
        raise CotamError(f"the cache {folder} cannot be written to; give another, --cache")


def _check_place(path: str, force: bool) -> None:
    """A run may take an hour: an output that cannot be written must fail before it."""
    check_output(path, force)
    parent = Path(path).absolute().parent
    if path != "-" and not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise CotamError(f"{parent} is not a folder that can be written to; make it first")


def _curve_file(curves: Path, codec: str) -> str:
    from cotam_cli.bench.tasks import slug

    return str(curves / f"{slug(codec)}.json")


def _write(
    result: Result,
    anchor: str,
    report: str | None,
    record: str | None,
    plot: str | None,
    curves: Path | None,
) -> None:
    from cotam_cli.bench.page import page
    from cotam_cli.bench.page_figures import curve_figures
    from cotam_cli.bench.record import codec_records, to_record
    from cotam_cli.bench.svg import page_of

    if record is not None:
        write_output(record, json.dumps(to_record(result, anchor), indent=1).encode() + b"\n")
    if curves is not None:
        curves.mkdir(parents=True, exist_ok=True)
        for entry in codec_records(result):
            write_output(_curve_file(curves, entry["name"]), json.dumps(entry, indent=1).encode() + b"\n")
    if plot is not None:
        write_output(plot, page_of(list(curve_figures(result).values())).encode())
    if report is not None:
        write_output(report, page(result, anchor).encode())


def _tell_failures(result: Result) -> None:
    """Each on stderr, and exit code 1 when there is one."""
    count = len(result.failures)
    for failure in result.failures[:MOST_NAMED]:
        click.echo(f"failed: {failure}", err=True)
    if count:
        more = f", {count - MOST_NAMED} more are in the report and the JSON" if count > MOST_NAMED else ""
        fail(f"{count} thing{'s' if count > 1 else ''} failed{more}; everything else is measured")
