"""Plants one fault at a time in a copy of the repository and asks whether the tests find it.

The faults are in ``planted_faults.json``: a text that stands once in the packages, what it is replaced by, tests that
fail then, and which of them did in 0.2.0. Texts and tests are found by what they say, not by where they are, so that
files may move::

    python scripts/guard/planted_faults.py --tree COPY
    python scripts/guard/planted_faults.py --tree COPY --only 3,7 --tests full --limit 1800

A fault may let a test wait for ever, so each has a time limit; one that it ends is not found. The copy is changed
while a fault is planted, so it must be a clean checkout that nobody works in.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGES = ("harness", "aahn", "baselines")
_DATA = Path(__file__).with_suffix(".json")

#: What `make test` runs.
_BY_DEFAULT = "not benchmark and not slow"

#: Exit status of pytest: tests ran and some failed; all passed. Ours: the time limit ended it.
_FAILED, _PASSED, _TOO_LONG = 1, 0, -1


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        number: Its place in the list, from 1.
        area: What it is about.
        file: Where the text was in 0.2.0; only a hint.
        texts: What to look for and what is put in its place; the first that stands once in the packages counts. A
            refactor that renames a variable adds its own.
        tests: Names of test functions, of which at least one fails.
    """

    number: int
    area: str
    file: str
    texts: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


class TextNotFound(Exception):
    """No text of a fault stands once in the tree."""


def read_faults(path: Path = _DATA) -> list[Fault]:
    """Reads the list."""
    values: list[dict[str, Any]] = json.loads(path.read_text())["faults"]
    return [
        Fault(number, one["area"], one["file"], tuple(map(tuple, one["texts"])), tuple(one["tests"]))
        for number, one in enumerate(values, start=1)
    ]


def read_packages(tree: Path) -> dict[Path, str]:
    """Returns what stands in each file of the packages."""
    files = [path for package in _PACKAGES for path in sorted((tree / package).rglob("*.py"))]
    return {path: path.read_text(encoding="utf-8") for path in files}


def find_text(contents: Mapping[Path, str], fault: Fault) -> tuple[Path, str, str]:
    """Returns the file that holds a text of the fault, the text, and what to put in its place.

    Raises:
        TextNotFound: None of them stands once.
    """
    times = []
    for search, replace in fault.texts:
        found = {path: count for path, text in contents.items() if (count := text.count(search))}
        if sum(found.values()) == 1:
            return next(iter(found)), search, replace
        times.append(str(sum(found.values())))
    raise TextNotFound(f"it stands {' and '.join(times)} times")


@contextmanager
def planted(path: Path, search: str, replace: str) -> Iterator[None]:
    """Plants a fault inside the block; the file is afterwards as it was, its times too."""
    text, facts = path.read_bytes(), path.stat()
    try:
        path.write_bytes(text.replace(search.encode(), replace.encode()))
        yield
    finally:
        path.write_bytes(text)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def find_tests(tree: Path, fault: Fault) -> list[str]:
    """Returns where the tests of a fault are, as pytest names them; those that are no more are left out."""
    found = []
    for path in sorted((tree / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        names = [name for name in fault.tests if re.search(rf"^def {name}\(", text, re.MULTILINE)]
        found += [f"{path.relative_to(tree)}::{name}" for name in names]
    return found


def run_tests(tree: Path, tests: list[str], limit: float) -> tuple[int, str]:
    """Runs tests of the tree with its own Python until one fails.

    Args:
        tree: Tree to test.
        tests: Tests to run, as pytest names them.
        limit: Seconds after which the tests and what they have started are ended.

    Returns:
        Exit status of pytest, and what it printed.
    """
    own = tree / ".venv" / "bin" / "python"
    python = str(own) if own.is_file() else sys.executable
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-m", _BY_DEFAULT, *tests]
    process = subprocess.Popen(  # noqa: S603 - pytest of a tree of ours
        command, cwd=tree, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        return _TOO_LONG, printed
    return process.returncode, printed


def judge(tree: Path, fault: Fault, everything: bool, limit: float) -> tuple[str, str]:
    """Returns what became of a fault (found, not found, text not found, no test), and by which test or why."""
    try:
        path, search, replace = find_text(read_packages(tree), fault)
    except TextNotFound as error:
        return "text not found", f"{error}; in 0.2.0 it was in {fault.file}"
    tests = ["tests"] if everything else find_tests(tree, fault)
    if not tests:
        return "no test", f"none is called {', '.join(fault.tests)}"
    with planted(path, search, replace):
        status, printed = run_tests(tree, tests, limit)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", printed, re.MULTILINE)
    if status == _FAILED and failed:
        return "found", failed[0]
    if status == _PASSED:
        return "not found", f"{len(tests)} tests pass"
    if status == _TOO_LONG:
        return "not found", f"no test failed within {limit:.0f} s: {printed[-300:]}"
    return "not found", f"pytest ended with status {status}: {printed[-300:]}"


def _check_clean(tree: Path) -> None:
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"],  # noqa: S607
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout.strip():
        raise SystemExit(f"{tree} has changes that are not committed; name a clean copy.")
    if tree == Path(__file__).resolve().parents[2]:
        raise SystemExit("That is the tree of this script: name a copy of it.")


def _check_tests(tree: Path, faults: Sequence[Fault], limit: float) -> None:
    """Runs all named tests without a fault: one that fails anyway finds nothing."""
    tests = sorted({test for fault in faults for test in find_tests(tree, fault)})
    status, printed = run_tests(tree, tests, limit)
    if status != _PASSED:
        raise SystemExit(f"Without any fault, the tests end with status {status}:\n{printed[-2000:]}")
    print(f"Without a fault, {len(tests)} tests pass.", flush=True)


def main() -> int:
    """Judges the faults; returns 0 if all are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, help="A clean checkout, which is changed meanwhile.")
    parser.add_argument("--only", default="", help="Numbers of faults, e.g. 3,7.")
    parser.add_argument("--tests", choices=("auto", "full"), default="auto", help="Named tests, or all of them.")
    parser.add_argument("--unchecked", action="store_true", help="Do not run the tests without a fault first.")
    parser.add_argument("--limit", type=float, default=600, help="Seconds that the tests of one fault may take.")
    parser.add_argument("--record", type=Path, help="JSON file that is told what became of each.")
    given = parser.parse_args()
    tree = given.tree.resolve()
    _check_clean(tree)
    faults = read_faults()
    if given.only:
        wanted = {int(number) for number in given.only.split(",")}
        faults = [fault for fault in faults if fault.number in wanted]
    if given.tests == "auto" and not given.unchecked:
        _check_tests(tree, faults, given.limit * len(faults))
    record = []
    for fault in faults:
        began = time.monotonic()
        state, detail = judge(tree, fault, given.tests == "full", given.limit)
        seconds = time.monotonic() - began
        print(f"{fault.number:>3}  {state:<14}  {seconds:5.0f} s  {fault.area}: {detail}", flush=True)
        record.append({"number": fault.number, "area": fault.area, "state": state, "by": detail})
    lacking = [one for one in record if one["state"] != "found"]
    print(f"{len(record) - len(lacking)} of {len(record)} faults are found.")
    if given.record:
        given.record.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
