"""The decoding workers by themselves."""

import asyncio
import os
import signal

import pytest

pytest.importorskip("uvicorn", reason="needs the extra gateway")

from cotam_cli.integrations.gateway.pool import Converted, DecoderDown, DecoderPool


class Poison:
    """Kills the process that takes it in hand."""

    def __reduce__(self) -> object:
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.mark.skipif(os.name == "nt", reason="kills a process")
def test_a_picture_that_kills_workers_takes_no_other_along(coded: bytes) -> None:
    async def run() -> list[object]:
        pool = DecoderPool(1, "png", 100_000)
        try:
            jobs = [pool.convert(data) for data in (coded, Poison(), coded, coded, coded)]  # type: ignore[arg-type]
            return await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            pool.close()

    kinds = [type(result) for result in asyncio.run(run())]
    assert kinds == [Converted, DecoderDown, Converted, Converted, Converted]
