"""From pretrained vision towers to `Vit`: open_clip's towers, and ONNX files of Hugging Face's ViT and DINOv2.

Needs the extra `torch` for open_clip; ONNX files need the package `onnx` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import GuideError
from cotam_cli.guidance.vit_graph import Activation, Block, Linear, Norm, Vit

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Arrays = dict[str, NDArray[np.float32]]


def named_vit(source: str, blocks: int | None = None) -> Vit:
    """The first blocks (or all) of a tower: clip:MODEL/WEIGHTS, or FILE.onnx of a Hugging Face ViT or DINOv2.

    Raises GuideError when it cannot be had, or has fewer blocks.
    """
    path = Path(source)
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise GuideError(f"{source} does not exist; check the path")
        vit = onnx_vit(path, blocks)
    else:
        vit = open_clip_vit(source.removeprefix("clip:"), blocks)
    if blocks is not None and len(vit.blocks) < blocks:
        raise GuideError(f"{source} has {len(vit.blocks)} blocks; ask for no more")
    return vit


def tower_name(source: str) -> str:
    """What people call a tower: MODEL/WEIGHTS, or the file's name; a checkpoint's folder is left out."""
    if source.lower().endswith(".onnx"):
        return Path(source).stem
    model, _, weights = source.removeprefix("clip:").partition("/")
    return f"{model}/{Path(weights).stem if '/' in weights else weights}"


def open_clip_vit(name: str, blocks: int | None = None) -> Vit:
    """The first blocks of an open_clip image tower, or all. name: MODEL/WEIGHTS, such as ViT-B-16/openai.

    WEIGHTS may be a tag that open_clip knows or the path of a checkpoint. Raises GuideError where open_clip is not
    installed, does not know the tower, cannot get its weights, or where the tower has no attention to read.
    """
    try:
        import open_clip
    except ImportError as error:
        raise GuideError(f"clip:{name} needs open_clip ({error}); pip install 'cotam-cli[torch]'") from error
    model, _, weights = name.partition("/")
    if model not in open_clip.list_models():
        raise GuideError(
            f"open_clip knows no model {model!r}; python -c 'import open_clip; print(open_clip.list_models())'"
        )
    if not weights:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)[:6]) or "the path of a checkpoint"
        raise GuideError(f"clip:{name} names no weights; write clip:{model}/WEIGHTS with {tags}")
    try:
        network = open_clip.create_model(model, pretrained=weights, require_pretrained=True)
    except Exception as error:  # whatever the hub, the cache or the checkpoint's reader throws
        raise GuideError(
            f"open_clip cannot load {name} ({' '.join(str(error).split())[:200]}); "
            "check the name of the weights, and fetch them once while online or give a checkpoint's path"
        ) from error
    return read_tower(network.visual, blocks, name)


def read_tower(visual: Any, blocks: int | None = None, name: str = "this tower") -> Vit:
    """The first blocks (or all) of an open_clip image tower: its own ViT, or one of timm's. Else raises GuideError."""
    if hasattr(visual, "transformer") and hasattr(getattr(visual, "transformer"), "resblocks"):  # noqa: B009
        vit = _own_tower(visual, blocks)
    elif (
        hasattr(visual, "trunk") and hasattr(visual.trunk, "blocks") and hasattr(visual.trunk, "patch_embed")
    ):
        vit = _timm_tower(visual, blocks)
    else:
        vit = None
    if vit is None:
        raise GuideError(f"{name} has no attention that can be read; choose a ViT, such as ViT-B-16/openai")
    return vit


def _array(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)


def _linear(layer: Any) -> Linear:
    weight = _array(layer.weight)
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else _array(layer.bias)
    return Linear(weight, bias)


def _norm(layer: Any) -> Norm:
    return Norm(_array(layer.weight), _array(layer.bias), float(layer.eps))


def _split(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> list[Linear]:
    """Query, key and value of one stacked layer."""
    return [Linear(w, b) for w, b in zip(np.split(weight, 3), np.split(bias, 3), strict=True)]


def _scaled(layer: Any, scale: Any) -> Linear:
    """A linear layer with the layer scale that follows it, where there is one."""
    plain, gamma = _linear(layer), getattr(scale, "gamma", None)
    if gamma is None:
        return plain
    factor = _array(gamma)
    return Linear(plain.weight * factor[:, None], plain.bias * factor)


def _activation(module: Any) -> Activation | None:
    kind = type(module).__name__
    if kind == "QuickGELU":
        return "quick_gelu"
    if kind in ("GELU", "GELUTanh"):
        tanh = kind == "GELUTanh" or getattr(module, "approximate", "none") == "tanh"
        return "gelu_tanh" if tanh else "gelu"
    return None


def _pixels(visual: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation that the tower's pixels are normalised with."""
    import open_clip

    given = getattr(visual, "preprocess_cfg", None) or {}
    mean = given.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = given.get("std", open_clip.OPENAI_DATASET_STD)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _square(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positions [g g, d] to [d, g, g]. Raises GuideError for a grid that is no square."""
    side = round(len(positions) ** 0.5)
    if side * side != len(positions):
        raise GuideError("the tower's position embeddings form no square; choose another tower")
    return np.ascontiguousarray(positions.reshape(side, side, -1).transpose(2, 0, 1))


def _own_tower(visual: Any, blocks: int | None) -> Vit | None:
    chosen, found = list(visual.transformer.resblocks)[:blocks], []
    activation = _activation(chosen[0].mlp.gelu) if hasattr(chosen[0], "mlp") else None
    for block in chosen:
        if activation is None or not hasattr(block.attn, "in_proj_weight"):
            return None
        query, key, value = _split(_array(block.attn.in_proj_weight), _array(block.attn.in_proj_bias))
        out = _scaled(block.attn.out_proj, block.ls_1)
        second = _scaled(block.mlp.c_proj, block.ls_2)
        found.append(
            Block(
                _norm(block.ln_1), query, key, value, out, _norm(block.ln_2), _linear(block.mlp.c_fc), second
            )
        )
    positions, token = _array(visual.positional_embedding), _array(visual.class_embedding)
    mean, std = _pixels(visual)
    patch = _linear(visual.conv1)
    pre, post = visual.ln_pre, visual.ln_post
    return Vit(
        patch=patch.weight,
        patch_bias=patch.bias,
        positions=_square(positions[1:]),
        class_token=token.reshape(-1) + positions[0],
        pre_norm=_norm(pre) if hasattr(pre, "weight") else None,
        blocks=tuple(found),
        heads=int(chosen[0].attn.num_heads),
        activation=activation or "gelu",
        mean=mean,
        std=std,
        last_norm=_norm(post) if hasattr(post, "weight") else None,
    )


def _timm_tower(visual: Any, blocks: int | None) -> Vit | None:
    trunk = visual.trunk
    chosen, found = list(trunk.blocks)[:blocks], []
    activation = _activation(chosen[0].mlp.act) if hasattr(chosen[0], "mlp") else None
    positions = getattr(trunk, "pos_embed", None)
    if activation is None or positions is None or getattr(trunk, "reg_token", None) is not None:
        return None
    for block in chosen:
        if not hasattr(getattr(block, "attn", None), "qkv"):
            return None
        stacked = _linear(block.attn.qkv)
        query, key, value = _split(stacked.weight, stacked.bias)
        out, second = _scaled(block.attn.proj, block.ls1), _scaled(block.mlp.fc2, block.ls2)
        norms = _norm(block.norm1), _norm(block.norm2)
        found.append(Block(norms[0], query, key, value, out, norms[1], _linear(block.mlp.fc1), second))
    table = _array(positions)[0]
    token = None
    if getattr(trunk, "cls_token", None) is not None:
        token = _array(trunk.cls_token).reshape(-1)
        if not getattr(trunk, "no_embed_class", False):
            token, table = token + table[0], table[1:]
    mean, std = _pixels(visual)
    patch = _linear(trunk.patch_embed.proj)
    pre, post = getattr(trunk, "norm_pre", None), getattr(trunk, "norm", None)
    return Vit(
        patch=patch.weight,
        patch_bias=patch.bias,
        positions=_square(table),
        class_token=token,
        pre_norm=_norm(pre) if hasattr(pre, "weight") else None,
        blocks=tuple(found),
        heads=int(chosen[0].attn.num_heads),
        activation=activation,
        mean=mean,
        std=std,
        last_norm=_norm(post) if hasattr(post, "weight") else None,
    )


def onnx_vit(path: Path, blocks: int | None = None) -> Vit:
    """The first blocks (or all) of an ONNX file with the weights of a Hugging Face ViT or DINOv2.

    Read by the names of its initializers. Raises GuideError for a file that is not ONNX or has not these names.
    """
    try:
        return _hugging_face(_initializers(path), blocks)
    except (KeyError, IndexError, ValueError) as error:
        raise GuideError(
            f"{path} lacks the weights of a Hugging Face ViT ({error}); export one with its parameters' names"
        ) from error


def count_blocks(path: Path) -> int:
    """How many blocks the ViT in an ONNX file has; 0 for other networks. Raises GuideError as `onnx_vit`."""
    return _count(_initializers(path))


def _count(arrays: Arrays) -> int:
    return len({name.split(".")[2] for name in arrays if name.startswith("encoder.layer.")})


def _initializers(path: Path) -> Arrays:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise GuideError(f"reading {path.name} needs onnx ({error}); pip install onnx") from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf's own errors, and the file's
        raise GuideError(f"{path} cannot be read as ONNX; give an exported vision transformer") from error
    return {t.name: np.asarray(numpy_helper.to_array(t)) for t in graph.initializer}


def _hugging_face(arrays: Arrays, blocks: int | None) -> Vit:
    patch = arrays["embeddings.patch_embeddings.projection.weight"].astype(np.float32)
    width = len(patch)
    tables = [array for name, array in arrays.items() if "position_embeddings" in name]
    table = np.concatenate([a.reshape(-1, width) for a in sorted(tables, key=np.size)]).astype(np.float32)
    token = arrays["embeddings.cls_token"].reshape(-1) + table[0]
    count = _count(arrays) if blocks is None else blocks
    return Vit(
        patch=patch,
        patch_bias=arrays["embeddings.patch_embeddings.projection.bias"].astype(np.float32),
        positions=_square(table[1:]),
        class_token=token.astype(np.float32),
        pre_norm=None,
        blocks=tuple(_hugging_face_block(arrays, f"encoder.layer.{k}.") for k in range(count)),
        heads=width // 64,
        activation="gelu",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        last_norm=_hugging_face_norm(arrays, "layernorm") if "layernorm.weight" in arrays else None,
    )


def _hugging_face_norm(arrays: Arrays, name: str) -> Norm:
    return Norm(arrays[f"{name}.weight"].astype(np.float32), arrays[f"{name}.bias"].astype(np.float32), 1e-6)


def _hugging_face_block(arrays: Arrays, prefix: str) -> Block:
    # Exporters mostly store matrices transposed, to multiply from the right; fc1, no square, tells.
    transposed = arrays[f"{prefix}mlp.fc1.weight"].shape[1] == len(arrays[f"{prefix}mlp.fc1.bias"])

    def linear(name: str, scale: str = "") -> Linear:
        weight = arrays[f"{prefix}{name}.weight"].astype(np.float32)
        bias = arrays[f"{prefix}{name}.bias"].astype(np.float32)
        if transposed:
            weight = weight.T
        factor = arrays.get(f"{prefix}{scale}", np.ones(len(bias))).astype(np.float32)
        return Linear(weight * factor[:, None], bias * factor)

    return Block(
        _hugging_face_norm(arrays, f"{prefix}norm1"),
        linear("attention.attention.query"),
        linear("attention.attention.key"),
        linear("attention.attention.value"),
        linear("attention.output.dense", "layer_scale1.lambda1"),
        _hugging_face_norm(arrays, f"{prefix}norm2"),
        linear("mlp.fc1"),
        linear("mlp.fc2", "layer_scale2.lambda1"),
    )
