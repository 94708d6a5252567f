"""Pictures that callers hand in, as the bytes of a .ctm file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cotam_cli.api import encode
from cotam_cli.files import read_file

if TYPE_CHECKING:
    from cotam_cli.api import Source

_MAGIC = b"\x89CTM"


def as_ctm(
    image: Source, *, quality: float = 3.0, guide: str = "auto", max_bytes: int | None = None
) -> bytes:
    """Encode a picture as `cotam_cli.encode` does, max_bytes counted as base64; a path or bytes of a .ctm file are
    taken as they are.

    Raises CotamError as `encode`.
    """
    if isinstance(image, str | os.PathLike):
        image = read_file(image)
    if isinstance(image, bytes | bytearray | memoryview) and bytes(image[:4]) == _MAGIC:
        return bytes(image)
    return encode(image, quality=quality, guide=guide, max_bytes=max_bytes, base64=max_bytes is not None)
