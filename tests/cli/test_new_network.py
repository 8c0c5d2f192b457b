"""``harness new-network`` writes a package that joins, conforms and runs beside the baselines."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.new_network import write_network
from harness.segmenters import SEGMENTERS, Task
from harness.segmenters.conformance import CHECKS
from harness.study.expansion import load_study


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new package, installed as an editable one is."""
    folder = tmp_path / "mine"
    write_network("brand_new_net", folder, "Brand-New Net")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["harness.segmenters"]
    info = folder / "src" / f"{project['name']}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[harness.segmenters]", *lines, ""]))
    monkeypatch.syspath_prepend(folder / "src")
    SEGMENTERS.refresh()
    yield folder
    for name in [name for name in sys.modules if name.startswith("brand_new_net")]:
        del sys.modules[name]
    monkeypatch.undo()
    SEGMENTERS.refresh()


@pytest.mark.parametrize("patch_size", [(32, 32), (16, 16, 16)])
def test_the_network_keeps_the_contract(package: Path, patch_size: tuple[int, ...]) -> None:
    segmenter = SEGMENTERS.get("brand_new_net")
    assert segmenter.title == "Brand-New Net"
    for check in CHECKS:
        if check.name in {"facts", "output", "gradients", "modalities"}:
            check(segmenter, Task(("ct", "pet"), None, 3, patch_size), {"preset": "tiny"})


@pytest.mark.parametrize("profile", [None, "demo"])
def test_the_study_puts_it_beside_the_baselines(
    package: Path, small_cortex: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None
) -> None:
    monkeypatch.setenv("HARNESS_DATA_CORTEX", str(small_cortex))
    cells = load_study(package / "studies" / "compare_brand_new_net.yaml", profile).cells
    assert {"brand_new_net", "nnunet", "unetr"} <= {cell.spec.model for cell in cells}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My-Net", "cannot be the name of a Python package"),
        ("3net", "cannot be the name of a Python package"),
        ("class", "cannot be the name of a Python package"),
        ("../net", "cannot be the name of a Python package"),
        ("unetr", "is registered already"),
        ("torch", "is installed already"),
    ],
)
def test_a_name_that_cannot_be_or_is_taken_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        write_network(name, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HarnessError, match="is not empty"):
        write_network("brand_new_net", tmp_path)
    with pytest.raises(HarnessError, match="cannot be written into the files"):
        write_network("brand_new_net", tmp_path / "mine", 'A"""B')
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_from_nothing_to_a_table(tmp_path: Path, small_cortex: Path) -> None:
    site = tmp_path / "site"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)]),
        "HARNESS_DATA_CORTEX": str(small_cortex),
    }

    def typed(*command: str, module: str = "harness") -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "harness check brand_new_net" in typed("new-network", "brand_new_net", "--title", "Mine")
    typed("install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), "./brand_new_net", module="pip")
    quick = ("-k", "facts or output or gradients", "-p", "no:cacheprovider")
    assert " passed" in typed("-q", "-x", "brand_new_net/tests", *quick, module="pytest")
    study = "brand_new_net/studies/compare_brand_new_net.yaml"
    typed("run", study, "--profile", "demo")
    typed("report", "compare_brand_new_net", "--profile", "demo", "--format", "markdown")
    tables = (tmp_path / "results/reports/compare_brand_new_net/demo/tables.md").read_text()
    assert all(title in tables for title in ("Mine", "nnU-Net", "UNETR"))
