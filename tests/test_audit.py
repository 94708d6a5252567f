"""`make audit` never takes a closed network for a clean result."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
OLD = {"name": "tqdm", "version": "4.66.0", "vulns": [{"id": "PYSEC-2026-1976", "fix_versions": ["4.66.3"]}]}
UNKNOWN = {"name": "click", "skip_reason": "Dependency not found on PyPI and could not be audited"}
OWN = {"name": "cotam-cli", "skip_reason": "distribution marked as editable"}


@pytest.fixture
def script():
    if not SCRIPT.exists():
        pytest.skip("not in a source distribution")
    specification = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([CLEAN, OWN], 0, "1 packages looked up, 0 findings"),
        ([CLEAN, OLD], 1, "tqdm 4.66.0: PYSEC-2026-1976, fixed in 4.66.3"),
        ([CLEAN, UNKNOWN], 2, "not looked up: click"),
        ([UNKNOWN, OWN], 2, "not looked up, the vulnerability service knows none of 1 packages"),
        (None, 2, "cannot be reached: requests.exceptions.ConnectionError: no route"),
    ],
)
def test_outcomes(script, packages, code, says, tmp_path, monkeypatch, capsys):
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    out = "" if packages is None else json.dumps({"dependencies": packages})
    done = subprocess.CompletedProcess(
        [], 1, out, "Traceback\nrequests.exceptions.ConnectionError: no route\n"
    )
    monkeypatch.setattr(script.subprocess, "run", lambda *words, **options: done)
    monkeypatch.setattr(sys, "argv", ["audit.py", str(tmp_path), "--", "-s", "osv"])
    assert script.main() == code
    assert says in capsys.readouterr().out
