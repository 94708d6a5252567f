"""A fake model server and a real gateway in front of it, both on sockets of this machine."""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

SSE = [b'data: {"n": %d}\n\n' % n for n in range(5)] + [b"data: [DONE]\n\n"]


@dataclass
class Arrived:
    """A request as the upstream saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Upstream:
    """Answers by the path's end: echoes by default, and misbehaves on request (`model` in the body)."""

    arrived: list[Arrived] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    in_flight: int = 0
    most: int = 0
    answer: bytes = b'{"ok": true}'
    address: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode()).rstrip("?")
        headers = [(k.decode(), v.decode()) for k, v in scope["headers"]]
        self.arrived.append(Arrived(scope["method"], target, headers, body))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.respond(body, receive, send)
        finally:
            self.in_flight -= 1

    async def respond(self, body: bytes, receive: Any, send: Any) -> None:
        model = json.loads(body).get("model", "") if body[:1] == b"{" else ""
        if model == "sleepy":
            await asyncio.sleep(3)
        if model == "together":  # answers when many are there at once
            while not self.go.is_set():
                await asyncio.sleep(0.02)
        start = {
            "type": "http.response.start",
            "status": 418 if model == "teapot" else 307 if model == "elsewhere" else 200,
            "headers": [
                (b"content-type", b"text/event-stream" if model in STREAMS else b"application/json"),
                (b"x-request-id", b"up-1"),
                (b"set-cookie", b"session=of-the-first-caller"),
                (b"location", b"http://127.0.0.1:1/elsewhere"),
                (b"keep-alive", b"timeout=5"),
                *([] if model in STREAMS else [(b"content-length", str(len(self.answer)).encode())]),
            ],
        }
        await send(start)
        if model in STREAMS:
            await STREAMS[model](self, receive, send)
        else:
            await send({"type": "http.response.body", "body": self.answer})


async def _stream(upstream: Upstream, receive: Any, send: Any) -> None:
    for event in SSE:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0.15)
    await send({"type": "http.response.body", "body": b""})


async def _break_off(upstream: Upstream, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": SSE[0], "more_body": True})
    await asyncio.sleep(0.1)


async def _endless(upstream: Upstream, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": SSE[0], "more_body": True})
    await receive()  # until the other side leaves
    upstream.left.set()


STREAMS: dict[str, Callable[..., Any]] = {"stream": _stream, "break": _break_off, "endless": _endless}


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Run an ASGI application in a thread; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()


class Running:
    """A `cotam gateway` process. `log` grows as it writes."""

    def __init__(self, upstream: str, *options: str) -> None:
        command = [sys.executable, "-m", "cotam_cli", "gateway", "--upstream", upstream]
        command += ["--listen", "127.0.0.1:0", "--workers", "1", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.ready.wait(120), self.lines
        self.url = json.loads(self.lines[0])["address"]
        self.client = httpx2.Client(timeout=60, limits=httpx2.Limits(max_connections=None))

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            self.ready.set()
        self.ready.set()

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        headers = {"content-type": "application/json", **headers}
        return self.client.post(self.url + path, content=json.dumps(body), headers=headers)

    def workers(self) -> list[int]:
        """Process ids of the decoding workers."""
        folder = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in folder.read_text().split() if b"spawn_main" in _command(child)]

    def kill_workers(self) -> None:
        """Those that are there at this moment."""
        for worker in self.workers():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(60)
        self.reader.join(10)
        return code


def _command(process: str) -> bytes:
    """Its command line; nothing once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def data_url(data: bytes, mime: str = "image/x-ctm") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def chat(url: str, **fields: object) -> dict[str, object]:
    """A chat completions request with one picture."""
    parts = [{"type": "text", "text": "What is it? äöü ✓"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": "m", "messages": [{"role": "user", "content": parts}], **fields}


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
