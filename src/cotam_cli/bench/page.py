"""The result of a run as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape
from importlib import resources
from string import Template

import numpy as np
from PIL import Image

from cotam_cli import __version__
from cotam_cli.bench import svg
from cotam_cli.bench.codecs import Pixels
from cotam_cli.bench.exhibits import Exhibit, ImportanceMap
from cotam_cli.bench.pictures import load_pixels
from cotam_cli.bench.results import MS_SSIM, PSNR, CurvePoint, series
from cotam_cli.bench.run import Result
from cotam_cli.bench.tables import FEW, percent, seconds_of, usage_line

quoted = partial(escape, quote=True)
MAP_SIDE = 640  # pixels, the longer side of the picture under the map


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
        curves=_curves(result),
        rates=_bd_rates(result, anchor),
        crops=_crops(result.exhibits),
        maps=_maps(result.exhibits),
        timing=_timing(result),
        numbers=_numbers(result),
    )


def styles_of(result: Result) -> dict[str, int]:
    """The number of each codec's colour, mark and dash."""
    return {codec.name: k for k, codec in enumerate(result.plan.codecs)}


def curve_figures(result: Result) -> dict[str, str]:
    """An SVG element for each measure."""
    styles = styles_of(result)
    return {
        measure: svg.figure(
            {name: _points(curve, measure) for name, curve in result.curves.codecs.items()},
            title=measure,
            unit=unit_of(measure),
            styles=styles,
            reference=result.reference.get(measure),
        )
        for measure in result.curves.measures
    }


def _points(curve: Sequence[CurvePoint], measure: str) -> list[tuple[float, float]]:
    return list(zip(*series(curve, measure), strict=True))


def unit_of(measure: str) -> str:
    """dB for the two plain measures, per cent for what judges say."""
    return "dB" if measure in (PSNR, MS_SSIM) else "%"


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
    curves = result.curves
    lists: Iterable[tuple[str, Mapping[str, str]]] = (
        ("Missing here, not measured", result.missing),
        ("Without a curve", curves.failed),
        ("Left out of all averages", curves.left_out),
    )
    parts = [
        _list(title, (f"<b>{escape(k)}</b>: {escape(v)}" for k, v in rows.items())) for title, rows in lists
    ]
    parts.append(_list("Failed", (escape(str(failure)) for failure in result.failures)))
    whole = "".join(parts)
    return (
        f'<section class="problems" aria-labelledby="t-p"><h2 id="t-p">Not measured</h2>{whole}</section>'
        if whole
        else ""
    )


def _list(title: str, items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<h3>{title}</h3><ul>{rows}</ul>" if rows else ""


def _options(names: Iterable[str], chosen: str = "") -> str:
    return "".join(
        f'<option value="{quoted(name)}"{" selected" * (name == chosen)}>{escape(name)}</option>'
        for name in names
    )


def _curves(result: Result) -> str:
    figures = curve_figures(result)
    if not figures:
        return "<p>No codec has a curve.</p>"
    styles = styles_of(result)
    keys = "".join(
        f'<button type=button class=toggle aria-pressed=true data-codec="{quoted(name)}">'
        f"{svg.legend_mark(styles[name])}{escape(name)}</button>"
        for name in result.curves.codecs
    )
    panels = "".join(
        f'<figure class=panel data-panel="{quoted(measure)}" tabindex=0 '
        f'aria-label="{quoted(measure)}: arrow keys read the points">{figure}</figure>'
        for measure, figure in figures.items()
    )
    return (
        f'<div class=bar><label>Measure <select id=measure data-shows="curves">{_options(figures)}</select></label>'
        f"<div class=legend role=group aria-label=Codecs>{keys}</div></div>"
        f"<div id=curves class=panels>{panels}</div><p class=said role=status aria-live=polite id=said>"
        "Touch a point, or focus the drawing and use the arrow keys.</p>"
    )


def _bd_rates(result: Result, anchor: str) -> str:
    names = list(result.curves.codecs)
    if len(names) < 2:
        return "<p>Fewer than two codecs have a curve.</p>"
    tables = []
    for other in names:
        head = "".join(f"<th scope=col>{escape(name)}</th>" for name in names if name != other)
        rows = "".join(
            f"<tr><th scope=row>{escape(measure)}</th>"
            + "".join(_bd_cell(result, measure, other, name) for name in names if name != other)
            + "</tr>"
            for measure in result.bd
        )
        tables.append(
            f'<div class="panel scroll" data-panel="{quoted(other)}" tabindex=0 role=region '
            f'aria-label="BD-rates against {quoted(other)}"><table><thead><tr><th scope=col>against '
            f"{escape(other)}</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return (
        f'<div class=bar><label>Against <select data-shows="rates">{_options(names, anchor)}</select></label></div>'
        f"<div id=rates class=panels>{''.join(tables)}</div>"
        "<p class=note>Bytes more (+) or fewer (-) at equal quality, averaged over the range that both codecs reach "
        "(Bjøntegaard delta rate, piecewise cubic). “-”: no common range.</p>"
    )


def _bd_cell(result: Result, measure: str, anchor: str, codec: str) -> str:
    value = result.bd[measure][anchor].get(codec)
    if value is None:
        return "<td>-</td>"
    unit = unit_of(measure)
    span = f"{svg.shown(value.low, unit)} to {svg.shown(value.high, unit)}"
    word = "fewer" if value.percent < 0 else "more"
    return f'<td class="{word}" title="{quoted(span)}">{percent(value)}</td>'


def picture_url(pixels: Pixels, *, lossless: bool = True) -> str:
    """uint8 [h, w, 3] pixels as a data URL."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", lossless=lossless, quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _crops(exhibits: Sequence[Exhibit]) -> str:
    if not exhibits:
        return "<p>No picture could be shown.</p>"
    names = [exhibit.picture.name for exhibit in exhibits]
    panels = "".join(
        f'<div class=panel data-panel="{quoted(e.picture.name)}">{_crop(e)}</div>' for e in exhibits
    )
    return (
        f'<div class=bar><label>Picture <select data-shows="crops">{_options(names)}</select></label></div>'
        f"<div id=crops class=panels>{panels}</div>"
        "<p class=note>The window with the most edges. Every codec is set to the size that comes nearest to the first "
        "one's; one that cannot go so low is shown at its smallest, with its size beside it.</p>"
    )


def _crop(exhibit: Exhibit) -> str:
    left, top, width, height = exhibit.crop
    sides = [("original", "original", exhibit.original)]
    sides += [(s.codec, f"{s.codec}: {s.bytes:,} bytes, {s.psnr:.1f} dB", s.pixels) for s in exhibit.shown]
    images = "".join(
        f'<img class=crop data-side="{quoted(name)}" data-says="{quoted(said)}" src="{picture_url(pixels)}" '
        f'width={width} height={height} alt="{quoted(said)}">'
        for name, said, pixels in sides
    )
    names = [name for name, _, _ in sides]
    other = next((name for name in ("jpeg", "webp", *names[2:]) if name in names), names[-1])
    return (
        f'<div class=compare style="aspect-ratio:{width}/{height};max-width:{2 * width}px">{images}<span class=edge></span></div>'
        "<label class=slide>Divide <input type=range min=0 max=100 value=50 class=divide></label>"
        f"<div class=bar><label>Left <select class=left>{_options(names, names[1])}</select></label>"
        f"<label>Right <select class=right>{_options(names, other)}</select></label></div>"
        f"<p class=sides role=status aria-live=polite></p><p class=note>{width}x{height} pixels at {left}, {top} of "
        f"{escape(exhibit.picture.name)}; sizes are of whole files.</p>"
    )


def _maps(exhibits: Sequence[Exhibit]) -> str:
    with_map = [(exhibit, exhibit.map) for exhibit in exhibits if exhibit.map is not None]
    if not with_map:
        return (
            "<p>The files shown carry no importance map: their bits are spread evenly. "
            "A map is in a .ctm file where a guide steered the bits.</p>"
        )
    return (
        "<label class=slide>Map over picture <input type=range min=0 max=100 value=60 id=opacity></label>"
        f"<div class=maps>{''.join(_map(exhibit, found) for exhibit, found in with_map)}</div>"
        "<p class=note>Brighter and numbered higher: cells that get more bits.</p>"
    )


def _map(exhibit: Exhibit, found: ImportanceMap) -> str:
    width, height = exhibit.picture.width, exhibit.picture.height
    scale = min(1.0, MAP_SIDE / max(width, height))
    small = Image.fromarray(load_pixels(exhibit.picture.path)).resize(
        (max(1, round(width * scale)), max(1, round(height * scale)))
    )
    cells = "".join(
        f'<rect x="{column * found.cell}" y="{row * found.cell}" width="{found.cell}" height="{found.cell}" '
        f'fill-opacity="{1 - level / (found.count - 1):.2f}"><title>level {level} of 0 to {found.count - 1}</title></rect>'
        for row, levels in enumerate(found.levels.tolist())
        for column, level in enumerate(levels)
    )
    name = exhibit.picture.name
    return (
        f'<figure><svg class=map viewBox="0 0 {width} {height}" role=img aria-label="importance map of {quoted(name)}">'
        f'<image href="{picture_url(np.asarray(small), lossless=False)}" width="{width}" height="{height}"/>'
        f"<g class=cells>{cells}</g></svg><figcaption>{escape(name)}: {found.count} levels, cells of {found.cell} pixels"
        "</figcaption></figure>"
    )


def _timing(result: Result) -> str:
    if not result.timings:
        return "<p>Nothing could be timed.</p>"
    first = result.timings[0]
    most = max(max(seconds_of(timing)) for timing in result.timings)
    heads = (
        "",
        "encode, cold",
        "encode, warm",
        "decode, cold",
        "decode, warm",
        "memory, encode",
        "memory, decode",
    )
    rows = []
    for timing in result.timings:
        cells = "".join(
            f'<td><span class=cost style="--share:{100 * cost / most:.1f}%">{1000 * cost:,.0f} ms</span></td>'
            for cost in seconds_of(timing)
        )
        memory = "".join(
            f"<td>{'-' if cost.memory is None else f'{cost.memory / 1e6:,.0f} MB'}</td>"
            for cost in (timing.encode, timing.decode)
        )
        rows.append(f"<tr><th scope=row>{escape(timing.codec)}</th>{cells}{memory}</tr>")
    return (
        '<div class=scroll tabindex=0 role=region aria-label="Time and memory"><table><thead><tr>'
        + "".join(f"<th scope=col>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class=note>{escape(first.picture)}, {first.width}x{first.height}, at the middle of each codec's settings. "
        "Cold: from the start of a fresh Python process to the result. Warm: the call alone, median of three. "
        "Memory: the peak of the process.</p>"
    )


def _numbers(result: Result) -> str:
    """All points as tables, for those who want figures or cannot see the curves."""
    measures = result.curves.measures
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in ("setting", "bytes", "bpp", *measures))
    parts = [f"<p>{escape(usage_line(result))}</p>" if result.usage else ""]
    for name, curve in result.curves.codecs.items():
        rows = "".join(
            f"<tr><td>{point.rung:g}</td><td>{point.bytes:,.0f}</td><td>{point.bpp:.4f}</td>"
            + "".join(f"<td>{_value(point, measure)}</td>" for measure in measures)
            + "</tr>"
            for point in curve
        )
        parts.append(
            f'<h3>{escape(name)}</h3><div class=scroll tabindex=0 role=region aria-label="{quoted(name)}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return "".join(parts)


def _value(point: CurvePoint, measure: str) -> str:
    value = point.values.get(measure)
    if value is None:
        return "-"
    return f"{value:.4f}" if measure == MS_SSIM else svg.shown(value, unit_of(measure))
