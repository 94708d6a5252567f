"""What libraries warn of is not for who runs a command: stderr has cotam's own lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CHATTY = """
import sys, warnings
from PIL import Image

Image.MAX_IMAGE_PIXELS = 1000  # in place of a picture of 90 megapixels

if __name__ == "__main__":
    from cotam_cli.cli import main
    main(sys.argv[1:])
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_pillows_warnings_stay_away(jobs: int, tmp_path: Path) -> None:
    script = tmp_path / "chatty.py"  # a file: new processes run it too
    script.write_text(CHATTY)
    for name in "ab":
        Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / f"{name}.png")
    command = [
        sys.executable,
        script,
        "encode",
        "-r",
        tmp_path,
        "-o",
        tmp_path / "out",
        "-f",
        "-j",
        str(jobs),
    ]

    def lines(**environment: str) -> list[str]:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120, env=os.environ | environment
        )
        return done.stderr.splitlines()

    said = lines()
    assert len(said) == 1 and said[0].startswith("cotam: encode: 2 done")
    assert any("DecompressionBombWarning" in line for line in lines(PYTHONWARNINGS="default"))
