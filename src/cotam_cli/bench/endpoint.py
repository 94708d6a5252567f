"""The user's own multimodal model, behind any endpoint that speaks OpenAI's chat protocol.

The key comes from the environment only (COTAM_VLM_KEY), goes to the given address only (redirects are not
followed), and is cut out of every message. Answers are kept by pixels and question, so that nothing is paid twice.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from cotam_cli.bench.pictures import Pixels, content_hash
from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic

KEY = "COTAM_VLM_KEY"
TRIES = 4
PATIENCE = 3  # calls in a row that the endpoint may leave without an answer before it counts as down
LONGEST_WAIT = 60.0  # seconds between two tries, whatever the endpoint asks for
MOST_BYTES = 1 << 20  # of a reply


class EndpointDown(CotamError):
    """The endpoint does not answer; further calls would only wait."""


@dataclass(frozen=True)
class Endpoint:
    """Where the model is, and how to treat it.

    rpm: requests a minute, 0 for no limit. timeout: seconds a request. price: money for a million tokens, in
    and out. first_wait: seconds before the second try; it doubles from then on.
    """

    url: str
    model: str
    rpm: float = 0.0
    timeout: float = 60.0
    price: tuple[float, float] = (0.0, 0.0)
    max_tokens: int = 64
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.hostname and parts.hostname.encode("idna") and parts.port != 0
        except ValueError as error:  # not shown: where its parts cannot be told, one may be a password
            raise CotamError(
                "the endpoint's address cannot be read; give one such as http://localhost:8000/v1"
            ) from error
        if parts.scheme not in ("http", "https") or not usable:
            raise CotamError(
                f"{self.shown} is no address of an endpoint; give one such as http://localhost:8000/v1"
            )
        if parts.username or parts.password:
            raise CotamError(f"an address must not carry a password; put the key into {KEY}")

    @property
    def shown(self) -> str:
        """The address without anything secret."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


@dataclass(frozen=True, eq=False)
class Sight:
    """A picture to ask about, uint8 [h, w, 3]. Several questions share its PNG, which is made once there is need."""

    pixels: Pixels

    @cached_property
    def digest(self) -> str:
        return content_hash(self.pixels)

    @cached_property
    def url(self) -> str:
        png = io.BytesIO()
        Image.fromarray(self.pixels).save(png, "PNG")
        return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


@dataclass
class Usage:
    """What a run has used: requests that were sent, answers that were kept from earlier, tokens."""

    requests: int = 0
    kept: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def cost(self, price: tuple[float, float]) -> float:
        """Money, in the currency of the price for a million tokens in and out."""
        return (self.tokens_in * price[0] + self.tokens_out * price[1]) / 1e6


@dataclass
class Client:
    """Asks an endpoint; may be used from several threads. kept: folder of answers, None keeps none."""

    endpoint: Endpoint
    kept: Path | None = None
    usage: Usage = field(default_factory=Usage)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0
    _silent: int = 0
    _rejected: set[str] = field(default_factory=set)

    def ask(self, picture: Sight, prompt: str) -> str:
        """The model's reply about a picture, sent as PNG.

        Raises CotamError when the endpoint refuses or answers nonsense, EndpointDown when it does not answer.
        """
        same = json.dumps(self._request(picture.digest, prompt), sort_keys=True)
        name = hashlib.sha256(f"{self.endpoint.shown} {same}".encode()).hexdigest()
        path = self.kept and self.kept / f"{name[:40]}.json"
        if path and path.is_file():
            try:
                reply = str(json.loads(path.read_bytes())["reply"])
            except (ValueError, KeyError, TypeError):
                pass
            else:
                with self._lock:
                    self.usage.kept += 1
                return reply
        answer = self._send(self._request(picture.url, prompt))
        reply = self._read(answer)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps({"reply": reply, "usage": answer.get("usage")}).encode())
        return reply

    def _request(self, picture: str, prompt: str) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": prompt},
        ]
        return {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.endpoint.max_tokens,
        }

    def _read(self, answer: dict[str, Any]) -> str:
        try:
            reply = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            reply = None
        if not isinstance(reply, str):
            said = self._clean(json.dumps(answer)[:200])
            raise CotamError(f"{self.endpoint.shown} answers without a message: {said}")
        usage = answer.get("usage")
        if isinstance(usage, dict):
            with self._lock:
                self.usage.tokens_in += _whole(usage.get("prompt_tokens"))
                self.usage.tokens_out += _whole(usage.get("completion_tokens"))
        return reply

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        wait, problem = self.endpoint.first_wait, "it was not asked"
        for left in reversed(range(TRIES)):
            if self._silent >= PATIENCE:
                raise EndpointDown(f"{self.endpoint.shown} is down: {PATIENCE} calls in a row had no answer")
            self._take_turn()
            try:
                status, headers, body = self._post(self._as_accepted(request))
            except (OSError, http.client.HTTPException) as error:  # refused, reset, no such host, too slow
                problem, status, headers = self._clean(str(error) or type(error).__name__), 0, {}
            if status == 200:
                self._silent = 0
                return self._json(body)
            if status == 400 and self._learn(body):
                continue
            if status:
                problem = f"status {status}: {self._clean(body[:200].decode(errors='replace'))}"
                if status < 500 and status not in (408, 409, 429):
                    raise CotamError(f"{self.endpoint.shown} refuses the request, {problem}")
            if left:
                time.sleep(min(max(wait, _seconds(headers.get("Retry-After"))), LONGEST_WAIT))
                wait *= 2
        with self._lock:
            self._silent += 1
        raise CotamError(f"{self.endpoint.shown} does not answer after {TRIES} tries: {problem}")

    def _take_turn(self) -> None:
        """Wait until the rate limit allows one more request."""
        with self._lock:
            self.usage.requests += 1
            if not self.endpoint.rpm:
                return
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + 60 / self.endpoint.rpm
        time.sleep(turn - now)

    def _as_accepted(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request in the words that this endpoint takes; hosted models differ in two."""
        accepted = dict(request)
        if "max_tokens" in self._rejected:
            accepted["max_completion_tokens"] = accepted.pop("max_tokens")
        if "temperature" in self._rejected:
            del accepted["temperature"]
        return accepted

    def _learn(self, body: bytes) -> bool:
        """Whether a refusal names a parameter that the request can do without, for the first time."""
        named = {name for name in ("max_tokens", "temperature") if name.encode() in body} - self._rejected
        self._rejected |= named
        return bool(named)

    def _post(self, request: dict[str, Any]) -> tuple[int, Any, bytes]:
        headers = {"Content-Type": "application/json", "User-Agent": "cotam-bench"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        call = urllib.request.Request(url, json.dumps(request).encode(), headers)  # noqa: S310 checked above
        opener = urllib.request.build_opener(_NoRedirect())
        try:
            with opener.open(call, timeout=self.endpoint.timeout) as response:
                return response.status, response.headers, response.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read(MOST_BYTES)

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if not isinstance(content, dict) or len(body) > MOST_BYTES:
            said = self._clean(body[:80].decode(errors="replace"))
            raise CotamError(f"{self.endpoint.shown} answers no JSON object: {said!r}")
        return content

    def _clean(self, text: str) -> str:
        """Text from outside on one line, without the key."""
        key = os.environ.get(KEY)
        return " ".join((text.replace(key, "***") if key else text).split())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: the key must not travel on."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _seconds(value: str | None) -> float:
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
