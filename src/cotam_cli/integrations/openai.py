"""Message parts for OpenAI-shaped APIs, the pictures in them as .ctm: for a server with cotam inside, or the gateway.

    from cotam_cli.integrations.openai import image_part

    client = openai.OpenAI(base_url="http://127.0.0.1:8787/v1")
    client.chat.completions.create(model=..., messages=[{"role": "user", "content": [image_part("photo.jpg")]}])

Needs no SDK: the parts are plain dicts, and go into JSON as well.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cotam_cli.integrations.sources import as_ctm

if TYPE_CHECKING:
    from cotam_cli.api import Source


def data_url(
    image: Source, *, quality: float = 3.0, guide: str = "auto", max_bytes: int | None = None
) -> str:
    """A picture as `data:image/x-ctm;base64,...`.

    `image`, `quality`, `guide` and `max_bytes`, here of the base64, are those of `cotam_cli.encode`; a path or bytes of
    a .ctm file go as they are. Raises CotamError as `encode`.
    """
    data = as_ctm(image, quality=quality, guide=guide, max_bytes=max_bytes)
    encoded = base64.b64encode(data).decode("ascii")
    return f"data:image/x-ctm;base64,{encoded}"


def image_part(
    image: Source, *, quality: float = 3.0, guide: str = "auto", max_bytes: int | None = None
) -> dict[str, Any]:
    """The part of a chat completions message; arguments and errors as `data_url`."""
    url = data_url(image, quality=quality, guide=guide, max_bytes=max_bytes)
    return {"type": "image_url", "image_url": {"url": url}}


def input_image(
    image: Source, *, quality: float = 3.0, guide: str = "auto", max_bytes: int | None = None
) -> dict[str, Any]:
    """The part of a responses input; arguments and errors as `data_url`."""
    url = data_url(image, quality=quality, guide=guide, max_bytes=max_bytes)
    return {"type": "input_image", "image_url": url, "detail": "auto"}
