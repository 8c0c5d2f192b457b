"""Pretrained starts: the file's content is part of a cell, and tables never mix starts without saying so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model

from harness.cli import main
from harness.errors import DataError, StudyError
from harness.execution.cell.problem import open_problem
from harness.report.write import write_report
from harness.results.reading import load_results
from harness.results.store import Store
from harness.segmenters import SEGMENTERS, Task
from harness.study.cell import CellSpec
from harness.study.expansion import load_study

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def weights(project: Path) -> Callable[..., Path]:
    """Writes weights of the toy from a seed."""

    def write(seed: int, name: str = "start.safetensors") -> Path:
        torch.manual_seed(seed)
        save_model(SEGMENTERS.get("toy").build(Task(("t1", "epi"), 0, 3, (64, 64))), str(project / name))
        return project / name

    return write


@pytest.fixture
def study(write_study: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a study of one network from pretrained weights and from scratch."""

    def write(file: str = "start.safetensors") -> Path:
        started = {"name": "toy_started", "pretrained": file, "label": "started"}
        return write_study(
            matrix={"dataset": ["cortex"], "model": [started, {"name": "toy_started", "label": "from scratch"}]}
        )

    return write


def first(study: Path) -> CellSpec:
    return load_study(study).cells[0].spec


def test_another_file_is_another_cell_and_a_moved_one_is_not(weights, study) -> None:
    weights(1)
    before = first(study())
    weights(1, "moved.safetensors")
    assert first(study("moved.safetensors")).id == before.id
    weights(2)
    assert first(study()).id != before.id
    assert CellSpec.from_json(before.to_json()).id == before.id


def test_a_cell_says_what_it_started_from(weights, study) -> None:
    weights(1)
    started, scratch = (cell.spec for cell in load_study(study()).cells)
    assert started.started_from() == f"pretrained:{started.start}"
    assert len(started.start) == 16
    assert scratch.started_from() == "scratch"
    assert scratch.identity()["model"]["options"]["pretrained"] == "none"


def test_a_file_that_is_not_there_is_refused_with_the_line(study) -> None:
    with pytest.raises(StudyError, match=r"micro\.yaml:\d+: .*start\.safetensors") as refused:
        load_study(study())
    assert "Nothing is downloaded" in refused.value.hint


def test_a_file_that_changed_after_planning_is_refused(weights, study) -> None:
    weights(1)
    spec = first(study())
    weights(2)
    with pytest.raises(DataError, match="changed since the study was planned"):
        open_problem(spec)


def test_the_report_does_not_rank_different_starts_together(weights, study, project: Path) -> None:
    weights(1)
    assert main(["run", str(study()), "--workers", "1", "--no-mlflow"]) == 0
    store = Store(project / "results")
    results = load_results(store.find_study(), store)
    starts = results.cells.set_index("label")["start"]
    assert starts["from scratch"] == "scratch"
    assert starts["started"].startswith("pretrained:")
    written = write_report(results, project / "report", figures=False)
    said = " ".join(written.warnings)
    assert "not ranked" in said
    assert "different starting weights: pretrained (started); scratch (from scratch)" in said
