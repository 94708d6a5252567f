"""The result of a run as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from string import Template

from cotam_cli import __version__
from cotam_cli.bench import svg
from cotam_cli.bench.page_figures import bd_rates, curves, numbers, timing
from cotam_cli.bench.page_pictures import crops, maps
from cotam_cli.bench.run import Result
from cotam_cli.bench.tables import FEW

MOST_NAMED = 200  # failures


def page(result: Result, anchor: str) -> str:
    """The whole page."""
    folder = resources.files("cotam_cli.bench").joinpath("assets")
    return Template(folder.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        css=svg.colours() + folder.joinpath("report.css").read_text(encoding="utf-8"),
        js=folder.joinpath("report.js").read_text(encoding="utf-8"),
        title=escape(f"cotam bench: {result.plan.folder}"),
        intro=_intro(result),
        headline=_headline(result, anchor),
        problems=_problems(result),
        curves=curves(result),
        rates=bd_rates(result, anchor),
        crops=crops(result.exhibits),
        maps=maps(result.exhibits),
        timing=timing(result),
        numbers=numbers(result),
    )


def _intro(result: Result) -> str:
    many, first = len(result.curves.pictures), result.began.strftime("%Y-%m-%d %H:%M UTC")
    few = " That is few: take it as a first look." if many < FEW else ""
    machine = result.machine
    return (
        f"<p>{many} picture{'s' * (many != 1)} of <b>{escape(result.plan.folder)}</b>, {first}, cotam {__version__}, "
        f"{escape(machine['processor'])}, {machine['cores']} cores, Python {machine['python']}.{few}</p>"
    )


def _headline(result: Result, anchor: str) -> str:
    """What a reader came for: bytes of our codec against the anchor."""
    if "cotam" not in result.curves.codecs or anchor == "cotam":
        return ""
    items = []
    for measure, anchors in result.bd.items():
        value = anchors.get(anchor, {}).get("cotam")
        if value is not None:
            word = "fewer" if value.percent < 0 else "more"
            items.append(
                f'<li><b class="{word}">{abs(value.percent):.0f} % {word} bytes</b>'
                f"<span>at equal {escape(measure)}</span></li>"
            )
    if not items:
        return f"<p>cotam and {escape(anchor)} reach no common quality here: see the curves.</p>"
    return f"<p>cotam against {escape(anchor)}, averaged:</p><ul class=cards>{''.join(items)}</ul>"


def _problems(result: Result) -> str:
    """Everything that is not in the figures, by name."""
    averages = result.curves
    lists: Iterable[tuple[str, Mapping[str, str]]] = (
        ("Missing here, not measured", result.missing),
        ("Without a curve", averages.failed),
        ("Left out of all averages", averages.left_out),
    )
    parts = [
        _list(title, (f"<b>{escape(k)}</b>: {escape(v)}" for k, v in rows.items())) for title, rows in lists
    ]
    named = [escape(str(failure)) for failure in result.failures[:MOST_NAMED]]
    if len(result.failures) > MOST_NAMED:
        named.append(f"and {len(result.failures) - MOST_NAMED} more, all of them in the JSON")
    parts.append(_list("Failed", named))
    whole = "".join(parts)
    return (
        f'<section class="problems" aria-labelledby="t-p"><h2 id="t-p">Not measured</h2>{whole}</section>'
        if whole
        else ""
    )


def _list(title: str, items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<h3>{title}</h3><ul>{rows}</ul>" if rows else ""
