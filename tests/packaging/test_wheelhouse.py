"""Wheels for machines without internet: gathered, compared with the lock, installed with the index switched off."""

import hashlib
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "wheelhouse.py"
OFF = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

pytestmark = pytest.mark.integration


def without_index(**variables: str) -> dict[str, str]:
    """The environment of a machine that no index can be reached from."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PIP_")} | OFF | variables


def write_package(folder: Path, name: str, requires: str = "[]", extras: str = "") -> Path:
    """Writes a package of one module that says its own name."""
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = {requires}\n'
        f'[project.optional-dependencies]\n{extras}\n[tool.setuptools]\npy-modules = ["{name}"]\n'
    )
    return folder


def build(kind: str, source: Path, out: Path) -> Path:
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that needs a published wheel and, for its extra, a package of sources only; beside it their index."""
    folder = tmp_path_factory.mktemp("project")
    index = folder / "index"
    index.mkdir()
    wheel = build("wheel", write_package(folder / "ready", "ready"), index)
    build("sdist", write_package(folder / "sources", "sources"), index)
    mine = write_package(folder / "mine", "mine", '["ready>=0.5"]', 'slurm = ["sources"]')
    (mine / "constraints.txt").write_text("ready==1.0\nsources==1.0\n")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (mine / "uv.lock").write_text(
        f'[[package]]\nname = "ready"\nwheels = [{{ hash = "sha256:{digest}" }}]\n[[package]]\nname = "sources"\n'
    )
    return mine


def gather(project: Path, out: Path) -> subprocess.CompletedProcess[str]:
    # pip reads this 0 as "no": without isolation it builds with the setuptools that is here, and asks no index for one.
    variables = without_index(PIP_FIND_LINKS=str(project.parent / "index"), PIP_NO_BUILD_ISOLATION="0")
    command = [sys.executable, SCRIPT, "--project", project, "--out", out]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def install(house: Path, environment: Path, what: str) -> Path:
    """Installs from a wheelhouse as docs/install.md says; returns the Python of the new environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--find-links", house, what], env=without_index(), check=True)
    return python


@pytest.mark.slow
def test_what_is_gathered_installs_with_the_index_switched_off(project: Path, tmp_path: Path) -> None:
    house = tmp_path / "house"
    done = gather(project, house)
    assert done.returncode == 0, done.stderr
    assert {path.name.split("-")[0] for path in house.glob("*.whl")} == {"mine", "ready", "sources"}
    sums = dict(reversed(line.split()) for line in (house / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in house.glob("*.whl")}
    assert "built here from sources: sources-1.0" in done.stdout
    python = install(house, tmp_path / "environment", "mine[slurm]")
    code = "import mine, ready, sources; print(mine.NAME, ready.NAME, sources.NAME)"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["mine", "ready", "sources"]


def test_a_file_that_the_lock_does_not_know_is_refused(project: Path, tmp_path: Path) -> None:
    check = runpy.run_path(str(SCRIPT))["check"]
    names = ("ready-1.0-py3-none-any.whl", "ready-1.0+cpu-py3-none-any.whl", "sources-1.0-py3-none-any.whl")
    for name in names:
        (tmp_path / name).write_bytes(b"something else")
    wrong, notes = check([tmp_path / name for name in names], project / "uv.lock")
    assert wrong == [names[0]]
    assert len(notes) == 2


@pytest.mark.slow
def test_the_whole_harness_installs_with_the_index_switched_off() -> None:
    """Takes 3 GB from the index and 11 GB of disk, which pytest would keep in `tmp_path`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, SCRIPT, "--out", folder / "house"], check=True, stdout=subprocess.DEVNULL)
        python = install(folder / "house", folder / "environment", "aahn-harness[slurm]")
        (folder / "empty").mkdir()
        command = [python.with_name("harness"), "run", "ablation_tcfaf", "--profile", "demo", "--engine", "slurm"]
        done = subprocess.run(
            [*command, "--dry-run"],
            cwd=folder / "empty",
            env=without_index(PYTHONPATH=""),
            capture_output=True,
            text=True,
            check=True,
        )
    assert "--array=0-3" in done.stdout
