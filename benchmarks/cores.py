"""What a picture costs one core: CPU seconds of encoding and decoding in a warm process with one thread.

COTAM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/cores.py [--rounds N]

One photo at three sizes, quality 3; medians. CPU time, not wall time, so that other work on the machine matters little.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

import cotam_cli
from cotam_cli.images import encode_picture, from_pillow

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"
SIZES = {"256x256": (256, 256), "768x512": (768, 512), "1920x1280": (1920, 1280)}


def to_png(data: bytes) -> None:
    encode_picture(from_pillow(cotam_cli.decode(data)).pixels, "png")


def seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    photo = Image.open(PHOTO).convert("RGB")
    for name, size in SIZES.items():
        picture = photo.crop((0, 0, *size)) if size[0] <= photo.width else photo.resize(size)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        png, ctm = buffer.getvalue(), cotam_cli.encode(picture, quality=3)
        encode = seconds(lambda png=png: cotam_cli.encode(png, quality=3), rounds)
        decode = seconds(lambda ctm=ctm: cotam_cli.decode(ctm), rounds)
        both = seconds(lambda ctm=ctm: to_png(ctm), rounds)
        print(
            f"{name:10} encode {encode:.3f} s, decode {decode:.3f} s, decode to PNG {both:.3f} s; "
            f"a core-hour: {3600 / encode:,.0f} encoded, {3600 / decode:,.0f} decoded"
        )


if __name__ == "__main__":
    main()
