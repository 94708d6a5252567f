"""Every attack of attacks/ is beaten: the right exit code and line, nothing left behind, little memory."""

import subprocess
import sys
from pathlib import Path

import pytest
from cases import ATTACKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits and ru_maxrss are those of Linux")
FOLDER = Path(__file__).parents[1] / "attacks"
ONE = (
    "import sys, cases, run; print(run.attempt(sys.argv[1], cases.ATTACKS[sys.argv[1]], timed=False).faults)"
)


@pytest.mark.parametrize("name", [name for name in ATTACKS if "costs-its-size" not in name])
def test_attack(name: str) -> None:
    # In a process of its own: a child's peak memory counts from what its parent holds, and that of all tests is much.
    result = subprocess.run(
        [sys.executable, "-c", ONE, name], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
