"""What a picture file says beside its pixels: ICC profile, EXIF, XMP; taken out and put back.

The pixels are upright when these travel, so that their orientation is set to 1 in both EXIF and XMP.
"""

import re
import struct
from dataclasses import dataclass

from PIL import Image

_EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_SHORT = 3  # the type of its value
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|\s*>\s*))[0-9]+""")


@dataclass(frozen=True)
class Metadata:
    """Bytes as the .ctm chunks hold them; None where there are none. `exif` starts with its TIFF header."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


def exif_and_xmp(image: Image.Image) -> Metadata:
    """EXIF and XMP of a Pillow image, made upright. EXIF that cannot be read is left out."""
    exif, xmp = image.info.get("exif"), image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if exif is None and image.format == "TIFF":
        exif = image.getexif().tobytes()
    return Metadata(
        exif=upright_exif(exif) if isinstance(exif, bytes) else None,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) and xmp else None,
    )


def upright_exif(exif: bytes) -> bytes | None:
    """The same EXIF block, byte for byte but for the orientation, which becomes 1; None if it is broken."""
    data = bytearray(exif.removeprefix(_EXIF_PREFIX))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(order + "H", data, entry)
            if tag == _ORIENTATION:
                # The value stands in the entry itself, as a SHORT; anything else is no orientation.
                struct.pack_into(order + "HHIHH", data, entry, tag, _SHORT, 1, 1, 0)
    except struct.error:
        return None
    return bytes(data)
