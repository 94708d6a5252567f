"""One upstream and one gateway for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import cotam_cli

if TYPE_CHECKING:
    from .rig import Running, Upstream

PHOTO = Path(__file__).parents[3] / "examples" / "kodim23.png"


@pytest.fixture(scope="session")
def server() -> "Iterator[Upstream]":
    from .rig import Upstream, serving

    fake = Upstream()
    with serving(fake) as address:
        fake.address = address
        yield fake


@pytest.fixture(scope="session")
def gateway(server: "Upstream") -> "Iterator[Running]":
    from .rig import Running

    running = Running(server.address + "/v1", "--max-body", "2", "--max-pixels", "100000", "--timeout", "1.5")
    yield running
    running.stop()
    assert not any("Traceback" in line for line in running.lines)


@pytest.fixture(scope="session")
def coded() -> bytes:
    return cotam_cli.encode(Image.open(PHOTO).convert("RGB").crop((300, 100, 364, 148)), quality=4)


@pytest.fixture(scope="session")
def ctm_url(coded: bytes) -> str:
    from .rig import data_url

    return data_url(coded)


@pytest.fixture
def upstream(server: "Upstream") -> "Upstream":
    """The fake model server, as if nothing had reached it yet."""
    server.arrived.clear()
    server.left.clear()
    server.go.clear()
    server.answer = b'{"ok": true}'
    return server
