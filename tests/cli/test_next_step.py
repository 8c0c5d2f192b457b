"""The one command that ``harness doctor`` ends with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stored import finish_whole, manifest

from harness.cli import main
from harness.diagnostics.next_step import Situation, last_study, next_step
from harness.results.store import Store

RUN = ("ablation_tcfaf", "demo")
STUDIES = {"brats2023": "compare_brats2023"}
LOGIN = Situation(has_slurm=True)


@pytest.mark.parametrize(
    ("here", "command"),
    [
        (Situation(), "harness demo"),
        (Situation(lacking=["monai", "torch"], unwritable=True), "pip install monai torch"),
        (Situation(unwritable=True), "harness doctor --results ~/results"),
        (Situation(unusable_gpu=True), "harness demo --cpu"),
        (Situation(study=RUN, unfinished=2, has_gpu=True), "harness status AGAIN"),
        (Situation(study=RUN), "harness init my_project"),
        (Situation(study=RUN, has_project=True), "harness data"),
        (Situation(study=RUN, data=["brats2023"], has_gpu=True), "harness plan compare_brats2023"),
        (Situation(study=RUN, data=["brats2023"]), "harness plan compare_brats2023 --gpu-model a100"),
        (Situation(study=RUN, data=["other"], has_project=True), "harness data"),
        (replace(LOGIN, has_submitit=False), "pip install 'aahn-harness[slurm]'"),
        (LOGIN, "harness init"),
        (
            replace(LOGIN, has_project=True),
            "harness run ablation_tcfaf --profile demo --engine slurm --slurm slurm.yaml --dry-run",
        ),
        (replace(LOGIN, has_gpu=True), "harness demo"),
    ],
)
def test_what_comes_next(here: Situation, command: str) -> None:
    assert next_step(here, "AGAIN", STUDIES).command == command


def test_the_study_run_last_is_found_with_its_unfinished_cells(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert last_study(tmp_path) == (None, 0)
    store.create()
    finish_whole(store.cell("cell-a"))
    store.study("s", "default").write_manifest(manifest("cell-a", "cell-b"))
    assert last_study(tmp_path) == (("s", "default"), 1)
    (tmp_path / "studies/s/default/study.json").write_text("{")
    assert last_study(tmp_path) == (None, 0)


def test_doctor_ends_with_it_and_names_absent_data_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.diagnostics.doctor.shutil.which", lambda name: None)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].strip() == "harness demo"
    about = [line for line in lines if "brats2019" in line or "chaos" in line]
    assert len(about) == 1
    assert about[0].strip().startswith("data of brats2019, ")
