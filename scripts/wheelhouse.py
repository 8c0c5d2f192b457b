"""Gathers every wheel that the harness needs in a folder, for machines without internet: ``make wheelhouse``.

Run it by the Python that will use the wheels: pip downloads those of this Python and this system, and builds those of
packages that are published as sources only. The files of all others must have the hashes of ``uv.lock``.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from shutil import copy2

ROOT = Path(__file__).parents[1]
SUMS = "SHA256SUMS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the folder, checks it, and says how large it is; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--project", type=Path, default=ROOT, help="Folder of pyproject.toml, uv.lock, constraints.txt."
    )
    parser.add_argument("--out", type=Path, help="Default: build/wheelhouse/ and the version of this Python.")
    parser.add_argument("--extras", default="slurm", help="Extras of the harness, with commas between them.")
    given = parser.parse_args(arguments)
    out: Path = given.out or ROOT / "build" / "wheelhouse" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    out.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--wheel-dir", str(out)]
    what = f"{given.project.resolve()}[{given.extras}]" if given.extras else str(given.project.resolve())
    pip += ["--constraint", str(given.project / "constraints.txt"), what]
    status = subprocess.run(pip).returncode  # noqa: S603 (pip, no shell)
    if status:
        return status
    wheels = sorted(out.glob("*.whl"))
    wrong, notes = check(wheels, given.project / "uv.lock")
    for line in notes:
        print(line)
    for name in wrong:
        print(f"{out / name}: its hash is not in uv.lock. Delete the folder and try again.", file=sys.stderr)
    copy2(given.project / "constraints.txt", out)
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in wheels)
    (out / SUMS).write_text(sums, encoding="ascii")
    print(f"{out}: {len(wheels)} wheels, {sum(path.stat().st_size for path in wheels) / 1e9:.2f} GB")
    return 1 if wrong else 0


def check(wheels: Sequence[Path], lock: Path) -> tuple[list[str], list[str]]:
    """Compares wheels with a lock.

    Args:
        wheels: Wheels to compare.
        lock: File of uv.

    Returns:
        Names of files with a hash that the lock does not have, and a line per wheel that the lock cannot know.
    """
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    published = {package["name"] for package in packages if package.get("wheels")}
    hashes = {wheel["hash"].removeprefix("sha256:") for package in packages for wheel in package.get("wheels", ())}
    wrong: list[str] = []
    notes: list[str] = []
    for path in wheels:
        name, version = path.name.split("-")[:2]
        if _sha256(path) in hashes:
            continue
        if re.sub(r"[-_.]+", "-", name).lower() not in published:
            notes.append(f"built here from sources: {path.name}")
        elif "+" in version:
            notes.append(f"build of its makers that is not in uv.lock: {path.name}")
        else:
            wrong.append(path.name)
    return wrong, notes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
