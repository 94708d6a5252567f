"""Coverage-guided fuzzing with atheris: `make fuzz`, or `python fuzz/fuzz.py TARGET FOLDER [libFuzzer options]`.

Any bytes must end in a value or in CotamError. Whatever else is raised, hangs or takes over 1 GB is a finding, and
libFuzzer writes the bytes to a file. FOLDER holds what was found interesting so far, and gets seeds at first use.

Checksums are put right before the bytes reach the code, so that the fuzzer gets past them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "attacks"))

with atheris.instrument_imports(include=["cotam_cli"]):
    import numpy as np
    from forge import seal, still

    import cotam_cli
    from cotam_cli.api import decode_frames, info
    from cotam_cli.bitstream.header import MAX_QUALITY, MIN_QUALITY
    from cotam_cli.codec.models import load_model
    from cotam_cli.codec.screen import Screen, decode_screen, encode_screen
    from cotam_cli.entropy.latents import decode_latents
    from cotam_cli.entropy.maps import decode_map

SMALL = 64 * 64  # pixels: more cost time and reach no other code
MODEL = load_model().entropy


def fuzz_header(data: bytes) -> None:
    """The fixed header and the chunks."""
    info(seal(data))


def fuzz_map(data: bytes) -> None:
    """rows, columns, levels, then the payload."""
    rows, columns, count = (each % 15 + 1 for each in data[:3].ljust(3, b"\0"))
    decode_map(data[3:], rows, columns, max(2, count))


def fuzz_entropy(data: bytes) -> None:
    """Sizes and qualities, then the payloads of the hyper latents and of the latents."""
    provider = atheris.FuzzedDataProvider(data)
    rows, columns = provider.ConsumeIntInRange(1, 5), provider.ConsumeIntInRange(1, 5)
    quality = provider.ConsumeIntInRange(MIN_QUALITY, MAX_QUALITY)
    plane = np.full((rows, columns), provider.ConsumeIntInRange(MIN_QUALITY, MAX_QUALITY), np.int64)
    hyper = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 64))
    decode_latents(MODEL, hyper, provider.ConsumeBytes(1 << 16), plane, quality)


def fuzz_decode(data: bytes) -> None:
    """A whole file to all of its frames."""
    for image, _ in decode_frames(seal(data), max_pixels=SMALL):
        image.load()


def fuzz_screen(data: bytes) -> None:
    """Height and width, then the payload of a screen layer."""
    height, width = (each % 64 + 1 for each in data[:2].ljust(2, b"\0"))
    decode_screen(data[2:], height, width)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": fuzz_header,
    "map": fuzz_map,
    "entropy": fuzz_entropy,
    "screen": fuzz_screen,
    "decode": fuzz_decode,
}


def seeds() -> list[bytes]:
    """Small files of every kind."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (17, 33, 3), np.uint8)
    picture = np.add.outer(np.arange(20) * 9, np.arange(40) * 3).astype(np.uint8)[..., None].repeat(3, 2)
    from PIL import Image

    transparent = Image.fromarray(picture).convert("RGBA")
    transparent.putalpha(77)
    files = [
        cotam_cli.encode(noise),
        cotam_cli.encode(picture, quality=1),
        cotam_cli.encode(transparent, alpha=True),
    ]
    files += [path.read_bytes() for path in sorted((ROOT / "tests" / "golden").glob("*.ctm"))]
    return [*files, still(16, 16), still(48, 32, b"\1", b"\2", levels=3, cell_log2=1, strength=9)]


def layers() -> list[bytes]:
    """Screen layers behind their height and width, each less 1."""
    pixels = np.random.default_rng(0).integers(0, 2, (21, 40, 1), np.uint8).repeat(3, 2) * np.uint8(200)
    holes = np.arange(40)[None] % 7 < np.arange(21)[:, None] % 5
    return [bytes([20, 39]) + encode_screen(Screen(pixels, seen)) for seen in (None, holes)]


def main() -> None:
    target, folder = TARGETS[sys.argv[1]], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    start = 0 if sys.argv[1] in ("header", "decode") else 27
    parts = layers() if sys.argv[1] == "screen" else [seed[start:] for seed in seeds()]
    for number, part in enumerate(parts):
        (folder / f"seed-{number}").write_bytes(part)

    def one(data: bytes) -> None:
        try:
            target(data)
        except cotam_cli.CotamError as error:
            assert "\n" not in str(error), "an error of several lines"

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
