"""Patients whose files lack modalities, from the folder to the tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from harness.cli import main
from harness.errors import DataError
from harness.execution.cell.absences import Absences
from harness.execution.cell.missing_modalities import Evaluation, evaluate_subsets
from harness.execution.cell.prediction import predict_cell
from harness.execution.cell.run import run_cell
from harness.execution.cell.weights import read_filling
from harness.execution.study import register
from harness.inference.native_grid import segment_native
from harness.inference.standalone.program import main as run_program
from harness.publication.export import export_cell
from harness.report.analysis.modalities.patterns import coverage_of, scores_by_pattern
from harness.report.analysis.variants import Variant
from harness.results.reading import load_results
from harness.results.store import Store
from harness.results.subsets import CellSubsets
from harness.study.expansion import load_study
from harness.training.modality_fill import Filling, FillsAbsent
from tests.helpers.incomplete import write_folder

CPU = torch.device("cpu")


def study_of(write_study, project, leading="FLAIR", model="toy", **protocol):
    root = project / "Dataset501_Mine"
    if not root.exists():
        write_folder(root)
    return write_study(
        matrix={"dataset": [{"nnunet_raw": str(root), "leading": leading}], "model": [model]}, **protocol
    )


@pytest.fixture
def trained(write_study, toys, project):
    """A toy trained in this process on patients of whom some lack T2, and two T1 and T2."""
    path = study_of(write_study, project)
    loaded, store = load_study(path), Store(project / "results")
    store.create()
    register(loaded, store, path)
    (cell,) = loaded.cells
    folder = store.cell(cell.spec.id)
    run_cell(cell.spec, folder, project / "cache", "cpu")
    return store, folder


def test_incomplete_patients_are_trained_on_tested_and_told_apart(trained, project):
    store, cell = trained
    summary = json.loads((cell.result / "summary.json").read_text())
    assert set(summary["training_patterns"]) == {"T1+T2+FLAIR", "T1+FLAIR", "FLAIR"}
    assert read_filling(cell.result / "weights.safetensors").kind == "zeros"
    rows = pd.read_parquet(cell.result / "cases.parquet")
    tested = rows.drop_duplicates("case").set_index("case")["modalities"]
    assert len(set(tested)) > 1
    evaluate_subsets(cell, [("T1", "T2"), ("T2",)], None, project / "cache", CPU)
    found = {facts.present: (facts, pd.read_parquet(path)) for facts, path in CellSubsets(cell).results()}
    lacking_t2 = [case for case, has in tested.items() if "T2" not in has]
    facts, subset = found["T1", "T2"]
    assert (facts.coverage.of, facts.coverage.whole) == (len(tested), len(tested) - len(lacking_t2))
    assert facts.coverage.tested == subset["case"].nunique()
    facts, subset = found["T2",]
    assert set(subset["case"]) == set(tested.index) - set(lacking_t2)
    results = load_results(store.find_study("micro"), store)
    scores = scores_by_pattern(results, "mine", "dice", "lesion", {Variant("toy", "-"): "toy"})
    assert {one.modalities: one.patients for one in scores} == tested.value_counts().to_dict()
    dice = rows[rows["metric"] == "dice"].groupby("modalities")["value"].mean()
    assert {one.modalities: one.summaries["toy"].mean for one in scores} == pytest.approx(dice.to_dict())
    covered = coverage_of(results.cases, [("T2",), ("T1", "T2", "FLAIR")])
    having = len(tested) - len(lacking_t2)
    assert covered == {("T2",): (having, having), ("T1", "T2", "FLAIR"): (len(tested), having)}
    assert main(["report", "micro", "--format", "markdown", "--no-figures"]) == 0
    shown = Path("results/reports/micro/default/tables.md").read_text()
    assert "by the modalities that patients have" in shown
    assert f"T2 {having} ({having})" in shown
    out = predict_cell(cell, None, project / "out", project / "cache", CPU, 0, lambda *_: None)
    assert set(out.cases) == set(tested.index)


def test_patients_without_some_modalities_are_predicted_as_in_the_cells_own_tests_also_by_the_exported_folder(
    trained, project, capsys
):
    store, cell = trained
    export_cell(store, cell, project / "model", project / "cache", lambda *_: None)
    evaluation = Evaluation.open(cell, None, project / "cache", CPU)
    patch, inference = evaluation.problem.task.patch_size, evaluation.problem.spec.protocol.inference
    assert {case.absent for case in evaluation.tests.values()} > {(), (1,)}
    images = project / "Dataset501_Mine/imagesTr"
    # As their files are, and without T2, whose body lies inside that of T1: the crop stays what it is.
    for taken in ((), (1,)):
        wanted, words, without = {}, [], tuple(f"_{channel:04d}.nii.gz" for channel in taken)
        for name, case in evaluation.tests.items():
            windows, normaliser = evaluation.windows, evaluation.normaliser
            wanted[name] = segment_native(windows, case, normaliser, patch, inference, CPU, taken)
            words += [str(path) for path in images.glob(f"{name}_*") if not path.name.endswith(without)]
        out = [project / f"{where}{taken}" for where in ("here", "there")]
        assert main(["predict", cell.id, "--cpu", "--images", *words, "--out", str(out[0])]) == 0
        assert "No T2: zeros stand for it." in capsys.readouterr().out
        assert run_program(project / "model", ["--images", *words, "--out", str(out[1])]) == 0
        assert "No T2: zeros stand for it." in capsys.readouterr().err
        for name, label in wanted.items():
            for folder in out:
                assert np.array_equal(np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj), label), (folder, name)
        assert any(label.any() for label in wanted.values()), "background alone would prove nothing"
    assert "may lack some of T1, T2, FLAIR" in (project / "model/README.md").read_text()


def test_a_network_made_for_it_does_without_and_the_leading_one_must_be_stated(trained):
    class Told(nn.Module):
        takes_present = True

    _, cell = trained
    assert Absences.of(cell, Told()).told
    led = replace(Absences.of(cell, nn.Identity()), leading="T1", may_lack=("T2", "FLAIR"))
    led.check({"p": ["T2", "FLAIR"]})
    with pytest.raises(DataError, match=r"Patient p lacks T1 \(the leading modality\)"):
        led.check({"o": ["T2"], "p": ["T1", "T2"]})


def test_the_patients_mask_reaches_a_network_that_takes_one():
    class Told(nn.Module):
        takes_present = True

        def forward(self, images, present):
            return present

    images = torch.zeros(2, 3, 4, 4)
    images[1, 1] = torch.nan
    assert FillsAbsent(Told(), Filling.zeros(3))(images).tolist() == [[1, 1, 1], [1, 0, 1]]


def test_a_study_is_refused_where_patients_lack_the_leading_modality_unless_it_says_what_stands_for_it(
    write_study, toys, project
):
    with pytest.raises(DataError) as error:
        load_study(study_of(write_study, project, "T1", "toy_leading"))
    assert "p05, p11" in error.value.message
    assert error.value.message.startswith("micro.yaml:")
    assert load_study(study_of(write_study, project, "T1", "toy")).cells, "a network that nothing leads"
    stated = {"base": "demo", "sampling": {"missing": {"fill": "zeros"}}}
    (cell,) = load_study(study_of(write_study, project, "T1", "toy_leading", protocol=stated)).cells
    assert cell.spec.leading == "T1"
