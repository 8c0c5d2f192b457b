"""The wheel alone, in an environment of its own, from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ("harness", "aahn", "baselines", "studies", "results/published", "scripts", "pyproject.toml", "MANIFEST.in")
#: Reads a study, finds its data and counts its cells, and measures nothing.
EXPAND = ("run", "ablation_tcfaf", "--profile", "demo", "--engine", "slurm", "--dry-run")
TEXTS = ("README.md", "LICENSE", "CHANGELOG.md")

pytestmark = pytest.mark.integration


def build(kind: str, source: Path, out: Path) -> Path:
    """Builds a wheel or an sdist as pip does, with the build tools at hand."""
    out.mkdir()
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from what the sdist holds."""
    folder = tmp_path_factory.mktemp("packaging")
    for name in (*SOURCE, *TEXTS):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    with tarfile.open(build("sdist", folder / "source", folder / "sdist")) as sdist:
        sdist.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return build("wheel", unpacked, folder / "wheel")


@pytest.fixture(scope="module")
def harness(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line that the wheel installs; what it requires is that of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    # Paths in .pth files are not searched for further ones: the editable harness of this environment is not seen.
    paths = {sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))}
    (site / "requirements.pth").write_text("\n".join(paths))
    return folder / "bin" / "harness"


def run(harness: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [harness, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(harness: Path, folder: Path, code: str) -> str:
    """Returns what the environment's Python prints."""
    command = [harness.with_name("python"), "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_it_holds_the_packages_and_what_is_shipped_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"harness", "aahn", "baselines"}
    studies = {f"harness/shipped/studies/{path.name}" for path in (ROOT / "studies").glob("*.yaml")}
    assert studies <= set(names)
    assert "harness/shipped/results/published/tables_1_to_6.csv" in names
    assert {path.name for path in (ROOT / "harness/study/protocols").iterdir()} <= {Path(name).name for name in names}


def test_shipped_studies_run_by_name_from_an_empty_folder(harness: Path, tmp_path: Path) -> None:
    code = "import harness, harness.shipped as s; print(harness.__file__); print(s.shipped('studies'))"
    origin = python(harness, tmp_path, code)
    assert all(line.startswith(str(harness.parents[1])) for line in origin.splitlines())
    assert "--array=0-3" in run(harness, tmp_path, *EXPAND)
    assert not list(tmp_path.iterdir())


def test_a_project_is_written_and_its_files_win(harness: Path, tmp_path: Path) -> None:
    run(harness, tmp_path, "init", "mine", "--study", "ablation_tcfaf")
    project = tmp_path / "mine"
    study = project / "studies" / "ablation_tcfaf.yaml"
    assert {path.name for path in project.iterdir()} == {".gitignore", "slurm.yaml", "studies"}
    code = (
        "from pathlib import Path; from harness.shipped import find_study_file as f; print(f(Path('ablation_tcfaf')))"
    )
    assert (project / python(harness, project, code).strip()).samefile(study)


def test_every_requirement_is_listed_with_its_job() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[\[<>=!~ ]", line)[0] for line in project["dependencies"]}
    page = (ROOT / "docs" / "install.md").read_text()
    assert set(re.findall(r"(?m)^\| ([\w-]+) [\d.]+ \| \S", page)) == required
