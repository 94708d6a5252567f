"""The gateway's ASGI application: requests go to the one configured upstream, .ctm pictures in them decoded.

Bodies of the routes below are read whole and rewritten if they hold a .ctm; everything else streams through
in both directions, byte for byte. Headers go through but for those of one hop. Requests are sent on the bare
transport of the HTTP client: no cookie jar, no redirects followed, no proxies or keys from the environment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import httpx2
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cotam_cli.errors import CotamError
from cotam_cli.integrations.gateway.answers import Refusal, respond
from cotam_cli.integrations.gateway.observe import Metrics, log
from cotam_cli.integrations.gateway.pool import DecoderPool
from cotam_cli.integrations.gateway.rewrite import Rewriter
from cotam_cli.integrations.gateway.settings import Settings

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]

ROUTES = (
    "chat/completions",
    "responses/input_tokens",
    "responses",
    "embeddings",
    "messages/count_tokens",
    "messages",
)
"""Ends of the paths whose bodies are looked into."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
_SLICE = 64 * 1024


@dataclass
class Trace:
    """What is told about a request when it is over."""

    route: str
    status: int = 0
    code: str | None = None
    pictures: int = 0
    decode_seconds: float = 0.0
    ended: bool = False  # the last byte of the answer is on its way
    began: float = field(default_factory=time.perf_counter)


class Gateway:
    """The application. `pool` must be warm; `close` ends the connections to the upstream."""

    def __init__(self, settings: Settings, pool: DecoderPool) -> None:
        self.pool = pool
        self.metrics = Metrics()
        self.rewriter = Rewriter(settings, pool, self.metrics)
        try:
            self.upstream = httpx2.URL(settings.upstream)
        except httpx2.InvalidURL as error:
            raise CotamError(f"upstream {settings.upstream!r} is no address ({error})") from error
        self.transport = httpx2.AsyncHTTPTransport(
            trust_env=False, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=256)
        )
        self.timeout = httpx2.Timeout(settings.timeout, connect=10, write=60).as_dict()

    async def close(self) -> None:
        await self.transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            await JSONResponse({"status": "ok", "workers": self.pool.workers})(scope, receive, send)
            return
        if scope["path"] == "/metrics":
            text = generate_latest(self.metrics.registry)
            await Response(text, media_type=CONTENT_TYPE_LATEST)(scope, receive, send)
            return
        trace = Trace(next((name for name in ROUTES if scope["path"].endswith("/" + name)), "other"))
        self.metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, send, trace)
        finally:
            self.metrics.in_flight.dec()
            self._tell(scope, trace)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        """Forward, or refuse in the API's own shape as long as no answer has begun."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            await send(message)

        refusal: Refusal
        try:
            await self._forward(scope, receive, noting, trace)
            return
        except ClientDisconnect:
            trace.code = "client_left"
            return
        except Refusal as error:
            refusal = error
        except Exception as error:  # the last line of defence: never a traceback to the client
            log("bug", kind=type(error).__name__, at=_origin(error))
            refusal = Refusal(500, "internal_error", "the gateway failed on this request")
        trace.code = refusal.code
        if not trace.status:
            await respond(refusal, anthropic=trace.route.startswith("messages"))(scope, receive, noting)

    def _tell(self, scope: Scope, trace: Trace) -> None:
        self.metrics.requests.labels(trace.route, str(trace.status)).inc()
        facts: dict[str, object] = {
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": trace.status,
            "ms": round(1000 * (time.perf_counter() - trace.began), 1),
            "pictures": trace.pictures,
            "decode_ms": round(1000 * trace.decode_seconds, 1),
        }
        if trace.code:
            self.metrics.refusals.labels(trace.code).inc()
            facts["code"] = trace.code
        log("request", **facts)

    async def _forward(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        request = Request(scope, receive)
        headers = [(n, v) for n, v in end_to_end(request.headers.raw) if n not in (b"host", b"expect")]
        headers.insert(0, (b"host", self.upstream.netloc))
        url = self._url(scope)
        read = asyncio.Event()  # the request's body
        with ExitStack() as held:
            if _looked_into(request, trace.route):
                body = await self.rewriter.read(request, held)
                read.set()
                work = self.rewriter.rewrite(body, held, embeddings=trace.route == "embeddings")
                rewritten = await _while_client_stays(request, read, work, trace)
                trace.pictures, trace.decode_seconds = rewritten.pictures, rewritten.seconds
                headers = [(n, v) for n, v in headers if n != b"content-length"]
                headers.append((b"content-length", str(len(rewritten.body)).encode()))
                content = _slices([rewritten.body])
                del body, rewritten, work
            else:
                content = _stream(request, read)
            outgoing = httpx2.Request(
                scope["method"],
                url,
                headers=headers,
                content=content if _has_body(request) else None,
                extensions={"timeout": self.timeout},
            )
            if not _has_body(request):
                read.set()
            began = time.perf_counter()
            response = await _while_client_stays(request, read, self._send(outgoing), trace)
            self.metrics.upstream.observe(time.perf_counter() - began)
        try:
            await _while_client_stays(request, read, _relay(response, send, trace), trace)
        except httpx2.TransportError as error:
            # The status is gone; a connection that breaks is the one sign left that the answer is not whole.
            raise Refusal(502, "upstream_broke_off", "the upstream broke off its answer") from error
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _send(self, outgoing: httpx2.Request) -> httpx2.Response:
        try:
            return await self.transport.handle_async_request(outgoing)
        except httpx2.TimeoutException as error:
            raise Refusal(504, "upstream_timeout", "the upstream did not answer in time") from error
        except httpx2.TransportError as error:
            raise Refusal(502, "upstream_down", "the upstream cannot be reached or broke off") from error

    def _url(self, scope: Scope) -> httpx2.URL:
        """The upstream's address for a request. Its host is never the caller's choice, nor is a way out of its path."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path: str = scope["path"]
        if not raw.startswith(b"/") or "\\" in path or {".", ".."} & set(path.split("/")):
            raise Refusal(400, "bad_path", "the path is not a plain one; use the API's own paths")
        base = self.upstream.raw_path.rstrip(b"/")
        if not raw.startswith(base + b"/"):
            raw = (
                base.removesuffix(b"/v1") + raw
                if base.endswith(b"/v1") and raw[:4] == b"/v1/"
                else base + raw
            )
        query: bytes = scope["query_string"]
        return self.upstream.copy_with(raw_path=raw + (b"?" + query if query else b""))


def end_to_end(headers: Headers) -> Headers:
    """The headers that go on to the next hop, names in lower case: without those of one hop and those that
    `Connection` names."""
    named = {
        name.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for name in value.split(b",")
    }
    return [(n.lower(), v) for n, v in headers if n.lower() not in _HOP_BY_HOP and n.lower() not in named]


def _has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


def _looked_into(request: Request, route: str) -> bool:
    kind = request.headers.get("content-type", "").lower()
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    return route != "other" and request.method == "POST" and "json" in kind and plain and _has_body(request)


async def _stream(request: Request, read: asyncio.Event) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part
    read.set()


async def _slices(box: list[bytes]) -> AsyncIterator[bytes]:
    """A body in slices; taken out of its box, so that it is not held while the answer streams."""
    body = box.pop()
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]


async def _relay(response: httpx2.Response, send: Send, trace: Trace) -> None:
    """Pass the upstream's answer on as it comes, still compressed if it is."""
    headers = end_to_end(response.headers.raw)
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    async for part in response.aiter_raw():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    trace.ended = True
    await send({"type": "http.response.body", "body": b""})


async def _while_client_stays(
    request: Request, read: asyncio.Event, work: Coroutine[Any, Any, T], trace: Trace
) -> T:
    """Do the work, but drop it and raise ClientDisconnect when the client leaves after its body has been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_client_leaves(request, read))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() or trace.ended:
            return await task
        raise ClientDisconnect
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _client_leaves(request: Request, read: asyncio.Event) -> None:
    await read.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _origin(error: BaseException) -> str:
    """File and line where an exception was raised, without any value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
