"""The client side's examples, run for real against the gateway."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra gateway")

from .rig import Running, Upstream, wait_until
from .test_clients import COMPLETION

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_edge_script(gateway: Running, upstream: Upstream, tmp_path: Path) -> None:
    upstream.answer = json.dumps(COMPLETION).encode()
    picture = Image.radial_gradient("L").resize((64, 48))
    picture.save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:100])  # a camera at work
    command = [sys.executable, str(EXAMPLES / "edge.py"), str(tmp_path), gateway.url + "/v1", "m"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        assert wait_until(lambda: lines == ["a.jpg a parrot\n"])
        (tmp_path / "b.jpg").write_bytes(whole)
        assert wait_until(lambda: lines == ["a.jpg a parrot\n", "b.jpg a parrot\n"])
    finally:
        process.kill()
        process.wait()
    assert len(upstream.arrived) == 2
    assert "data:image/png;base64" in upstream.arrived[0].body.decode()


def test_the_edge_script_outlives_errors(gateway: Running, upstream: Upstream, tmp_path: Path) -> None:
    Image.radial_gradient("L").resize((64, 48)).save(tmp_path / "a.jpg")
    command = [sys.executable, str(EXAMPLES / "edge.py"), str(tmp_path), gateway.url + "/v1", "teapot"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: len(upstream.arrived) >= 2)
    finally:
        process.kill()
        told, complained = process.communicate()
    assert told == ""
    assert "a.jpg: HTTP Error 418" in complained


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_curl_script(gateway: Running, upstream: Upstream, tmp_path: Path) -> None:
    upstream.answer = json.dumps(COMPLETION).encode()
    picture = tmp_path / "a.png"
    Image.radial_gradient("L").resize((64, 48)).save(picture)
    launcher = tmp_path / "cotam"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m cotam_cli "$@"\n')
    launcher.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "OPENAI_API_KEY": "sk-3"}
    command = [str(EXAMPLES / "curl.sh"), str(picture), gateway.url + "/v1", "m"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == COMPLETION
    assert upstream.arrived[0].header("authorization") == ["Bearer sk-3"]
    assert "data:image/png;base64" in upstream.arrived[0].body.decode()
