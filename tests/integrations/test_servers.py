"""vLLM's and SGLang's own plugin and image loaders, where they are installed; the same steps without them elsewhere.

What vLLM does: it loads the entry points of a group, calls them, and opens the bytes of a data URL with
`Image.open(..., formats=ALLOWED_IMAGE_FORMATS)`.
"""

import base64
import io
import subprocess
import sys
import types
from importlib.metadata import entry_points

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.integrations import pillow
from cotam_cli.integrations.vllm import register


@pytest.fixture(scope="module")
def coded() -> bytes:
    return cotam_cli.encode(Image.radial_gradient("L").resize((64, 48)).convert("RGB"), quality=5)


def test_the_entry_points_are_there() -> None:
    for group, function in {"vllm.general_plugins": register, "sglang.srt.plugins": pillow.register}.items():
        (point,) = [p for p in entry_points(group=group) if p.name == "cotam"]
        assert point.load() is function


def test_the_list_of_formats_grows_once(coded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    image = types.ModuleType("vllm.multimodal.image")
    image.ALLOWED_IMAGE_FORMATS = ("JPEG", "PNG")
    multimodal = types.ModuleType("vllm.multimodal")
    multimodal.image = image
    monkeypatch.setitem(sys.modules, "vllm", types.ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.multimodal", multimodal)
    monkeypatch.setitem(sys.modules, "vllm.multimodal.image", image)
    register()
    register()
    assert image.ALLOWED_IMAGE_FORMATS == ("JPEG", "PNG", "CTM")
    opened = Image.open(io.BytesIO(coded), formats=image.ALLOWED_IMAGE_FORMATS)
    assert np.array_equal(np.asarray(opened), np.asarray(cotam_cli.decode(coded)))


@pytest.mark.parametrize("attribute", ["old", "none"])
def test_older_releases_and_none(attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if attribute == "none":
        monkeypatch.setitem(sys.modules, "vllm.multimodal", None)
    else:
        multimodal = types.ModuleType("vllm.multimodal")
        multimodal.image = types.ModuleType("vllm.multimodal.image")
        monkeypatch.setitem(sys.modules, "vllm", types.ModuleType("vllm"))
        monkeypatch.setitem(sys.modules, "vllm.multimodal", multimodal)
    register()
    assert "CTM" in Image.OPEN


VLLM = """
import sys
from vllm.plugins import load_general_plugins
load_general_plugins()
load_general_plugins()
from vllm.multimodal.media.connector import MediaConnector
def load(url):
    picture = MediaConnector().fetch_image(url)
    return getattr(picture, "media", picture)
"""

SGLANG = """
import sys
from sglang.srt.plugins import load_plugins
load_plugins()
load_plugins()
from sglang.srt.utils.common import load_image
def load(url):
    return load_image(url, gpu_image_decode=False)[0]
"""

LOAD = """
good, broken = sys.stdin.read().split()
picture = load(good)
print(picture.size, picture.mode, sum(picture.tobytes()))
try:
    load(broken)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "script"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_the_servers_own_loaders(coded: bytes, name: str, script: str) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    urls = [f"data:image/x-ctm;base64,{base64.b64encode(d).decode()}" for d in (coded, coded[:-9])]
    command = [sys.executable, "-c", script + LOAD]
    result = subprocess.run(command, input=" ".join(urls), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    size, error = result.stdout.splitlines()[-2:]
    assert size == f"(64, 48) RGB {sum(cotam_cli.decode(coded).tobytes())}"
    assert "cut off" in error
