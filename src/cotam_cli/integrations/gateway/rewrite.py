"""A request's body, read within the limits and with its .ctm pictures decoded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from starlette.requests import Request

from cotam_cli.bitstream import parse_header
from cotam_cli.errors import CotamError
from cotam_cli.integrations.gateway.answers import Refusal
from cotam_cli.integrations.gateway.limits import Budget, Busy
from cotam_cli.integrations.gateway.observe import Metrics
from cotam_cli.integrations.gateway.pictures import Place, find_pictures, may_hold_pictures
from cotam_cli.integrations.gateway.pool import MIMES, Converted, DecoderDown, DecoderPool
from cotam_cli.integrations.gateway.settings import Settings

T = TypeVar("T")

_INLINE = 256 * 1024  # larger JSON is handled in a thread, so that other requests do not wait for it
_MAX_ITEMS = 1_000_000  # brackets and commas of a JSON text; each may cost a hundred bytes once it is parsed


@dataclass(frozen=True)
class Rewritten:
    """The body to send on, and what it took."""

    body: bytes
    pictures: int = 0
    seconds: float = 0.0  # of the workers


@dataclass(frozen=True)
class _File:
    """A .ctm file of a request, and what its header says of its size."""

    data: bytes
    pixels: int


class Rewriter:
    """Reads and rewrites bodies. What they hold in memory is accounted to `held` and given back when that closes."""

    def __init__(self, settings: Settings, pool: DecoderPool, metrics: Metrics) -> None:
        self.settings = settings
        self.pool = pool
        self.metrics = metrics
        self.pictures = Budget(settings.queue)
        self.pixels = Budget(settings.pixels_in_flight)
        self.bytes = Budget(settings.bytes_in_flight)

    async def read(self, request: Request, held: ExitStack) -> bytes:
        """The whole body. Raises Refusal: too large, too slow, or too many others in memory already."""
        limit = self.settings.max_body
        too_large = Refusal(
            413, "request_too_large", f"the request is over {limit} bytes; send fewer or smaller pictures"
        )
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        held.callback(lambda: self.bytes.give(size))
        try:
            with anyio.fail_after(self.settings.body_timeout):
                async for part in request.stream():
                    if size + len(part) > limit:
                        raise too_large
                    self.bytes.take(len(part))
                    size += len(part)
                    parts.append(part)
        except TimeoutError as error:
            raise Refusal(408, "body_timeout", "the request's body did not arrive in time") from error
        except Busy as error:
            raise _busy() from error
        return b"".join(parts)

    async def rewrite(self, body: bytes, held: ExitStack, *, embeddings: bool) -> Rewritten:
        """The body with its .ctm pictures decoded; the same bytes if it holds none. Raises Refusal."""
        if not may_hold_pictures(body):
            return Rewritten(body)
        document, places = await _off_loop(len(body), lambda: _parse(body, embeddings))
        if not places:
            return Rewritten(body)
        files = await _off_loop(len(body), lambda: self._checked(places))
        self._admit(files, held)
        began = time.perf_counter()
        results = await self._convert(places, [file.data for file in files])
        self.metrics.rewrite.observe(time.perf_counter() - began)
        for place, result in zip(places, results, strict=True):
            place.put(MIMES[self.settings.format], result.base64)
        size = len(body) + sum(len(result.base64) for result in results)
        new = await _off_loop(size, lambda: json.dumps(document, separators=(",", ":")).encode())
        return Rewritten(new, len(places), sum(result.seconds for result in results))

    def _checked(self, places: list[Place]) -> list[_File]:
        """The files, every header checked, before anything is decoded. Raises Refusal."""
        settings = self.settings
        if len(places) > settings.max_pictures:
            text = f"{len(places)} .ctm pictures, over the limit of {settings.max_pictures}; send fewer"
            raise Refusal(400, "too_many_pictures", text)
        files = []
        for place in places:
            try:
                data = place.data()
                header, _ = parse_header(data, max_pixels=settings.max_pixels)
            except CotamError as error:
                raise Refusal(400, "invalid_image", str(error), place.where) from error
            files.append(_File(data, header.width * header.height))
        return files

    def _admit(self, files: list[_File], held: ExitStack) -> None:
        """Take room for all files of a request. Raises Refusal where there is none."""
        limit, pixels = self.settings.request_pixels, sum(file.pixels for file in files)
        if pixels > limit:
            text = f"{pixels} pixels of .ctm pictures, over the limit of {limit}; send fewer"
            raise Refusal(400, "too_many_pixels", text)
        try:
            held.enter_context(self.pictures.taken(len(files)))
            held.enter_context(self.pixels.taken(pixels))
        except Busy as error:
            raise _busy() from error

    async def _convert(self, places: list[Place], files: list[bytes]) -> list[Converted]:
        """Decode all pictures; the first failure drops those that still wait."""
        self.metrics.waiting.inc(len(files))
        jobs = [asyncio.ensure_future(self.pool.convert(data)) for data in files]
        results = []
        try:
            for place, job, data in zip(places, jobs, files, strict=True):
                try:
                    result = await job
                except CotamError as error:
                    raise Refusal(400, "invalid_image", str(error), place.where) from error
                except DecoderDown as error:
                    raise Refusal(
                        503, "decoder_down", "the decoder failed; try again", place.where
                    ) from error
                self.metrics.pictures.inc()
                self.metrics.ctm_bytes.inc(len(data))
                self.metrics.decode.observe(result.seconds)
                results.append(result)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            self.metrics.waiting.dec(len(files))
        return results


def _busy() -> Refusal:
    return Refusal(
        429, "gateway_busy", "the gateway has as many pictures in hand as it takes; try again soon"
    )


def _parse(body: bytes, embeddings: bool) -> tuple[Any, list[Place]]:
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MAX_ITEMS:
        raise Refusal(400, "invalid_json", f"the request's JSON has over {_MAX_ITEMS} items; send less")
    try:
        document = json.loads(body, parse_constant=_no_constant)
        return document, find_pictures(document, embeddings=embeddings)
    except (ValueError, RecursionError) as error:  # broken JSON or UTF-8, or nested without end
        raise Refusal(400, "invalid_json", "the request is not valid JSON; check how it was made") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


async def _off_loop(size: int, work: Callable[[], T]) -> T:
    return work() if size < _INLINE else await to_thread.run_sync(work)
