"""Metrics that a study asks for: computed when a cell is tested, or later from the predictions it kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

import harness.results
from harness.cli import main
from harness.evaluation import METRICS
from harness.execution.added_metrics import add_metrics, plan_added
from harness.execution.study import register
from harness.results.json_record import write_sealed
from harness.results.scores import read_floors, read_scores, score_files, unscored_metrics
from harness.results.store import CellFolder, Store
from harness.results.tables import seal_tables
from harness.study.expansion import load_study

pytestmark = pytest.mark.integration  # one cell is trained, once for all of them


@pytest.fixture
def cell(finished_study: Path, project: Path) -> CellFolder:
    (only,) = (project / "results/cells").iterdir()
    return Store(project / "results").cell(only.name)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capsys.readouterr()).split())


def test_metrics_are_added_from_kept_predictions_and_change_nothing_else(cell, project, capsys):
    before = files(project / "results")
    assert main(["evaluate", "micro", "--metric", "nsd", "--metric", "nsd_3mm", "--metric", "hd95_brats"]) == 0
    assert re.search("harness report micro( --metric (dice|hd95|nsd|nsd_3mm)){4}", shown(capsys))
    after = files(project / "results")
    assert {name: content for name, content in after.items() if name in before} == before
    rows = harness.results.load("micro")
    assert set(rows["metric"]) == {"dice", "hd95", "nsd", "nsd_3mm", "hd95_brats"}
    by_metric = {metric: group.set_index(["case", "region"]) for metric, group in rows.groupby("metric")}
    assert (by_metric["nsd_3mm"]["value"] >= by_metric["nsd"]["value"]).all()
    assert (by_metric["nsd_3mm"]["value"] > by_metric["nsd"]["value"]).any()
    scored = by_metric["hd95"]["status"] == "scored"
    assert by_metric["hd95_brats"]["value"][scored].equals(by_metric["hd95"]["value"][scored])
    assert set(by_metric["hd95_brats"]["implementation"].str[-5:]) == {"brats"}
    assert by_metric["nsd"]["implementation"].str.contains("tolerance 1 mm").all()
    for column in ("study", "label", "patient", "fold", "seed", "leading"):
        assert by_metric["nsd"][column].equals(by_metric["dice"][column]), column
    # a second time there is nothing to do
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 0
    assert files(project / "results") == after


def test_added_scores_are_those_of_the_test_itself(cell, project, write_study, capsys):
    """What `harness evaluate` computes from files is what a test computes from arrays."""
    tested, floors = read_scores(cell), read_floors(cell)
    dice = METRICS.get("dice")
    for name in ("cases.parquet", "floors.parquet"):
        rows = pd.read_parquet(cell.result / name)
        rows[rows["metric"] != "hd95"].to_parquet(cell.result / name, index=False)
    seal_tables(cell.result)
    assert unscored_metrics(cell, ("dice", "hd95")) == ("hd95",)
    assert main(["evaluate", "micro"]) == 0  # what the study reports
    for again, before, order in (
        (read_scores(cell), tested, ["case", "region", "metric"]),
        (read_floors(cell), floors, ["floor", "case", "region", "metric"]),
    ):
        assert len(before)
        pd.testing.assert_frame_equal(
            again.sort_values(order)[list(before.columns)].reset_index(drop=True),
            before.sort_values(order).reset_index(drop=True),
        )
    assert dice.heading in shown(capsys)


def test_the_report_says_what_is_lacking_and_shows_it_afterwards(cell, project, write_study, capsys):
    study = write_study(report={"metrics": ["dice", "nsd"]})
    assert main(["run", str(study), "--no-mlflow"]) == 0
    said = shown(capsys)
    assert "1 of 1 finished cells were not scored by 'nsd'" in said
    assert "harness evaluate micro --metric nsd" in said
    assert main(["report", "micro", "--no-figures"]) == 0
    said = shown(capsys)
    assert "1 of 1 finished cells were not scored by 'nsd'" in said
    assert "harness evaluate micro --metric nsd" in said
    assert main(["evaluate", "micro"]) == 0
    capsys.readouterr()
    assert main(["report", "micro", "--no-figures", "--format", "csv", "--format", "markdown"]) == 0
    assert "not scored" not in shown(capsys)
    assert main(["run", str(study), "--no-mlflow"]) == 0
    assert "not scored" not in shown(capsys)
    report = project / "results/reports/micro/default"
    assert "NSD at 1 mm" in (report / "tables.md").read_text()
    for name in ("means", "floors"):
        assert set(pd.read_csv(report / f"csv/{name}.csv")["metric"]) == {"dice", "nsd"}


@pytest.mark.parametrize("name", ["nsd_2mm_nan_skip", "hd95_brats"])
def test_every_format_shows_a_variant_that_was_added(cell, project, capsys, name):
    assert main(["evaluate", "micro", "--metric", name]) == 0
    assert main(["report", "micro", "--no-figures", "--metric", "dice", "--metric", name]) == 0
    report = project / "results/reports/micro/default"
    title = METRICS.get(name).title
    for form in ("tables.md", "report.html", "tables.tex"):
        assert title in (report / form).read_text().replace(r"\_", "_"), form


def test_a_cell_without_predictions_is_listed_with_what_to_do(cell, capsys):
    shutil.rmtree(cell.result / "predictions")
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 1
    said = shown(capsys)
    assert "kept no predictions" in said
    assert f"remove {cell.result}" in said
    assert cell.id in said
    assert len(score_files(cell)) == 1


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _change(path: Path) -> None:
    image = nib.load(path)
    other = np.zeros_like(np.asanyarray(image.dataobj))
    nib.save(nib.Nifti1Image(other, image.affine), path)


def _crop(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj)[:-1], image.affine), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(_remove, "is gone"), (_truncate, "damaged"), (_change, "is not the one that was tested"), (_crop, "shape")],
)
def test_a_prediction_that_was_lost_or_changed_adds_nothing(cell, capsys, damage, said):
    damage(sorted((cell.result / "predictions").glob("*.nii.gz"))[0])
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 1
    assert said in shown(capsys)
    assert len(score_files(cell)) == 1


def test_data_that_changed_adds_nothing(cell, project, monkeypatch, small_cortex, capsys):
    shutil.copytree(small_cortex, project / "other")
    image = nib.load(project / "other/t1.nii.gz")
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj) * 2, image.affine), project / "other/t1.nii.gz")
    record = cell.record().to_json()
    write_sealed(cell.path / "cell.json", {**record, "root": str(project / "other")})
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 1
    assert "changed since" in shown(capsys)


def test_damaged_added_scores_count_as_absent_and_are_made_again(cell, capsys):
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 0
    path = score_files(cell)[1]
    whole = read_scores(cell)
    for content in (b"", b"junk", path.read_bytes()[:-20]):
        path.write_bytes(content)
        assert set(harness.results.load("micro")["metric"]) == {"dice", "hd95"}
        assert main(["evaluate", "micro", "--metric", "nsd"]) == 0
        pd.testing.assert_frame_equal(read_scores(cell), whole)


def test_cells_that_are_not_done_are_listed(cell, capsys):
    record = (cell.path / "cell.json").read_bytes()
    (cell.path / "cell.json").write_bytes(b"{")
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 1
    assert "cell.json is damaged" in shown(capsys)
    (cell.path / "cell.json").write_bytes(record)
    shutil.rmtree(cell.result)
    assert main(["evaluate", "micro", "--metric", "nsd"]) == 1
    assert "not finished" in shown(capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["micro", "--metric", "nds"], "Did you mean 'nsd'"),
        (["micro", "--metric", "dice_2mm"], "has no tolerance"),
        (["micro", "--empty", "wurst"], "wurst"),
        (["micro", "--empty", "100mm"], "needs no new scores"),
        (["micro", "--dataset", "cortex"], "--dataset does not go with a study"),
        (["micro", "--out", "x.csv"], "--out does not go with a study"),
        (["other"], "No study 'other'"),
        ([], "--predictions is missing"),
        (["--predictions", "somewhere"], "--reference is missing"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(cell, arguments, said, capsys):
    assert main(["evaluate", *arguments]) == 2
    assert said in shown(capsys)


def test_a_policy_of_the_command_line_is_in_the_name(cell, capsys):
    assert main(["evaluate", "micro", "--metric", "hd95", "--empty", "nan_skip"]) == 0
    assert "hd95_nan_skip" in set(harness.results.load("micro")["metric"])


def test_processes_change_nothing(cell, project):
    store = Store(project / "results")
    study = store.find_study("micro")
    alone = list(add_metrics(plan_added(study, store, ("nsd",))))
    assert alone[-1] == (len(alone) - 1, len(alone) - 1, {})
    first = read_scores(cell)
    shutil.rmtree(cell.result / "scores")
    list(add_metrics(plan_added(study, store, ("nsd",)), jobs=2))
    pd.testing.assert_frame_equal(read_scores(cell), first)


def test_asking_for_more_renames_no_cell_and_is_remembered_for_the_test(write_study, toys, project):
    few = load_study(write_study())
    more = load_study(write_study(report={"metrics": ["dice", "nsd", "lesion_dice_2023"]}))
    assert [one.spec.id for one in few.cells] == [one.spec.id for one in more.cells]
    store = Store(project / "results")
    cell = store.cell(few.cells[0].spec.id)
    register(few, store, Path("micro.yaml"))
    assert cell.wanted_metrics() == ()
    assert not (cell.path / "metrics.json").exists()
    register(more, store, Path("micro.yaml"))
    register(load_study(write_study(report={"metrics": ["nsd_2mm"]})), store, Path("micro.yaml"))
    assert cell.wanted_metrics() == ("nsd", "lesion_dice_2023", "nsd_2mm")


def test_metrics_of_a_study_are_computed_in_its_tests(write_study, toys, project, capsys):
    study = write_study(report={"metrics": ["dice", "nsd", "nsd_3mm_brats"]})
    assert main(["run", str(study), "--workers", "1", "--no-mlflow"]) == 0
    rows = harness.results.load("micro")
    assert set(rows["metric"]) == {"dice", "hd95", "nsd", "nsd_3mm_brats"}
    floors = pd.read_parquet(next((project / "results/cells").glob("*/result/floors.parquet")))
    assert set(floors["metric"]) == {"dice", "hd95", "nsd", "nsd_3mm_brats"}
    assert main(["plan", str(study)]) == 0
    bad = yaml.safe_load(study.read_text())
    bad["report"]["metrics"] = ["nsd_mm"]
    study.write_text(yaml.safe_dump(bad))
    assert main(["plan", str(study)]) == 2
