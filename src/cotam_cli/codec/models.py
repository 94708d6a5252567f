"""The models that this release ships: allow-lists of codecs and guides, and their files with checksums.

A model is a folder under `models/`: `manifest.json` (sizes, and the sha256 of every other file), the integer
side (`entropy.npz`), the gains (`gains.npz`) and the float transforms (`*.onnx`). A file is read once, checked,
and only when it is needed: decoding never loads the analysis.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.tables import EntropyModel, load_entropy_model
from cotam_cli.errors import ModelError
from cotam_cli.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime


Target = Literal["mllm", "human"]


@dataclass(frozen=True)
class ModelRecord:
    """One line of the allow-list (`models.json` beside this file)."""

    id: int
    name: str
    since: str  # the first release that ships it
    manifest_sha256: str


@dataclass(frozen=True)
class Gains:
    """Per-channel quadratics in t: natural logs of the gain and of what undoes it. float32 [3, latents]."""

    gain: NDArray[np.float32]
    regain: NDArray[np.float32]


def records() -> tuple[ModelRecord, ...]:
    """The allow-list, oldest first; the last one encodes."""
    return _listed("models.json")


def guide_records() -> tuple[ModelRecord, ...]:
    """The embedded guides, oldest first; the last one guides. Only encoders use them: a file names none."""
    return _listed("guides.json")


def token_records() -> tuple[ModelRecord, ...]:
    """The token adapters, oldest first. Only `cotam decode --tokens` uses them."""
    return _listed("tokens.json")


def _listed(name: str) -> tuple[ModelRecord, ...]:
    # beside this file, as `models_folder` is found: importlib.resources takes 10 ms of every command
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return tuple(ModelRecord(**entry) for entry in json.loads(text))


def models_folder() -> Path:
    """Where model folders lie: inside an installed package, or at the top of a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parents[1] / "models"


class Model:
    """One model's files, loaded as they are needed."""

    def __init__(self, record: ModelRecord, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads(self._read("manifest.json", record.manifest_sha256))
        self._sums: dict[str, str] = self.manifest["files"]
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()  # of the sessions: a program's threads share a model

    def _read(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"model file {path} is missing or unreadable; reinstall cotam-cli") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"model file {path} is damaged (wrong checksum); reinstall cotam-cli")
        return data

    def file(self, name: str) -> bytes:
        """A checked file of this model. Raises ModelError when it is missing or altered."""
        return self._read(name, self.checksum(name))

    def checksum(self, name: str) -> str:
        """sha256 of a file of this model, as its manifest says. Raises ModelError where there is none."""
        if name not in self._sums:
            raise ModelError(f"model {self.record.name} has no {name}; reinstall cotam-cli")
        return self._sums[name]

    @cached_property
    def entropy(self) -> EntropyModel:
        return load_entropy_model(self.file("entropy.npz"))

    @cached_property
    def gains(self) -> Gains:
        with np.load(io.BytesIO(self.file("gains.npz")), allow_pickle=False) as archive:
            return Gains(archive["gain"], archive["regain"])

    @property
    def analysis(self) -> onnxruntime.InferenceSession:
        return self._session("analysis.onnx")

    @property
    def hyper_analysis(self) -> onnxruntime.InferenceSession:
        return self._session("hyper.onnx")

    @property
    def slope(self) -> onnxruntime.InferenceSession:
        return self._session("slope.onnx")

    def synthesis(self, target: Target) -> onnxruntime.InferenceSession:
        """Latents to the picture for people ("human"), which is the prior, or for machines ("mllm").

        The second adds the residual of the adapter, where the model has one.
        """
        return self._session(self._synthesis_file(target))

    def _synthesis_file(self, target: Target) -> str:
        return "machine.onnx" if target == "mllm" and "machine.onnx" in self._sums else "synthesis.onnx"

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = open_session(self.file(name))
            return self._sessions[name]


@lru_cache(maxsize=4)
def load_model(model_id: int | None = None) -> Model:
    """The model with this id, or the newest. Raises ModelError for an id that this release does not have."""
    known = records()
    record = known[-1] if model_id is None else next((r for r in known if r.id == model_id), None)
    if record is None:
        ids = ", ".join(f"{r.id} ({r.name})" for r in known)
        raise ModelError(
            f"made with model {model_id}, which this release lacks (it has {ids}); upgrade cotam-cli"
        )
    if model_id is None:
        return load_model(record.id)
    return Model(record, models_folder() / record.name)


def guide_file() -> bytes:
    """The newest embedded guide, an ONNX file. Raises ModelError when it is missing or altered."""
    record = guide_records()[-1]
    return Model(record, models_folder() / record.name).file("guide.onnx")
