"""A tiny pack, a tiny trained state and its model, made once for all tests of the workshop."""

import importlib.util
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

SIZES = {
    "latents": 16,
    "hyper": 8,
    "width": 16,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "features": 8,
    "context": 16,
    "context_hidden": 16,
}


def draw(seed, size=(150, 130)):
    """Waves, a box and some noise: uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[1], : size[0]] / rng.uniform(10, 40)
    base = np.stack([np.sin(x + k) * np.cos(y * (k + 1)) for k in range(3)], -1)
    pixels = 128 + 80 * base + rng.normal(0, 5, base.shape)
    pixels[20:50, 30:90] = rng.integers(0, 256, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session", autouse=True)
def quick_start():
    """Runs start from a transform of few crops: 1,500 would take most of the tests' time."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    from cotam_cli.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "klt_statistics", partial(loop.klt_statistics, crops=30))
        yield


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with the folders photo (4 pictures) and text (2)."""
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(6):
        path = folder / ("photo" if k < 4 else "text") / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw(k)).save(path)
    return folder


@pytest.fixture(scope="session")
def pack_folder(pictures, tmp_path_factory):
    from cotam_cli.training.data import build_pack

    folder = tmp_path_factory.mktemp("pack")
    build_pack([pictures], folder, drawn=0)
    return folder


@pytest.fixture(scope="session")
def settings(pack_folder):
    """What every tiny run has in common."""
    return {"pack": str(pack_folder), "batch": 2, "crop": 64, "warmup": 2, "threads": 1, "log_every": 2}


@pytest.fixture(scope="session")
def state(settings, pack_folder, tmp_path_factory):
    """A training state after four steps, its heads shaken so that no path through the network is idle."""
    torch = pytest.importorskip("torch", reason="training needs PyTorch")
    from cotam_cli.training.data import Pack
    from cotam_cli.training.loop import resume_or_start
    from cotam_cli.training.network import NetworkConfig
    from cotam_cli.training.train_config import TrainConfig

    config = TrainConfig(out=str(tmp_path_factory.mktemp("run")), steps=4, **settings)
    run = resume_or_start(config, NetworkConfig(**SIZES))
    run.train(Pack(pack_folder))
    state = run.state()
    torch.manual_seed(5)
    for name, values in state["average"].items():
        if ".head." in name:
            size = 0.005 if values.ndim == 4 else 0.02  # four windows of a lapped head add up
            values.add_(size * torch.randn_like(values))
    return state


@pytest.fixture(scope="session")
def exported(state, pack_folder, tmp_path_factory):
    """The state's model: a folder with `models/ctm-9` and `models.json`."""
    from cotam_cli.training.data import Pack
    from cotam_cli.training.export import export

    folder = tmp_path_factory.mktemp("exported")
    export(state, Pack(pack_folder), folder / "models", folder / "models.json", 9, "0.0.1")
    return folder


@pytest.fixture
def use_models(monkeypatch):
    """A function that makes the models of a folder and a list the only ones that the package knows."""
    from cotam_cli.bench import codecs
    from cotam_cli.codec import models

    def use(folder, allow_list):
        def records():
            return tuple(models.ModelRecord(**entry) for entry in json.loads(allow_list.read_text()))

        monkeypatch.setattr(models, "records", records)
        monkeypatch.setattr(codecs, "records", records)
        monkeypatch.setattr(models, "models_folder", lambda: folder)
        models.load_model.cache_clear()

    yield use
    models.load_model.cache_clear()


@pytest.fixture
def tiny_model(exported, use_models):
    """The tiny model is the package's only one."""
    use_models(exported / "models", exported / "models.json")
