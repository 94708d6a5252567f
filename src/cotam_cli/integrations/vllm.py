"""vLLM plugin: a server that has cotam-cli installed takes .ctm pictures as it takes JPEG.

vLLM calls `register` in every process of the server (entry point group `vllm.general_plugins`), and may do so
several times. Requests then carry `data:image/x-ctm;base64,...` as `image_url`. VLLM_PLUGINS, if it is set, must
name `cotam`.
"""

from __future__ import annotations

from cotam_cli.integrations import pillow


def register() -> None:
    """Register the Pillow plugin, and add it to the formats that vLLM lets Pillow try.

    vLLM from 0.33 on opens pictures of strangers only in formats of a list, of decoders that run in process; ours
    is one. Older ones have no list.
    """
    pillow.register()
    try:
        from vllm.multimodal import image
    except ImportError:
        return
    allowed = getattr(image, "ALLOWED_IMAGE_FORMATS", None)
    if allowed is not None and pillow.FORMAT not in allowed:
        image.ALLOWED_IMAGE_FORMATS = (*allowed, pillow.FORMAT)
