"""Programs that read pictures through Pillow read .ctm once the plugin is registered."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
import cotam_cli.pillow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with two pictures each, one shade a picture."""
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("cat/a", "cat/b", "dog/a", "dog/b")):
        path = root / f"{name}.ctm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cotam_cli.encode(Image.new("RGB", (40, 24), (60 * number,) * 3), quality=4))
    return root


def pixels(path: Path) -> np.ndarray:
    return np.asarray(cotam_cli.decode(path))


@pytest.mark.parametrize("workers", [0, 2])
def test_torchvisions_folder_dataset_in_a_data_loader(folder: Path, workers: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    transforms = pytest.importorskip("torchvision.transforms")
    from torch.utils.data import DataLoader

    dataset = datasets.ImageFolder(
        str(folder), transforms.PILToTensor(), is_valid_file=lambda path: path.endswith(".ctm")
    )
    cotam_cli.decode(folder / "cat" / "a.ctm")  # the parent has the model loaded when it forks
    loader = DataLoader(dataset, batch_size=4, num_workers=workers)
    batch, labels = next(iter(loader))
    assert labels.tolist() == [0, 0, 1, 1]
    for tensor, name in zip(batch, ("cat/a", "cat/b", "dog/a", "dog/b"), strict=True):
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), pixels(folder / f"{name}.ctm"))


def test_hugging_face_datasets_image_feature(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    paths = sorted(folder.rglob("*.ctm"))
    values = [str(paths[0]), {"bytes": paths[1].read_bytes(), "path": None}]
    for value, path in zip(values, paths, strict=False):
        table = datasets.Dataset.from_dict({"image": [value]}).cast_column("image", datasets.Image())
        assert np.array_equal(np.asarray(table[0]["image"]), pixels(path))


def test_hugging_face_datasets_writes_what_it_reads(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    path = folder / "cat" / "b.ctm"
    feature = datasets.Image()
    stored = feature.encode_example(Image.open(path))
    assert stored["path"] == str(path)  # the file itself, not a PNG of it
    assert np.array_equal(np.asarray(feature.decode_example(stored)), pixels(path))


def test_transformers_load_image(folder: Path) -> None:
    utils = pytest.importorskip("transformers.image_utils", reason="transformers is not installed")
    path = folder / "dog" / "a.ctm"
    encoded = base64.b64encode(path.read_bytes()).decode()
    for source in (str(path), encoded, f"data:image/x-ctm;base64,{encoded}", Image.open(path)):
        image = utils.load_image(source)
        assert (image.mode, image.size) == ("RGB", (40, 24))
        assert np.array_equal(np.asarray(image), pixels(path))


def test_transformers_image_processor(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=24)
    path = folder / "dog" / "b.ctm"
    with Image.open(path) as image:
        ours = processor(image, return_tensors="pt")["pixel_values"]
    theirs = processor(cotam_cli.decode(path), return_tensors="pt")["pixel_values"]
    assert ours.shape == (1, 3, 24, 24)
    assert bool((ours == theirs).all())


def test_matplotlib(folder: Path) -> None:
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    path = folder / "dog" / "b.ctm"
    assert np.array_equal(image.imread(io.BytesIO(path.read_bytes()), format="ctm"), pixels(path))


def test_imageio(folder: Path, tmp_path: Path) -> None:
    """Its Pillow plugin finds ours; nothing of imageio needs to be told."""
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    path = folder / "dog" / "a.ctm"
    assert np.array_equal(iio.imread(path), pixels(path))
    assert iio.improps(path, plugin="pillow").shape == (24, 40, 3)
    target = tmp_path / "x.ctm"
    iio.imwrite(target, pixels(path), plugin="pillow", quality=5)
    assert target.read_bytes() == cotam_cli.encode(pixels(path), quality=5)
