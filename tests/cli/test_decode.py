"""What `cotam decode` does with its outputs and options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from PIL import ExifTags, Image, ImageCms

from cotam_cli.cli import main
from cotam_cli.codec.models import records
from runner import runner

CODED = Path(__file__).parents[1] / "golden" / f"{records()[-1].name}-photo-q1.ctm"


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def test_an_existing_file_is_skipped_before_it_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "p.png"
    target.write_bytes(b"old")
    result = cotam("decode", CODED, "-o", target, "--skip-existing")
    assert (result.exit_code, result.stderr) == (0, "")
    assert target.read_bytes() == b"old"
    assert "--force" in cotam("decode", CODED, "-o", target).stderr


@pytest.mark.parametrize(
    "option", [("--size", "20"), ("--format", "png"), ("--target", "mllm"), ("--background", "white")]
)
def test_tokens_refuse_the_options_of_pictures(option: tuple[str, str], tmp_path: Path) -> None:
    result = cotam("decode", CODED, "--tokens", tmp_path / "x.safetensors", *option)
    assert result.exit_code == 2
    assert f"{option[0]} is for pictures" in result.stderr


def piped(*arguments: object) -> bytes:
    """What a process of its own writes to stdout."""
    command = [sys.executable, "-m", "cotam_cli", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


def test_frames_on_stdout_keep_profile_and_metadata(tmp_path: Path) -> None:
    """As numbered files do; for a format without profiles the pixels become sRGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = srgb.replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    frames = [Image.new("RGB", (32, 24), colour) for colour in ((200, 60, 30), (30, 60, 200))]
    source, target = tmp_path / "a.png", tmp_path / "a.ctm"
    frames[0].save(source, save_all=True, append_images=frames[1:], icc_profile=profile, exif=exif)
    assert cotam("encode", source, "-o", target, "--keep-icc", "--keep-metadata").exit_code == 0
    for kind in ("jpg", "ppm"):
        assert cotam("decode", target, "-o", tmp_path / f"%d.{kind}").exit_code == 0
        shown = piped("decode", target, "-o", "-", "--format", kind)
        assert shown == b"".join((tmp_path / f"{number}.{kind}").read_bytes() for number in (1, 2))
    first = Image.open(tmp_path / "1.jpg")
    assert first.info["icc_profile"] == profile
    assert first.getexif()[ExifTags.Base.Artist] == "somebody"
    red, green, _ = Image.open(tmp_path / "1.ppm").getpixel((9, 9))
    assert green > red
