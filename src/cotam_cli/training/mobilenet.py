"""MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2), frozen, as a teacher: what a network for classes sees."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cotam_cli.errors import CotamError

# expansion, channels, blocks, stride of the first block
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280
SHALLOW, DEEP = (3, 6), (13,)  # layers whose outputs are answers: the last ones of strides 4, 8 and 16
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
STRIDE = 32


class Inverted(nn.Module):
    """A residual block: expand, 3x3 depthwise, project without activation."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = convolution(inputs, hidden, 1) if expansion > 1 else []
        spatial = convolution(hidden, hidden, 3, stride, groups=hidden)
        project = convolution(hidden, outputs, 1)[:2]
        self.conv = nn.Sequential(*widen, *spatial, *project)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return x + found if self.adds else found


def convolution(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]


class MobileNetV2(nn.Module):
    """float [n, 3, h, w] in 0..1 -> outputs of the layers in SHALLOW and DEEP, and the means over all places of the
    last layer's 1,280 channels, from which classes are told."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*convolution(3, STEM, 3, 2))]
        inputs = STEM
        for expansion, channels, blocks, stride in STAGES:
            for number in range(blocks):
                layers.append(Inverted(inputs, channels, expansion, 1 if number else stride))
                inputs = channels
        layers.append(nn.Sequential(*convolution(inputs, LAST, 1)))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(-1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = (pixels - self.mean) / self.deviation
        answers = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in SHALLOW + DEEP:
                answers.append(x)
        return [*answers, x.mean((2, 3))]


def load_mobilenet(path: Path) -> MobileNetV2:
    """The network with the weights of a torch file (`features.N...`), batch normalisation taken into the convolutions.

    Raises CotamError for any other file.
    """
    network = MobileNetV2()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch's own errors for files and names, and pickle's
        raise CotamError(f"{path} holds no weights of MobileNetV2 ({type(error).__name__})") from error
    network.eval()
    for part in list(network.modules()):
        if isinstance(part, nn.Sequential):
            for number in range(len(part) - 1):
                conv, norm = part[number], part[number + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part[number], part[number + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network.requires_grad_(False)
