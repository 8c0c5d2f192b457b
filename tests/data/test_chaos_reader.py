"""CHAOS: slices by file name, phases paired by number, an affine that follows, and organs on their sides."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image

from harness.data import DATASETS
from harness.data.synthetic.generated import generate
from harness.errors import DataError

DATASET, T2SPIR = DATASETS.get("chaos"), DATASETS.get("chaos-t2spir")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "chaos"
    generate(DATASET, root, 5, 3, 0.1)
    return root


@pytest.fixture
def tree(made, tmp_path):
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def slices(root, case, kind):
    folder = root / f"Train_Sets/MR/{case}/{kind}"
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


IN, OUT, GROUND = "T1DUAL/DICOM_anon/InPhase", "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"


def test_training_patients_are_labelled_and_test_patients_are_not(made):
    reader = DATASET.open(made)
    assert reader.cases() == ("1", "2", "3", "5", "8")
    assert reader.unlabelled() == ("4", "6")
    assert not reader.load("4").label.any()
    assert [*DATASET.open(made / "Train_Sets").cases()] == [*reader.cases()]
    assert DATASET.open(made / "Train_Sets").unlabelled() == ()


@pytest.mark.parametrize("case", ["1", "2"])
def test_every_voxel_lies_where_its_dicom_header_says(made, case):
    """Patient 1 runs up and patient 2 down; the affine follows the order of the files."""
    content = DATASET.open(made).load(case)
    for index, path in enumerate(slices(made, case, IN)):
        one = pydicom.dcmread(path)
        assert np.array_equal(content.images[0, :, :, index], one.pixel_array.T)
        row, column = 5, 9
        lps = np.array(one.ImagePositionPatient, float)
        lps = lps + np.array(one.ImageOrientationPatient[:3], float) * one.PixelSpacing[1] * column
        lps = lps + np.array(one.ImageOrientationPatient[3:], float) * one.PixelSpacing[0] * row
        ours = content.affine @ [column, row, index, 1]
        assert np.allclose(ours[:3], lps * [-1, -1, 1], atol=1e-2)


def test_one_patient_runs_up_and_the_next_down(made):
    reader = DATASET.open(made)
    assert reader.load("1").affine[2, 2] * reader.load("2").affine[2, 2] < 0


def test_drawing_and_image_have_one_order(made):
    content = DATASET.open(made).load("2")
    for index, path in enumerate(slices(made, "2", GROUND)):
        grey = np.asarray(Image.open(path))
        assert np.array_equal(np.array([0, 63, 126, 189, 252])[content.label[:, :, index].T], grey)


def test_organs_lie_on_their_sides(made):
    reader = DATASET.open(made)
    assert [reader.warnings(case, reader.load(case)) for case in reader.cases()] == [[]] * 5


def test_a_reversed_stack_of_drawings_is_noticed(tree):
    files = slices(tree, "1", GROUND)
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, contents[::-1], strict=True):
        path.write_bytes(content)
    reader = DATASET.open(tree)
    assert "the liver lies below both kidneys: the stack is upside down" in reader.warnings("1", reader.load("1"))


def test_swapped_kidneys_are_noticed(tree):
    for path in slices(tree, "1", GROUND):
        grey = np.asarray(Image.open(path)).copy()
        right, left = grey == 126, grey == 189
        grey[right], grey[left] = 189, 126
        Image.fromarray(grey).save(path)
    reader = DATASET.open(tree)
    assert any("right kidney lies left" in words for words in reader.warnings("1", reader.load("1")))


def test_out_of_phase_slices_are_paired_by_number(tree):
    files = slices(tree, "1", OUT)
    reader = DATASET.open(tree)
    for index, path in enumerate(files):
        assert np.array_equal(reader.load("1").images[1, :, :, index], pydicom.dcmread(path).pixel_array.T)
        if index == 2:
            break
    files[3].unlink()
    with pytest.raises(DataError, match=r"does not pair with .*number 7 is missing"):
        DATASET.open(tree).load("1")


def test_official_tolerances_of_grey_values(tree):
    path = slices(tree, "1", GROUND)[3]
    grey = np.asarray(Image.open(path)).copy()
    grey[:] = 0
    grey[0, :4] = (70, 111, 200, 241)
    Image.fromarray(grey).save(path)
    assert DATASET.open(tree).load("1").label[:4, 0, 3].tolist() == [1, 2, 3, 4]
    grey[0, 0] = 90
    Image.fromarray(grey).save(path)
    with pytest.raises(DataError, match=r"grey values \[90\] of no organ"):
        DATASET.open(tree).load("1")


def test_a_missing_drawing_does_not_shift_the_others(tree):
    path = slices(tree, "1", GROUND)[4]
    path.unlink()
    with pytest.raises(DataError, match=rf"Missing file: .*{path.name}"):
        DATASET.open(tree).load("1")


def test_a_truncated_slice_is_named(tree):
    path = slices(tree, "1", IN)[2]
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=path.name):
        DATASET.open(tree).load("1")


def test_t2_joins_by_geometry(made):
    content = T2SPIR.open(made).load("1")
    assert content.images.shape[0] == 3
    folder = made / "Train_Sets/MR/1"
    assert len(slices(made, "1", "T2SPIR/DICOM_anon")) != content.images.shape[3]
    # Kidneys are bright on T2 and liver is not, in voxels labelled on T1: it lies where it should.
    t2, label = content.images[2], content.label
    assert t2[label >= 2].mean() > 1.8 * t2[label == 1].mean()
    assert folder.is_dir()
    assert np.array_equal(DATASET.open(made).load("1").images, content.images[:2])


def test_hidden_files_are_no_slices(made):
    assert any(path.name.startswith("._") for path in (made / "Train_Sets/MR/1" / IN).iterdir())
    assert DATASET.open(made).load("1").images.shape[3] == len(slices(made, "1", IN))


def test_what_macos_packs_beside_the_data_is_no_second_patient(made, tree):
    for case in DATASET.open(made).cases():
        hidden = tree / "__MACOSX" / "Train_Sets" / "MR" / case / GROUND
        hidden.mkdir(parents=True)
        (hidden / "._IMG-0004-00002.png").write_bytes(b"\x00\x05\x16\x07")
    assert DATASET.open(tree).cases() == DATASET.open(made).cases()
    assert DATASET.open(tree).fingerprint() == DATASET.open(made).fingerprint()


def test_a_training_patient_whose_drawing_is_lost_is_an_error_not_one_less_to_train_on(tree):
    shutil.rmtree(tree / "Train_Sets/MR/3" / GROUND)
    for root in (tree, tree / "Train_Sets", tree / "Train_Sets/MR"):
        reader = DATASET.open(root)
        assert reader.cases() == ("1", "2", "3", "5", "8")
        with pytest.raises(DataError, match=r"MR/3/T1DUAL/Ground holds no \.png slices"):
            reader.load("3")


def test_the_test_set_alone_can_be_predicted_and_not_trained_on(made):
    reader = DATASET.open(made / "Test_Sets/MR")
    assert (reader.cases(), reader.unlabelled()) == ((), ("4", "6"))
    with pytest.raises(DataError, match="no labelled case"):
        reader.split(0)


def test_slopes_of_the_scanner_are_applied(tree):
    """Philips writes a slope and an intercept a slice; without them slices of one series would differ in scale."""
    before = DATASET.open(tree).load("1").images[0]
    path = slices(tree, "1", IN)[2]
    one = pydicom.dcmread(path)
    one.RescaleSlope, one.RescaleIntercept = 2, -7
    one.save_as(path)
    after = DATASET.open(tree).load("1").images[0]
    assert np.array_equal(after[:, :, 2], 2 * before[:, :, 2] - 7)
    assert np.array_equal(np.delete(after, 2, 2), np.delete(before, 2, 2))
