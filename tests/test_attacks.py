"""Every attack of attacks/ is beaten: the right exit code and line, nothing left behind, little memory."""

import sys

import pytest
from cases import ATTACKS
from run import attempt

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits and ru_maxrss are those of Linux")


@pytest.mark.parametrize("name", [name for name in ATTACKS if "costs-its-size" not in name])
def test_attack(name: str) -> None:
    assert attempt(name, ATTACKS[name], timed=False).faults == []
