"""From a folder of one's own with a column of sites to a report that finds the site whose images are otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.publication.leaks import find_leaks
from tests.helpers.own_folder import write_own_folder, write_sites

#: Sites and their patients; at the last one images are inverted, so that what is learned elsewhere fails.
SITES = {"Anstadt": 6, "Bedorf": 6, "Zeburg": 6}
PROTOCOL = {
    "base": "demo",
    "patch_size": [32, 32],
    "sampling": {"batch_size": 4},
    "training": {"epochs": 3, "steps_per_epoch": 30, "validate_every": 3, "refresh_batchnorm": 2},
}


def study(project: Path, inverted: str, **matrix: object) -> Path:
    """Writes the folder, its sites and the study."""
    root = write_own_folder(project / "own", SITES, inverted=inverted)
    write_sites(root, SITES)
    values = {
        "name": "own_patients",
        "question": "Does it hold at the other site, and what do more patients bring?",
        "protocol": PROTOCOL,
        "matrix": {
            "dataset": [{"nnunet_raw": "own", "split": {"by": "site"}}],
            "model": [{"name": "nnunet", "preset": "tiny"}],
            **matrix,
        },
        "report": {"by": ["site"], "metrics": ["dice"]},
    }
    path = project / "own_patients.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def answer(project: Path) -> str:
    assert main(["report", "own_patients", "--no-figures", "-f", "html", "-f", "csv", "--no-mlflow"]) == 0
    return (project / "results/reports/own_patients/default/answer.txt").read_text()


@pytest.mark.slow
def test_a_planted_site_is_found_by_leaving_it_out_and_no_file_but_the_report_names_it(project):
    path = study(project, "Zeburg", train_share=[0.2, 1.0])
    assert main(["run", str(path), "--workers", "1", "--no-mlflow"]) == 0
    said = answer(project)
    assert "scores by site when it was held out of training: they differ: " in said
    assert "in Zeburg (6 patients)" in said
    assert "the step from 3 to 11" in said
    page = (project / "results/reports/own_patients/default/report.html").read_text()
    assert "Zeburg" in page
    assert "learning curve" in page
    assert main(["publish", "own_patients", "--out", "published"]) == 0
    assert list(find_leaks(project / "published", list(SITES))) == []
    assert main(["verify", "published"]) == 0
    assert list(find_leaks(project / "results/cells", list(SITES))) == []
    assert list(find_leaks(project / "results/studies", list(SITES))) == []
    split = json.loads(next((project / "published/splits").glob("*.json")).read_text())
    assert len(split["folds"][0]["test"]) == 6


@pytest.mark.slow
def test_where_sites_are_alike_the_report_says_that_it_cannot_tell(project):
    path = study(project, "")
    assert main(["run", str(path), "--workers", "1", "--no-mlflow"]) == 0
    assert "these data cannot tell whether they differ" in answer(project)


@pytest.mark.slow
def test_pairs_of_sites_find_it_too(project):
    path = study(project, "Zeburg")
    values = yaml.safe_load(path.read_text())
    values["matrix"]["dataset"][0]["split"]["kind"] = "pairs"
    path.write_text(yaml.safe_dump(values))
    assert main(["run", str(path), "--workers", "1", "--no-mlflow"]) == 0
    said = answer(project)
    assert "in Zeburg (6 patients)" in said
    assert "trained at another site against those trained at the patient's own" in said
