"""Pretrained towers to guides: the attention of some blocks of a vision transformer as one ONNX file."""

from __future__ import annotations

from cotam_cli.errors import GuideError

DEFAULT_BLOCKS = 3  # the paper's: the shallow stage of CLIP


def export_guide(source: str, blocks: int = DEFAULT_BLOCKS, first: int = 1) -> bytes:
    """The bytes of a guide from an open_clip tower (MODEL/WEIGHTS) or an ONNX file of a ViT or DINOv2.

    The guide's map is the mean, over the blocks `first` to `blocks` (from 1) and all heads, of the class token's
    attention to the patches (without a class token: of the attention that each patch receives). Blocks after `blocks`
    are left out of the file. Raises GuideError when the source cannot be had, or has fewer blocks.
    """
    try:
        from cotam_cli.guidance.vit_graph import attention_graph
    except ImportError as error:
        raise GuideError(f"making a guide needs onnx ({error}); pip install 'cotam-cli[torch]'") from error
    from cotam_cli.guidance.onnx_guide import guide_facts
    from cotam_cli.guidance.towers import named_vit, tower_name

    if not 1 <= first <= blocks:
        raise GuideError(f"there are no blocks {first} to {blocks}; take 1 or more, such as 3 or 10-12")
    vit = named_vit(source, blocks)
    patch, grid = vit.patch.shape[-1], vit.positions.shape[-1]
    facts = guide_facts(patch, patch * grid, f"{tower_name(source)}, blocks {first}-{blocks}")
    return attention_graph(vit, facts, first)
