"""Judges that are towers of open_clip (extra `torch`): zero-shot classes, and features of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cotam_cli.bench.contract import Contract
from cotam_cli.bench.networks import as_tokens, class_scores, cosine_scores
from cotam_cli.bench.tasks import Answer, Judge, Pixels, Score, Truth
from cotam_cli.errors import CotamError


def load_clip(contract: Contract) -> Judge:
    """The judge for a contract with a tower.

    Raises CotamError when open_clip, the tower or its weights cannot be had.
    """
    try:
        import open_clip
    except ImportError as error:
        raise CotamError("open_clip is not installed; pip install 'cotam-cli[torch]'") from error
    tower = f"{contract.tower} of open_clip"
    if contract.tower not in open_clip.list_models():
        raise CotamError(f"there is no {tower}; python -c 'import open_clip; print(open_clip.list_models())'")
    try:
        model, _, prepare = open_clip.create_model_and_transforms(
            contract.tower, pretrained=contract.weights or None
        )
    except Exception as error:  # the network, the hub and torch each have errors of their own
        raise CotamError(
            f"the weights {contract.weights} of {tower} cannot be loaded ({error}); "
            "fetch them once on a machine with a network, or give a file"
        ) from error
    model.eval()
    if contract.kind == "tokens":
        return ClipLayers(model.visual, prepare, layers_of(model.visual))
    tokenize = open_clip.get_tokenizer(contract.tower)
    return ZeroShot(model, prepare, _class_vectors(model, tokenize, contract))


def layers_of(visual: Any) -> dict[str, int]:
    """The blocks that stand for the shallow, middle and deep ones: the third, the middle one, the last."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if blocks is None:
        raise CotamError("layers can be read of open_clip's vision transformers only, such as ViT-B-32")
    count = len(blocks)
    return {"shallow": min(2, count - 1), "middle": count // 2, "deep": count - 1}


def _class_vectors(model: Any, tokenize: Any, contract: Contract) -> Any:
    import torch

    with torch.no_grad():
        names = [contract.template.replace("{}", name) for name in contract.classes]
        return model.encode_text(tokenize(names), normalize=True)


def _batch(pixels: Pixels, prepare: Any) -> Any:
    return prepare(Image.fromarray(pixels))[None]


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """The class whose words lie nearest to the picture."""

    model: Any
    prepare: Any
    classes: Any

    def answer(self, pixels: Pixels) -> Answer:
        import torch

        with torch.no_grad():
            vector = self.model.encode_image(_batch(pixels, self.prepare), normalize=True)
            return {"class": np.array(int((vector @ self.classes.T).argmax()))}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        return class_scores(int(original["class"]), int(decoded["class"]), truth)


@dataclass(frozen=True, eq=False)
class ClipLayers:
    """The patch tokens after some of a tower's blocks."""

    visual: Any
    prepare: Any
    layers: dict[str, int]

    def answer(self, pixels: Pixels) -> Answer:
        import torch

        wanted = sorted(set(self.layers.values()))
        with torch.no_grad():
            result = self.visual.forward_intermediates(
                _batch(pixels, self.prepare), indices=wanted, intermediates_only=True, output_fmt="NLC"
            )
        tokens = dict(zip(wanted, result["image_intermediates"], strict=True))
        return {name: as_tokens(tokens[block].float().numpy()) for name, block in self.layers.items()}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        return cosine_scores(original, decoded)
