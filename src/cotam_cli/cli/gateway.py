"""cotam gateway"""

from __future__ import annotations

from typing import Literal

import click

from cotam_cli.cli.common import one_line_errors
from cotam_cli.errors import CotamError
from cotam_cli.sessions import cores


@click.command("gateway")
@click.option(
    "--upstream",
    metavar="URL",
    required=True,
    help="The model server's base address, such as http://localhost:8000/v1. Nothing else is contacted.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8787",
    show_default=True,
    help="Where clients connect. Who can reach it can use the upstream.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "jpg"]),
    default="png",
    show_default=True,
    help="What the upstream gets: png and webp without loss, jpg at quality 95.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", help="Decoding processes.  [default: one a core]"
)
@click.option(
    "--queue",
    type=click.IntRange(1),
    metavar="N",
    default=512,
    show_default=True,
    help="Pictures in hand at once; requests beyond get status 429.",
)
@click.option(
    "--max-body",
    type=click.IntRange(1, 1024),
    metavar="MIB",
    default=32,
    show_default=True,
    help="Largest request that is looked into; larger ones get 413.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, 2**28),
    metavar="N",
    default=2**25,
    show_default=True,
    help="Largest picture, width x height; larger ones get 400.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="Longest silence of the upstream; then 504.",
)
@one_line_errors
def command(
    upstream: str,
    listen: str,
    kind: Literal["png", "webp", "jpg"],
    workers: int | None,
    queue: int,
    max_body: int,
    max_pixels: int,
    timeout: float,
) -> None:
    """Serve an API that takes .ctm pictures, in front of a model server that does not.

    Point an OpenAI or Anthropic SDK's base address at it. Pictures in chat completions, responses, embeddings and
    messages are decoded on the way; all else passes through. GET /health and /metrics are the gateway's own.
    """
    from cotam_cli.integrations.gateway.settings import MIB, Settings, check_upstream, split_address

    host, port = split_address(listen)
    settings = Settings(
        upstream=check_upstream(upstream),
        format=kind,
        workers=workers or cores(),
        queue=queue,
        max_body=max_body * MIB,
        max_pixels=max_pixels,
        timeout=timeout,
    )
    try:
        from cotam_cli.integrations.gateway.server import serve
    except ImportError as error:
        raise CotamError(
            f"the gateway needs packages that are not here ({error.name}); pip install 'cotam-cli[gateway]'"
        ) from error
    serve(settings, host, port)
