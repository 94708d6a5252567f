"""The commands as a user meets them: files, pipes, errors."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"


def cotam(
    *arguments: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cotam_cli", *map(str, arguments)]
    return subprocess.run(command, check=False, input=stdin, capture_output=True, cwd=cwd, timeout=120)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "small.png"
    Image.open(PHOTO).crop((300, 100, 412, 180)).save(path)
    return path


@pytest.fixture(scope="module")
def coded(picture: Path) -> Path:
    target = picture.with_name("small.ctm")
    assert cotam("encode", picture, "-o", target, "-q", 4).returncode == 0
    return target


def one_line(result: subprocess.CompletedProcess[bytes], code: int = 1) -> str:
    """The error's single line; no traceback, nothing on stdout."""
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert result.stdout == b""
    assert "Traceback" not in text
    if code == 1:
        assert text.count("\n") == 1, text
        assert text.startswith("cotam: ")
    return text


def test_round_trip(picture: Path, coded: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.png"
    result = cotam("decode", coded, "-o", back)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    a, b = (np.asarray(Image.open(p).convert("RGB"), float) for p in (picture, back))
    assert a.shape == b.shape
    assert 10 * np.log10(255**2 / np.square(a - b).mean()) > 24
    assert coded.stat().st_size < picture.stat().st_size / 10


def test_pipes_equal_files(picture: Path, coded: Path, tmp_path: Path) -> None:
    piped = cotam("encode", "-", "-o", "-", "-q", 4, stdin=picture.read_bytes())
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == coded.read_bytes()
    shown = cotam("decode", "-", "-o", "-", stdin=piped.stdout)
    assert shown.returncode == 0
    back = tmp_path / "x.png"
    cotam("decode", coded, "-o", back)
    assert shown.stdout == back.read_bytes()


@pytest.mark.parametrize(
    ("kind", "name"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("ppm", "PPM")]
)
def test_formats(coded: Path, tmp_path: Path, kind: str, name: str) -> None:
    by_suffix = tmp_path / f"x.{kind}"
    assert cotam("decode", coded, "-o", by_suffix).returncode == 0
    piped = cotam("decode", coded, "-o", "-", "--format", kind)
    assert piped.stdout == by_suffix.read_bytes()
    assert Image.open(io.BytesIO(piped.stdout)).format == name


def test_quality_orders_sizes(picture: Path) -> None:
    sizes = [len(cotam("encode", picture, "-o", "-", "-q", q).stdout) for q in (1, 2.5, 4, 8)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_info(coded: Path) -> None:
    text = cotam("info", coded).stdout.decode()
    assert "112x80" in text
    facts = json.loads(cotam("info", coded, "--json").stdout)
    assert facts["width"] == 112
    assert facts["height"] == 80
    assert facts["quality"] == 4
    assert facts["bytes"] == coded.stat().st_size
    assert facts["chunks"].keys() == {"hyper", "latents"}
    assert json.loads(cotam("info", "-", "--json", stdin=coded.read_bytes()).stdout) == facts


def test_verbose_goes_to_stderr(picture: Path, tmp_path: Path) -> None:
    result = cotam("encode", picture, "-o", tmp_path / "x.ctm", "-v")
    assert result.stdout == b""
    assert "bpp" in result.stderr.decode()


def test_human_and_mllm_come_from_the_same_file(coded: Path) -> None:
    for target in ("human", "mllm"):
        assert cotam("decode", coded, "-o", "-", "--target", target).returncode == 0


def test_no_silent_overwrite(picture: Path, coded: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.ctm"
    target.write_bytes(b"old")
    assert "--force" in one_line(cotam("encode", picture, "-o", target))
    assert target.read_bytes() == b"old"
    assert cotam("encode", picture, "-o", target, "--force").returncode == 0
    assert target.read_bytes() != b"old"


BAD_ENCODE = {
    "missing": (lambda d: d / "nothing.png", "does not exist"),
    "folder": (lambda d: d, "is a folder"),
    "empty": (lambda d: write(d / "e.png", b""), "empty"),
    "text": (lambda d: write(d / "t.png", b"not a picture"), "not a picture"),
    "cut": (lambda d: write(d / "c.png", PHOTO.read_bytes()[:5000]), "c.png"),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", BAD_ENCODE)
def test_bad_pictures(case: str, tmp_path: Path) -> None:
    make, expected = BAD_ENCODE[case]
    target = tmp_path / "out.ctm"
    assert expected in one_line(cotam("encode", make(tmp_path), "-o", target))
    assert not target.exists()


def test_bad_ctm_files(coded: Path, tmp_path: Path) -> None:
    good = coded.read_bytes()
    header = bytearray(good)
    header[4] = 9
    cases = {
        b"": "empty",
        good[:-1]: "cut",
        good[:20]: "cut",
        good[:40] + bytes([good[40] ^ 1]) + good[41:]: "damaged",
        bytes(header): "version",
        PHOTO.read_bytes(): "PNG",
        good + b"x": "end",
    }
    for data, expected in cases.items():
        target = tmp_path / "out.png"
        assert expected in one_line(cotam("decode", "-", "-o", target, stdin=data)), expected
        assert not target.exists()


def test_tokens_keep_to_the_limit_too(coded: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    assert "limit" in one_line(cotam("decode", coded, "--tokens", target, "--max-pixels", 100))
    assert not target.exists()


def test_a_ctm_is_not_encoded_again(coded: Path, tmp_path: Path) -> None:
    assert "decode" in one_line(cotam("encode", coded, "-o", tmp_path / "x.ctm"))


def test_unknown_model(coded: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from cotam_cli.bitstream import Container, pack, parse

    container = parse(coded.read_bytes())
    strange = pack(Container(replace(container.header, model=999), container.chunks))
    assert "model 999" in one_line(cotam("decode", "-", "-o", tmp_path / "x.png", stdin=strange))
    assert cotam("info", "-", stdin=strange).returncode == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(picture: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "permission" in one_line(cotam("encode", picture, "-o", tmp_path / "x.ctm"))


def test_missing_output_folder(picture: Path, tmp_path: Path) -> None:
    assert "folder" in one_line(cotam("encode", picture, "-o", tmp_path / "no" / "x.ctm"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode",),
        ("encode", "x.png"),
        ("encode", "x.png", "-o", "y.ctm", "-q", "9"),
        ("encode", "x.png", "-o", "y.ctm", "--guide", "sharp"),
        ("decode", "x.ctm", "-o", "y.png", "--target", "cat"),
        ("paint",),
    ],
)
def test_usage_errors_exit_with_2(arguments: tuple[str, ...]) -> None:
    assert "Usage" in one_line(cotam(*arguments), code=2)


def test_help_and_version() -> None:
    text = cotam("--help").stdout.decode()
    assert all(name in text for name in ("encode", "decode", "info"))
    assert cotam("--version").stdout.startswith(b"cotam ")


def test_an_encode_loads_no_workshop(picture: Path) -> None:
    """A whole encode and decode in a fresh interpreter load no torch, compressai, open_clip or matplotlib."""
    script = (
        "import sys, cotam_cli.cli, cotam_cli\n"
        f"cotam_cli.decode(cotam_cli.encode({str(picture)!r}))\n"
        "print([m for m in ('torch', 'compressai', 'open_clip', 'matplotlib') if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_info_of_several(coded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ctm"
    broken.write_bytes(coded.read_bytes()[:-3])
    result = cotam("info", broken, coded, coded, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["input"] for row in rows] == [str(coded), str(coded)]
    assert result.returncode == 1
    assert result.stderr.decode().startswith(f"cotam: {broken}: ")


def test_info_needs_no_network(coded: Path) -> None:
    script = (
        "import sys\nfrom cotam_cli.cli import main\n"
        f"main(['info', {str(coded)!r}], standalone_mode=False)\n"
        "print([m for m in ('onnxruntime', 'numpy', 'constriction', 'PIL') if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
