"""WebDataset shards with .ctm pictures in them.

    import webdataset as wds
    from cotam_cli.integrations.webdataset import decoder

    dataset = wds.WebDataset("shard-{000000..000099}.tar").decode(decoder("rgb8"), "pil")

Entries named *.ctm become pictures; all others are left to the decoders that follow. Stands alone: needs neither
webdataset nor PyTorch but for "torch" kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from cotam_cli.api import decode
from cotam_cli.bitstream import MAX_PIXELS
from cotam_cli.errors import CotamError

Kind = Literal["pil", "rgb8", "rgb", "torchrgb8", "torchrgb"]
_KINDS = ("pil", "rgb8", "rgb", "torchrgb8", "torchrgb")


def decoder(kind: Kind = "pil", *, max_pixels: int = MAX_PIXELS) -> Callable[[str, bytes], Any]:
    """A handler for `WebDataset.decode`, with webdataset's own names for what comes out.

    Args:
        kind: "pil" a Pillow image; "rgb8" uint8 [h, w, 3]; "rgb" float32 [h, w, 3] in 0..1; "torchrgb8" and
            "torchrgb" the same as tensors [3, h, w]; all but "pil" with transparent parts on white.
        max_pixels: refuse larger pictures.

    Returns:
        f(key, data): the picture, or None where the key is not that of a .ctm. It raises CotamError for a damaged
        file; webdataset's `handler` says what then happens.
    """
    if kind not in _KINDS:
        raise CotamError(f"unknown kind of picture {kind!r}; choose one of {', '.join(_KINDS)}")

    def handle(key: str, data: bytes) -> Any:
        if key.rsplit(".", 1)[-1].lower() != "ctm":
            return None
        return _as(kind, decode(data, max_pixels=max_pixels))

    return handle


def _as(kind: Kind, picture: Any) -> Any:
    if kind == "pil":
        return picture
    import numpy as np

    from cotam_cli.images import from_pillow

    pixels = np.array(from_pillow(picture).pixels)
    if kind.startswith("torch"):
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if not kind.endswith("8"):
        pixels = pixels.astype(np.float32) / np.float32(255)
    if not kind.startswith("torch"):
        return pixels
    import torch  # here only: who asks for tensors has it

    return torch.from_numpy(pixels)
