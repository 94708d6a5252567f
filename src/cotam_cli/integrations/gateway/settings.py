"""What the gateway is told: the upstream, the address to listen on, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from cotam_cli.errors import CotamError
from cotam_cli.integrations.gateway.pool import Format

MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """All of it. Sizes in bytes and pixels, times in seconds.

    upstream      the model server's base address, such as http://localhost:8000/v1
    format        what it is sent instead of .ctm
    workers       decoding processes, one core each
    queue         .ctm pictures that may wait or be decoded at once; more are answered 429
    max_body      largest request that is looked into; larger ones are answered 413
    max_pixels    largest picture; larger ones are answered 400 before anything is decoded
    max_pictures  .ctm pictures in one request
    timeout       longest silence of the upstream
    body_timeout  longest that a request's body may take to arrive
    """

    upstream: str
    format: Format = "png"
    workers: int = 1
    queue: int = 512
    max_body: int = 32 * MIB
    max_pixels: int = 2**25
    max_pictures: int = 100
    timeout: float = 600.0
    body_timeout: float = 60.0

    @property
    def request_pixels(self) -> int:
        """Pixels of all .ctm pictures of one request: as base64 of PNG at most some 4 bytes each."""
        return 4 * self.max_pixels

    @property
    def pixels_in_flight(self) -> int:
        """Pixels of all pictures from their admission until the upstream has taken them."""
        return 8 * self.max_pixels

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of all request bodies held in memory."""
        return 8 * self.max_body


def check_upstream(url: str) -> str:
    """The address without its last slash. Raises CotamError if it is no plain http(s) address."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.hostname.encode("idna")
        plain = parts.scheme in ("http", "https") and named and parts.port != 0
    except ValueError:  # brackets, a port or a part of the name that are none
        plain = False
    if not plain or not url.isascii() or any(c.isspace() for c in url):
        raise CotamError(f"upstream {url!r} is no address; give one like http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise CotamError(
            "the upstream's address must hold no key, query or fragment; clients send their keys"
        )
    return url.rstrip("/")


def split_address(listen: str) -> tuple[str, int]:
    """`127.0.0.1:8787` or `[::1]:8787` to host and port. Raises CotamError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise CotamError(f"cannot listen on {listen!r}; give host:port such as 127.0.0.1:8787")
    return host.removeprefix("[").removesuffix("]"), int(port)
