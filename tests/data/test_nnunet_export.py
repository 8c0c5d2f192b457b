"""What nnU-Net reads of an export means what it means here: regions, folds by patient, units, codes of headers."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from harness.cli import main
from harness.data import DATASETS
from harness.data.datasets.layouts.write_nnunet_raw import write_nnunet_raw
from harness.data.export import write_prediction
from harness.data.reading.nifti import read_label, read_placement, write_label
from harness.data.reading.transforms import is_oblique

BRATS = ("brats2019", "brats2023", "brats2024")


@pytest.fixture(scope="module")
def exported(generated, tmp_path_factory):
    """Returns a function from a dataset to its reader and its export; each is written once."""
    made = {}

    def export(name):
        if name not in made:
            dataset, root = DATASETS.get(name), generated(name)
            out = tmp_path_factory.mktemp("nnunet") / name
            write_nnunet_raw(dataset, dataset.open(root), root, out)
            made[name] = dataset.open(root), out
        return made[name]

    return export


def as_nnunet_writes(label, content):
    """A label map from its own regions, one over the other, as nnU-Net turns predicted regions into labels."""
    written = np.zeros_like(label)
    regions = [values for name, values in content["labels"].items() if name != "background"]
    for values, value in zip(regions, content["regions_class_order"], strict=True):
        written[np.isin(label, values)] = value
    return written


@pytest.mark.parametrize(
    ("name", "order"), [("brats2019", [2, 1, 3]), ("brats2023", [2, 1, 3]), ("brats2024", [2, 1, 1, 2, 3, 4])]
)
def test_the_order_of_regions_gives_back_every_label(exported, name, order):
    content = json.loads((exported(name)[1] / "dataset.json").read_text())
    assert content["regions_class_order"] == order
    label = np.array(sorted(DATASETS.get(name).labels), np.uint8)
    assert np.array_equal(as_nnunet_writes(label, content), label)


def test_a_voxel_of_the_whole_tumour_alone_is_oedema_in_brats_2024(exported):
    content = json.loads((exported("brats2024")[1] / "dataset.json").read_text())
    assert list(content["labels"])[1] == "WT"
    assert content["regions_class_order"][0] == 2


@pytest.mark.parametrize("name", BRATS)
def test_nnunets_folds_keep_a_patients_cases_together(exported, name):
    reader, out = exported(name)
    folds = json.loads((out / "splits_final.json").read_text())
    assert len(folds) == 5
    for number, fold in enumerate(folds, start=1):
        assert sorted([*fold["train"], *fold["val"]]) == sorted(reader.cases())
        assert not {reader.patient(case) for case in fold["train"]} & {reader.patient(case) for case in fold["val"]}
        assert fold["val"] == sorted(reader.split(number).test)
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(reader.cases())


def test_where_the_folds_go_is_said(generated, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "Dataset024_BraTS"
    assert main(["data", "export", "brats2024", "--root", str(generated("brats2024")), "--nnunet-raw", str(out)]) == 0
    shown = capsys.readouterr().out
    assert str(out / "splits_final.json") in shown.replace("\n", "")
    assert "$nnUNet_preprocessed/Dataset024_BraTS/" in shown


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (2, 4)])
def test_exports_and_predictions_carry_mm_and_the_codes_of_the_original(generated, copied, tmp_path, codes):
    dataset, root = DATASETS.get("brats2023"), copied("brats2023")
    reader = dataset.open(root)
    case = reader.cases()[0]
    for path in sorted(root.rglob(f"{case}-*.nii*")):
        if path.name.startswith("."):
            continue
        image = nib.load(path)
        made = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
        made.set_sform(image.affine, code=codes[1])
        made.set_qform(image.affine, code=codes[0])
        nib.save(made, path)
    content = reader.load(case)
    write_prediction(dataset, reader, case, content.label, content.affine, tmp_path / "predicted")
    write_nnunet_raw(dataset, reader, root, tmp_path / "exported")
    for path in (
        tmp_path / f"predicted/{case}.nii.gz",
        tmp_path / f"exported/imagesTr/{case}_0002.nii.gz",
        tmp_path / f"exported/labelsTr/{case}.nii.gz",
    ):
        header = nib.load(path).header
        assert (int(header["qform_code"]), int(header["sform_code"])) == codes
        assert header.get_xyzt_units()[0] == "mm"
        assert np.allclose(read_placement(path).affine, content.affine, atol=1e-4)


@pytest.mark.parametrize(("codes", "written"), [((0, 0), (1, 1)), ((99, -3), (1, 1)), ((1, 5), (1, 5))])
def test_codes_that_place_nothing_become_the_scanners(tmp_path, codes, written):
    write_label(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), np.diag([2.0, 2, 2, 1]), codes)
    assert read_placement(tmp_path / "a.nii").codes == written


def test_axes_that_are_not_perpendicular_survive_being_written(tmp_path):
    affine = np.diag([1.0, 2, 3, 1])
    affine[0, 1] = 0.6
    write_label(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), affine)
    read = read_label(tmp_path / "a.nii", frozenset({0}))[1]
    assert is_oblique(read)
    assert np.allclose(read, affine)
