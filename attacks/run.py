"""Each way to abuse cotam that we know of, done for real: `make attacks`, or `python attacks/run.py [NAME...]`.

Every attack is one command in a process of its own, under a limit on its address space. Shown are its exit code, the
seconds it took and the processor seconds, its peak memory (ru_maxrss; it counts from what this script holds, so no
less than 40 to 70 MB are shown), and what it said. An attack is beaten when the
command did what is expected of it: mostly one line on stderr, exit code 1, no file written, under 2 s of processor time
and under 300 MB. With --markdown the table is that of attacks/README.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECONDS, MEGABYTES = 2.0, 300.0
ADDRESS_SPACE = 6 << 30  # a stop for what goes wrong; libraries reserve far more than they use
TIMEOUT = 300


@dataclass(frozen=True)
class Attack:
    """A command in a folder, and what must come of it.

    code      exit code that it must end with
    says      a part of what it says on stderr
    lines     on stderr, where it fails
    limited   it must stay under SECONDS and MEGABYTES; what costs as much as a real picture is only measured
    unharmed  file (in the folder) whose bytes must be the same afterwards
    makes     files that it may leave in the folder beside those that were there
    """

    arguments: list[str]
    code: int = 1
    says: str = ""
    lines: int = 1
    stdin: Path = Path("/dev/null")
    limited: bool = True
    unharmed: str | None = None
    makes: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    name: str
    code: int
    wall: float
    cpu: float
    megabytes: float
    said: str
    faults: list[str]


def attempt(name: str, make: Callable[[Path], Attack], *, timed: bool = True) -> Outcome:
    """Run one attack and judge it; its time only where `timed`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        attack = forged(make, folder)
        before = {path.relative_to(folder) for path in folder.rglob("*")}
        kept = (folder / attack.unharmed).read_bytes() if attack.unharmed else b""
        code, wall, usage, out, err = run(attack, folder)
        left = {
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.relative_to(folder) not in before
        }
        same = not attack.unharmed or (folder / attack.unharmed).read_bytes() == kept
    cpu, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    lines = err.decode(errors="backslashreplace").splitlines()
    faults = []
    if code != attack.code:
        faults.append(f"exit code {code}, not {attack.code}")
    if attack.code == 1 and (len(lines) != attack.lines or not lines[0].startswith("cotam: ")):
        faults.append(f"{len(lines)} lines on stderr")
    if attack.says not in err.decode(errors="backslashreplace"):
        faults.append(f"does not say {attack.says!r}")
    if any(ord(letter) < 32 for line in lines for letter in line):
        faults.append("control characters on stderr")
    if attack.code == 1 and out:
        faults.append("wrote to stdout")
    if left - attack.makes:
        faults.append(f"left {sorted(left - attack.makes)}")
    if not same:
        faults.append(f"changed {attack.unharmed}")
    if attack.limited:
        faults += [f"{cpu:.1f} s"] * (timed and cpu > SECONDS)
        faults += [f"{megabytes:.0f} MB"] * (megabytes > MEGABYTES)
    return Outcome(name, code, wall, cpu, megabytes, lines[-1] if lines else "", faults)


def forged(make: Callable[[Path], Attack], folder: Path) -> Attack:
    """Made in a process of its own: the command's peak memory counts from the most that this one ever held."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(make(folder)))
    process.start()
    sender.close()
    attack: Attack = receiver.recv()
    process.join()
    return attack


def run(attack: Attack, folder: Path) -> tuple[int, float, resource.struct_rusage, bytes, bytes]:
    """Exit code, seconds, usage, stdout and stderr of the command."""
    began = time.perf_counter()
    limited = f'ulimit -v {ADDRESS_SPACE >> 10}; exec "$@"'
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, attack.stdin.open("rb") as stdin:
        process = subprocess.Popen(
            ["sh", "-c", limited, "sh", sys.executable, "-m", "cotam_cli", *attack.arguments],
            stdin=stdin,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "COTAM_THREADS": "1"},
        )
        status, usage = wait(process, began)
        wall = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), wall, usage, out.read(1 << 20), err.read(1 << 20)


def wait(process: subprocess.Popen[bytes], began: float) -> tuple[int, resource.struct_rusage]:
    """Its status and what it used; it is killed after TIMEOUT."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return status, usage
        if time.perf_counter() - began > TIMEOUT:
            process.kill()
        time.sleep(0.01)


def line(outcome: Outcome, markdown: bool) -> str:
    measured = outcome.name.endswith("costs-its-size")
    verdict = "; ".join(outcome.faults) or ("costs its size" if measured else "beaten")
    said = outcome.said.removeprefix("cotam: ")
    if markdown:
        said = said.replace("|", "\\|")[:150]
        numbers = f"{outcome.code} | {outcome.cpu:.2f} s | {outcome.megabytes:.0f} MB"
        return f"| {outcome.name} | {verdict} | {numbers} | {said} |"
    return (
        f"{outcome.name:34} {verdict:10} exit {outcome.code}  {outcome.wall:6.2f} s  {outcome.cpu:6.2f} s cpu  "
        f"{outcome.megabytes:5.0f} MB  {said[:110]}"
    )


def main() -> int:
    from cases import ATTACKS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(ATTACKS)}")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    if given.markdown:
        print("| attack | outcome | exit | processor | memory | what it said |\n|---|---|---|---|---|---|")
    lost = 0
    for name in given.names or ATTACKS:
        outcome = attempt(name, ATTACKS[name])
        print(line(outcome, given.markdown), flush=True)
        lost += bool(outcome.faults)
    return lost > 0


if __name__ == "__main__":
    sys.exit(main())
