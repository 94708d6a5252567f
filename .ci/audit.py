"""Look up known vulnerabilities of installed packages with pip-audit, and say in one line how it went: `make audit`.

    .ci/audit.py FOLDER... [-- pip-audit's options]

Each FOLDER is a virtual environment. pip-audit itself ends well where no package could be looked up, so that a closed
network reads like a clean result; here that is a failure. Exit codes: 0 clean, 1 findings, 2 not looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OWN = "cotam-cli"


def audit(environment: Path, options: list[str]) -> int:
    """Print the line, and the findings before it; the exit code."""
    installed = next(environment.glob("lib/python*/site-packages"))
    command = [Path(sys.executable).with_name("pip-audit"), "--path", installed, "--format", "json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        reason = (done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]
        print(f"{environment}: not looked up, the vulnerability service cannot be reached: {reason[:200]}")
        return 2
    packages = [each for each in json.loads(done.stdout)["dependencies"] if each["name"] != OWN]
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    findings = 0
    for each in packages:
        for found in each.get("vulns", []):
            findings += 1
            fixed = ", ".join(found["fix_versions"]) or "none yet"
            print(f"{environment}: {each['name']} {each['version']}: {found['id']}, fixed in {fixed}")
    if len(skipped) == len(packages):
        print(
            f"{environment}: not looked up, the vulnerability service knows none of {len(packages)} packages: "
            "is pypi.org reachable from here?"
        )
        return 2
    unknown = f", not looked up: {', '.join(skipped)}" if skipped else ""
    print(f"{environment}: {len(packages) - len(skipped)} packages looked up, {findings} findings{unknown}")
    return 1 if findings else 2 if skipped else 0


def main() -> int:
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    return max([audit(Path(word), words[cut + 1 :]) for word in words[:cut]], default=0)


if __name__ == "__main__":
    sys.exit(main())
