"""README and docs/using.md are run: `console` blocks line by line in a shell, `python` blocks as scripts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def lines(page: str) -> list[str]:
    return [line for block in blocks("console", page) for line in block.splitlines() if line]


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
    env = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
    result = subprocess.run(command, check=False, cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_shell_examples(folder: Path) -> None:
    assert len(lines(README)) >= 4
    for line in lines(README):
        run(["bash", "-o", "pipefail", "-c", line], folder)
    assert (folder / "back.png").stat().st_size > 10_000
    assert (folder / "back.ppm").stat().st_size > 768 * 512 * 3


@pytest.fixture
def desk(folder: Path) -> Path:
    """What docs/using.md says is there, small: its lines are about options, not about pixels."""
    small = Image.open(folder / "photo.png").resize((192, 128))
    (folder / "photos" / "more").mkdir(parents=True)
    small.save(folder / "photos" / "one.png")
    small.save(folder / "photos" / "more" / "two.png")
    frames = [small.crop((k, 0, k + 96, 96)) for k in range(3)]
    frames[0].save(folder / "clip.gif", save_all=True, append_images=frames[1:], duration=80)
    small.putalpha(Image.radial_gradient("L").resize(small.size))
    small.save(folder / "cutout.png")
    return folder


@pytest.mark.slow
def test_examples_of_using(desk: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg:
        film = "ffmpeg -v error -f lavfi -i testsrc=size=96x64:rate=5:duration=0.6 film.mp4"
        run(["bash", "-c", film], desk)
    assert len(lines(USING)) > 20
    for line in lines(USING):
        if ffmpeg or ("ffmpeg" not in line and "film" not in line):
            run(["bash", "-o", "pipefail", "-c", line], desk)
    assert (desk / "a.ctm").stat().st_size <= 20_000
    assert (desk / "b.ctm").stat().st_size <= 15_000
    assert (desk / "coded" / "more" / "two.ctm").exists()
    assert (desk / "decoded" / "more" / "two.jpg").exists()
    assert Image.open(desk / "cutout-back.png").mode == "RGBA"


@pytest.mark.parametrize("script", blocks("python", USING))
def test_python_of_using(script: str, desk: Path) -> None:
    run([sys.executable, "-c", script], desk)


@pytest.mark.parametrize("script", blocks("python"))
def test_python_examples(script: str, folder: Path) -> None:
    run([sys.executable, "-c", script], folder)


def test_first_screen_shows_the_two_commands() -> None:
    first_screen = README.splitlines()[:12]
    assert any("make demo" in line for line in first_screen)
    assert any("make test" in line for line in first_screen)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), target
