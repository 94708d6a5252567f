"""The README's examples are run: `console` blocks line by line in a shell, `python` blocks as scripts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "examples" / "kodim23.png", tmp_path / "photo.png")
    scripts = tmp_path / "bin"
    scripts.mkdir()
    launcher = scripts / "cotam"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m cotam_cli "$@"\n')
    launcher.chmod(0o755)
    return tmp_path


def run(command: list[str], folder: Path) -> None:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    result = subprocess.run(command, check=False, cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_shell_examples(folder: Path) -> None:
    lines = [line for block in blocks("console") for line in block.splitlines() if line]
    assert len(lines) >= 4
    for line in lines:
        run(["bash", "-o", "pipefail", "-c", line], folder)
    assert (folder / "back.png").stat().st_size > 10_000
    assert (folder / "back.ppm").stat().st_size > 768 * 512 * 3


@pytest.mark.parametrize("script", blocks("python"))
def test_python_examples(script: str, folder: Path) -> None:
    run([sys.executable, "-c", script], folder)


def test_first_screen_shows_the_two_commands() -> None:
    first_screen = README.splitlines()[:12]
    assert any("make demo" in line for line in first_screen)
    assert any("make test" in line for line in first_screen)


def test_links_lead_somewhere() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
