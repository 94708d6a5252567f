"""The result of a run as JSON; docs/bench.md describes every field."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cotam_cli import __version__
from cotam_cli.bench.measuring import Row
from cotam_cli.bench.results import MS_SSIM, PSNR, CurvePoint, flat, has
from cotam_cli.bench.run import Result

FORMAT = "cotam-bench/1"
PLAIN = {PSNR: "psnr-rgb", MS_SSIM: "ms-ssim-rgb"}  # CompressAI's names


def to_record(result: Result, anchor: str) -> dict[str, Any]:
    """Everything but the pictures' pixels, ready for json.dumps."""
    plan, curves = result.plan, result.curves
    return {
        "format": FORMAT,
        "cotam": __version__,
        "began": result.began.isoformat(timespec="seconds"),
        "machine": result.machine,
        "folder": plan.folder,
        "rates": list(plan.rates) or None,
        "anchor": anchor,
        "pictures": [
            {"name": p.name, "width": p.width, "height": p.height, "sha256": p.digest}
            for p in result.pictures
        ],
        "averaged": list(curves.pictures),
        "left_out": curves.left_out,
        "codecs": codec_records(result),
        "missing": result.missing,
        "failed": curves.failed,
        "originals": result.reference,
        "judged": {name: list(pictures) for name, pictures in curves.judged.items()},
        "bd_rate": {
            measure: {
                anchor: {codec: value and asdict(value) for codec, value in found.items()}
                for anchor, found in anchors.items()
            }
            for measure, anchors in result.bd.items()
        },
        "timing": [asdict(timing) for timing in result.timings],
        "vlm": _vlm(result),
        "files": [_file(result, row) for row in result.rows],
        "failures": [asdict(failure) for failure in result.failures],
    }


def codec_records(result: Result) -> list[dict[str, Any]]:
    """One record a codec, of the shape that `python -m compressai.utils.plot` reads from a file of its own."""
    abouts = {codec.name: codec for codec in result.plan.codecs}
    return [
        {
            "name": name,
            "description": abouts[name].about or name,
            "version": abouts[name].version,
            "results": _columns(curve, result),
        }
        for name, curve in result.curves.codecs.items()
    ]


def _columns(curve: tuple[CurvePoint, ...], result: Result) -> dict[str, list[float]]:
    columns = {
        "setting": [point.rung for point in curve],
        "bytes": [point.bytes for point in curve],
        "bpp": [point.bpp for point in curve],
        "encoding_time": [point.encode_seconds for point in curve],
        "decoding_time": [point.decode_seconds for point in curve],
    }
    for measure in result.curves.measures:
        if has(curve, measure):
            columns[PLAIN.get(measure, measure)] = [point.values[measure] for point in curve]
    return columns


def _file(result: Result, row: Row) -> dict[str, Any]:
    points = [point and {**asdict(point), "scores": flat(result.scores(row, point))} for point in row.points]
    return {"picture": row.picture, "codec": row.codec, "points": points}


def _vlm(result: Result) -> dict[str, Any] | None:
    vlm, usage = result.plan.vlm, result.usage
    if vlm is None or usage is None:
        return None
    return {
        "endpoint": vlm.endpoint.shown,
        "model": vlm.endpoint.model,
        **asdict(usage),
        "cost": usage.cost(vlm.endpoint.price),
    }
