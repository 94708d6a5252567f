"""PP-OCR's kind of networks as torch modules: the same answers in fewer steps."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("onnx", reason="the networks are ONNX")
pytest.importorskip("onnx2torch", reason="it turns them into torch")

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from cotam_cli.training import fidelity
from cotam_cli.training.text_networks import text_network

NODES = [
    ("Conv", ["x", "kernel"], "a", {"kernel_shape": [3, 3], "pads": [1] * 4}),
    ("BatchNormalization", ["a", "scale", "shift", "mean", "var"], "b", {}),
    ("Conv", ["b", "narrow", "bias"], "c", {"kernel_shape": [1, 1]}),
    ("Mul", ["factor", "c"], "d", {}),
    ("Add", ["d", "offset"], "e", {}),
    ("Add", ["e", "three"], "f", {}),
    ("Clip", ["f", "zero", "six"], "g", {}),
    ("Mul", ["e", "g"], "h", {}),
    ("Div", ["h", "six"], "i", {}),
    ("Mul", ["factor", "i"], "j", {}),
    ("Add", ["j", "b"], "k", {}),  # b has two users now, a sum may not be taken into its convolution
    ("Sigmoid", ["k"], "y", {}),
]


@pytest.fixture(params=[12, 17])
def network(tmp_path, request):
    """An ONNX file, of an opset without HardSwish or a later one, with all that PP-OCR's have: constants as nodes,
    batch normalisation, hard swish."""
    rng = np.random.default_rng(1)
    arrays = {name: rng.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("scale", "shift", "mean", "var")}
    arrays |= {
        "narrow": rng.standard_normal((4, 4, 1, 1)).astype(np.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
        "factor": np.array([1.7], np.float32),
        "offset": np.array([-0.4], np.float32),
        "three": np.array([3.0], np.float32),
    }
    constants = {
        "kernel": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
        for name, array in constants.items()
    ]
    nodes += [helper.make_node(kind, ins, [out], **options) for kind, ins, out, options in NODES]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    path = tmp_path / "reader.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", request.param)], ir_version=8), path
    )
    return path


def answer(path, pixels):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pixels.numpy()})[0]


def test_the_answers_stay_the_same(network):
    pixels = 4 * torch.randn(2, 3, 16, 24)
    assert np.abs(text_network(network)(pixels).numpy() - answer(network, pixels)).max() < 1e-5


def test_fewer_steps(network):
    kinds = Counter(type(module).__name__ for module in text_network(network).modules())
    assert kinds["Conv2d"] == 2 and kinds["Hardswish"] == 1
    assert kinds["OnnxBinaryMathOperation"] == 2  # a factor and a sum after the hard swish


def test_the_gradient_passes_and_the_weights_stay(network):
    found = text_network(network)
    pixels = torch.randn(1, 3, 16, 16, requires_grad=True)
    found(pixels).sum().backward()
    assert pixels.grad is not None and float(pixels.grad.abs().max()) > 0
    assert not found.training and not any(weight.requires_grad for weight in found.parameters())


def test_half_precision_stays_half(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert text_network(network)(torch.randn(1, 3, 16, 16)).dtype == torch.bfloat16


def test_a_detector_is_asked_as_its_makers_ask(network):
    pixels = torch.rand(1, 3, 64, 64)
    wanted = answer(network, (pixels.flip(1) - 0.5) / 0.5)
    ((level, found),) = fidelity.load_teacher(f"text:{network}")(pixels)
    assert level == "text" and np.abs(found.numpy() - wanted).max() < 1e-5
