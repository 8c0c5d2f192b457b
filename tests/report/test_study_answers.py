"""What of a publication a study answers stands in every format of its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stored import manifest

from harness.report.inputs.several_studies import combine
from harness.report.write import write_report
from harness.results.reading import load_results
from harness.results.schema import StudyResults
from harness.results.store import Store

FILES = ("report.html", "tables.md", "tables.tex", "latex/means-cortex.tex")


def test_every_format_says_what_the_study_answers(ablation: StudyResults, tmp_path: Path) -> None:
    write_report(replace(ablation, answers="Table IX of the paper"), tmp_path, figures=False)
    for name in FILES:
        assert "Answers: Table IX of the paper" in (tmp_path / name).read_text(encoding="utf-8"), name


def test_a_study_that_answers_nothing_published_says_nothing(ablation: StudyResults, tmp_path: Path) -> None:
    write_report(ablation, tmp_path, figures=False)
    for name in FILES:
        assert "Answers:" not in (tmp_path / name).read_text(encoding="utf-8"), name


def test_joint_reports_answer_what_their_studies_answer(ablation: StudyResults) -> None:
    studies = [replace(ablation, study=name, answers=said) for name, said in (("a", "Table I"), ("b", ""), ("c", "II"))]
    assert combine(studies).answers == "Table I; II"


def test_stores_of_earlier_versions_are_still_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    store.study("s", "default").write_manifest(manifest())
    assert load_results(store.find_study("s"), store).answers == ""
    store.study("s", "default").write_manifest(manifest(answers="Table I"))
    assert load_results(store.find_study("s"), store).answers == "Table I"
