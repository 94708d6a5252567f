"""Contracts, and judges that are ONNX networks made here."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.making import scene
from cotam_cli.bench.contract import Input, read_contract
from cotam_cli.bench.networks import match, prepare, read_boxes
from cotam_cli.bench.tasks import Task, Truth, load_judge
from cotam_cli.errors import CotamError


def network(path, nodes, outputs, constants=(), shape=(1, 3, 8, 8), kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def contract(tmp_path, **entry):
    path = tmp_path / "judge.json"
    path.write_text(json.dumps({"model": "net.onnx", **entry}))
    return read_contract(path)


def test_the_brightest_channel_as_a_class(tmp_path):
    network(
        tmp_path / "net.onnx", [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], ["y"]
    )
    judge = load_judge(Task("c", contract(tmp_path, kind="logits", input={"size": 8})))
    red, green = np.zeros((2, 20, 30, 3), np.uint8)
    red[..., 0], green[..., 1] = 200, 200
    a, b = judge.answer(red), judge.answer(green)
    assert judge.score(a, b, Truth(label=1)) == {"agreement": (0.0, 1.0), "accuracy": (1.0, 1.0)}
    assert judge.score(a, a, Truth()) == {"agreement": (1.0, 1.0)}


def test_tokens_are_compared_in_place(tmp_path):
    network(
        tmp_path / "net.onnx",
        [helper.make_node("Identity", ["x"], ["early"]), helper.make_node("Neg", ["x"], ["late"])],
        ["early", "late"],
    )
    given = contract(
        tmp_path,
        kind="tokens",
        outputs={"shallow": "early", "deep": "late"},
        input={"size": 8, "mean": [0.5] * 3},
    )
    judge = load_judge(Task("t", given))
    pixels = scene(8, 8)
    answer = judge.answer(pixels)
    assert answer["shallow"].shape == (64, 3)
    same = judge.score(answer, answer, Truth())
    assert same["shallow"] == (pytest.approx(1, abs=1e-3), 1.0)
    other = judge.score(answer, judge.answer(255 - pixels), Truth())
    assert other["deep"][0] == pytest.approx(-1, abs=1e-2)


ROWS = np.array(
    [[0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 2], [1, 0, 10, 10, 0.6, 1], [5, 5, 9, 9, 0.1, 1]],
    np.float32,
)


def boxes_contract(tmp_path, rows, nodes, outputs, constants):
    network(tmp_path / "net.onnx", nodes, outputs, constants)
    return contract(tmp_path, kind="boxes", rows=rows, input={"size": 8})


def test_boxes_of_every_shape_are_the_same(tmp_path):
    """rows, separate and yolo outputs of the same objects; the double of the first is taken out."""
    yolo = np.zeros((1, 4 + 3, 4), np.float32)
    yolo[0, :2] = (ROWS[:, :2] + ROWS[:, 2:4]).T / 2
    yolo[0, 2:4] = (ROWS[:, 2:4] - ROWS[:, :2]).T
    yolo[0, 4 + ROWS[:, 5].astype(int), range(4)] = ROWS[:, 4]
    shapes = {
        "rows": [ROWS[None]],
        "separate": [ROWS[None, :, :4], ROWS[None, :, 4], ROWS[None, :, 5]],
        "yolo": [yolo],
    }
    for rows, values in shapes.items():
        names = [f"o{k}" for k in range(len(values))]
        nodes = [helper.make_node("Identity", [f"c{k}"], [name]) for k, name in enumerate(names)]
        given = boxes_contract(tmp_path, rows, nodes, names, [(f"c{k}", v) for k, v in enumerate(values)])
        answer = load_judge(Task(rows, given)).answer(scene())
        np.testing.assert_allclose(answer["boxes"], ROWS[:2], atol=1e-5)


def test_objects_that_go_or_come_cost_f1(tmp_path):
    given = boxes_contract(
        tmp_path, "rows", [helper.make_node("Identity", ["c"], ["o"])], ["o"], [("c", ROWS[None])]
    )
    judge = load_judge(Task("b", given))
    whole = judge.answer(scene())
    less = {"boxes": whole["boxes"][:1]}
    assert judge.score(whole, whole, Truth()) == {"f1": (1.0, 4.0)}
    assert judge.score(whole, less, Truth())["f1"] == (pytest.approx(2 / 3), 3.0)
    assert judge.score({"boxes": whole["boxes"][:0]}, {"boxes": whole["boxes"][:0]}, Truth()) == {}
    wavering = {"boxes": whole["boxes"].copy()}
    wavering["boxes"][1, 4] = 0.27  # just under the threshold of 0.3
    assert judge.score(whole, wavering, Truth())["f1"][0] == 1.0


def test_each_box_is_matched_once():
    box = np.array([[0, 0, 10, 10, 0.9, 1]] * 2, np.float32)
    assert match(box, box[:1]) == 1
    other = box.copy()
    other[:, 5] = 2
    assert match(box, other) == 0


def test_outputs_that_are_no_boxes(tmp_path):
    given = boxes_contract(
        tmp_path, "rows", [helper.make_node("Identity", ["c"], ["o"])], ["o"], [("c", ROWS[:, :5])]
    )
    with pytest.raises(CotamError, match="are not boxes"):
        load_judge(Task("b", given)).answer(scene())
    with pytest.raises(CotamError, match="are not boxes as separate"):
        read_boxes([ROWS], contract(tmp_path, kind="boxes", rows="separate"))


@pytest.mark.parametrize(
    ("how", "shape"),
    [
        ({"size": (8, 12)}, (1, 3, 8, 12)),
        ({"size": (8, 12), "layout": "NHWC", "dtype": "uint8", "scale": 1.0}, (1, 8, 12, 3)),
        ({"size": (8, 8), "fit": "crop"}, (1, 3, 8, 8)),
        ({"size": (56, 56), "fit": "longest", "multiple": 14}, (1, 3, 42, 56)),
    ],
)
def test_pictures_are_brought_to_the_network(how, shape):
    values = prepare(scene(60, 80), Input(**how))
    assert values.shape == shape
    assert values.dtype == how.get("dtype", "float32")
    assert values.flags.c_contiguous


def test_values_and_channels():
    grey = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    how = Input((8, 8), scale=1.0, mean=(10.0, 10.0, 10.0), std=(1.0, 2.0, 4.0), channels="BGR")
    assert prepare(grey, how)[0, :, 0, 0].tolist() == [5.0, 5.0, 0.0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kind": "magic"}, "kind must be one of"),
        ({"kind": "logits", "size": 3}, "unknown field size"),
        ({"kind": "logits", "model": "none.onnx"}, "does not exist"),
        ({"kind": "logits", "model": 3}, "must name an ONNX file"),
        ({"kind": "logits", "input": {"mean": [1]}}, "input.mean must be 3 numbers"),
        ({"kind": "logits", "input": {"std": [0, 1, 1]}}, "std must not be 0"),
        ({"kind": "logits", "input": {"layout": "HWC"}}, "input.layout must be one of"),
        ({"kind": "logits", "input": {"std": ["a", 1, 1]}}, "input.std must be 3 numbers"),
        ({"kind": "logits", "input": {"scale": "a"}}, "input.scale must be a number"),
        ({"kind": "logits", "input": {"scale": float("nan")}}, "input.scale must be a number"),
        ({"kind": "logits", "input": {"multiple": "a"}}, "input.multiple must be a number"),
        ({"kind": "logits", "input": {"multiple": 1.5}}, "whole numbers from 1"),
        ({"kind": "logits", "input": {"size": [8.5, 8]}}, "whole numbers from 1"),
        ({"kind": "logits", "input": {"size": 0}}, "whole numbers from 1"),
        ({"kind": "logits", "input": {"share": 0}}, "above 0"),
        ({"kind": "boxes", "threshold": "high"}, "threshold must be a number"),
        ({"kind": "logits", "classes": 5}, "classes must be a list"),
        ({"kind": "zero-shot", "tower": "ViT-B-32", "classes": "cats"}, "classes must be a list"),
        ({"kind": "tokens", "tower": 5}, "tower must be text"),
        ({"kind": "tokens"}, "tokens need"),
        ({"kind": "tokens", "outputs": ["a"]}, "outputs must be an object"),
        ({"kind": "zero-shot"}, "needs .tower"),
        ({"kind": "zero-shot", "tower": "ViT-B-32", "classes": ["one"]}, "two names"),
        ({"kind": "boxes", "tower": "ViT-B-32"}, "serves the kinds"),
    ],
)
def test_contracts_that_are_none(tmp_path, entry, reason):
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(CotamError, match=reason) as caught:
        contract(tmp_path, **entry)
    assert "docs/bench.md" in str(caught.value)


def test_files_that_are_none(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(CotamError, match="is not a network"):
        load_judge(Task("c", contract(tmp_path, kind="logits")))
    (tmp_path / "judge.json").write_text("{")
    with pytest.raises(CotamError, match="is not JSON"):
        read_contract(tmp_path / "judge.json")


def test_an_output_that_is_not_there(tmp_path):
    network(tmp_path / "net.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["y"])
    with pytest.raises(CotamError, match="has no output z; it has y"):
        load_judge(Task("c", contract(tmp_path, kind="logits", outputs={"logits": "z"})))


def test_an_input_of_another_shape(tmp_path):
    network(tmp_path / "net.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["y"])
    judge = load_judge(Task("c", contract(tmp_path, kind="logits", input={"size": 9})))
    with pytest.raises(CotamError, match="refuses the picture"):
        judge.answer(scene())


def test_threads_come_from_the_environment(tmp_path, monkeypatch):
    network(tmp_path / "net.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["y"])
    monkeypatch.setenv("COTAM_THREADS", "1")  # as workers side by side have it
    session = load_judge(Task("c", contract(tmp_path, kind="logits"))).network.session
    assert session.get_session_options().intra_op_num_threads == 1


def test_a_changed_network_is_another_task(tmp_path):
    network(tmp_path / "net.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["y"])
    first = Task("c", contract(tmp_path, kind="logits"))
    network(tmp_path / "net.onnx", [helper.make_node("Neg", ["x"], ["y"])], ["y"])
    assert Task("c", contract(tmp_path, kind="logits")).key != first.key
