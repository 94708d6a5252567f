"""From the command line's words to a plan."""

import json
import os
import sys

import pytest

from bench.making import save
from cotam_cli.bench import choosing, planning
from cotam_cli.bench.choosing import choose_codecs, thinned
from cotam_cli.bench.planning import Options, choose_anchor, default_cache, make_plan
from cotam_cli.errors import CotamError


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "a.png")
    return tmp_path


def test_codecs_keep_their_order_and_what_is_missing_has_a_reason():
    found, missing = choose_codecs(
        ["jpeg", "cotam", "compressai:no-such"], ["x=no-such-encoder {in} {out} ;; b {in} {out}"]
    )
    assert [codec.name for codec in found] == ["jpeg", "cotam"]
    assert set(missing) == {"compressai:no-such", "x"}
    assert "not installed" in missing["x"]
    assert all(len(codec.ladder) <= 6 for codec in found)


def test_jpeg_xl_by_its_commands_where_the_plugin_is_missing(monkeypatch):
    real = choosing.anchors
    monkeypatch.setattr(
        choosing, "anchors", lambda: ([c for c in real()[0] if c.name != "jxl"], {"jxl": "pip install it"})
    )
    _, missing = choose_codecs(["jxl"])
    assert not missing or "pip install pillow-jxl-plugin, or install cjxl" in missing["jxl"]
    true = f"jxl={sys.executable} {{in}} {{out}}.jxl {{q}} ;; {sys.executable} {{in}}.jxl {{out}}.png"
    monkeypatch.setattr(choosing, "CJXL", true)
    found, missing = choose_codecs(["jxl"])
    assert [codec.name for codec in found] == ["jxl"]
    assert not missing


@pytest.mark.parametrize(
    ("names", "templates", "reason"),
    [
        (["gif"], [], "unknown codec gif; there are cotam, cotam:human, cotam:effort3, cotam:effort10, jpeg"),
        (["jpeg", "jpeg"], [], "given twice"),
        (["jpeg"], ["jpeg=true {in} {out} ;; true {in} {out}"], "given twice"),
        ([], ["nonsense"], "is no codec"),
    ],
)
def test_codecs_that_are_none(names, templates, reason):
    with pytest.raises(CotamError, match=reason):
        choose_codecs(names, templates)


def test_ladders_are_thinned_to_six_with_both_ends():
    assert thinned((1.0, 2.0)) == (1.0, 2.0)
    assert thinned(tuple(map(float, range(12)))) == (0, 2, 4, 7, 9, 11)


def test_ocr_is_done_where_the_words_are_known(folder):
    assert make_plan(folder, Options()).tasks == ()
    (folder / "truth.json").write_text('{"a.png": {"words": ["x"]}}')
    plan = make_plan(folder, Options())
    assert [task.name for task in plan.tasks] == ["ocr"]
    assert plan.truth("a.png").words == ("x",)
    assert plan.truth("b.png").words is None
    assert make_plan(folder, Options(tasks="none")).tasks == ()
    assert make_plan(folder, Options(tasks="ocr:deu")).tasks[0].language == "deu"


def test_layers_of_a_tower_or_a_file(folder):
    (task,) = make_plan(folder, Options(layers=("ViT-B-32/openai",))).tasks
    assert (task.contract.tower, task.contract.weights, task.contract.kind) == (
        "ViT-B-32",
        "openai",
        "tokens",
    )
    (folder / "net.onnx").write_bytes(b"")
    (folder / "j.json").write_text('{"kind": "logits", "model": "net.onnx"}')
    with pytest.raises(CotamError, match="--layers needs"):
        make_plan(folder, Options(layers=(str(folder / "j.json"),)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tasks": "telepathy"}, "unknown task telepathy"),
        ({"tasks": "ocr,ocr:deu"}, "two tasks of the same name"),
        ({"vlm": "http://x/v1"}, "together"),
        ({"vlm": "x", "vlm_model": "m", "questions": "q.jsonl"}, "no address"),
        ({"vlm": "http://x/v1", "vlm_model": "m", "questions": "q.jsonl"}, "no question of"),
    ],
)
def test_wishes_that_cannot_be(folder, options, reason):
    (folder / "q.jsonl").write_text(json.dumps({"image": "other.png", "question": "?"}))
    if "questions" in options:
        options = {**options, "questions": folder / "q.jsonl"}
    with pytest.raises(CotamError, match=reason):
        make_plan(folder, Options(**options))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_there_are_as_many_workers_as_cores_that_may_be_used(folder):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert make_plan(folder, Options()).workers == 1
    finally:
        os.sched_setaffinity(0, before)
    assert make_plan(folder, Options(workers=3)).workers == 3


def test_the_anchor(folder):
    plan = make_plan(
        folder, Options(codecs="cotam,webp", templates=("x=no-such {in} {out} ;; b {in} {out}",))
    )
    assert choose_anchor(plan, None) == "webp"
    assert choose_anchor(plan, "cotam") == "cotam"
    with pytest.raises(CotamError, match="x is missing: the program no-such"):
        choose_anchor(plan, "x")
    with pytest.raises(CotamError, match="none of the codecs"):
        choose_anchor(plan, "jpeg")
    assert choose_anchor(make_plan(folder, Options(codecs="webp,jpeg")), None) == "jpeg"


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setattr(planning.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "cotam" / "bench"
