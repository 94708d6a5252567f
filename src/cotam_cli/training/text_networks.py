"""PP-OCR's ONNX networks as frozen torch modules that the gradient passes through (onnx2torch).

Rewritten first: as exported, a recogniser's convolution is followed by eight element-wise steps, which take three
quarters of the time.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cotam_cli.errors import CotamError

OPSET = 14  # the first with HardSwish
Arrays = dict[str, NDArray[Any]]


def text_network(path: Path) -> nn.Module:
    """An ONNX detector or recogniser as a frozen torch module. Needs onnx2torch.

    Raises CotamError where it is missing, and for a file that is none.
    """
    try:
        import onnx
        from onnx import version_converter
        from onnx2torch import convert
    except ImportError as error:
        raise CotamError(f"a text teacher needs onnx2torch ({error}); pip install onnx2torch") from error
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own errors, and the file's
        raise CotamError(f"{path} cannot be read as ONNX; give a text detector's file") from error
    if all(part.version < OPSET for part in model.opset_import if not part.domain):
        model = version_converter.convert_version(model, OPSET)
    network: nn.Module = convert(_simple(model))
    return network.eval().requires_grad_(False)


def _simple(model: Any) -> Any:
    """The same network with fewer steps: no Constant nodes, factors and offsets after a convolution in its weights
    (onnx2torch's batch normalisation would go on learning), HardSwish as one step."""
    from onnx import numpy_helper

    graph = model.graph
    values: Arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        else:
            nodes += _factor_and_offset(node, values) if node.op_type == "BatchNormalization" else [node]
    nodes = _folded(_with_hardswish(nodes, values), values)
    for node in nodes:
        if node.op_type in ("Mul", "Add"):
            _level_numbers(node, values)
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in values.items() if name in used)
    return model


def _factor_and_offset(node: Any, values: Arrays) -> list[Any]:
    """Batch normalisation as a product and a sum."""
    from onnx import helper

    scale, bias, mean, variance = (values[name] for name in node.input[1:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    factor = scale / np.sqrt(variance + epsilon)
    out = node.output[0]
    for suffix, array in ((".factor", factor), (".offset", bias - mean * factor)):
        values[out + suffix] = array.reshape(1, -1, 1, 1).astype(np.float32)
    return [
        helper.make_node("Mul", [node.input[0], out + ".factor"], [out + ".scaled"]),
        helper.make_node("Add", [out + ".scaled", out + ".offset"], [out]),
    ]


def _with_hardswish(nodes: list[Any], values: Arrays) -> list[Any]:
    """x * clip(x + 3, 0, 6) / 6 as one step; what it was made of goes where nothing else uses it."""
    from onnx import helper

    made = {node.output[0]: node for node in nodes}

    def is_step(name: str, kind: str, *numbers: float) -> bool:
        node = made.get(name)
        wanted = [np.float32(number) for number in numbers]
        return node is not None and node.op_type == kind and [values.get(i) for i in node.input[1:]] == wanted

    def hardswish(node: Any) -> Any | None:
        product = made.get(node.input[0]) if is_step(node.output[0], "Div", 6) else None
        if product is None or product.op_type != "Mul" or not is_step(product.input[1], "Clip", 0, 6):
            return None
        shifted, x = made[product.input[1]].input[0], product.input[0]
        if not is_step(shifted, "Add", 3) or made[shifted].input[0] != x:
            return None
        return helper.make_node("HardSwish", [x], [node.output[0]])

    return _alive([hardswish(node) or node for node in nodes], made)


def _alive(nodes: list[Any], made: dict[str, Any]) -> list[Any]:
    """Without steps whose results nobody uses any more; `made` are those of before."""
    before = {name for node in made.values() for name in node.input}
    while True:
        used = {name for node in nodes for name in node.input}
        kept = [n for n in nodes if any(out in used or out not in before for out in n.output)]
        if len(kept) == len(nodes):
            return kept
        nodes = kept


def _folded(nodes: list[Any], values: Arrays) -> list[Any]:
    """Products and sums with constants that follow a convolution, in its weights and bias."""
    users = Counter(name for node in nodes for name in node.input)
    weights = Counter(node.input[1] for node in nodes if node.op_type == "Conv")
    convolutions: dict[str, Any] = {}
    result = []
    for node in nodes:
        source = next((name for name in node.input if name in convolutions), None)
        if node.op_type in ("Mul", "Add") and source is not None and users[source] == 1:
            other = next(name for name in node.input if name != source)
            if other in values and _per_channel(values[other]):
                convolution = convolutions.pop(source)
                _take_in(convolution, node.op_type, values[other].reshape(-1), values)
                convolution.output[0] = node.output[0]
                convolutions[node.output[0]] = convolution
                continue
        if node.op_type == "Conv" and node.input[1] in values and weights[node.input[1]] == 1:
            convolutions[node.output[0]] = node
        result.append(node)
    return result


def _level_numbers(node: Any, values: Arrays) -> None:
    """Numbers without dimensions, which leave half precision what it is."""
    for place, name in enumerate(node.input):
        if name in values and values[name].shape == (1,):
            node.input[place] = name + ".number"
            values[name + ".number"] = values[name].reshape(())


def _per_channel(array: NDArray[Any]) -> bool:
    """One number, or one for each channel."""
    return array.size == 1 or (array.ndim in (3, 4) and array.size == array.shape[-3])


def _take_in(node: Any, kind: str, numbers: NDArray[Any], values: Arrays) -> None:
    weight = values[node.input[1]]
    bias = values[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
    name = node.input[1] + ".bias"
    if kind == "Mul":
        values[node.input[1]] = weight * numbers.reshape(-1, 1, 1, 1)
    values[name] = bias * numbers if kind == "Mul" else bias + numbers
    del node.input[2:]
    node.input.append(name)
