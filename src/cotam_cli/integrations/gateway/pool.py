"""Worker processes that decode .ctm pictures for the gateway, each with the model loaded once.

Processes, not threads: a file that brings a native library down costs a worker and not the server, and the
integer half of decoding holds Python's lock.
"""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal

from cotam_cli.errors import CotamError
from cotam_cli.processes import start

Format = Literal["png", "webp", "jpg"]
MIMES: dict[Format, str] = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}


@dataclass(frozen=True)
class Converted:
    """A picture for the upstream: base64, and the seconds of one core that it took."""

    base64: str
    seconds: float


class DecoderDown(Exception):
    """The workers died twice on the same picture."""


def convert(data: bytes, format: Format, max_pixels: int) -> Converted:
    """Decode a .ctm file and write it as png, webp (both without loss) or jpg (quality 95); alpha onto white.

    Raises CotamError for a file that cannot be decoded or whose picture the format cannot hold.
    """
    from cotam_cli.api import decode
    from cotam_cli.images import encode_picture, from_pillow

    began = time.perf_counter()
    pixels = from_pillow(decode(data, max_pixels=max_pixels)).pixels
    encoded = base64.b64encode(encode_picture(pixels, format)).decode("ascii")
    return Converted(encoded, time.perf_counter() - began)


class DecoderPool:
    """Runs `convert` in worker processes. All methods belong to one event loop."""

    def __init__(self, workers: int, format: Format, max_pixels: int) -> None:
        self.workers = workers
        self.format = format
        self.max_pixels = max_pixels
        self._executor = self._make(workers)
        self._hands = asyncio.Semaphore(workers + 1)  # one picture is ready for the worker that ends first

    def _make(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=start)

    async def warm(self) -> None:
        """Start all workers and let each load the model."""
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._executor, _warm_up) for _ in range(self.workers)]
        await asyncio.gather(*jobs)

    async def convert(self, data: bytes) -> Converted:
        """`convert` in a worker. After a crash the workers are started anew, and each picture that was in hand gets
        a second try in a process of its own: only that which brings it down again fails.

        Raises CotamError as `convert`, DecoderDown after a second crash.
        """
        async with self._hands:
            executor = self._executor
            try:
                return await self._run(executor, data)
            except BrokenProcessPool:
                self._replace(executor)
            alone = self._make(1)
            try:
                return await self._run(alone, data)
            except BrokenProcessPool as error:
                raise DecoderDown from error
            finally:
                alone.shutdown(wait=False, cancel_futures=True)

    async def _run(self, executor: Executor, data: bytes) -> Converted:
        result = await asyncio.get_running_loop().run_in_executor(
            executor, _convert_or_reason, data, self.format, self.max_pixels
        )
        if isinstance(result, str):
            raise CotamError(result)
        return result

    def _replace(self, broken: Executor) -> None:
        if self._executor is broken:  # the first of the jobs that were lost with it
            broken.shutdown(wait=False, cancel_futures=True)
            self._executor = self._make(self.workers)

    def close(self) -> None:
        """Let running jobs end, drop the others, stop the workers."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _warm_up() -> None:
    from cotam_cli.codec.models import load_model

    model = load_model()
    _ = model.entropy, model.gains, model.synthesis("mllm")
    time.sleep(0.2)  # so that the next of these jobs goes to another worker


def _convert_or_reason(data: bytes, format: Format, max_pixels: int) -> Converted | str:
    """Reasons travel as text: exceptions would bring their tracebacks and pickles along."""
    try:
        return convert(data, format, max_pixels)
    except CotamError as error:
        return str(error)
    except MemoryError:
        return "not enough memory for this picture; scale it down"
