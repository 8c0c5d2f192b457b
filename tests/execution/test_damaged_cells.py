"""A cell that lost its files is left as it is until `harness retry --damaged` makes it new."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.results.store import Store

ALONE = ["--workers", "1", "--no-mlflow"]


@pytest.fixture
def store(finished_study: Path, project: Path) -> Store:
    return Store(project / "results")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capsys.readouterr()).split())


def test_a_damaged_cell_stays_as_it_is_until_it_is_made_new(finished_study, store, capsys):
    ((_, cell),) = store.study_cells(store.find_study("micro"))
    path = cell.result / "cases.parquet"
    rows = pd.read_parquet(path)
    path.write_bytes(b"junk")

    assert main(["plan", str(finished_study)]) == 0
    assert "cases.parquet is damaged" in said(capsys)
    assert main(["run", str(finished_study), *ALONE]) == 1
    assert "1 of 1 cells are damaged: `harness retry micro --damaged` makes them new." in said(capsys)
    assert path.read_bytes() == b"junk"
    assert main(["report", "micro"]) == 2, "there is nothing else to report"
    assert "1 damaged" in said(capsys)

    assert main(["retry", "micro", "--damaged", *ALONE]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(path), rows)
    capsys.readouterr()
    assert main(["retry", "micro", "--damaged", *ALONE]) == 0
    assert "No cell of micro (default) is damaged." in said(capsys)


def test_records_that_follow_from_the_study_are_written_anew_and_nothing_is_computed(finished_study, store, capsys):
    study = store.find_study("micro")
    ((_, cell),) = store.study_cells(study)
    records = cell.path / "cell.json", study.path / "study.json"
    before = [path.read_bytes() for path in records], cell.summary()
    for path in records:
        path.write_bytes(b"\0" * 100)
    assert main(["retry", "micro", "--damaged", *ALONE]) == 0
    assert ([path.read_bytes() for path in records], cell.summary()) == before

    # Without the study's file that is said, and nothing is lost.
    records[0].write_bytes(b"")
    finished_study.unlink()
    assert main(["retry", "micro", "--damaged", *ALONE]) == 1
    assert "cell.json is damaged" in said(capsys)
    assert cell.status() == "damaged"
    assert cell.result.is_dir()
    records[0].write_bytes(before[0][0])
    assert cell.status() == "done"
