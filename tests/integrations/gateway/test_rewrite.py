"""Bodies are rewritten beside the event loop, not on it."""

import asyncio
import base64
import json
import time
from contextlib import ExitStack

import pytest

pytest.importorskip("uvicorn", reason="needs the extra gateway")
pytest.importorskip("httpx2", reason="needs the extra gateway")

from cotam_cli.integrations.gateway.observe import Metrics
from cotam_cli.integrations.gateway.pool import Converted
from cotam_cli.integrations.gateway.rewrite import Rewriter
from cotam_cli.integrations.gateway.settings import Settings

from .rig import chat, data_url

MIB = 2**20


class Pool:
    """Takes no time."""

    async def convert(self, data: bytes) -> Converted:
        return Converted(base64.b64encode(b"new").decode(), 0.0)


@pytest.mark.parametrize("case", ["pictures", "text"])
def test_a_large_body_leaves_the_loop_to_other_requests(coded: bytes, case: str) -> None:
    """By processor time, which a busy machine does not lengthen much: the loop's own thread and all together."""
    parts = [{"type": "image_url", "image_url": {"url": data_url(coded + bytes(MIB))}}] * 10
    request = {"messages": parts} if case == "pictures" else chat(data_url(coded), text="." * 20 * MIB)
    body = json.dumps(request).encode()

    async def shares() -> tuple[float, float]:
        rewriter = Rewriter(Settings("http://h/v1"), Pool(), Metrics())  # type: ignore[arg-type]
        own, every = time.thread_time(), time.process_time()
        with ExitStack() as held:
            rewritten = await rewriter.rewrite(body, held, embeddings=False)
        assert b"data:image/png;base64,bmV3" in rewritten.body
        assert b"x-ctm" not in rewritten.body
        return time.thread_time() - own, time.process_time() - every

    own, every = asyncio.run(shares())
    assert own < every / 4
