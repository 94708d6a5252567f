"""The page's curves and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cotam_cli.bench import svg
from cotam_cli.bench.markup import options, quoted, unit_of
from cotam_cli.bench.results import MS_SSIM, CurvePoint, series
from cotam_cli.bench.run import Result
from cotam_cli.bench.tables import percent, seconds_of, usage_line


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


def curves(result: Result) -> str:
    """A drawing a measure, with a legend that hides and shows codecs."""
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
        f'<div class=bar><label>Measure <select id=measure data-shows="curves">{options(figures)}</select></label>'
        f"<div class=legend role=group aria-label=Codecs>{keys}</div></div>"
        f"<div id=curves class=panels>{panels}</div><p class=said role=status aria-live=polite id=said>"
        "Touch a point, or focus the drawing and use the arrow keys.</p>"
    )


def bd_rates(result: Result, anchor: str) -> str:
    """A table for every codec as the anchor, of which one is shown."""
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
        f'<div class=bar><label>Against <select data-shows="rates">{options(names, anchor)}</select></label></div>'
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


def timing(result: Result) -> str:
    """Time and memory, with a bar in each cell."""
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


def numbers(result: Result) -> str:
    """All points as tables, for those who want figures or cannot see the curves."""
    measures = result.curves.measures
    rung = "rate" if result.plan.rates else "setting"
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in (rung, "bytes", "bpp", *measures))
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
