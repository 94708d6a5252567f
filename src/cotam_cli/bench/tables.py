"""The result of a run as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cotam_cli.bench.bdrate import BdRate
from cotam_cli.bench.run import Result
from cotam_cli.bench.timing import Timing

FEW = 10  # pictures, from which averages begin to mean something


def render(result: Result, anchor: str) -> str:
    """All tables: what was measured, BD-rates against an anchor, time and memory, what is missing or failed."""
    curves = result.curves
    many = len(curves.pictures)
    parts = [
        f"{many} picture{'s' if many != 1 else ''}" + (": too few for more than a first look" * (many < FEW))
    ]
    others = [name for name in curves.codecs if name != anchor]
    if anchor in curves.codecs and others:
        rows = [
            [measure, *(percent(anchors[anchor].get(name)) for name in others)]
            for measure, anchors in result.bd.items()
        ]
        title = f"bytes against {anchor} at equal quality (BD-rate; - : no common range)"
        parts.append(f"{title}\n" + table([["", *others], *rows]))
    else:
        parts.append("no BD-rates: fewer than two codecs have a curve, or the anchor has none")
    if result.reference:
        originals = "\n".join(f"  {name}: {100 * value:.1f} %" for name, value in result.reference.items())
        parts.append(f"on the originals\n{originals}")
    if result.timings:
        parts.append(timing_table(result.timings))
    if result.usage:
        parts.append(usage_line(result))
    parts += _lists(result)
    return "\n\n".join(parts)


def percent(value: BdRate | None) -> str:
    """A BD-rate in per cent, "-" for none."""
    return "-" if value is None else f"{value.percent:+.1f} %"


def timing_table(timings: Sequence[Timing]) -> str:
    """Milliseconds, and megabytes of the processes."""
    first = timings[0]
    heads = ["ms and MB", "encode cold", "warm", "decode cold", "warm", "MB encode", "MB decode"]
    rows = []
    for timing in timings:
        cells = [f"{1000 * cost:.0f}" for cost in seconds_of(timing)]
        memory = [
            "-" if cost.memory is None else f"{cost.memory / 1e6:.0f}"
            for cost in (timing.encode, timing.decode)
        ]
        rows.append([timing.codec, *cells, *memory])
    return f"on {first.picture}, {first.width}x{first.height}\n" + table([heads, *rows])


def seconds_of(timing: Timing) -> tuple[float, float, float, float]:
    """Encode cold and warm, decode cold and warm."""
    return timing.encode.cold, timing.encode.warm, timing.decode.cold, timing.decode.warm


def usage_line(result: Result) -> str:
    """What the questions took."""
    usage, vlm = result.usage, result.plan.vlm
    if usage is None or vlm is None:
        return ""
    cost = usage.cost(vlm.endpoint.price)
    money = f", cost {cost:.4f}" if any(vlm.endpoint.price) else ""
    return (
        f"{vlm.endpoint.model}: {usage.requests} requests, {usage.kept} answers kept from earlier, "
        f"{usage.tokens_in} tokens in, {usage.tokens_out} out{money}"
    )


def _lists(result: Result) -> list[str]:
    parts = []
    for title, entries in (
        ("missing, not measured", result.missing),
        ("no curve", result.curves.failed),
        ("left out of the averages", result.curves.left_out),
    ):
        if entries:
            parts.append(f"{title}\n" + "\n".join(f"  {name}: {why}" for name, why in entries.items()))
    return parts


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)
