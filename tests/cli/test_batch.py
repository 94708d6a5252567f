"""Folders, lists and resuming, in this process and in others."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

import cotam_cli
from cotam_cli.cli import main
from runner import runner

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture(scope="module")
def crop() -> Image.Image:
    return Image.open(PHOTO).crop((300, 100, 364, 148))


@pytest.fixture
def tree(tmp_path: Path, crop: Image.Image) -> Path:
    folder = tmp_path / "in"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("one.png", "a/two.jpg", "a/b/three.webp", "a/same.png", "a/same.jpg"):
        crop.save(folder / name)
    (folder / "a" / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("left alone")
    (folder / ".hidden.png").write_bytes(b"left alone")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


GOOD = ["a/b/three.ctm", "a/same.jpg.ctm", "a/same.png.ctm", "a/two.ctm", "one.ctm"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tree_is_mirrored_and_one_bad_file_stops_nothing(tree: Path, tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    result = cotam("encode", "-r", tree, "-o", out, "--json", "-j", jobs)
    assert result.exit_code == 1
    assert names(out) == GOOD
    rows = {Path(row["input"]).name: row for row in map(json.loads, result.stdout.splitlines())}
    assert len(rows) == 6
    bad = rows.pop("bad.png")
    assert bad["status"] == "failed"
    assert "not a picture" in bad["error"]
    for row in rows.values():
        data = Path(row["output"]).read_bytes()
        facts = cotam_cli.info(data)
        assert (row["status"], row["bytes"], row["quality"], row["model"]) == (
            "done",
            len(data),
            3,
            facts.model,
        )
        assert row["bpp"] == pytest.approx(facts.bpp, abs=1e-5)
        assert len(row["sha256"]) == 64
        assert row["ms"] >= 0
    assert "bad.png" in result.stderr
    assert "5 done, 1 failed" in result.stderr


def test_processes_write_what_one_process_writes(tree: Path, tmp_path: Path) -> None:
    (tree / "a" / "bad.png").unlink()
    for jobs in (1, 3):
        assert cotam("encode", "-r", tree, "-o", tmp_path / str(jobs), "-j", jobs).exit_code == 0
    for name in GOOD:
        alone, together = ((tmp_path / jobs / name).read_bytes() for jobs in "13")
        assert abs(len(alone) - len(together)) <= 2  # threads may differ in a float's last bit


def test_existing_files_resume_or_are_kept(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.ctm").write_bytes(b"old")
    result = cotam("encode", "-r", tree, "-o", out, "-j", 1)
    assert "--force" in result.stderr
    assert "4 done, 2 failed" in result.stderr
    result = cotam("encode", "-r", tree, "-o", out, "-j", 1, "--skip-existing", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(row["status"] for row in rows) == ["failed"] + 5 * ["skipped"]
    assert (out / "one.ctm").read_bytes() == b"old"
    assert cotam("encode", tree / "one.png", "-o", f"{out}/", "--force").exit_code == 0
    assert (out / "one.ctm").read_bytes()[:4] == b"\x89CTM"


def test_lists_keep_their_folders(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    lists = (b"one.png\na/two.jpg\n", b"one.png\0a/two.jpg\0", b"./one.png\n../in/a/two.jpg")
    for number, text in enumerate(lists):
        out = tmp_path / f"out{number}"
        assert cotam("encode", "--files-from", "-", "-o", out, "-j", 1, stdin=text).exit_code == 0
        assert [name.removeprefix("in/") for name in names(out)] == ["a/two.ctm", "one.ctm"]


def test_decoding_a_tree(tree: Path, tmp_path: Path) -> None:
    cotam("encode", "-r", tree, "-o", tmp_path / "out", "-j", 1)
    result = cotam("decode", "-r", tmp_path / "out", "-o", tmp_path / "back", "--format", "webp", "-j", 2)
    assert result.exit_code == 0, result.stderr
    assert names(tmp_path / "back") == [name.replace(".ctm", ".webp") for name in GOOD]
    assert Image.open(tmp_path / "back" / "one.webp").size == (64, 48)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("encode", "{in}", "-o", "{tmp}/out"), "-r"),
        (("encode", "{in}/one.png", "{in}/a/two.jpg", "-o", "-"), "no folder"),
        (("encode", "{in}/one.png", "{in}/a/two.jpg", "-o", "{in}/notes.txt"), "no folder"),
        (("encode", "{in}/one.png", "{in}/a/two.jpg", "-o", "{tmp}/x.ctm"), "no folder"),
        (("encode", "{in}/one.png", "-", "-o", "{tmp}/out"), "stdin"),
        (("encode", "{in}/a/same.png", "{tmp}/copy/same.png", "-o", "{tmp}/out"), "both become"),
        (("encode", "{in}/one.png", "-o", "{tmp}/no/x.ctm"), "folder"),
    ],
)
def test_mistakes(tree: Path, tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    filled = [argument.format(**{"in": tree, "tmp": tmp_path}) for argument in arguments]
    result = cotam(*filled)
    assert result.exit_code == 1
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-q", "3", "--target-size", "9KB"),
        ("--base64",),
        ("--target-size", "lots"),
        ("--background", "mauve"),
        ("--target-bpp", "0"),
        ("--max-side", "0"),
    ],
)
def test_usage(tree: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert cotam("encode", tree / "one.png", "-o", tmp_path / "x.ctm", *arguments).exit_code == 2


def test_a_budget_says_the_quality_it_chose(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.ctm"
    result = cotam("encode", tree / "one.png", "-o", target, "--target-size", "0.4KB")
    assert target.stat().st_size <= 400
    assert f"quality {cotam_cli.info(target).quality:.4g}, {target.stat().st_size} bytes" in result.stderr
    result = cotam("encode", tree / "one.png", "-o", target, "-f", "--target-size", "40")
    assert result.exit_code == 1
    assert "smallest possible" in result.stderr


def gone(group: int) -> bool:
    """Whether a group of processes ends within a while."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_files_and_no_process(
    tree: Path, tmp_path: Path, crop: Image.Image, number: int, code: int
) -> None:
    for k in range(200):
        crop.save(tree / f"more{k}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cotam_cli", "encode", "-r", str(tree), "-o", str(out), "-j", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.ctm"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert "Traceback" not in text
    written = [path for path in out.rglob("*") if path.is_file()]
    assert 3 <= len(written) < 200
    for path in written:
        assert cotam_cli.info(path).width == 64
    assert gone(process.pid)


DYING = """
import os
from cotam_cli.cli.batch import Job, Result, run

def die_at_two(job):
    if job.source == "2":
        os._exit(9)
    return Result(job, "done")

if __name__ == "__main__":
    for result in run([Job(str(number), "x") for number in range(6)], die_at_two, 2):
        print(result.job.source, result.status, result.error)
"""


def test_a_process_that_dies_fails_its_job_only(tmp_path: Path) -> None:
    """A script of its own: new processes import what they run from the main one's file."""
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list("012345")
    assert lines[2][1] == "failed"
    assert "died" in lines[2][2]
    assert lines[5][1] == "done"
