"""A results folder of 0.2.0 is read, reported and continued; nothing that is done is computed again.

Only the command line and stored files are used, so that modules may move. What is stored, and how it was made, is in
``scripts/guard/make_stored_results.py``.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from guarding import GUARD
from safetensors.numpy import load_file

import harness.results
from harness.cli import main

EXPECTED: dict[str, Any] = json.loads((GUARD / "data" / "expected.json").read_text())
CELLS: dict[str, str] = EXPECTED["cells"]

#: Files of a study that was run alone, on one core, without MLflow.
ALONE = ["--cpu", "--no-mlflow", "--workers", "1", "--threads", "1"]

#: Stands in the archive for the folder it is unpacked into.
_PLACE = b"@PROJECT@"

#: With the packages and the processor that made the record, numbers are equal bit for bit; elsewhere nearly so.
SAME_MACHINE = torch.backends.cpu.get_cpu_capability() == EXPECTED["cpu"] and all(
    version(package) == EXPECTED["versions"][package] for package in ("torch", "numpy", "scipy", "monai")
)


def unpack(archive: str, folder: Path) -> Path:
    """Unpacks a stored folder and tells its files where they are."""
    with tarfile.open(GUARD / "data" / archive) as packed:
        packed.extractall(folder, filter="data")
    for path in folder.rglob("*"):
        if path.is_file() and _PLACE in (content := path.read_bytes()):
            path.write_bytes(content.replace(_PLACE, str(folder).encode()))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the stored folder."""
    return unpack("project.tar.xz", tmp_path / "project")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same study where nothing was interrupted and nothing failed."""
    return unpack("whole.tar.xz", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def type_(
    project: Path, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Returns a function that types a command in the stored folder and returns what it printed."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TOY_PAUSE", "0")  # nobody disturbs the slow toy here
    for name in ("MLFLOW_TRACKING_URI", "HARNESS_RESULTS", "HARNESS_CACHE", "HARNESS_TUNING_STORAGE"):
        monkeypatch.delenv(name, raising=False)

    def type_it(*arguments: str, status: int = 0) -> str:
        assert main(list(arguments)) == status, capsys.readouterr()
        return capsys.readouterr().out

    return type_it


def contents(*folders: Path) -> dict[str, tuple[str, int]]:
    """Returns hash and time of change of every file in some folders."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def cell(project: Path, label: str) -> Path:
    return project / "results" / "cells" / CELLS[label]


def states(project: Path) -> dict[str, str]:
    """Returns what has become of each cell, by the files that are documented."""
    found = {}
    for label in CELLS:
        folder = cell(project, label)
        if (folder / "result" / "summary.json").is_file():
            found[label] = "done"
        elif (folder / "failure.json").is_file():
            found[label] = "failed"
        else:
            found[label] = "interrupted" if (folder / "work" / "last.pt").is_file() else "new"
    return found


def assert_same_rows(table: pd.DataFrame, expected: Sequence[Sequence[Any]], exact: bool = True) -> None:
    """Asserts that rows of cases hold the expected values."""
    found = {(row.case, row.region, row.metric): (row.value, row.status) for row in table.itertuples()}
    for case, region, metric, value, status in expected:
        got, kind = found[case, region, metric]
        if exact:
            assert (got, kind) == (value, status), (case, region, metric)
        else:
            assert kind == status
            assert got == pytest.approx(value, abs=0.05 if metric != "hd95" else 5)


def assert_same_result(ours: Path, stored: Path) -> None:
    """Asserts that a cell that was computed now has the tables and weights of the undisturbed one."""
    rows = [pd.read_parquet(one / "result" / "cases.parquet") for one in (ours, stored)]
    histories = [pd.read_parquet(one / "result" / "history.parquet") for one in (ours, stored)]
    clocks = ["seconds", "waiting"]
    if not SAME_MACHINE:
        metrics = ["case", "region", "metric", "value", "status"]
        assert_same_rows(rows[0], rows[1].loc[rows[1]["metric"] == "dice", metrics].values.tolist(), exact=False)
        assert histories[0]["val_dice"].to_numpy() == pytest.approx(histories[1]["val_dice"].to_numpy(), abs=0.05)
        return
    # Metrics that the study asks for are computed now, which 0.2.0 did only where the dataset declares them.
    rows[0] = rows[0][rows[0]["metric"].isin(rows[1]["metric"])].reset_index(drop=True)
    # The version of the harness, and the module of a metric, may be other ones; the number may not.
    pd.testing.assert_frame_equal(*(table.drop(columns="implementation") for table in rows), check_exact=True)
    pd.testing.assert_frame_equal(*(table.drop(columns=clocks) for table in histories), check_exact=True)
    weights = [load_file(one / "result" / "weights.safetensors") for one in (ours, stored)]
    assert weights[0].keys() == weights[1].keys()
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])


def assert_same_records(found: pd.DataFrame, expected: Sequence[Mapping[str, Any]]) -> None:
    """Asserts that a csv file holds the expected records; other columns may have joined."""
    assert len(found) == len(expected)
    for row, record in zip(found.to_dict("records"), expected, strict=True):
        for key, value in record.items():
            if isinstance(value, float):
                assert row[key] == pytest.approx(value, abs=1e-9), key
            elif value is None:
                assert pd.isna(row[key]), key
            else:
                assert row[key] == value, key


def test_the_state_of_every_cell_is_seen(project: Path, type_: Callable[..., str]):
    assert states(project) == EXPECTED["states"]
    before = contents(project / "results" / "cells")
    printed = type_("status", "stored").splitlines()
    for label, state in EXPECTED["states"].items():
        assert any(label in line and state in line for line in printed), printed
    assert contents(project / "results" / "cells") == before


def test_stored_rows_are_loaded(project: Path):
    rows = harness.results.load("stored", results=project / "results")
    assert set(rows["label"]) == {"Finished", "Second"}
    for label in ("Finished", "Second"):
        assert_same_rows(rows[rows["label"] == label], EXPECTED["rows"][label])


def test_a_report_holds_the_stored_numbers(project: Path, type_: Callable[..., str]):
    before = contents(project / "results" / "cells")
    type_("report", "stored", "--format", "all", "--no-figures")
    assert contents(project / "results" / "cells") == before
    out = project / "results" / "reports" / "stored" / "default"
    (cases,) = out.rglob("cases.csv")
    rows = pd.read_csv(cases)
    for label in ("Finished", "Second"):
        found = rows[rows["label"] == label].set_index(["case", "region", "metric"])["value"].to_dict()
        for case, region, metric, value, _ in EXPECTED["rows"][label]:
            assert found[case, region, metric] == value
    (means,) = out.rglob("means.csv")
    (missing,) = out.rglob("missing.csv")
    assert set(pd.read_csv(means)["label"]) >= {"Finished", "Second"}
    assert len(pd.read_csv(missing))
    kinds = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert {".csv", ".md", ".tex", ".html"} <= kinds


def test_a_run_continues_and_a_retry_mends(project: Path, whole: Path, type_: Callable[..., str]):
    """The interrupted cell goes on from its checkpoint; numbers are those of a run that nothing stopped."""
    finished = [cell(project, label) / "result" for label in ("Finished", "Second")]
    before = contents(*finished)
    type_("retry", "stored", *ALONE)  # the failed one alone
    assert states(project) == {**EXPECTED["states"], "Failed": "done"}
    assert_same_result(cell(project, "Failed"), whole / "results" / "cells" / CELLS["Failed"])

    checkpoint = torch.load(cell(project, "Interrupted") / "work" / "last.pt", weights_only=True)
    assert checkpoint["state"]["step"] == EXPECTED["interrupted_step"]
    epochs = checkpoint["state"]["history"]
    type_("run", "stored.yaml", *ALONE)
    assert set(states(project).values()) == {"done"}
    assert contents(*finished) == before
    stored = whole / "results" / "cells" / CELLS["Interrupted"]
    assert_same_result(cell(project, "Interrupted"), stored)
    # An epoch that was trained before has the clock of then: it was not trained again.
    history = pd.read_parquet(cell(project, "Interrupted") / "result" / "history.parquet")
    assert history["seconds"][: len(epochs)].tolist() == [epoch["seconds"] for epoch in epochs]

    rows = harness.results.load("stored", results=project / "results")
    for label, expected in EXPECTED["rows"].items():
        assert_same_rows(rows[rows["label"] == label], expected, exact=SAME_MACHINE)
    assert len(list((project / "results" / "cells").iterdir())) == len(CELLS) + 1, "no other cell was begun"


def test_subsets_of_modalities_are_not_tested_again(project: Path, type_: Callable[..., str]):
    stored = {"Finished": ("stored", CELLS["Finished"]), "Dropped": ("dropped", EXPECTED["dropped"])}
    for label, (study, identity) in stored.items():
        folder = project / "results" / "cells" / identity
        before = contents(*folder.glob("subsets/*/"), folder / "result")
        type_("missing", study, "--label", label, "--cpu", "--workers", "1", "--threads", "1")
        assert contents(*folder.glob("subsets/*/"), folder / "result") == before
        found = {path.parent.name for path in folder.glob("subsets/*/subset.json")}
        assert found == {subset["folder"] for subset in EXPECTED["subsets"][label]}
        for subset in EXPECTED["subsets"][label]:
            rows = pd.read_parquet(folder / "subsets" / subset["folder"] / "cases.parquet")
            assert_same_rows(rows, subset["rows"])


@pytest.mark.slow
def test_subsets_that_are_gone_are_tested_to_the_same_rows(project: Path, type_: Callable[..., str]):
    """With stored weights, what stands for an absent modality, and the numbers, are the same."""
    folder = project / "results" / "cells" / EXPECTED["dropped"] / "subsets"
    shutil.rmtree(folder)
    type_("missing", "dropped", "--cpu", "--workers", "1", "--threads", "1")
    for subset in EXPECTED["subsets"]["Dropped"]:
        facts = json.loads((folder / subset["folder"] / "subset.json").read_text())
        assert (facts["present"], facts["fill"]) == (subset["present"], subset["fill"])
        rows = pd.read_parquet(folder / subset["folder"] / "cases.parquet")
        assert_same_rows(rows, subset["rows"], exact=SAME_MACHINE)


def test_a_tuned_study_is_not_tuned_again(project: Path, type_: Callable[..., str]):
    folder = project / "results" / "tuning" / "tuned" / "default"
    before = contents(folder / "cells")
    protocol = (project / "protocols" / "tuned_tuned.yaml").read_text()
    type_("tune", "tuned.yaml", *ALONE)
    assert contents(folder / "cells") == before
    assert_same_records(pd.read_csv(folder / "trials.csv"), EXPECTED["trials"])
    again = (project / "protocols" / "tuned_tuned.yaml").read_text()
    assert per_model(again) == per_model(protocol)


def test_a_longer_search_draws_what_it_would_have_drawn(project: Path, type_: Callable[..., str]):
    folder = project / "results" / "tuning" / "tuned" / "default"
    before = contents(folder / "cells")
    type_("tune", "tuned.yaml", "--trials", "3", *ALONE)
    found, expected = pd.read_csv(folder / "trials.csv"), EXPECTED["trials_longer"]
    if not SAME_MACHINE or version("optuna") != EXPECTED["versions"]["optuna"]:
        assert len(found) == len(expected)
        return
    assert_same_records(found, expected)
    assert {path: one for path, one in contents(folder / "cells").items() if path in before} == before


def per_model(protocol: str) -> Any:
    import yaml

    return yaml.safe_load(protocol)["per_model"]


def test_a_race_is_not_run_again(project: Path, type_: Callable[..., str]):
    folder, race = project / "results" / "lead" / "invented", EXPECTED["race"]
    before = contents(folder / "cells")
    answer = json.loads((folder / race["name"] / "answer.json").read_text())
    type_(*race["command"])
    assert contents(folder / "cells") == before
    assert sorted(path.name for path in (folder / "cells").iterdir()) == race["cells"]
    assert {path.name for path in folder.iterdir()} == {"cells", race["name"]}
    assert_same_records(pd.read_csv(folder / race["name"] / "ranking.csv"), race["ranking"])
    again = json.loads((folder / race["name"] / "answer.json").read_text())
    for key in ("first", "leading", "ranking", "rungs"):
        assert again.get(key) == answer.get(key), key
    # Its two validation patients are too few to tell anything from the first, which 0.2.0 did not say.
    others = {place["runner"] for place in again["ranking"]} - {again["first"]}
    assert set(answer["cannot_tell_from"]) <= others == set(again["cannot_tell_from"])


def test_cleaning_keeps_results_and_what_can_go_on(project: Path, type_: Callable[..., str]):
    before = contents(project / "results" / "cells")
    leftover = cell(project, "Finished") / "work" / "last.pt"
    leftover.write_bytes(b"a checkpoint of a finished cell")
    type_("clean", "--yes")
    assert contents(project / "results" / "cells") == before
    type_("clean", "--yes", "--failed")
    gone = {path for path in before if path not in contents(project / "results" / "cells")}
    assert gone
    assert all(CELLS["Failed"] in path for path in gone)
    assert states(project) == {**EXPECTED["states"], "Failed": "new"}
    kept = contents(project / "results" / "cells")
    (project / "results" / "studies" / "dropped" / "default" / "study.json").unlink()
    type_("clean", "--yes", "--orphaned-results")
    orphan = project / "results" / "cells" / EXPECTED["dropped"]
    assert not orphan.exists()
    assert contents(project / "results" / "cells") == {
        path: one for path, one in kept.items() if EXPECTED["dropped"] not in path
    }


def test_the_archives_are_small_and_say_nothing_of_where_they_were_made():
    for name in ("project.tar.xz", "whole.tar.xz"):
        content = (GUARD / "data" / name).read_bytes()
        assert len(content) < 200_000
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            for member in packed.getmembers():
                file = packed.extractfile(member)
                assert file is not None
                text = file.read()
                assert b"/home/" not in text
                assert b"/root/" not in text
