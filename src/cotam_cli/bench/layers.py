"""What a vision transformer makes of decoded pictures, layer by layer: where its features break, and what mends them.

The paper's analysis: for each block the cosine similarity of tokens, original against decoded, and how far attention
reaches. Needs the extra `torch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bench import svg
from cotam_cli.bench.pictures import load_pixels
from cotam_cli.bench.tables import table
from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.tokens import Preprocessing, TokenAdapter, default_resize, find_adapter, prepare
from cotam_cli.errors import CotamError

PIXEL_TARGETS = ("human", "mllm")
TOKENS = "tokens"

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One block's figures, means over pictures. block 0: the embedded tokens, which have no attention.

    cosine: of each token with the original's. Distances are in pixels of the tower's input, between patches, means over
    patches and heads: `reach` is the mean attention distance, `top` that to the patch attended to most.
    """

    block: int
    cosine: float
    reach: float | None
    top: float | None


@dataclass(frozen=True)
class Series:
    """A target at a quality: bits per pixel, and its blocks from 0."""

    target: str
    quality: float
    bpp: float
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class LayerReport:
    """originals: the tower on the originals, whose cosines are 1."""

    tower: str
    patch: int
    pictures: int
    originals: tuple[Layer, ...]
    series: tuple[Series, ...]

    def record(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return asdict(self)


def layer_report(
    tower: str,
    pictures: Sequence[Path],
    *,
    qualities: Sequence[float] = (1.0, 2.0, 4.0),
    targets: Sequence[str] = PIXEL_TARGETS,
    adapter: str | None = None,
) -> LayerReport:
    """Code pictures and compare a tower's layers.

    Args:
        tower: clip:MODEL/WEIGHTS of open_clip, or the ONNX file of a Hugging Face ViT or DINOv2.
        pictures: files.
        qualities: 1 to 8.
        targets: "human", the plain picture; "mllm", the picture for machines; "tokens", the plain picture's tokens and
            a token adapter's output.
        adapter: for "tokens": the encoder's name, or the adapter's folder; its preprocessing then holds for all.

    Raises:
        CotamError: PyTorch is missing, the tower, a picture or the adapter cannot be had or does not fit.
    """
    unknown = set(targets) - {*PIXEL_TARGETS, TOKENS}
    if unknown or not targets or not qualities:
        raise CotamError(f"unknown target {', '.join(sorted(unknown))}; choose human, mllm or tokens")
    if not pictures:
        raise CotamError("no pictures to look at; name files or folders")
    eyes, how = _open_tower(tower)
    added = _open_adapter(adapter, eyes) if TOKENS in targets else None
    if added is not None:
        how = added.preprocessing
    originals: list[list[Layer]] = []
    found: dict[tuple[str, float], list[tuple[float, list[Layer]]]] = {
        (target, quality): [] for target in targets for quality in qualities
    }
    for path in pictures:
        pixels = load_pixels(path)
        wanted = _walk(eyes, _embed(eyes, pixels, how), _places(pixels, eyes, how), None)
        originals.append([layer for layer, _ in wanted])
        tokens = [values for _, values in wanted]
        for quality in qualities:
            data = encode_pixels(pixels, quality)
            bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
            for target in targets:
                embedded = _decoded(eyes, data, target, how, added)
                layers = _walk(eyes, embedded, _places(pixels, eyes, how), tokens)
                found[target, quality].append((bpp, [layer for layer, _ in layers]))
    series = tuple(
        Series(
            target,
            quality,
            float(np.mean([bpp for bpp, _ in runs])),
            _means([layers for _, layers in runs]),
        )
        for (target, quality), runs in found.items()
    )
    from cotam_cli.guidance.towers import tower_name

    return LayerReport(tower_name(tower), eyes.patch, len(pictures), _means(originals), series)


def report_table(report: LayerReport) -> str:
    """For a terminal: cosines, then the attention distances, a column for each target and quality."""
    heads = [f"{series.target} q{series.quality:g}" for series in report.series]
    blocks = [f"block {layer.block}" if layer.block else "embedded" for layer in report.originals]
    rates = ["bits per pixel", *(f"{series.bpp:.3f}" for series in report.series)]
    cosines = [
        [name, *(f"{series.layers[k].cosine:.4f}" for series in report.series)]
        for k, name in enumerate(blocks)
    ]
    parts = [
        f"{report.tower}, {report.pictures} picture{'s' if report.pictures != 1 else ''}",
        "cosine similarity of tokens with the original's\n" + table([["", *heads], rates, *cosines]),
    ]
    for key, title in (
        ("reach", "mean attention distance, pixels"),
        ("top", "distance to the patch attended to most, pixels"),
    ):
        rows = [
            [name, *(f"{getattr(part[k], key):.1f}" for part in _columns(report))]
            for k, name in enumerate(blocks)
            if k
        ]
        parts.append(f"{title}\n" + table([["", "original", *heads], *rows]))
    return "\n\n".join(parts)


def report_plot(report: LayerReport) -> str:
    """An SVG file: the cosines, and both distances."""
    names = [f"{series.target} {series.quality:g}" for series in report.series]
    styles = {name: k for k, name in enumerate(["original", *names])}
    cosines = {
        name: [(float(layer.block), layer.cosine) for layer in series.layers]
        for name, series in zip(names, report.series, strict=True)
    }
    figures = [svg.figure(cosines, title="tokens' cosine", unit="1", styles=styles, across="block")]
    for key, title in (("reach", "mean attention distance"), ("top", "distance to the top patch")):
        curves = {
            name: [(float(layer.block), float(getattr(layer, key))) for layer in layers if layer.block]
            for name, layers in zip(["original", *names], _columns(report), strict=True)
        }
        figures.append(svg.figure(curves, title=title, unit="px", styles=styles, across="block"))
    return svg.page_of(figures)


def _columns(report: LayerReport) -> list[tuple[Layer, ...]]:
    return [report.originals, *(series.layers for series in report.series)]


def _open_tower(name: str) -> tuple[Any, Preprocessing]:
    """A `guidance.torch_vit.Tower`, and how its input is made."""
    try:
        from cotam_cli.guidance.torch_vit import Tower
        from cotam_cli.guidance.towers import named_vit
    except ImportError as error:
        raise CotamError(
            f"looking at layers needs PyTorch ({error}); pip install 'cotam-cli[torch]'"
        ) from error
    vit = named_vit(name)
    size = vit.patch.shape[-1] * vit.positions.shape[-1]
    return Tower(vit), Preprocessing(default_resize(name), size, "bicubic", vit.mean, vit.std)


def _open_adapter(name: str | None, eyes: Any) -> TokenAdapter:
    from cotam_cli.codec.models import load_model

    adapter = find_adapter(name, load_model())
    adapter.check(load_model())
    if (adapter.patch, adapter.width, adapter.extra) != (eyes.patch, eyes.width, eyes.extra):
        raise CotamError(f"the token adapter {adapter.name} is for {adapter.encoder}; name that tower")
    return adapter


def _embed(eyes: Any, pixels: Pixels, how: Preprocessing) -> Any:
    import torch

    prepared, _ = prepare(pixels, how, eyes.patch)
    with torch.no_grad():
        return eyes.embed(torch.from_numpy(np.array(prepared)).permute(2, 0, 1)[None].float() / 255)


def _decoded(eyes: Any, data: bytes, target: str, how: Preprocessing, adapter: TokenAdapter | None) -> Any:
    """Embedded tokens of a coded picture."""
    if target != TOKENS or adapter is None:
        return _embed(eyes, decode_pixels(data, target="human" if target == "human" else "mllm"), how)
    import torch

    found = adapter.run(decode_to_latents(data))
    return torch.from_numpy(found.tokens)


def _places(pixels: Pixels, eyes: Any, how: Preprocessing) -> Floats:
    """Distances between all patches, in pixels of the tower's input, float32 [patches, patches]."""
    _, view = prepare(pixels, how, eyes.patch)
    y, x = np.divmod(np.arange(view.rows * view.columns), view.columns)
    return np.asarray(eyes.patch * np.hypot(y[:, None] - y, x[:, None] - x), np.float32)


def _walk(eyes: Any, embedded: Any, distances: Floats, wanted: list[Any] | None) -> list[tuple[Layer, Any]]:
    """Each layer's figures and tokens; `wanted` are the original's tokens, None when these are the original's."""
    import torch
    import torch.nn.functional as F

    def cosine(tokens: Any) -> float:
        if wanted is None:
            return 1.0
        return float(F.cosine_similarity(tokens[0], wanted[len(found)][0], dim=-1).mean())

    far = torch.from_numpy(distances)
    found: list[tuple[Layer, Any]] = []
    found.append((Layer(0, cosine(embedded), None, None), embedded))
    with torch.no_grad():
        for tokens, attention in eyes.walk(embedded):
            patches = attention[0, :, eyes.extra :, eyes.extra :]
            shares = patches / patches.sum(-1, keepdim=True)
            reach = float((shares * far).sum(-1).mean())
            top = far.expand(len(patches), -1, -1).gather(-1, patches.argmax(-1, keepdim=True))
            found.append((Layer(len(found), cosine(tokens), reach, float(top.mean())), tokens))
    return found


def _means(pictures: list[list[Layer]]) -> tuple[Layer, ...]:
    """Means over pictures, layer by layer."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return tuple(
        Layer(
            layers[0].block,
            float(np.mean([layer.cosine for layer in layers])),
            mean([layer.reach for layer in layers]),
            mean([layer.top for layer in layers]),
        )
        for layers in zip(*pictures, strict=True)
    )
