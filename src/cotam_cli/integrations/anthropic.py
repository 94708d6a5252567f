"""Content blocks for the Anthropic messages API, the pictures in them as .ctm: for use through the gateway.

from cotam_cli.integrations.anthropic import image_block

client = anthropic.Anthropic(base_url="http://127.0.0.1:8787")
client.messages.create(model=..., messages=[{"role": "user", "content": [image_block("photo.jpg")]}], ...)
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cotam_cli.integrations.sources import as_ctm

if TYPE_CHECKING:
    from cotam_cli.api import Source


def image_block(
    image: Source, *, quality: float = 3.0, guide: str = "auto", max_bytes: int | None = None
) -> dict[str, Any]:
    """A picture as a base64 image block.

    `image`, `quality`, `guide` and `max_bytes`, here of the base64, are those of `cotam_cli.encode`; a path or bytes of
    a .ctm file go as they are. Raises CotamError as `encode`.
    """
    coded = as_ctm(image, quality=quality, guide=guide, max_bytes=max_bytes)
    data = base64.b64encode(coded).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": "image/x-ctm", "data": data}}
