"""Model files and their sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cotam_cli.codec import models
from cotam_cli.errors import CotamError, ModelError
from cotam_cli.sessions import open_session

GOLDEN = Path(__file__).parents[1] / "golden" / f"{models.records()[-1].name}-photo-q3.ctm"


def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})


def test_the_newest_model_and_its_id_are_one_object() -> None:
    assert models.load_model() is models.load_model(models.records()[-1].id)


def test_an_unknown_model() -> None:
    with pytest.raises(ModelError, match="999"):
        models.load_model(999)


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTAM_THREADS", "1")
    session = open_session(models.load_model().file("synthesis.onnx"))
    assert session.get_session_options().intra_op_num_threads == 1
    monkeypatch.setenv("COTAM_THREADS", "100000")
    session = open_session(models.load_model().file("synthesis.onnx"))
    assert session.get_session_options().intra_op_num_threads == os.cpu_count()
    monkeypatch.setenv("COTAM_THREADS", "many")
    with pytest.raises(CotamError, match="COTAM_THREADS"):
        open_session(b"")


FILES = ["manifest.json", "entropy.npz", "gains.npz", "analysis.onnx", "hyper.onnx", "synthesis.onnx"]
BROKEN = {
    "absent": "sys.modules['onnxruntime'] = None",
    "broken": (
        "import importlib.abc\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'onnxruntime': raise RuntimeError('built for another NumPy')\n"
        "sys.meta_path.insert(0, Finder())"
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_without_onnxruntime_a_file_can_be_read_and_the_rest_says_what_is_missing(how: str) -> None:
    result = run(
        f"import sys\n{BROKEN[how]}\n"
        f"import cotam_cli\nprint(cotam_cli.info({str(GOLDEN)!r}).quality)\n"
        "import cotam_cli.pillow\nfrom PIL import Image\n"
        f"image = Image.open({str(GOLDEN)!r}); print(image.format)\n"
        "for work in (lambda: cotam_cli.decode({0!r}), lambda: cotam_cli.encode(Image.new('RGB', (8, 8))), "
        "image.load):\n".format(str(GOLDEN))
        + "    try: work()\n"
        "    except (cotam_cli.CotamError, OSError) as error: print(error)\n"
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert lines[:2] == ["3.0", "CTM"]
    assert len(lines) == 5
    assert all("pip install --force-reinstall onnxruntime" in line for line in lines[2:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_decodes_with_its_parents_model() -> None:
    """Data loaders fork after their parent has decoded: the networks' threads do not come along."""
    result = run(
        "import os, cotam_cli\n"
        f"first = cotam_cli.decode({str(GOLDEN)!r}).tobytes()\n"
        "child = os.fork()\n"
        f"same = cotam_cli.decode({str(GOLDEN)!r}).tobytes() == first\n"
        "os._exit(not same) if not child else print(os.waitpid(child, 0)[1], same)\n"
    )
    assert result.stdout.strip() == "0 True", result.stderr


def test_onnxruntime_tells_nobody_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    script = f"import cotam_cli; cotam_cli.decode({str(GOLDEN)!r})"
    result = run(script, HOME=str(tmp_path), TMPDIR=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", ["flipped", "cut", "missing"])
def test_every_file_of_a_model_is_checked_and_named(name: str, fault: str, tmp_path: Path) -> None:
    record = models.load_model().record
    for path in (models.models_folder() / record.name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / name).read_bytes())
    (tmp_path / name).unlink()
    if fault != "missing":
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes(data if fault == "flipped" else data[:-1])
    wanted = "missing" if fault == "missing" else "damaged"
    with pytest.raises(ModelError, match=rf"{name} is {wanted}.*reinstall"):
        models.Model(record, tmp_path).file(name)


def test_files_that_the_manifest_does_not_name_are_not_read() -> None:
    with pytest.raises(ModelError, match="has no"):
        models.load_model().file("../guide-2/guide.onnx")
