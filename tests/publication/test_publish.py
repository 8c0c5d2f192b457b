"""``harness publish`` and ``harness verify``: nobody is named, everything follows, whatever is changed is found."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file
from stored import summary

from harness.cli import main
from harness.errors import HarnessError
from harness.execution.study import register
from harness.publication.cells import Copier
from harness.publication.leaks import find_leaks
from harness.publication.names import Cleaner
from harness.publication.publish import publish
from harness.publication.record import RECORD, Publication
from harness.publication.verify import verify
from harness.report.inputs.acquisition import NOTHING_ASKED, read_acquisition
from harness.report.write import write_report
from harness.results.json_record import write_sealed
from harness.results.overlay import Overlay, write_slices
from harness.results.records import FailedAttempt, SubsetSummary, Timing
from harness.results.store import CellFolder, Store
from harness.results.subsets import CellSubsets
from harness.study.cell import CellSpec
from harness.study.expansion import load_study

PATIENTS = ("Anna_Muster", "Beat-Beispiel", "Carla.Probe", "Dora_Test_1", "Emil_Fall", "Fritz_Kranke", "Gabi_Neu")
#: Sites of these patients, which the study's report shows scores by.
SITES = ("Stadtklinik-Nord", "Praxis-Suedpark")
USER, HOST, DAY = "wmeier", "klinik-rechner-7", "2026-03-14"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a user, whose folders name him, and whose study names his patients."""
    home = tmp_path_factory.mktemp("home") / USER
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOME": str(home), "USER": USER, "LOGNAME": USER}.items():
            patch.setenv(name, value)
        patch.setattr(socket, "gethostname", lambda: HOST)
        patch.chdir(home)
        yield home


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """A results folder with a finished study of two cells of the user's own folder of images."""
    raw = place / "nnUNet_raw" / "Dataset501_Own"
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
    image = nib.Nifti1Image(np.arange(512, dtype=np.float32).reshape(8, 8, 8), np.eye(4))
    label = nib.Nifti1Image((np.arange(512).reshape(8, 8, 8) % 2).astype(np.uint8), np.eye(4))
    for name in PATIENTS[:-1]:
        for channel in range(2):
            nib.save(image, raw / f"imagesTr/{name}_{channel:04d}.nii.gz")
        nib.save(label, raw / f"labelsTr/{name}.nii.gz")
    for channel in range(2):  # which makes a note that names the patient
        nib.save(image, raw / f"imagesTs/{PATIENTS[0]}_{channel:04d}.nii.gz")
        nib.save(image, raw / f"imagesTs/{PATIENTS[-1]}_{channel:04d}.nii.gz")
    facts = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "tumour": 1}, "numTraining": 6}
    (raw / "dataset.json").write_text(json.dumps({**facts, "file_ending": ".nii.gz"}))
    rows = [f"{name},{SITES[number % 2]}" for number, name in enumerate(PATIENTS)]
    (raw / "patients.csv").write_text("\n".join(["patient,site", *rows]))
    study = place / "own.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "own",
                "question": f"Does it help {PATIENTS[1]}, whose scan is /data/{USER}/scan.nii.gz?",
                "protocol": "demo",
                "matrix": {
                    "dataset": [{"nnunet_raw": str(raw), "leading": "T1"}],
                    "model": [{"name": "unetr", "preset": "tiny"}, {"name": "nnunet", "preset": "tiny"}],
                },
                "report": {"metrics": ["dice", "hd95"], "by": "site"},
            }
        )
    )
    store = Store(place / "results")
    store.create()
    loaded = load_study(study)
    folder = register(loaded, store, study)
    test = loaded.cells[0].spec.facts().open(raw).split(0).test
    for number, (_, cell) in enumerate(store.study_cells(folder)):
        finish(cell, cell.spec(), test, 0.1 * number)
    return store.root


def finish(cell: CellFolder, spec: CellSpec, cases: tuple[str, ...], more: float) -> None:
    """Gives a cell what `harness run` leaves, with scores that follow from the names."""
    rows = [
        {"dataset": spec.dataset, "model": spec.model, "leading": spec.leading, "fold": 0, "seed": 0, "patient": case,
         "case": case, "region": "tumour", "metric": metric, "value": len(case) / 20 + more, "status": "scored",
         "implementation": "x"}
        for case in cases for metric in ("dice", "hd95")
    ]  # fmt: skip
    masks = [{"case": case, "region": "tumour", "status": "scored", "truth_is_empty": False, "shape": [8, 8, 8],
              "spacing": [1.0, 1.0, 1.0]} for case in cases]  # fmt: skip
    history = {"epoch": [1], "step": [1], "loss": [1.0], "val_dice": [0.5], "lr": [0.1], "seconds": [1.0]}
    failure = FailedAttempt(kind="oom", reason=f"{cases[0]} in /home/{USER}", time=f"{DAY}T00:00:00+00:00")
    plane = np.zeros((8, 8), np.uint8)
    overlay = Overlay(plane[None], ("T1",), plane, plane, (1, 1), ("background", "tumour"), cases[0], 3)
    with cell.writing_result() as result:
        pd.DataFrame(rows).to_parquet(result / "cases.parquet", index=False)
        pd.DataFrame(masks).to_parquet(result / "masks.parquet", index=False)
        pd.DataFrame(history).to_parquet(result / "history.parquet", index=False)
        pd.DataFrame(columns=[*rows[0], "floor"]).to_parquet(result / "floors.parquet", index=False)
        Timing(latency_seconds=1.0).write(result / "testing.json")
        facts = summary(cell=cell.id, started=f"{DAY}T00:00:00+00:00", finished=f"{DAY}T01:00:00+00:00")
        facts.model_copy(update={"failures": (failure,)}).write(result / "summary.json")
        save_file({"weight": np.ones(3, np.float32)}, result / "weights.safetensors")
        overlay.save(result / "overlay.npz")
        write_slices(result / "slices.npz", dict.fromkeys(cases, overlay))
        (result / "predictions").mkdir()
        (result / "predictions" / f"{cases[0]}.nii.gz").touch()
    subset = SubsetSummary(
        present=("T1",), fill="zeros", dropout=None, default_leading="T1", finished=f"{DAY}T02:00:00+00:00"
    )
    with CellSubsets(cell).writing(subset) as path:
        pd.DataFrame(rows).to_parquet(path, index=False)


@pytest.fixture(scope="module")
def published(finished: Path, place: Path) -> Path:
    out, costs = place / "out", place / "costs.yaml"
    costs.write_text("T1: {minutes: 5}\nT2: {minutes: 3.5, contrast: true}\n")
    words = ["--margin", "0.03", "--costs", str(costs), "--results", str(finished)]
    assert main(["publish", "own", "--out", str(out), *words]) == 0
    return out


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """The published folder at another path, to be changed."""
    return Path(shutil.copytree(published, tmp_path / "elsewhere"))


def every_text(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and content of every file, tables and arrays read, as plainly as one can."""
    for path in sorted(folder.rglob("*")):
        text = path.relative_to(folder).as_posix()
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pylist()) + str(pq.read_schema(path).metadata)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                text += str({name: arrays[name].tolist() for name in arrays if arrays[name].dtype.kind == "U"})
        elif path.is_file():
            text += path.read_bytes().decode("latin-1")
        yield path.name, text.replace("\\_", "_")


def test_no_file_names_a_patient_a_date_a_user_or_a_machine(published: Path, place: Path) -> None:
    secret = [*PATIENTS, *SITES, USER, HOST, DAY, str(place), socket.gethostname(), str(Path.home())]
    assert [(name, word) for name, text in every_text(published) for word in secret if word in text] == []


def test_the_study_that_is_published_does_name_them(finished: Path, place: Path) -> None:
    text = "".join(text for _, text in every_text(finished))
    test = set(PATIENTS) & {row["case"] for row in pq.read_table(next(finished.rglob("cases.parquet"))).to_pylist()}
    assert len(test) == 2
    assert all(word in text for word in (*test, DAY, str(place)))


def test_sites_are_on_the_page_of_who_has_the_data_and_in_nothing_stored(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert main(["report", "own", "--results", str(finished), "--out", str(out), "--no-figures"]) == 0
    assert any(site in (out / "report.html").read_text() for site in SITES)
    assert [name for name, text in every_text(finished) for site in SITES if site in text] == []


@pytest.mark.usefixtures("place")
def test_sites_reach_mlflow_only_where_it_is_said(
    finished: Path, tracking_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ["--results", str(finished)]
    holds = lambda: any(site in text for _, text in every_text(tracking_database.parent) for site in SITES)  # noqa: E731
    assert main(["report", "own", "--no-figures", *results]) == 0
    assert "not logged in MLflow" in capsys.readouterr().out
    assert main(["mlflow", "sync", "own", *results]) == 0
    assert "not logged" in capsys.readouterr().out
    assert not holds()
    shutil.rmtree(finished / "reports")


def test_margin_and_costs_of_sets_are_recorded_and_asked_again(published: Path, place: Path, tmp_path: Path) -> None:
    publication = Publication.read(published / RECORD)
    asked = read_acquisition(0.03, 0.05, place / "costs.yaml")
    assert publication.question == asked
    said = "less than 0.03 of the first metric, α = 0.05; costs: T1 5 min, T2 3.5 min with contrast agent."
    assert said in (published / "README.md").read_text()
    older = {key: value for key, value in publication.to_json().items() if key not in ("margin", "alpha", "costs")}
    write_sealed(tmp_path / RECORD, older)
    assert Publication.read(tmp_path / RECORD).question == NOTHING_ASKED


def test_pseudonyms_are_the_same_in_every_file_and_ordered_by_themselves(published: Path) -> None:
    split = json.loads(next((published / "splits").glob("*.json")).read_text())
    test = split["folds"][0]["test"]
    assert len(split["patients"]) == 6
    for table in published.rglob("cases.parquet"):
        cases = [row["case"] for row in pq.read_table(table).to_pylist()]
        assert set(cases) == set(test)
        assert cases == sorted(cases)
    for table in published.rglob("cases.parquet"):
        rows = pq.read_table(table).to_pylist()
        assert {row["case"]: row["patient"] for row in rows} == {case: split["patients"][case] for case in test}


def test_it_is_a_results_folder_that_gives_the_same_tables_at_another_path(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert main(["report", "own", "--results", str(copy), "--out", str(out), "--no-figures", "-f", "csv"]) == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert path.read_bytes() == (copy / "reports/own/default" / path.relative_to(out)).read_bytes(), path.name


def test_an_equal_folder_is_said_to_be_equal(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"]
    assert found["recomputed"]["tables"] > 5
    assert found["recomputed"]["figures"] >= 4
    assert found["files"] == sum(path.is_file() for path in copy.rglob("*")) - 1


@pytest.fixture(scope="module")
def without_drawing(published: Path) -> Callable[[Path], list[str]]:
    """Returns what `harness verify` says of the files alone: figures take seconds."""
    from harness.publication.verify import Verdict, changed_files

    return lambda folder: list(changed_files(folder, Verdict()))


def test_a_changed_byte_is_found_in_whatever_file(copy: Path, without_drawing: Callable[[Path], list[str]]) -> None:
    for number, path in enumerate(sorted(path for path in copy.rglob("*") if path.is_file())):
        before = path.read_bytes()
        place = (0, len(before) // 2, len(before) - 1)[number % 3]
        path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        said = without_drawing(copy)
        assert any(path.name in one for one in said) or (path.name == "SHA256SUMS" and said), path
        path.write_bytes(before)
    assert without_drawing(copy) == []


def test_files_that_are_missing_or_more_or_links_are_named(
    copy: Path, without_drawing: Callable[[Path], list[str]]
) -> None:
    (copy / "README.md").unlink()
    (copy / "more.txt").write_text("x")
    (copy / "link").symlink_to("/etc/hostname")
    said = "\n".join(without_drawing(copy))
    for words in ("README.md is missing", "more.txt was not published", "link is a link"):
        assert words in said


@pytest.fixture
def plain(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published folder whose report has no figures, which take seconds, when it is verified, too."""
    for module in ("publish", "verify"):
        monkeypatch.setattr(f"harness.publication.{module}.write_report", partial(write_report, figures=False))
    store = Store(finished)
    publish(store, store.find_study("own"), tmp_path / "plain")
    return tmp_path / "plain"


def test_numbers_that_do_not_follow_from_the_rows_are_named_whatever_the_checksums_say(plain: Path) -> None:
    """Someone changes a table, a model card and rows, and writes checksums that fit."""
    means = plain / "reports/own/default/csv/means.csv"
    table = pd.read_csv(means)
    row = table.index[table["metric"] == "dice"][0]
    table.loc[row, "mean"] += 0.01
    table.to_csv(means, index=False, lineterminator="\n")
    card = next(plain.rglob("result/README.md"))
    card.write_text(card.read_text().replace("For research.", "For the clinic."))
    split = next((plain / "splits").glob("*.json"))
    values = json.loads(split.read_text())
    values["folds"][0]["test"].pop()
    split.write_text(json.dumps(values))
    files = sorted(path.relative_to(plain).as_posix() for path in plain.rglob("*") if path.is_file())
    files.remove("SHA256SUMS")
    sums = subprocess.run(["sha256sum", *files], cwd=plain, check=True, capture_output=True, text=True).stdout
    (plain / "SHA256SUMS").write_text(sums)
    found = verify(plain)
    said = "\n".join(found.differences)
    assert f"means.csv: row {row + 1}, mean" in said
    assert "README.md: line" in said
    assert "was scored on other cases" in said
    assert len(found.differences) == 4  # the split is that of two cells


@pytest.mark.parametrize("changes", [{"study": "../../../etc"}, {"profile": ".."}, {"format": 2}, {"study": "other"}])
def test_a_record_that_leads_elsewhere_is_a_difference(copy: Path, changes: dict[str, Any]) -> None:
    values = Publication.read(copy / RECORD).to_json() | changes
    write_sealed(copy / RECORD, values)
    said = verify(copy).differences
    assert any(RECORD in one and "changed" in one for one in said)
    assert any("cannot be computed again" in one for one in said)


def test_a_published_cell_keeps_its_identity_whatever_its_weights_start_from(finished: Path, tmp_path: Path) -> None:
    store = Store(finished)
    cell = store.study_cells(store.find_study("own"))[0][1].spec()
    weights = f"/home/{USER}/{PATIENTS[0]}/weights.safetensors"
    started = replace(cell, start="abc123", start_file=Path(weights), options={**cell.options, "pretrained": weights})
    source, target = Store(tmp_path / "source").cell(started.id), Store(tmp_path / "target").cell(started.id)
    source.write_spec(started.to_json())
    Copier({}, Cleaner({}), frozenset(), weights=True).copy(source, target)
    values = target.record().to_json()
    assert CellSpec.from_json({**values, "root": str(cell.root)}).id == started.id
    assert not any(word in json.dumps(values) for word in (USER, PATIENTS[0], "/home"))


def test_sha256sum_reads_the_checksums(copy: Path) -> None:
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=copy, check=True)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="not a published study"):
        verify(tmp_path)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the report, which takes seconds."""
    import harness.publication.publish as module

    monkeypatch.setattr(module, "write_report", lambda results, out, question: None)


@pytest.mark.usefixtures("fast")
def test_what_is_asked_for_is_kept(finished: Path, tmp_path: Path) -> None:
    store = Store(finished)
    study = store.find_study("own")
    publish(store, study, tmp_path / "all", keep=("names", "dates", "paths", "images"))
    text = "".join(text for _, text in every_text(tmp_path / "all"))
    assert all(word in text for word in (*PATIENTS[:-1], DAY, USER))
    split = json.loads(next((tmp_path / "all/splits").glob("*.json")).read_text())
    assert split["folds"][0]["hash"] == split["split"]
    publish(store, study, tmp_path / "images", keep=("images",), weights=False)
    text = "".join(text for _, text in every_text(tmp_path / "images"))
    assert not any(word in text for word in (*PATIENTS, DAY, USER))
    assert list((tmp_path / "images").rglob("slices.npz"))
    assert not list((tmp_path / "images").rglob("*.safetensors"))
    assert not list((tmp_path / "images").rglob("result/README.md"))


@pytest.mark.usefixtures("fast")
def test_a_study_that_lacks_something_is_refused_with_a_list_or_published_with_it(
    finished: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(finished, tmp_path / "results"))
    store = Store(results)
    study = store.find_study("own")
    first, second = [cell for _, cell in store.study_cells(study)]
    shutil.rmtree(first.result)
    first.fail(f"{PATIENTS[0]} is damaged", traceback=f"/home/{USER}/x.py", kind="data")
    with pytest.raises(HarnessError, match=rf"lacks:\s+.*{first.id}\): failed, data"):
        publish(store, study, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    publish(store, study, tmp_path / "out", partial=True)
    text = "".join(text for _, text in every_text(tmp_path / "out"))
    assert f"Lacking: {study.manifest().labels[0]}" in text
    assert not any(word in text for word in (*PATIENTS, USER))
    there = Store(tmp_path / "out")
    assert [cell.status() for _, cell in there.study_cells(there.find_study("own"))] == ["failed", "done"]
    shutil.rmtree(second.result)
    with pytest.raises(HarnessError, match="not complete"):
        publish(store, study, tmp_path / "none", partial=True)


@pytest.mark.usefixtures("fast")
def test_without_the_data_there_is_no_split_and_notes_are_left_out(finished: Path, place: Path, tmp_path: Path) -> None:
    store = Store(finished)
    study = store.find_study("own")
    raw = place / "nnUNet_raw"
    raw.rename(place / "gone")
    try:
        with pytest.raises(HarnessError, match="the split of own, fold 0"):
            publish(store, study, tmp_path / "out")
        publish(store, study, tmp_path / "out", partial=True)
    finally:
        (place / "gone").rename(raw)
    text = "".join(text for _, text in every_text(tmp_path / "out"))
    assert not any(word in text for word in (*PATIENTS, USER))


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("label", [f"of {PATIENTS[2]}", f"on {HOST}", f"by {USER}"])
def test_what_would_name_somebody_is_not_published(finished: Path, tmp_path: Path, label: str) -> None:
    results = Path(shutil.copytree(finished, tmp_path / "results"))
    store = Store(results)
    study = store.find_study("own")
    manifest: dict[str, Any] = json.loads(json.dumps(study.manifest().to_json()))
    manifest["labels"][0] = manifest["cells"][0]["label"] = label
    study.write_manifest(type(study.manifest()).model_validate(manifest))
    with pytest.raises(HarnessError, match=r"Nothing was published: .* would hold"):
        publish(store, study, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


@pytest.mark.parametrize("where", ["full", "file", "link", "results/out", "results"])
def test_folders_that_are_not_free_are_refused(finished: Path, tmp_path: Path, where: str) -> None:
    results = Path(shutil.copytree(finished, tmp_path / "results"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(HarnessError):
        publish(Store(results), Store(results).find_study("own"), tmp_path / where)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("fast")
def test_links_in_a_result_are_not_followed(finished: Path, tmp_path: Path) -> None:
    store = Store(Path(shutil.copytree(finished, tmp_path / "results")))
    weights = next(store.root.rglob("weights.safetensors"))
    weights.unlink()
    weights.symlink_to("/etc/passwd")
    with pytest.raises(HarnessError, match="is a link"):
        publish(store, store.find_study("own"), tmp_path / "out")


def test_words_are_found_whole_in_every_kind_of_file(tmp_path: Path) -> None:
    pd.DataFrame({"x": ["a", "Anna_B"]}).to_parquet(tmp_path / "t.parquet")
    pd.DataFrame({"x": pd.Categorical(["Anna_B"])}).to_parquet(tmp_path / "c.parquet")
    np.savez_compressed(tmp_path / "a.npz", x=np.array(["Anna_B"]))
    save_file({"x": np.ones(1)}, tmp_path / "w.safetensors", {"of": "Anna_B"})
    (tmp_path / "j.json").write_text(json.dumps(["Ännä"]))
    (tmp_path / "t.tex").write_text(r"Anna\_B")
    (tmp_path / "Anna_B.txt").touch()
    (tmp_path / "not.txt").write_text("Anna_B2 xAnna_B 0.123456")
    found = dict(find_leaks(tmp_path, {"Anna_B", "Ännä", "123456"}))
    assert set(found) == {path.name for path in tmp_path.iterdir()} - {"not.txt"}
