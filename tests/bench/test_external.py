"""Codecs that are commands: real ones, run without a shell, and everything that they can do wrong."""

import shlex
import sys

import numpy as np
import pytest

from bench.making import save, scene
from cotam_cli.bench.external import MissingProgram, external_codec
from cotam_cli.bench.measuring import Job, measure
from cotam_cli.errors import CotamError

PYTHON = shlex.quote(sys.executable)

CODER = """
import sys
from PIL import Image
picture = Image.open(sys.argv[1])
if sys.argv[2].endswith(".png"):
    picture.convert("RGB").save(sys.argv[2])
else:
    picture.save(sys.argv[2], "JPEG", quality=int(sys.argv[3]))
"""


@pytest.fixture
def script(tmp_path):
    def write(text, name="a coder's.py"):
        path = tmp_path / name
        path.write_text(text)
        return shlex.quote(str(path))

    return write


@pytest.fixture
def template(script):
    coder = script(CODER)
    return f"mine=  {PYTHON} {coder} {{in}} {{out}} {{q}} ;; {PYTHON} {coder} {{in}} {{out}}"


def test_there_and_back(template):
    codec = external_codec(template)
    assert codec.name == "mine"
    pixels = scene()
    small, large = (codec.encode(pixels, q) for q in (codec.ladder[0], codec.ladder[-1]))
    assert small[:2] == large[:2] == b"\xff\xd8"
    assert len(small) < len(large)
    decoded = codec.decode(large)
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).mean() < 10


def test_settings_and_suffixes_are_the_users(script):
    shown = script("import sys; open(sys.argv[2], 'w').write(' '.join(sys.argv[1:]))")
    codec = external_codec(
        f"x@30,10.5={PYTHON} {shown} {{in}}.ppm {{out}}.jp2 q{{q}}={{q}} ;; true {{in}}.jp2 {{out}}"
    )
    assert codec.ladder == codec.settings == (10.5, 30.0)
    source, target, word = codec.encode(scene(), 10.5).decode().split()
    assert source.endswith("/in.ppm")
    assert target.endswith("/out.jp2")
    assert word == "q10.5=10.5"


def test_a_shells_signs_are_words(script, tmp_path):
    shown = script("import sys; open(sys.argv[1], 'w').write(repr(sys.argv[3:]))")
    trap = tmp_path / "trap"
    codec = external_codec(
        f"x={PYTHON} {shown} {{out}} {{in}} ; touch {trap} | $(id) '{{q}} > x' ;; true {{in}} {{out}}"
    )
    said = codec.encode(scene(), 5).decode()
    assert "'$(id)', '5 > x'" in said
    assert not trap.exists()


def test_without_a_setting_there_is_one_point(script):
    codec = external_codec(f"x={PYTHON} {script(CODER)} {{in}} {{out}} 30 ;; true {{in}} {{out}}")
    assert codec.ladder == (0.0,)


def test_a_program_of_the_current_folder(tmp_path, monkeypatch):
    program = tmp_path / "coder"
    program.write_text(f"#!{sys.executable}{CODER}")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    codec = external_codec("mine=./coder {in} {out} 30 ;; ./coder {in} {out}")
    assert codec.decode(codec.encode(scene(), 0)).shape == scene().shape


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "import sys; sys.stderr.write('first\\nno licence for pictures'); sys.exit(3)",
            "failed with 3: no licence",
        ),
        ("pass", "wrote nothing"),
        ("import sys; open(sys.argv[2], 'w')", "wrote nothing"),
        ("import time; time.sleep(60)", "took more than 1 s and was ended"),
        ("import os; os.abort()", "failed with -6"),
    ],
)
def test_a_command_that_goes_wrong(body, reason, script, tmp_path):
    bad = script(body, "bad.py")
    codec = external_codec(f"bad@1={PYTHON} {bad} {{in}} {{out}} {{q}} ;; true {{in}} {{out}}", timeout=1)
    row = measure(Job(save(tmp_path / "a.png"), codec))
    assert row.points == (None,)
    assert reason in row.failures[0].reason


def test_a_decoder_that_writes_no_picture(script, template, tmp_path):
    bad = script("import sys; open(sys.argv[2], 'w').write('hello')", "bad.py")
    codec = external_codec(f"{template.partition(';;')[0]} ;; {PYTHON} {bad} {{in}} {{out}}")
    row = measure(Job(save(tmp_path / "a.png"), codec))
    assert set(row.points) == {None}
    assert "decoded.png" in row.failures[0].reason


def test_its_children_are_ended_too(script, tmp_path):
    """The command starts another that would go on writing; nothing may be left after the time limit."""
    alive = tmp_path / "alive"
    child = f"import time,pathlib\ntime.sleep(2)\npathlib.Path({str(alive)!r}).touch()"
    parent = script(f"import subprocess,sys\nsubprocess.run([sys.executable, '-c', {child!r}])")
    codec = external_codec(f"x={PYTHON} {parent} {{in}} {{out}} ;; true {{in}} {{out}}", timeout=0.5)
    with pytest.raises(CotamError, match="was ended"):
        codec.encode(scene(), 0)
    import time

    time.sleep(2.2)
    assert not alive.exists()


@pytest.mark.parametrize(
    "template",
    [
        "x",
        "x=a {in} {out}",
        "x=a {in} ;; b {in} {out}",
        "=a {in} {out} ;; b {in} {out}",
        "x y=a {in} {out};;b {in} {out}",
    ],
)
def test_what_is_no_template(template):
    with pytest.raises(CotamError):
        external_codec(template)


def test_an_open_quote_is_named():
    with pytest.raises(CotamError, match="quotation"):
        external_codec("x=a '{in} {out} ;; b {in} {out}")


def test_a_missing_program_is_another_matter():
    with pytest.raises(MissingProgram, match="no-such-encoder is not installed"):
        external_codec("x=no-such-encoder {in} {out} ;; b {in} {out}")
