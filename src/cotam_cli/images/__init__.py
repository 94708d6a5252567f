"""Pictures in and out: any file that Pillow reads -> uint8 sRGB pixels -> a file, written atomically."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cotam_cli.images.formats import Output, encode_animation, encode_picture, format_for
    from cotam_cli.images.metadata import Metadata
    from cotam_cli.images.picture import MAX_PIXELS, MAX_SIDE, Picture
    from cotam_cli.images.reading import Wishes, from_pillow, read_frames, read_picture
    from cotam_cli.images.writing import write_atomic

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "Metadata",
    "Output",
    "Picture",
    "Wishes",
    "encode_animation",
    "encode_picture",
    "format_for",
    "from_pillow",
    "read_frames",
    "read_picture",
    "write_atomic",
]

_HOME = {
    "MAX_PIXELS": "picture",
    "MAX_SIDE": "picture",
    "Picture": "picture",
    "Metadata": "metadata",
    "Output": "formats",
    "Wishes": "reading",
    "encode_animation": "formats",
    "encode_picture": "formats",
    "format_for": "formats",
    "from_pillow": "reading",
    "read_frames": "reading",
    "read_picture": "reading",
    "write_atomic": "writing",
}


def __getattr__(name: str) -> object:
    """Load a module at first use: commands that only write bytes need neither NumPy nor Pillow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
