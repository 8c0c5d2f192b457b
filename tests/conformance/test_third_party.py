"""A third party's wheel adds a network with no edit to our tree, and a bad one harms nobody else."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.segmenters import SEGMENTERS, Task
from harness.segmenters.conformance import CHECKS, ConformanceError, run

TOY = Path(__file__).parent / "toy_wheel"

Install = Callable[[str, dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions, as pip leaves them, in a folder of their own; uninstalls them afterwards."""

    def write(distribution: str, points: dict[str, str]) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[harness.segmenters]", *lines, ""]))
        SEGMENTERS.refresh()

    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in set(sys.modules) - before:
        if name.startswith(("toy_segmenters", "broken_segmenters")):
            del sys.modules[name]
    SEGMENTERS.refresh()


def toy_points() -> tuple[str, dict[str, str]]:
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    return project["name"], project["entry-points"]["harness.segmenters"]


def test_a_wheel_joins_and_conforms(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOY)
    before = SEGMENTERS.names()
    install(*toy_points())
    assert SEGMENTERS.names() == sorted([*before, "toy"])
    results = run(SEGMENTERS.get("toy"))
    assert {result.check for result in results} == {check.name for check in CHECKS if not check.slow}
    assert [result.message for result in results if not result.passed] == []


def test_uninstalled_it_is_gone() -> None:
    assert "toy" not in SEGMENTERS.names()


def test_a_colliding_name_is_refused_and_names_both_packages(install: Install) -> None:
    install("rival-segmenters", {"unetr": "rival_segmenters:SEGMENTER"})
    assert SEGMENTERS.get("nnunet").name == "nnunet"
    with pytest.raises(HarnessError) as caught:
        SEGMENTERS.get("unetr")
    for part in (
        "'unetr'",
        "rival-segmenters",
        "rival_segmenters:SEGMENTER",
        "aahn-harness",
        "baselines.unetr:SEGMENTER",
    ):
        assert part in caught.value.message
    assert "Uninstall one of them" in caught.value.hint


def test_a_plug_in_that_cannot_be_imported_stops_nobody_else(install: Install, tmp_path: Path) -> None:
    (tmp_path / "broken_segmenters.py").write_text("import a_package_nobody_has\n")
    install("broken-segmenters", {"broken": "broken_segmenters:SEGMENTER"})
    assert {"broken", "unetr", "nnunet"} <= set(SEGMENTERS.names())
    assert SEGMENTERS.get("unetr").name == "unetr"
    with pytest.raises(HarnessError, match="a_package_nobody_has") as caught:
        SEGMENTERS.get("broken")
    assert "broken-segmenters" in caught.value.hint


def test_a_plug_in_that_registers_something_else_is_refused(install: Install, tmp_path: Path) -> None:
    (tmp_path / "broken_segmenters.py").write_text("SEGMENTER = 'not one'\n")
    install("broken-segmenters", {"broken": "broken_segmenters:SEGMENTER"})
    with pytest.raises(HarnessError, match="is a str, not a Segmenter"):
        SEGMENTERS.get("broken")


def test_a_declaration_that_imports_torch_fails_the_suite(install: Install, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()  # of the process that imports the declaration; this one has the real one already
    (tmp_path / "broken_segmenters.py").write_text(
        "import torch\n"
        "from harness.segmenters import Segmenter, Source\n"
        "SEGMENTER = Segmenter('broken', 'B', 'B.', Source('None'), 'broken_segmenters:build')\n"
    )
    install("broken-segmenters", {"broken": "broken_segmenters:SEGMENTER"})
    (light_import,) = [check for check in CHECKS if check.name == "light_import"]
    with pytest.raises(ConformanceError, match="imports torch"):
        light_import(SEGMENTERS.get("broken"), Task(("a",), None, 2, (64, 64)), {})
