"""The classes for Ray Data by themselves, and on a small local cluster where Ray is installed."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.integrations.ray import Decoder, Encoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTAM_THREADS", "0")  # taken back after the test, as the classes set it


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 24), (shade,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def column(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_encode_then_decode() -> None:
    names = np.array(["a", "b"])
    coded = Encoder(quality=4)({"bytes": column(png(0), png(200)), "name": names})
    assert coded.keys() == {"ctm", "name", "error"}
    assert coded["ctm"][1] == cotam_cli.encode(png(200), quality=4)
    assert os.environ["COTAM_THREADS"] == "1"
    images = Decoder()(coded)
    assert images["image"].shape == (2, 24, 40, 3)
    assert np.array_equal(images["image"][1], np.asarray(cotam_cli.decode(coded["ctm"][1])))
    assert Decoder(size=(8, 6))(coded)["image"].shape == (2, 6, 8, 3)


def test_transparent_parts_are_white() -> None:
    half = Image.new("RGBA", (40, 24), (200, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 20, 24))
    data = column(cotam_cli.encode(half, alpha=True))
    for decoder in (Decoder(), Decoder(size=(40, 24))):
        assert (decoder({"ctm": data})["image"][0, :, :16] == 255).all()


def test_a_bad_picture_does_not_stop_the_others() -> None:
    coded = Encoder()({"bytes": column(png(0), b"text", png(9))})
    assert [bool(data) for data in coded["ctm"]] == [True, False, True]
    assert ["not a picture" in reason for reason in coded["error"]] == [False, True, False]
    images = Decoder()({"ctm": coded["ctm"]})
    assert [image.shape for image in images["image"]] == [(24, 40, 3), (1, 1, 3), (24, 40, 3)]
    assert "empty" in images["error"][1]


def test_a_wrong_column_is_named() -> None:
    with pytest.raises(cotam_cli.CotamError, match="bytes"):
        Encoder()({"image": column(png(0))})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(24):
        (folder / f"{number:03}.png").write_bytes(png(10 * number))
    return folder


SMALL = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}


def run_with_ray(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("ray", reason="Ray is not installed")
    begin = (
        "import ray\nray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, "
        "logging_level='error', log_to_driver=False)\n"
    )
    command = [sys.executable, "-c", begin + textwrap.dedent(script), *map(str, arguments)]
    env = {**os.environ, **SMALL}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=400)


@pytest.mark.slow
def test_the_example_writes_shards(pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.png").write_bytes(b"text")
    script = f"import sys, runpy\nrunpy.run_path({str(ROOT / 'examples' / 'ray_shards.py')!r}, run_name='__main__')"
    try:
        result = run_with_ray(script, pictures, tmp_path / "out", 4)
    finally:
        (pictures / "bad.png").unlink()
    assert result.returncode == 1, result.stderr
    assert "24 pictures" in result.stdout
    assert "bad: bad.png" in result.stderr or "bad: input" in result.stderr
    found = {}
    for shard in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(shard) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]
    assert len(found) == 24
    assert found["003.ctm"] == cotam_cli.encode(png(30), quality=4)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process")
def test_a_dead_worker_is_survived(pictures: Path, tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from cotam_cli.integrations.ray import Encoder

        mark = Path(sys.argv[2])

        class Mortal(Encoder):
            def __call__(self, batch):
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(batch)

        rows = (
            ray.data.read_binary_files(sys.argv[1])
            .map_batches(Mortal, batch_size=4, num_cpus=1, compute=ray.data.ActorPoolStrategy(size=1))
            .take_all()
        )
        print(len(rows), sum(bool(row["ctm"]) for row in rows))
    """
    mark = tmp_path / "died"
    result = run_with_ray(script, pictures, mark)
    assert result.returncode == 0, result.stderr
    assert mark.exists()
    assert result.stdout.splitlines()[-1] == "24 24"
