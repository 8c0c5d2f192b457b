"""A damaged file is a state of its cell, named with a remedy; nothing else suffers, and one verb makes it new."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from stored import cell_record, finish_whole, manifest, summary

from harness.cli import main
from harness.files import read_json, write_json
from harness.results.json_record import DamagedRecordError, Record, UnreadableRecordError, find_damage, write_sealed
from harness.results.reading import load, load_results
from harness.results.records import Failure, HistoryRow, Progress, RungScores, SubsetSummary, Summary
from harness.results.scores import add_scores, read_scores, unscored_metrics
from harness.results.store import Store
from harness.results.subsets import CellSubsets, Subset

NAMES = {"A": "data_net-a_noleading_f0_s0_aaaaaaaaaaaa", "B": "data_net-b_noleading_f0_s0_bbbbbbbbbbbb"}
DEEP = b"[" * 100_000
FACTS = {"name": "data", "title": "Data", "kind": "generated", "unit": "patient", "modalities": ["t1", "t2"],
         "regions": ["WT"], "notes": []}  # fmt: skip

#: Keys of the records.
KEYS = ("reason", "metrics", "step", "name", "dataset", "files", "device", "latency_seconds", "present", "scores")


def flip_a_bit(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


#: What may become of any file.
DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "junk": lambda content: b"\xff\xfe\x00junk" * 20,
    "nothing but NUL": lambda content: bytes(len(content)),
    "deep": lambda content: DEEP,
    "another type": lambda content: b"[1, 2]",
    "null": lambda content: b"null",
    "values of other types": lambda content: (
        b'{"reason": {}, "metrics": 3, "step": [], "name": 1, "dataset": {}, "files": 7}'
    ),
    "one flipped bit": flip_a_bit,
}

#: Those that end in different places: nothing to read, a reader that falls over, a type, a checksum.
TELLING = ("empty", "deep", "values of other types", "one flipped bit")

#: All of them, where each takes a store of its own; ``make slow`` tries the rest.
SOME = [pytest.param(how, marks=() if how in TELLING else pytest.mark.slow) for how in DAMAGES]

#: The files of a finished cell without which its numbers cannot be shown.
RESULT = ["result/summary.json", "result/testing.json", "result/cases.parquet", "result/history.parquet",
          "result/masks.parquet", "result/floors.parquet", "result/checksums.json", "cell.json"]  # fmt: skip


def write_cell(store: Store, label: str) -> None:
    """A finished cell with a test of fewer modalities and a further metric."""
    cell = store.cell(NAMES[label])
    finish_whole(cell)
    rows = pd.read_parquet(cell.result / "cases.parquet")
    facts = SubsetSummary(present=("t1",), fill="zeros", dropout=None, default_leading="t1", cell=cell.id)
    with CellSubsets(cell).writing(facts) as path:
        rows.to_parquet(path, index=False)
    add_scores(cell, rows[rows["metric"] == "hd95"].assign(metric="nsd_2mm"))


def write_store(folder):
    store = Store(folder)
    store.create()
    for label in NAMES:
        write_cell(store, label)
    cells = [{"cell": identity, "label": label} for label, identity in NAMES.items()]
    store.study("s", "default").write_manifest(manifest(labels=["A", "B"], datasets=[FACTS], cells=cells))


@pytest.fixture
def store(tmp_path, monkeypatch, made_once):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    shutil.copytree(made_once("store_of_two_cells", write_store), tmp_path / "results")
    return Store(tmp_path / "results")


def damage(path, how):
    """Damages a file as a disk would: in place."""
    content = path.read_bytes() if path.is_file() else b'{"reason": "x", "step": 1}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DAMAGES[how](content))


@pytest.mark.parametrize("how", SOME)
@pytest.mark.parametrize("name", RESULT)
def test_a_damaged_cell_is_shown_beside_the_others(store, capsys, name, how):
    cell = store.cell(NAMES["A"])
    damage(cell.path / name, how)
    assert [store.cell(one).status() for one in NAMES.values()] == ["damaged", "done"]
    found = load_results(store.study("s", "default"), store)
    assert list(found.cells["status"]) == ["damaged", "done"]
    assert list(found.cells["dataset"]) == ["data", "data"]
    assert name.rpartition("/")[2] in found.cells["reason"][0]
    assert set(found.cases["label"]) == {"B"}
    if how == "deep":
        assert main(["status", "s"]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "damaged" in out
        assert "1.000" in out, "the other cell's Dice"
        assert main(["clean", "--yes"]) == 0
        assert name.rpartition("/")[2] in capsys.readouterr().out


def test_the_report_names_a_damaged_cell_and_shows_the_others(store, capsys):
    damage(store.cell(NAMES["A"]).result / "cases.parquet", "one flipped bit")
    assert main(["report", "s", "--no-figures", "--format", "markdown", "--format", "csv"]) == 0
    folder = store.root / "reports/s/default"
    assert "cases.parquet is damaged" in (folder / "csv/cells.csv").read_text()
    assert set(pd.read_csv(folder / "csv/means.csv")["label"]) == {"A", "B"}
    text = (folder / "tables.md").read_text()
    assert "damaged" in text
    assert "1.000" in text, "the mean of the other"
    assert main(["report", "s", "--no-figures", "--format", "csv", "--empty", "worst"]) == 0


@pytest.mark.parametrize("name", RESULT[:-1])
def test_a_file_that_is_gone_is_damage_too(store, name):
    cell = store.cell(NAMES["A"])
    (cell.path / name).unlink()
    gone = name != "result/testing.json" and name != "result/checksums.json"  # versions before had none
    assert (cell.status() == "damaged") == gone


def test_one_changed_digit_is_found(store):
    cell = store.cell(NAMES["A"])
    path = cell.result / "summary.json"
    path.write_text(path.read_text().replace('"train_seconds": 60.0', '"train_seconds": 61.0'))
    assert [error.path for error in cell.damages()] == [path]
    table = cell.result / "cases.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(content)
    assert [error.path for error in cell.damages()] == [path, table]


def unsealed(path):
    """Writes a record as release 0.2.0 did."""
    values = read_json(path)
    del values["checksum"]
    write_json(path, values)


def test_results_of_earlier_versions_are_not_checked_by_checksums_but_by_their_types(store):
    cell = store.cell(NAMES["A"])
    for path in [*cell.path.rglob("*.json")]:
        unsealed(path)
    (cell.result / "checksums.json").unlink()
    assert cell.status() == "done"
    rows = pd.read_parquet(cell.result / "cases.parquet")
    for broken in (rows.drop(columns="value"), rows.assign(value="high"), rows.assign(value=np.nan), rows[:0]):
        broken.to_parquet(cell.result / "cases.parquet", index=False)
        assert cell.status() == "damaged"


@pytest.mark.parametrize("how", SOME)
def test_a_damaged_subset_leaves_the_cell_done_and_is_tested_anew(store, capsys, how):
    cell = store.cell(NAMES["A"])
    subsets, subset = CellSubsets(cell), Subset(("t1",), "zeros")
    for name in ("subset.json", "cases.parquet"):
        path = subsets.path / subset.name / name
        sound = path.read_bytes()
        damage(path, how)
        assert not subsets.has(subset)
        assert subsets.results() == []
        assert cell.status() == "done"
        found = load_results(store.study("s", "default"), store)
        assert name in found.subset_failures[cell.id]
        assert set(found.cases["label"]) == {"A", "B"}
        path.write_bytes(sound)
    damage(path, how)
    facts = SubsetSummary(present=("t1",), fill="zeros", dropout=None, default_leading="t1")
    with subsets.writing(facts) as rows:
        shutil.copy(cell.result / "cases.parquet", rows)
    assert subsets.has(subset)


@pytest.mark.parametrize("how", SOME)
@pytest.mark.parametrize("name", ["scores/nsd_2mm/cases.parquet", "scores/nsd_2mm/checksums.json"])
def test_damaged_scores_of_a_further_metric_count_as_absent(store, capsys, name, how):
    cell = store.cell(NAMES["A"])
    rows = read_scores(cell)
    damage(cell.result / name, how)
    assert cell.status() == "done"
    assert [error.path for error in cell.damages()] == [cell.result / name]
    found = load_results(store.study("s", "default"), store)
    assert found.cases.groupby("label", observed=True)["metric"].nunique().to_dict() == {"A": 2, "B": 3}
    assert unscored_metrics(cell, ("dice", "nsd_2mm")) == ("nsd_2mm",)
    if how == "deep":
        assert main(["status", "s"]) == 0
        assert "nsd_2mm" in capsys.readouterr().out
        assert main(["retry", "s", "--damaged"]) == 0
        assert "harness evaluate" in capsys.readouterr().out
        assert cell.damages() == ()
    add_scores(cell, rows[rows["metric"] == "nsd_2mm"])
    pd.testing.assert_frame_equal(read_scores(cell), rows)
    assert cell.damages() == ()


@pytest.mark.parametrize("how", SOME)
def test_a_damaged_request_for_metrics_is_written_anew_and_costs_no_number(store, capsys, how):
    cell = store.cell(NAMES["A"])
    damage(cell.path / "metrics.json", how)
    assert cell.status() == "done"
    assert [error.path for error in cell.damages()] == [cell.path / "metrics.json"]
    assert len(load_results(store.study("s", "default"), store).cells) == 2
    if how == "deep":
        assert main(["retry", "s", "--damaged"]) == 0
        assert "metrics.json" in capsys.readouterr().out
        assert cell.wanted_metrics() == ()
    cell.want_metrics(["nsd"])
    assert cell.wanted_metrics() == ("nsd",)
    assert cell.damages() == ()


@pytest.mark.parametrize("how", sorted(set(DAMAGES) - {"empty"}))
@pytest.mark.parametrize("name", ["failure.json", "work/progress.json", "rungs/00002.json", "metrics.json"])
def test_a_damaged_record_of_an_unfinished_cell_is_its_state_and_stops_nobody(tmp_path, name, how):
    cell = Store(tmp_path).cell("cell")
    cell.write_spec(cell_record())
    damage(cell.path / name, how)
    assert cell.status() == "damaged"
    assert [error.path for error in cell.damages()] == [cell.path / name]
    assert cell.damages()[0].hint
    assert cell.progress() == Progress()
    assert cell.has_rung(2) is False
    failure = cell.failure()
    assert failure is None or "failure.json" in failure.reason


def test_a_damaged_record_of_a_finished_cell_that_nothing_needs_costs_no_number(store, capsys):
    cell = store.cell(NAMES["A"])
    damage(cell.work / "progress.json", "junk")
    assert cell.status() == "done"
    assert main(["status", "s"]) == 0
    assert "progress.json is damaged" in capsys.readouterr().out
    assert main(["retry", "s", "--damaged"]) == 0
    assert not (cell.work / "progress.json").exists()
    assert cell.damages() == ()


@pytest.mark.parametrize("how", SOME)
def test_a_damaged_study_is_named_and_costs_no_other_study(store, capsys, how):
    store.study("t", "default").write_manifest(manifest(NAMES["B"], labels=["B"], datasets=[FACTS]))
    damage(store.study("s", "default").path / "study.json", how)
    assert main(["status", "s"]) == 2
    error = capsys.readouterr().err
    assert "study.json" in error
    assert "harness run" in error
    assert main(["status", "t"]) == 0
    assert main(["clean", "--yes"]) == 0
    assert "study.json" in capsys.readouterr().out
    assert main(["clean", "--yes", "--orphaned-results"]) == 2, "nobody knows what the study asks for"
    assert store.cell(NAMES["A"]).status() == "done"


def test_what_the_system_does_not_let_us_read_is_never_replaced(store, monkeypatch, capsys):
    cell = store.cell(NAMES["A"])
    path = cell.result / "summary.json"
    path.unlink()
    path.mkdir()
    assert isinstance(find_damage(Summary, path), DamagedRecordError)
    path.rmdir()
    summary().write(path)
    read = Summary.read.__func__

    def refuse(kind, where):
        if where == path:
            raise UnreadableRecordError(where, PermissionError(13, "Permission denied"))
        return read(kind, where)

    # Stands for the system: tests may run as root, who may read everything.
    monkeypatch.setattr(Record, "read", classmethod(refuse))
    assert "Permission denied" in cell.damages()[0].message
    assert main(["retry", "s", "--damaged"]) == 1
    assert "left as it is" in capsys.readouterr().out
    assert main(["clean", "--damaged", "--yes"]) == 0
    assert cell.result.is_dir()


def test_a_sound_result_takes_the_place_of_a_damaged_one_and_no_sound_one_is_replaced(store):
    cell = store.cell(NAMES["A"])
    damage(cell.result / "cases.parquet", "junk")
    with cell.writing_result() as result:
        summary(commit="new").write(result / "summary.json")
    assert (cell.status(), cell.summary().commit) == ("done", "new")
    with cell.writing_result() as result:
        summary(commit="newer").write(result / "summary.json")
    assert cell.summary().commit == "new"
    assert not list(cell.path.glob(".*"))


def test_clean_removes_damaged_results_if_asked_to(store, capsys):
    cell = store.cell(NAMES["A"])
    damage(cell.result / "cases.parquet", "junk")
    assert main(["clean", "--yes", "--damaged"]) == 0
    assert not cell.result.exists()
    assert cell.status() == "new"
    assert store.cell(NAMES["B"]).status() == "done"


def test_rows_of_a_notebook_say_what_is_left_out(store):
    damage(store.cell(NAMES["A"]).result / "cases.parquet", "junk")
    with pytest.warns(UserWarning, match=r"cases\.parquet is damaged"):
        rows = load("s", results=store.root)
    assert set(rows["label"]) == {"B"}


def test_times_that_are_none_are_damage(tmp_path):
    write_sealed(tmp_path / "failure.json", {"reason": "x", "time": "yesterday"})
    with pytest.raises(DamagedRecordError, match="time"):
        Failure.read(tmp_path / "failure.json")


def test_a_checksum_covers_keys_that_this_version_does_not_know(tmp_path):
    path = tmp_path / "rung.json"
    RungScores(scores=(), history=(HistoryRow(epoch=1),), epoch=1).write(path)
    values = json.loads(path.read_text())
    write_json(path, {**values, "later": 1})
    with pytest.raises(DamagedRecordError, match="checksum"):
        RungScores.read(path)
