"""Ray Data: classes for `map_batches` that load the model once in each actor.

    import ray
    from cotam_cli.integrations.ray import Encoder

    pictures = ray.data.read_binary_files("pictures/", include_paths=True)
    actors = ray.data.ActorPoolStrategy(size=8)
    coded = pictures.map_batches(Encoder, batch_size=16, num_cpus=1, compute=actors)

Batches are dicts of NumPy columns, Ray's default. A picture that cannot be read does not stop the others: its
row gets a reason in the column `error`, which is empty elsewhere. Each actor computes with one thread, as Ray
counts one core for it. Needs no Ray to be imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cotam_cli.errors import CotamError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Batch = dict[str, NDArray[Any]]


class Encoder:
    """The bytes of picture files to .ctm files.

    The column `source` gives way to `ctm`: bytes, empty where there was an error.

    Args:
        quality, guide: as `cotam_cli.encode`.
        source: the column with the files' bytes.
        threads: of this actor; raise it together with its num_cpus.
    """

    def __init__(
        self, quality: float = 3.0, guide: str = "auto", source: str = "bytes", threads: int = 1
    ) -> None:
        _use_threads(threads)
        from cotam_cli.codec.models import load_model

        _ = load_model().analysis
        self.quality = quality
        self.guide = guide
        self.source = source

    def __call__(self, batch: Batch) -> Batch:
        from cotam_cli.api import encode

        return _map(
            batch, self.source, "ctm", lambda data: encode(data, quality=self.quality, guide=self.guide), b""
        )


class Decoder:
    """.ctm files to pixels.

    The column `source` gives way to `image`: uint8 [h, w, 3] sRGB, transparent parts on white; of 1x1 pixel where
    there was an error.

    Args:
        source: the column with the files' bytes.
        size: (width, height) to scale all pictures to, so that they make one tensor; None leaves each its own.
        max_pixels: larger pictures are errors.
        threads: of this actor; raise it together with its num_cpus.
    """

    def __init__(
        self,
        source: str = "ctm",
        size: tuple[int, int] | None = None,
        max_pixels: int = 2**28,
        threads: int = 1,
    ) -> None:
        _use_threads(threads)
        import numpy as np

        from cotam_cli.codec.models import load_model

        _ = load_model().synthesis("mllm")
        self.source = source
        self.size = size
        self.max_pixels = max_pixels
        width, height = size or (1, 1)
        self.nothing = np.zeros((height, width, 3), np.uint8)

    def __call__(self, batch: Batch) -> Batch:
        return _map(batch, self.source, "image", self._pixels, self.nothing)

    def _pixels(self, data: bytes) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image

        from cotam_cli.api import decode
        from cotam_cli.images import from_pillow

        picture = Image.fromarray(from_pillow(decode(data, max_pixels=self.max_pixels)).pixels)
        return np.array(picture if self.size is None else picture.resize(self.size))


def _map(batch: Batch, source: str, target: str, work: Callable[[bytes], object], nothing: object) -> Batch:
    """Replace one column by another, row by row; errors go into a column of their own."""
    import numpy as np

    if source not in batch:
        raise CotamError(f"no column {source!r} in {sorted(batch)}; name the one with the files' bytes")
    values = np.empty(len(batch[source]), object)
    errors = np.full(len(values), "", object)
    for index, data in enumerate(batch[source]):
        try:
            values[index] = work(bytes(data))
        except CotamError as error:
            values[index], errors[index] = nothing, str(error)
    rest = {name: column for name, column in batch.items() if name != source}
    if values.size and isinstance(values[0], np.ndarray) and len({value.shape for value in values}) == 1:
        return {**rest, target: np.stack(list(values)), "error": errors}
    return {**rest, target: values, "error": errors}


def _use_threads(threads: int) -> None:
    """Ray itself holds NumPy to the actor's cores (OMP_NUM_THREADS); the networks listen to this."""
    os.environ["COTAM_THREADS"] = str(threads)
