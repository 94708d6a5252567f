"""Run the gateway: socket, workers, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import uvicorn

from cotam_cli.errors import CotamError
from cotam_cli.integrations.gateway.observe import log
from cotam_cli.integrations.gateway.pool import DecoderPool
from cotam_cli.integrations.gateway.proxy import Gateway
from cotam_cli.integrations.gateway.settings import Settings

GRACE = 30  # seconds that requests in flight get when the server is told to stop
_MAX_CONNECTIONS = 4096
_BACKLOG = 1024


def serve(settings: Settings, host: str, port: int) -> None:
    """Listen until SIGINT or SIGTERM; then take no new requests, let those in flight end, and return.

    Raises CotamError where the address cannot be used.
    """
    listener = _listen(host, port)
    with listener:
        asyncio.run(_serve(settings, listener))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol left at 0, asyncio would not set TCP_NODELAY, and small answers would wait 40 ms.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:  # the second for what cannot be a host's name
        reason = error.strerror if isinstance(error, OSError) else "the name is too long, or part of it empty"
        raise CotamError(f"cannot listen on {host}:{port} ({reason}); choose another --listen") from error
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    _quiet_logging()
    pool = DecoderPool(settings.workers, settings.format, settings.max_pixels)
    gateway = Gateway(settings, pool)
    config = uvicorn.Config(
        gateway,
        access_log=False,
        log_config=None,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)

    def stop(number: int, frame: object) -> None:
        # uvicorn sets handlers of its own, and raises the signal once more when it is done: no reason to die.
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        await pool.warm()
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log(
            "listening",
            address=f"http://{shown}:{port}",
            upstream=settings.upstream,
            workers=settings.workers,
        )
        await server.serve(sockets=[listener])
        await gateway.close()
    finally:
        pool.close()
    log("stopped")


def _quiet_logging() -> None:
    """Let no library write lines of its own kind between ours; uvicorn's errors keep their first line."""
    for name in ("uvicorn.error", "uvicorn.access", "httpx2", "httpcore2", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [_AsEvent()]
        logger.propagate = False
        logger.setLevel(logging.ERROR)


class _AsEvent(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log("server", source=record.name, message=record.getMessage().splitlines()[0][:200])
