"""cotam: an image codec for pictures that machines look at.

    import cotam_cli
    data = cotam_cli.encode("photo.png", quality=3)
    picture = cotam_cli.decode(data)

`encode`, `decode`, `decode_frames`, `info` and `GuideOptions` are the whole face; everything raises `CotamError` for a
user's mistake.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cotam_cli.errors import CotamError

if TYPE_CHECKING:
    from cotam_cli.api import FileInfo, GuideOptions, decode, decode_frames, encode, info

# From 1.29 on, onnxruntime's wheels write a device id into the home folder and send events to their maker as soon
# as they are imported. Pictures are nobody's business but the user's; who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "CotamError",
    "FileInfo",
    "GuideOptions",
    "__version__",
    "decode",
    "decode_frames",
    "encode",
    "info",
]


def __getattr__(name: str) -> object:
    """Load the codec at first use: `cotam --help` and `info` need none of it."""
    if name in ("encode", "decode", "decode_frames", "info", "FileInfo", "GuideOptions"):
        from cotam_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
