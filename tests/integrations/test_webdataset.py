"""The WebDataset decoder: its own behaviour, and in webdataset with a PyTorch loader."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.integrations.webdataset import decoder


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [cotam_cli.encode(Image.new("RGB", (40, 24), (60 * n,) * 3), quality=4) for n in range(4)]


def test_kinds_without_torch(files: list[bytes]) -> None:
    expected = np.asarray(cotam_cli.decode(files[1]))
    assert decoder()("a.ctm", files[1]).size == (40, 24)
    assert np.array_equal(decoder("rgb8")("x/a.CTM", files[1]), expected)
    rgb = decoder("rgb")("a.image.ctm", files[1])
    assert rgb.dtype == np.float32
    assert np.allclose(rgb * 255, expected)


def test_transparent_parts_are_white_or_as_they_are() -> None:
    half = Image.new("RGBA", (40, 24), (200, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 20, 24))
    data = cotam_cli.encode(half, alpha=True)
    rgb = decoder("rgb8")("a.ctm", data)
    assert (rgb[:, :20] == 255).all()
    assert rgb.flags.writeable
    assert decoder("pil")("a.ctm", data).mode == "RGBA"


def test_other_entries_are_left_to_others(files: list[bytes]) -> None:
    assert decoder()("a.png", files[0]) is None
    assert decoder()("a.ctm.txt", files[0]) is None


def test_errors(files: list[bytes]) -> None:
    with pytest.raises(cotam_cli.CotamError, match="kind"):
        decoder("cmyk")  # type: ignore[arg-type]
    with pytest.raises(cotam_cli.CotamError, match="cut off"):
        decoder()("a.ctm", files[0][:-3])
    with pytest.raises(cotam_cli.CotamError, match="limit"):
        decoder(max_pixels=100)("a.ctm", files[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_in_a_torch_loader(files: list[bytes], tmp_path: Path, workers: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as tar:
            for n in (2 * shard, 2 * shard + 1):
                for name, data in ((f"{n}.ctm", files[n]), (f"{n}.cls", str(n).encode())):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    urls = str(tmp_path / "shard-{0..1}.tar")
    dataset = wds.WebDataset(urls, shardshuffle=False).decode(decoder("torchrgb8")).to_tuple("ctm", "cls")
    loader = wds.WebLoader(dataset, batch_size=2, num_workers=workers)
    seen = {int(n): image for images, numbers in loader for image, n in zip(images, numbers, strict=True)}
    assert sorted(seen) == [0, 1, 2, 3]
    for n, image in seen.items():
        assert np.array_equal(image.numpy().transpose(1, 2, 0), np.asarray(cotam_cli.decode(files[n])))
