"""Golden files: what was written once decodes to the same latents for ever."""

import json
from pathlib import Path

import pytest

from cotam_cli.codec.decoder import decode_to_latents
from cotam_cli.codec.models import load_model, records

GOLDEN = Path(__file__).parent / "golden"
HASHES = json.loads((GOLDEN / "hashes.json").read_text())


@pytest.mark.parametrize("name", sorted(HASHES))
def test_decodes_to_what_was_recorded(name: str) -> None:
    from make_golden import hashes_of

    assert hashes_of((GOLDEN / name).read_bytes()) == HASHES[name]


@pytest.mark.parametrize("record", records(), ids=lambda r: r.name)
def test_every_model_has_golden_files_of_every_quality(record) -> None:
    for quality in range(1, 9):
        assert f"{record.name}-photo-q{quality}.ctm" in HASHES


def test_the_newest_model_still_writes_the_same_bytes() -> None:
    """Encoding is float before the rounding, so a pixel on a rounding edge may differ on another machine: only
    the sizes are compared, and that decoding gives the picture's size."""
    from make_golden import golden_files

    for name, data in golden_files().items():
        old = (GOLDEN / name).read_bytes()
        assert abs(len(data) - len(old)) <= 2 + len(old) // 100
        assert decode_to_latents(data).header.width == decode_to_latents(old).header.width


def test_model_files_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotam_cli.codec import models
    from cotam_cli.errors import ModelError

    record = load_model().record
    folder = tmp_path / record.name
    folder.mkdir()
    for path in (models.models_folder() / record.name).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "entropy.npz").write_bytes((folder / "entropy.npz").read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=r"entropy\.npz is damaged"):
        _ = models.Model(record, folder).entropy
    (folder / "synthesis.onnx").unlink()
    with pytest.raises(ModelError, match=r"synthesis\.onnx is missing"):
        _ = models.Model(record, folder).synthesis("human")
