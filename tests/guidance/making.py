"""Small real guides for tests."""

import numpy as np
from onnx import TensorProto, helper

from cotam_cli.guidance.onnx_guide import guide_facts, load_guide
from cotam_cli.guidance.vit_graph import Block, Graph, Linear, Norm, Vit, attention_graph

PATCH = 8


def brightness_bytes(native=64, **changes):
    """A guide that looks at nothing but the mean brightness of each 8x8 patch."""
    g = Graph()
    pixels = g.op("Transpose", g.op("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean = g.op("AveragePool", pixels, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    grey = g.op("ReduceMean", mean, axes=[1], keepdims=0)
    output = helper.make_tensor_value_info("attention", TensorProto.FLOAT, ["n", "rows", "columns"])
    return g.finish({grey: output}, guide_facts(PATCH, native, "brightness") | changes)


def brightness(native=64):
    return load_guide(brightness_bytes(native), "brightness")


def random_vit(width=32, heads=4, blocks=3, patch=8, grid=6, class_token=True, seed=0):
    """A vision transformer of random weights."""
    rng = np.random.default_rng(seed)

    def array(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def linear(outputs, inputs):
        return Linear(array(outputs, inputs, scale=inputs**-0.5), array(outputs, scale=0.1))

    def norm():
        return Norm(1 + array(width, scale=0.1), array(width, scale=0.1), 1e-6)

    def block():
        layers = [linear(width, width) for _ in range(4)]
        return Block(norm(), *layers, norm(), linear(4 * width, width), linear(width, 4 * width))

    return Vit(
        patch=array(width, 3, patch, patch, scale=0.1),
        patch_bias=array(width),
        positions=array(width, grid, grid, scale=0.3),
        class_token=array(width) if class_token else None,
        pre_norm=None,
        blocks=tuple(block() for _ in range(blocks)),
        heads=heads,
        activation="gelu",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


def vit_bytes(**sizes):
    vit = random_vit(**sizes)
    patch, grid = vit.patch.shape[-1], vit.positions.shape[-1]
    return attention_graph(vit, guide_facts(patch, patch * grid, "random"))
