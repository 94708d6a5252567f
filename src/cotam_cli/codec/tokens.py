"""Tokens for a vision encoder's transformer: what it embeds of the decoded picture, and what an adapter adds.

An adapter is a folder: `manifest.json` (the encoder, its preprocessing, the codec model whose latents it reads, the
sha256 of its network) and `adapter.onnx`, which also holds the encoder's patch embedding, class token and positions.
Neither PyTorch nor the encoder is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.bitstream import MAX_PIXELS
from cotam_cli.codec.decoder import DecodedLatents, decode_to_latents, synthesise
from cotam_cli.codec.models import Model, ModelRecord, models_folder, token_records
from cotam_cli.codec.quality import float_planes, undo_gain
from cotam_cli.errors import CotamError, ModelError
from cotam_cli.sessions import open_session

FORMAT = 1
LATENT_PITCH = 16  # pixels
MOST_LATENTS = 3072  # positions that the adapter's block sees: its attention grows with their square
OWN_FILES = ("entropy.npz", "gains.npz", "synthesis.onnx")  # what latents and the decoded picture depend on
CONTENT = (
    "input of the encoder's first block: class tokens, then patches row by row; its own embedding of the decoded "
    "picture, positions added, plus the adapter's output"
)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

Resize = Literal["fit", "shortest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder's input is made of a picture.

    resize: "shortest", the shorter side to `size`, then the middle square, as CLIP; "squash", both sides to `size`,
    as SigLIP; "fit", the longer side at most `size`, never enlarged, sides rounded to whole patches. mean and std are
    of pixels in 0..1.
    """

    resize: Resize
    size: int
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """The part of a picture that an encoder sees, in pixels of the picture, and the patches it becomes."""

    top: float
    left: float
    height: float
    width: float
    rows: int
    columns: int


@dataclass(frozen=True)
class Tokens:
    """What goes into the encoder's first block, float32 [1, extra + rows x columns, width].

    `tokens` are prior and adapter, `prior` the encoder's own embedding of the decoded picture.
    """

    tokens: Floats
    prior: Floats
    rows: int
    columns: int


def prepare(pixels: Pixels, how: Preprocessing, patch: int) -> tuple[Pixels, View]:
    """Pixels uint8 [h, w, 3] as the encoder takes them, and where its patches lie in them."""
    height, width = pixels.shape[:2]
    down, across = resized_sides(height, width, how, patch)
    rows, columns, top, left = down, across, 0, 0
    if how.resize == "shortest":
        rows = columns = how.size
        top, left = round((down - rows) / 2), round((across - columns) / 2)
    y, x = height / down, width / across
    view = View(top * y, left * x, rows * y, columns * x, rows // patch, columns // patch)
    if (down, across) == (height, width):
        return pixels[top : top + rows, left : left + columns], view
    # Scaled from the part that is seen alone: thin pictures would become far too large before they are cut.
    box = (view.left, view.top, min(width, view.left + view.width), min(height, view.top + view.height))
    picture = Image.fromarray(pixels).resize((columns, rows), FILTERS[how.interpolation], box)
    return np.asarray(picture), view


def default_resize(tower: str) -> Resize:
    """CLIP's way for open_clip's towers, any shape for ONNX files, which are DINOv2's and other ViTs'."""
    return "fit" if tower.lower().endswith(".onnx") else "shortest"


def resized_sides(height: int, width: int, how: Preprocessing, patch: int) -> tuple[int, int]:
    """Height and width after scaling, before any cropping."""
    if how.resize == "squash":
        return how.size, how.size
    if how.resize == "shortest":
        scale = how.size / min(height, width)
        return max(how.size, round(height * scale)), max(how.size, round(width * scale))
    scale = min(1.0, how.size / max(height, width))
    down, across = (max(1, round(side * scale / patch)) * patch for side in (height, width))
    return down, across


def axis_weights(latents: int, pitch: float, start: float, length: float, patches: int) -> Floats:
    """How much each of `latents` positions counts for each patch along one axis, float32 [patches, latents].

    Linear interpolation between the positions' middles, `pitch` pixels apart; over wider triangles where a patch
    covers more than one position. The patches share out the pixels from `start` on, `length` of them.
    """
    middles = (start + (np.arange(patches) + 0.5) * length / patches) / pitch - 0.5
    middles = np.clip(middles, 0, latents - 1)
    reach = max(1.0, length / patches / pitch)
    weights = np.maximum(0, 1 - np.abs(np.arange(latents) - middles[:, None]) / reach)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def shrunk(values: Floats, factor: int) -> Floats:
    """Means over factor x factor positions, [rows, columns, channels]; the edge is repeated where they end."""
    if factor == 1:
        return values
    rows, columns, channels = values.shape
    wide = np.pad(values, ((0, -rows % factor), (0, -columns % factor), (0, 0)), mode="edge")
    parts = wide.reshape(wide.shape[0] // factor, factor, wide.shape[1] // factor, factor, channels)
    return np.asarray(parts.mean((1, 3)), np.float32)


class TokenAdapter:
    """An adapter's files, loaded and checked.

    Raises ModelError for a folder that holds no sound adapter.
    """

    def __init__(self, folder: Path, manifest_sha256: str | None = None) -> None:
        self.folder = folder
        self.manifest = _manifest(folder, manifest_sha256)
        facts = self.manifest
        try:
            self.name, self.encoder = str(facts["name"]), str(facts["encoder"])
            self.patch, self.extra, self.width = (int(facts[key]) for key in ("patch", "extra", "width"))
            self.preprocessing = _preprocessing(facts["preprocessing"])
            self.codec = dict(facts["codec"])
            data = (folder / "adapter.onnx").read_bytes()
            sound = hashlib.sha256(data).hexdigest() == facts["files"]["adapter.onnx"]
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ModelError(
                f"the token adapter in {folder} is incomplete ({error}); export it again"
            ) from error
        if not sound:
            raise ModelError(
                f"{folder / 'adapter.onnx'} is damaged (wrong checksum); fetch or export it again"
            )
        self.session = open_session(data)

    def check(self, model: Model) -> None:
        """Raise ModelError where a file's model is not the one that the adapter was trained for."""
        if self.codec == codec_identity(model):
            return
        wanted = f"model {self.codec.get('id')} ({self.codec.get('name')})"
        if self.codec.get("id") == model.record.id:
            raise ModelError(
                f"the token adapter {self.name} was trained for another version of {wanted}; train or fetch a newer one"
            )
        raise ModelError(
            f"the token adapter {self.name} reads {wanted}, but the file was made with model {model.record.id} "
            f"({model.record.name}); name an adapter for that one with --encoder"
        )

    def run(self, decoded: DecodedLatents) -> Tokens:
        """Decoded latents to tokens: of a file with a screen layer, whose latents tell only a part, the prior alone.

        Raises as `check`.
        """
        self.check(decoded.model)
        prior = synthesise(decoded, "human")
        pixels, view = prepare(prior, self.preprocessing, self.patch)
        if decoded.screen is None:
            latents = undo_gain(decoded.model.gains, decoded.latents.y, decoded.plane)
        else:
            channels = decoded.model.gains.regain.shape[1]
            latents = np.zeros((*decoded.plane.shape, channels), np.float32)
        planes = float_planes(decoded.plane)[0]
        rows, columns = latents.shape[:2]
        factor = 1
        while -(-rows // factor) * -(-columns // factor) > MOST_LATENTS:
            factor += 1
        latents, planes = shrunk(latents, factor), shrunk(planes, factor)
        pitch = LATENT_PITCH * factor
        given = {
            "pixels": pixels[None],
            "latents": latents[None],
            "planes": planes[None],
            "down": axis_weights(len(latents), pitch, view.top, view.height, view.rows),
            "across": axis_weights(latents.shape[1], pitch, view.left, view.width, view.columns),
        }
        found, own = self.session.run(["tokens", "prior"], given)
        return Tokens(found if decoded.screen is None else own, own, view.rows, view.columns)

    def metadata(self, tokens: Tokens) -> dict[str, str]:
        """What a file of tokens says of itself."""
        how = self.preprocessing
        return {
            "format": f"cotam tokens {FORMAT}",
            "encoder": self.encoder,
            "adapter": self.name,
            "codec_model": f"{self.codec['id']} ({self.codec['name']})",
            "content": CONTENT
            + ("; after the encoder's norm before its blocks" if self.manifest.get("pre_norm") else ""),
            "shape": json.dumps(list(tokens.tokens.shape)),
            "dtype": "float32",
            "patch": str(self.patch),
            "grid": json.dumps([tokens.rows, tokens.columns]),
            "class_tokens": str(self.extra),
            "resize": how.resize,
            "size": str(how.size),
            "interpolation": how.interpolation,
            "mean": json.dumps(how.mean),
            "std": json.dumps(how.std),
        }


def codec_identity(model: Model) -> dict[str, Any]:
    """What tells a codec model from others, and from other versions of itself."""
    sums = "".join(model.checksum(name) for name in OWN_FILES)
    return {
        "id": model.record.id,
        "name": model.record.name,
        "sha256": hashlib.sha256(sums.encode()).hexdigest(),
    }


def find_adapter(encoder: str | None, model: Model) -> TokenAdapter:
    """The adapter that a name stands for: of its encoder, its own, or its folder; None: the newest for `model`.

    Raises ModelError where there is none, or for a folder without a sound adapter.
    """
    if encoder is not None and os.path.isdir(encoder):
        return TokenAdapter(Path(encoder))
    known = [_shipped(record) for record in token_records()]
    if encoder is None:
        fitting = [adapter for adapter in known if adapter.codec.get("id") == model.record.id]
        if not fitting:
            raise ModelError(
                f"this release has no token adapter for model {model.record.id} ({model.record.name}); give the "
                "folder of one with --encoder (docs/tokens.md tells how to train it)"
            )
        return fitting[-1]
    named = [adapter for adapter in known if encoder in (adapter.encoder, adapter.name)]
    if not named:
        names = ", ".join(sorted({adapter.encoder for adapter in known})) or "none"
        raise ModelError(
            f"no token adapter for the encoder {encoder!r}; this release has: {names}; or give an adapter's folder "
            "(docs/tokens.md tells how to train one)"
        )
    fitting = [adapter for adapter in named if adapter.codec.get("id") == model.record.id]
    return (fitting or named)[-1]


@lru_cache(maxsize=4)
def _shipped(record: ModelRecord) -> TokenAdapter:
    return TokenAdapter(models_folder() / record.name, record.manifest_sha256)


def tokens_of(
    data: bytes, encoder: str | None = None, *, max_pixels: int = MAX_PIXELS
) -> tuple[Tokens, dict[str, str]]:
    """A .ctm file to tokens and what to say of them.

    Raises:
        CotamError: damaged file, an animation, an encoder without an adapter, or one for another codec model.
    """
    decoded = decode_to_latents(data, max_pixels=max_pixels)
    if decoded.header.animation:
        raise CotamError("tokens are made of still pictures; decode the animation to numbered frames first")
    adapter = find_adapter(encoder, decoded.model)
    adapter.check(decoded.model)
    tokens = adapter.run(decoded)
    return tokens, adapter.metadata(tokens)


def safetensors(arrays: dict[str, Floats], metadata: dict[str, str]) -> bytes:
    """float32 arrays as a safetensors file (huggingface/safetensors, its format's description)."""
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data lie aligned
    body = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays.values())
    return len(text).to_bytes(8, "little") + text + body


def _manifest(folder: Path, sha256: str | None) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        data = path.read_bytes()
        facts = json.loads(data)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no token adapter ({path.name} cannot be read)") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ModelError(f"{path} is damaged (wrong checksum); reinstall cotam-cli")
    if not isinstance(facts, dict) or facts.get("tokens") != FORMAT:
        raise ModelError(f"{folder} holds no token adapter of version {FORMAT}; export it with this release")
    return facts


def _preprocessing(facts: dict[str, Any]) -> Preprocessing:
    mean, std = (tuple(float(v) for v in facts[key]) for key in ("mean", "std"))
    if (
        facts["resize"] not in get_args(Resize)
        or facts["interpolation"] not in FILTERS
        or len(mean + std) != 6
    ):
        raise ValueError("unknown preprocessing")
    return Preprocessing(
        facts["resize"],
        int(facts["size"]),
        facts["interpolation"],
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
    )
