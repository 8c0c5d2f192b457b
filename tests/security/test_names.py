"""Names, whoever gave them, lead nowhere but into the results folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from stored import manifest

from harness.cli import main
from harness.errors import HarnessError, StudyError
from harness.results.reading import load_results
from harness.results.store import Store
from harness.study.expansion import load_study

HOSTILE = [
    "..",
    ".",
    "",
    "../escaped",
    "a/../../escaped",
    "/etc/escaped",
    "a\\..\\escaped",
    "C:escaped",
    "a\0b",
    "a\nb",
    "a:b",
    "．．／escaped",
    "．．",
    "\u202eescaped",
    "ＡＢ",
    "é",
    "-escaped",
    "a" + "/" * 300,
    "~",
    "$HOME",
]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_the_store_has_no_folder_of_a_name_that_leads_elsewhere(tmp_path, name):
    store = Store(tmp_path)
    for ask in (store.cell, lambda given: store.study(given, "default"), lambda given: store.study("study", given)):
        with pytest.raises(HarnessError, match="cannot be the name of a folder"):
            ask(name)


@given(st.text(max_size=30))
def test_whatever_the_store_accepts_is_a_direct_child(name):
    store = Store(Path("/nowhere/results"))
    try:
        path = store.cell(name).path
    except HarnessError:
        return
    assert path.resolve().parent == Path("/nowhere/results/cells")


@pytest.mark.parametrize("name", [*HOSTILE, "UPPER", "a" * 65], ids=repr)
@pytest.mark.parametrize("where", ["name", "profile"])
@pytest.mark.usefixtures("toys")
def test_a_study_file_cannot_name_a_folder_elsewhere(write_study, project, name, where):
    study = write_study()
    values = yaml.safe_load(study.read_text(encoding="utf-8"))
    values |= {"name": name} if where == "name" else {"profiles": {name: {}}}
    study.write_text(yaml.safe_dump(values))
    with pytest.raises(StudyError):
        load_study(study)


@pytest.mark.parametrize("name", ["../demo", "/etc/passwd", "protocols/../../demo", "..", "a\0b"])
@pytest.mark.usefixtures("toys")
def test_a_protocol_is_looked_for_nowhere_else(write_study, project, name):
    (project / "demo.yaml").write_text("patch_size: [8, 8]\n")
    (project / "protocols").mkdir()
    with pytest.raises(StudyError, match="Unknown protocol"):
        load_study(write_study(protocol=name))


def test_a_manifest_of_somebody_else_cannot_lead_elsewhere(tmp_path):
    store = Store(tmp_path / "results")
    store.create()
    (tmp_path / "results" / "cells").mkdir()
    folder = store.study("foreign", "default")
    folder.write_manifest(manifest("../../outside"))
    with pytest.raises(HarnessError, match="do not trust it"):
        load_results(folder, store)
    assert main(["report", "foreign", "--results", str(tmp_path / "results")]) == 2


@pytest.mark.parametrize("part", ["", "work", "result"])
def test_a_cell_that_is_a_link_is_not_written_through(tmp_path, part):
    store = Store(tmp_path / "results")
    store.cell("cell").fail("once")
    outside = tmp_path / "outside"
    outside.mkdir()
    cell = store.cell("cell").path
    if part:
        (cell / part).symlink_to(outside, target_is_directory=True)
    else:
        cell.rename(tmp_path / "moved")
        cell.symlink_to(outside, target_is_directory=True)
    with pytest.raises(HarnessError, match="is a link"):
        store.cell("cell")


def test_the_whole_results_folder_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk", target_is_directory=True)
    store = Store(tmp_path / "results")
    store.create()
    store.cell("cell").fail("x")
    assert (tmp_path / "disk" / "cells" / "cell" / "failure.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_labels_are_words_and_never_paths(write_study, project):
    """Labels may hold anything; what is written for them stays where results are."""
    labels = ["../../escaped", "/tmp/escaped", "\u202eescaped", "a\\b:c*?"]
    models = [{"name": "toy", "label": label, "width": 4 + number} for number, label in enumerate(labels)]
    study = write_study(matrix={"dataset": ["cortex"], "model": models})
    home = project / "home"
    before = set(project.parent.iterdir())
    results, cache = str(home / "results"), str(home / "cache")
    assert main(["run", str(study), "--no-mlflow", "--results", results, "--cache", cache]) == 0
    assert main(["report", "micro", "--results", results, "--format", "all"]) == 0
    assert set(project.parent.iterdir()) == before
    assert {path.name for path in project.iterdir()} == {"home", "micro.yaml"}
    assert not list(project.rglob("*escaped*")) or all("reports" in path.parts for path in project.rglob("*escaped*"))
