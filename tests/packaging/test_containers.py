"""The steps of both images, run in a plain folder: no image can be built where the tests run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"

pytestmark = [pytest.mark.integration, pytest.mark.linux("runs steps that are written for a shell")]


@dataclass(frozen=True)
class Image:
    """What an image is made of.

    Attributes:
        copies: File or folder of the repository, and its place in the image; a folder if that ends in a slash.
        commands: What is run, in order.
        variables: Environment of what runs in the image.
    """

    copies: list[tuple[str, str]]
    commands: list[list[str]]
    variables: dict[str, str]


def dockerfile(torch: str) -> Image:
    text = (CONTAINERS / "Dockerfile").read_text().replace("${TORCH}", torch)
    stages = re.split(r"(?m)^FROM .*$", text)
    copies = [line.split() for line in re.findall(r"(?m)^COPY (.*)$", stages[1])]
    return Image(
        [(source, words[-1]) for words in copies for source in words[:-1]],
        [shlex.split(line) for line in re.findall(r"(?m)^RUN (.*)$", stages[1])],
        dict(re.findall(r"(?m)^ENV (\w+)=(.*)$", stages[2])),
    )


def definition(torch: str) -> Image:
    text = (CONTAINERS / "apptainer.def").read_text().replace("{{ TORCH }}", torch)
    parts = dict(re.findall(r"(?ms)^%(\w+)\n(.*?)(?=^%|\Z)", text))
    return Image(
        [(line.split()[0], line.split()[1]) for line in parts["files"].splitlines() if line],
        [shlex.split(line) for line in parts["post"].splitlines() if line],
        dict(re.findall(r"export (\w+)=(.*)", parts["environment"])),
    )


def build(image: Image, root: Path, environment: dict[str, str]) -> None:
    """Does in a folder what a builder does in an image."""
    for name, place in image.copies:
        source = ROOT / name
        target = root / place.lstrip("/") / (source.name if place.endswith("/") else "")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    for words in image.commands:
        inside = [f"{root}{word}" if word.startswith("/") else word for word in words]
        subprocess.run(inside, check=True, env=environment)


def without_requirements(folder: Path) -> dict[str, str]:
    """An environment in which pip reaches no index, installs no requirement, and builds with our setuptools."""
    (installed,) = {Path(each) for each in setuptools.__path__}
    folder.mkdir()
    for path in (*installed.parent.glob("setuptools*"), *installed.parent.glob("_distutils_hack")):
        (folder / path.name).symlink_to(path)
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    # pip reads NO_BUILD_ISOLATION=0 as "no isolation"
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_QUIET": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return bare | pip | {"PIP_INDEX_URL": folder.as_uri(), "PYTHONPATH": str(folder), "PATH": path}


def wheel(folder: Path, name: str, version: str) -> None:
    """Writes a wheel of nothing, with the page of an index that lists it."""
    file = folder / name / f"{name}-{version}-py3-none-any.whl"
    file.parent.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    (file.parent / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')


@pytest.mark.slow
def test_the_steps_install_the_harness_and_pytorchs_own_build_of_the_locked_version(tmp_path: Path) -> None:
    versions = dict(re.findall(r"(?m)^(torch|torchvision)==(\S+)$", (ROOT / "constraints.txt").read_text()))
    for name, version in versions.items():
        wheel(tmp_path / "index", name, f"{version}+cpu")
    root, environment = tmp_path / "root", without_requirements(tmp_path / "setuptools")
    build(dockerfile("cpu"), root, environment | {"TORCH_INDEX": (tmp_path / "index").as_uri()})
    (site,) = (root / "opt" / "harness").glob("lib/python*/site-packages")
    found = {path.name for path in site.glob("torch*.dist-info")}
    assert found == {f"{name}-{version}+cpu.dist-info" for name, version in versions.items()}
    assert (site / "harness" / "shipped" / "studies" / "ablation_tcfaf.yaml").is_file()
    assert (root / "opt" / "harness" / "bin" / "harness").is_file()


@pytest.mark.parametrize("torch", ["cpu", "cuda"])
def test_both_images_take_the_same_files_and_commands(torch: str) -> None:
    docker, apptainer = dockerfile(torch), definition(torch)
    assert sorted(docker.copies) == sorted(apptainer.copies)
    assert apptainer.commands[: len(docker.commands)] == docker.commands
    assert docker.commands[-1][-1] == torch
    assert docker.variables["PATH"] == apptainer.variables["PATH"] == "/opt/harness/bin:$PATH"
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {name for name, _ in docker.copies} == {line[1:] for line in ignored if line.startswith("!")}


def test_another_build_of_pytorch_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", CONTAINERS / "install.sh", ROOT, tmp_path / "x", "rocm"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "cpu or cuda" in done.stderr
