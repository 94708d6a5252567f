"""`cotam bench` as a user meets it: a folder with good and bad pictures, codecs that fail, a model that answers."""

import json
import re
import sys

import pytest

from bench.making import save
from bench.serving import saying, serving
from cotam_cli.bench.endpoint import KEY
from cotam_cli.cli import main
from runner import runner

BAD = f"bad@1,2={sys.executable} -c 'raise SystemExit(\"no licence\")' {{in}} {{out}} {{q}} ;; true {{in}} {{out}}"
SECRET = "sk-never-write-me"


def bench(*arguments, cache):
    return runner().invoke(main, ["bench", *map(str, arguments), "--cache", str(cache), "--workers", "1"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures <b>&")
    for k in range(3):
        save(folder / f"{k}.png", k, (176, 192))
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    lines = [
        {"image": "0.png", "question": "How wide?", "answer": "192"},
        {"image": "1.png", "question": "How high?", "choices": ["176", "192"], "answer": "A"},
        {"image": "gone.png", "question": "Where?", "answer": "here"},
    ]
    (folder / "qa.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """One run with everything in it: the result, its folder, and what the model was asked."""
    out = tmp_path_factory.mktemp("out")

    def reply(picture, text):
        return str(picture.width) if "wide" in text else "The answer is A."

    with pytest.MonkeyPatch.context() as patch, serving(reply) as server:
        patch.setenv(KEY, SECRET)
        result = bench(
            folder,
            *("--codecs", "cotam,jpeg,webp,compressai:none"),
            *("--codec", BAD),
            *(
                "--vlm",
                server.url,
                "--vlm-model",
                "tiny",
                "--vlm-price",
                1,
                2,
                "--questions",
                folder / "qa.jsonl",
            ),
            *(
                "--report",
                out / "r.html",
                "--json",
                out / "r.json",
                "--plot",
                out / "r.svg",
                "--curves",
                out / "c",
            ),
            cache=out / "cache",
        )
        calls = list(server.calls)
    return result, out, calls


@pytest.fixture(scope="module")
def record(run):
    return json.loads((run[1] / "r.json").read_text())


def test_the_tables(run):
    result, _, _ = run
    assert "bytes against jpeg at equal quality" in result.stdout
    assert re.search(r"^ +cotam +webp$", result.stdout, re.MULTILINE)
    assert re.search(r"^  PSNR +[-+][\d.]+ % +[-+][\d.]+ %$", result.stdout, re.MULTILINE)
    assert "compressai:none: " in result.stdout
    assert "bad: it failed on 3 of 3 pictures" in result.stdout
    assert re.search(r"tiny: \d+ requests.* cost 0\.\d+", result.stdout)


def test_what_failed_is_named_and_the_exit_code_says_so(run):
    result, _, _ = run
    assert result.exit_code == 1
    for said in (
        "failed: cut.png: ",
        "failed: empty.png: ",
        "failed: 0.png bad at 1: ",
        "no licence",
        "failed: gone.png",
    ):
        assert said in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert result.stderr.rstrip().endswith("everything else is measured")


def test_the_json(record):
    assert record["format"] == "cotam-bench/1"
    assert [picture["name"] for picture in record["pictures"]] == ["0.png", "1.png", "2.png"]
    by_name = {codec["name"]: codec for codec in record["codecs"]}
    assert list(by_name) == ["cotam", "jpeg", "webp"]
    for codec in by_name.values():
        columns = codec["results"]
        assert {"bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time", "tiny accuracy"} <= set(
            columns
        )
        assert len({len(column) for column in columns.values()}) == 1
        assert columns["tiny accuracy"] == [1.0] * len(columns["bpp"])
    assert set(record["missing"]) == {"compressai:none"}
    assert record["bd_rate"]["PSNR"]["jpeg"]["webp"]["percent"] < 0
    assert {timing["codec"] for timing in record["timing"]} == {"cotam", "jpeg", "webp"}
    assert record["originals"] == {"tiny accuracy": 1.0}
    assert len(record["files"]) == 3 * 4
    assert record["vlm"]["model"] == "tiny" and record["vlm"]["cost"] > 0


def test_the_model_was_asked_about_originals_and_decoded_pictures(run, record):
    _, _, calls = run
    files = sum(len(codec["results"]["bpp"]) for codec in record["codecs"])
    assert len(calls) == 2 * (1 + files) == record["vlm"]["requests"]
    assert {key for _, key, _ in calls} == {f"Bearer {SECRET}"}


def test_the_key_is_written_nowhere(run):
    result, out, _ = run
    assert SECRET not in result.output
    for path in out.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_every_field_of_the_json_is_documented(record, request):
    docs = (request.config.rootpath / "docs" / "bench.md").read_text()
    for name in record:
        assert f"`{name}`" in docs, name
    for entry in (
        record["codecs"][0],
        record["timing"][0],
        record["files"][0],
        record["failures"][0],
        record["vlm"],
    ):
        for name in entry:
            assert f"`{name}`" in docs, name
    for name in ("setting", "bytes", "bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time"):
        assert f"`{name}`" in docs, name


def test_curves_as_compressai_keeps_them(run):
    entry = json.loads((run[1] / "c" / "jpeg.json").read_text())
    assert set(entry) == {"name", "description", "version", "results"}
    assert entry["results"]["bpp"] == sorted(entry["results"]["bpp"])


def test_the_report_holds_everything_and_no_foreign_markup(run, folder):
    page = (run[1] / "r.html").read_text()
    assert "cut.png" in page and "no licence" in page and "compressai:none" in page
    assert folder.name not in page
    assert "pictures &lt;b&gt;&amp;" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", page)
    assert (run[1] / "r.svg").read_text().startswith("<svg")


def test_a_second_run_does_nothing_twice(run, folder):
    _, out, _ = run
    again = bench(folder, "--codecs", "cotam,jpeg,webp", "--json", out / "again.json", cache=out / "cache")
    assert again.exit_code == 1  # the unreadable pictures
    first, second = (json.loads((out / name).read_text()) for name in ("r.json", "again.json"))
    times = {codec["name"]: codec["results"]["encoding_time"] for codec in first["codecs"]}
    assert {codec["name"]: codec["results"]["encoding_time"] for codec in second["codecs"]} == times


def test_an_endpoint_that_answers_nonsense_spoils_its_own_measure_only(folder, tmp_path):
    with serving(script=[saying(200, "<html>")] * 100) as server:
        result = bench(
            folder,
            *("--codecs", "jpeg", "--json", tmp_path / "r.json"),
            *("--vlm", server.url, "--vlm-model", "m", "--questions", folder / "qa.jsonl"),
            cache=tmp_path / "cache",
        )
    assert result.exit_code == 1
    assert (tmp_path / "r.json").exists(), result.output
    record = json.loads((tmp_path / "r.json").read_text())
    assert "psnr-rgb" in record["codecs"][0]["results"]
    assert "m accuracy" not in record["codecs"][0]["results"]
    assert any("no JSON object" in failure["reason"] for failure in record["failures"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none"], 1, "no folder that is there"),
        (["empty"], 1, "holds no pictures"),
        ([".", "--rates", "a"], 2, "no list of bits per pixel"),
        ([".", "--rates", "0"], 2, "above 0"),
        ([".", "--report", "no/such/r.html"], 1, "make it first"),
        ([".", "--codecs", "gif"], 1, "unknown codec gif"),
        ([".", "--codecs", "compressai:none"], 1, "none of the codecs is there"),
        ([".", "--anchor", "jxl", "--codecs", "jpeg"], 1, "none of the codecs"),
        ([".", "--vlm", "http://x"], 1, "together"),
    ],
)
def test_mistakes(arguments, code, said, tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    result = bench(*arguments, cache=tmp_path / "cache")
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_only_unreadable_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    result = bench(tmp_path, "--codecs", "jpeg", cache=tmp_path / "cache")
    assert result.exit_code == 1
    assert "none of the 1 pictures can be read" in result.stderr


def test_outputs_are_not_overwritten_silently(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "r.html").write_text("old")
    result = bench(tmp_path, "--report", tmp_path / "r.html", cache=tmp_path / "cache")
    assert result.exit_code == 1 and "--force" in result.stderr
    assert (tmp_path / "r.html").read_text() == "old"


def test_curves_are_not_overwritten_silently(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "jpeg.json").write_text("old")
    arguments = (tmp_path, "--codecs", "jpeg", "--curves", tmp_path / "c")
    result = bench(*arguments, cache=tmp_path / "cache")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--force" in result.stderr and "jpeg.json" in result.stderr
    assert (tmp_path / "c" / "jpeg.json").read_text() == "old"
    assert not (tmp_path / "cache").exists()  # before any work
    assert bench(*arguments, "--force", cache=tmp_path / "cache").exit_code == 0
    assert json.loads((tmp_path / "c" / "jpeg.json").read_text())["name"] == "jpeg"


def test_a_cache_that_cannot_be_made_stops_before_any_work(tmp_path):
    save(tmp_path / "a.png")
    result = bench(tmp_path, "--codecs", "jpeg", cache=tmp_path / "a.png" / "c")
    assert result.exit_code == 1
    assert "c cannot be made" in result.stderr
