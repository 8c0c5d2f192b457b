"""Folders whose patients lack modalities: declared, checked, prepared, split."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from harness.cli import main
from harness.data.contract import Reader
from harness.data.datasets.layouts import find_dataset
from harness.data.datasets.layouts.write_nnunet_raw import write_nnunet_raw
from harness.data.incomplete import absent_channels, count_patterns, missing_modalities, refuse_without_leading
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.reading.checks import check_dataset
from harness.data.settings import PreparationSettings
from harness.data.splits import standard_split
from harness.errors import DataError, HarnessWarning
from harness.study.expansion import load_study
from tests.helpers.incomplete import AFFINE, LACKING, MODALITIES, volume, write_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("incomplete") / "Dataset501_Mine")


@pytest.fixture
def small(tmp_path):
    """Five patients, of whom one lacks T2; nothing is declared."""
    return write_folder(tmp_path / "Dataset502_Few", 5, {"p01": ("T2",)}, declare=False)


def opened(root):
    dataset = find_dataset("nnunet_raw", root)
    return dataset, dataset.open(root)


def declare(root, content):
    (root / "modalities.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_missing_modality_is_zero_and_named(whole):
    dataset, reader = opened(whole)
    assert missing_modalities(reader, "p05") == ("T1", "T2")
    assert absent_channels(dataset, reader, "p05") == (0, 1)
    images = reader.load("p05").images
    assert not images[:2].any()
    assert np.array_equal(images[2], volume("p05", 2))
    assert missing_modalities(reader, "p00") == ()
    assert reader.load("p00").images.all(axis=(1, 2, 3)).tolist() == [False] * 3


def test_what_is_not_declared_is_refused_by_its_file_and_the_remedy_is_told(small):
    _, reader = opened(small)
    with pytest.raises(DataError) as error:
        reader.load("p01")
    assert "p01_0001.nii.gz" in error.value.message
    assert "--allow-missing" in error.value.hint


def test_allow_missing_writes_what_is_missing_and_then_the_folder_is_sound(small, capsys):
    assert main(["data", "check", "nnunet_raw", str(small)]) == 1
    capsys.readouterr()
    assert main(["data", "check", "nnunet_raw", str(small), "--allow-missing"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert json.loads((small / "modalities.json").read_text()) == {"missing": {"p01": ["T2"]}}
    assert "(T2: 1)" in shown
    assert "T1+T2+FLAIR (4), T1+FLAIR (1)" in shown
    assert main(["data", "check", "nnunet_raw", str(small), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["modalities"] == {"T1+T2+FLAIR": 4, "T1+FLAIR": 1}


def test_allow_missing_overwrites_nothing_and_is_for_folders_with_a_file_per_modality(small, capsys):
    declare(small, {"missing": {"p01": ["T1"]}})
    before = (small / "modalities.json").read_bytes()
    assert main(["data", "check", "nnunet_raw", str(small), "--allow-missing"]) == 2
    assert (small / "modalities.json").read_bytes() == before
    assert "there already" in capsys.readouterr().err
    assert main(["data", "check", "cortex", "--allow-missing"]) == 2
    for path in small.glob("imagesTr/p02_*"):
        path.unlink()
    (small / "modalities.json").unlink()
    assert main(["data", "check", "nnunet_raw", str(small), "--allow-missing"]) == 2
    assert "No image is there of p02" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"missing": {"p77": ["T2"]}}, "no case or patient 'p77'"),
        ({"missing": {"p01": ["T3"]}}, "'T3' of 'p01'"),
        ({"missing": {"p01": [["T2"]]}}, "of 'p01'"),
        ({"missing": {"p01": ["T2"], "p02": ["T1"]}}, "'p02' lacks T1"),
        ({"missing": {"p01": ["T1", "T2", "FLAIR"]}}, "'p01' has no modality at all"),
        ({"p01": ["T2"]}, "does not say"),
        ({"missing": {"p01": "T2"}}, "does not say"),
        ([], "does not say"),
        ("{", "cannot be read"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_in_one_sentence(small, content, words):
    declare(small, content)
    with pytest.raises(DataError) as error:
        opened(small)
    assert words in error.value.message
    assert "modalities.json" in error.value.message
    assert error.value.hint


def test_a_patient_stands_for_all_their_cases(small):
    (small / "patients.json").write_text(json.dumps({f"p{n:02d}": "A" if n in (1, 2) else f"B{n}" for n in range(5)}))
    (small / "imagesTr/p02_0001.nii.gz").unlink()
    declare(small, {"missing": {"A": ["T2"]}})
    _, reader = opened(small)
    assert [missing_modalities(reader, case) for case in ("p01", "p02", "p03")] == [("T2",), ("T2",), ()]


def test_the_declaration_is_part_of_the_data(small):
    declare(small, {"missing": {"p01": ["T2"]}})
    before = opened(small)[1].fingerprint()
    (small / "imagesTr/p02_0001.nii.gz").unlink()
    declare(small, {"missing": {"p01": ["T2"], "p02": ["T2"]}})
    assert opened(small)[1].fingerprint() != before


def test_a_decathlon_image_holds_the_channels_that_are_there(tmp_path):
    root = tmp_path / "Task01_Mine"
    (root / "imagesTr").mkdir(parents=True)
    for number in range(5):
        kept = [0, 2] if number == 1 else [0, 1, 2]
        voxels = np.stack([volume(f"p{number:02d}", channel) for channel in kept], axis=-1)
        nib.save(nib.Nifti1Image(voxels, AFFINE), root / f"imagesTr/p{number:02d}.nii.gz")
    training = [{"image": f"./imagesTr/p{n:02d}.nii.gz", "label": f"./labelsTr/p{n:02d}.nii.gz"} for n in range(5)]
    content = {"modality": dict(enumerate(MODALITIES)), "labels": {"0": "background", "1": "lesion"}}
    (root / "dataset.json").write_text(json.dumps({**content, "training": training}))
    (root / "labelsTr").mkdir()
    for number in range(5):
        nib.save(nib.Nifti1Image(np.zeros((16, 16, 6), np.uint8), AFFINE), root / f"labelsTr/p{number:02d}.nii.gz")
    with pytest.raises(DataError, match="2 channels"):
        find_dataset("msd", root).open(root).load("p01")
    declare(root, {"missing": {"p01": ["T2"]}})
    images = find_dataset("msd", root).open(root).load("p01").images
    assert not images[1].any()
    assert np.array_equal(images[2], volume("p01", 2))
    declare(root, {"missing": {"p01": ["T2"], "p02": ["T2"]}})
    with pytest.raises(DataError, match="3 channels"):
        find_dataset("msd", root).open(root).load("p02")


def test_a_check_finds_nothing_constant_or_double_in_what_is_not_there(whole):
    dataset, reader = opened(whole)
    checked = check_dataset(dataset, reader)
    assert not any("same" in finding.what and "label" not in finding.what for finding in checked.findings)
    assert checked.patterns == {"T1+T2+FLAIR": 10, "T1+FLAIR": 5, "FLAIR": 2}


def test_folds_that_test_a_pattern_they_do_not_train_on_are_named(tmp_path, capsys):
    root = write_folder(tmp_path / "Dataset503_Sites")
    lacking = LACKING.keys()
    sites = [f"p{number:02d},{'South' if f'p{number:02d}' in lacking else 'North'}" for number in range(17)]
    (root / "patients.csv").write_text("\n".join(["patient,site", *sites]))
    dataset, reader = opened(root)
    assert not any("exactly" in one.what for one in check_dataset(dataset, reader).findings), "these are balanced"
    words = ["data", "splits", "nnunet_raw", "--root", str(root), "--by", "site", "--out"]
    assert main([*words, str(tmp_path / "sites.json")]) == 0
    shown = capsys.readouterr().out
    assert "fold 0: no training case has exactly the modalities T1+T2+FLAIR (10 of 10 test cases)." in shown
    assert "fold 1: no training case has exactly the modalities T1+FLAIR (5 of 7 test cases); FLAIR (2 of 7" in shown
    study = {
        "name": "sites", "protocol": "demo",
        "matrix": {"dataset": [{"nnunet_raw": str(root), "splits": "sites.json"}], "model": ["nnunet"], "fold": [1]},
    }  # fmt: skip
    (tmp_path / "sites.yaml").write_text(json.dumps(study))
    with pytest.warns(HarnessWarning, match=r"fold 1: no training case has exactly the modalities T1\+FLAIR"):
        load_study(tmp_path / "sites.yaml")


def test_a_check_names_a_fold_that_tests_the_one_patient_of_a_pattern(small):
    declare(small, {"missing": {"p01": ["T2"]}})
    found = [one for one in check_dataset(*opened(small)).findings if "T1+FLAIR" in one.what]
    assert found
    assert {one.severity for one in found} == {"look"}


def prepared(root, cache, **changes):
    dataset, reader = opened(root)
    dataset = replace(dataset, **changes)
    return prepare(dataset, reader, reader.cases(), PreparationSettings(plane="native"), (8, 8), cache)


def test_the_cache_keeps_the_pattern_and_nothing_is_spoilt_by_what_is_absent(whole, tmp_path):
    cases = {case.name: case for case in prepared(whole, tmp_path)}
    again = {case.name: case for case in prepared(whole, tmp_path)}
    assert count_patterns(MODALITIES, (case.absent for case in again.values())) == {
        "T1+T2+FLAIR": 10, "T1+FLAIR": 5, "FLAIR": 2,
    }  # fmt: skip
    # FLAIR's own box is the narrowest; where T1 is there, T1's counts.
    assert cases["p05"].geometry.crop[0][1] - cases["p05"].geometry.crop[0][0] == 10
    assert cases["p01"].geometry.crop[0][1] - cases["p01"].geometry.crop[0][0] == 12
    having = [case for case in cases.values() if 1 not in case.absent]
    fitted = Normaliser.fit("zscore_train", list(cases.values()))
    assert fitted.training[1] == Normaliser.fit("zscore_train", having).training[1]
    assert fitted.training[1].mean == pytest.approx(200, abs=5)
    assert not fitted(cases["p01"].images, cases["p01"])[1].any()


def test_a_window_of_ct_is_that_of_the_cases_that_have_it(whole, tmp_path):
    cases = prepared(whole, tmp_path, modality_normalisation={"T2": "ct"})
    fitted = Normaliser.fit(("zscore_case", "ct", "zscore_case"), cases)
    window = fitted.windows[1]
    assert window is not None
    assert window.low > 150
    lacking = next(case for case in cases if case.name == "p01")
    assert not fitted(lacking.images, lacking)[1].any()


def parts(split, lacking):
    return [Counter(lacking.get(case, ()) for case in cases) for cases in (split.train, split.val, split.test)]


def test_folds_hold_patients_of_each_pattern_in_proportion(whole):
    _, reader = opened(whole)
    tested = Counter()
    for fold in range(6):
        split = reader.split(fold)
        assert sorted((*split.train, *split.val, *split.test)) == sorted(reader.cases())
        train, _, test = parts(split, LACKING)
        assert test[()] in (2, 3)
        assert test["T2",] in (1, 2)
        assert test["T1", "T2"] in (0, 1)
        assert train["T1", "T2"] >= 1
        if fold:
            tested.update(split.test)
    assert set(tested.values()) == {1}
    assert len(tested) == 17


def test_splits_are_as_they_were_where_nobody_lacks_anything_and_patients_stay_together():
    patients = {f"c{number}": f"p{number // 2}" for number in range(40)}
    assert standard_split(patients, 0, lacking={}) == standard_split(patients, 0)
    lacking = {f"c{number}": ("T2",) for number in range(0, 12)}
    split = standard_split(patients, 1, lacking=lacking)
    assert split == standard_split(dict(reversed(patients.items())), 1, lacking=lacking)
    sides = [{patients[case] for case in cases} for cases in (split.train, split.val, split.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 20


class Foreign:
    """A reader of a package that does not inherit from ours, and puts anything into a modality that is missing."""

    def __init__(self, inner, lacking):
        self._inner, self._lacking = inner, lacking

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def missing_modalities(self, case):
        return self._lacking if case == "p00" else ()

    def load(self, case):
        content = self._inner.load(case)
        content.images[1] = np.nan if case == "p00" else content.images[1]
        return content


def test_any_reader_may_say_what_a_case_lacks(whole, tmp_path):
    dataset, inner = opened(whole)
    cases = prepare(dataset, Foreign(inner, ["T2"]), ["p00"], PreparationSettings(plane="native"), (8, 8), tmp_path)
    assert cases[0].absent == (1,)
    assert not cases[0].images[1].any()
    for lacking, words in ((["T3"], "'T3'"), (MODALITIES, "no modality at all")):
        with pytest.raises(DataError, match=words):
            absent_channels(dataset, Foreign(inner, lacking), "p00")
    assert Reader.missing_modalities(inner, "p00") == ()


def test_who_lacks_the_leading_modality_is_named(whole):
    _, reader = opened(whole)
    refuse_without_leading(reader, reader.cases(), "FLAIR", "AAHN")
    with pytest.raises(DataError, match=r"led by T1, .*p05, p11") as error:
        refuse_without_leading(reader, reader.cases(), "T1", "AAHN")
    assert "sampling" in error.value.hint


def test_an_export_leaves_out_what_is_missing_and_declares_it(small, tmp_path):
    declare(small, {"missing": {"p01": ["T2"]}})
    out = tmp_path / "Dataset503_Copy"
    write_nnunet_raw(*opened(small), small, out)
    assert not (out / "imagesTr/p01_0001.nii.gz").exists()
    assert missing_modalities(opened(out)[1], "p01") == ("T2",)
