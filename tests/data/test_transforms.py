"""Files whose sform, qform and pixdim disagree lie where SimpleITK and nnU-Net read them; others as before."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from harness.cli import main
from harness.data.assumptions import collect_assumptions, sum_up
from harness.data.reading.files import files_hash
from harness.data.reading.grids import check_same_grid
from harness.data.reading.nifti import read_image, read_label
from harness.data.reading.transforms import is_oblique
from harness.errors import DataError
from harness.evaluation.folder import convention_of, evaluate, pair_files

SHAPE = (4, 5, 6)
SIZES = (1.3, 1.1, 4.0)


def turned(degrees, sizes=SIZES, origin=(5, 6, 7), flips=(1, 1, 1)):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) * sizes * flips
    affine[:3, 3] = origin
    return affine


QFORM = turned(10, flips=(-1, 1, 1))
SHEARED = turned(25)
SHEARED[0, 1] += 0.7
SFORMS = {
    "same": QFORM,
    "turned": turned(40, origin=(-20, 3, 9)),
    "of 1 mm": turned(10, sizes=(1, 1, 1), flips=(-1, 1, 1)),
    "mirrored": turned(10),
    "sheared": SHEARED,
}


def write(path, sform, qform, codes, shape=SHAPE, *, voxels=None, unit=2):
    """Writes a header field by field: nibabel would make pixdim and quaternion fit the affine."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_qform(qform, code=1)
    header.set_sform(sform, code=1)
    header["qform_code"], header["sform_code"] = codes
    header["xyzt_units"] = unit
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = np.zeros(shape, np.uint8) if voxels is None else voxels
    raw = header.binaryblock + bytes(4) + content.tobytes(order="F")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def by_simpleitk(path):
    """Returns the affine in RAS; none where SimpleITK refuses the file."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


@pytest.mark.parametrize("name", SFORMS)
def test_every_pair_of_codes_is_read_as_by_simpleitk(tmp_path, name):
    for codes in np.ndindex(5, 5):
        path = write(tmp_path / "a.nii", SFORMS[name], QFORM, codes)
        expected = by_simpleitk(path)
        affine = read_image(path)[1]
        if expected is None:
            assert name == "sheared"
            assert (codes[0], codes[1] > 0) == (0, True)
            assert is_oblique(affine)
        else:
            assert np.allclose(affine, expected, atol=1e-4), codes


@pytest.mark.parametrize("unit", [0, 1, 2, 3])
def test_the_unit_of_length_counts(tmp_path, unit):
    path = write(tmp_path / "a.nii", QFORM, QFORM, (1, 1), unit=unit)
    assert np.allclose(read_image(path)[1], by_simpleitk(path), rtol=1e-5, atol=1e-6)


def test_where_transforms_agree_the_affine_is_nibabels_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        affine = np.eye(4)
        affine[:3] = np.c_[turn * rng.uniform(0.5, 5, 3), rng.normal(0, 100, 3)]
        for codes in ((1, 1), (0, 2), (1, 0), (1, 2), (4, 4)):
            path = write(tmp_path / f"{number}.nii.gz", affine, affine, codes, (200, 180, 2))
            with collect_assumptions() as noted:
                read = read_image(path)[1]
            assert np.array_equal(read, nib.load(path).affine)
            assert not noted


def test_a_quaternion_that_rounding_made_too_long_is_read(tmp_path):
    path = write(tmp_path / "a.nii", QFORM, QFORM, (1, 0))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<3f", raw, 256, 0.0, 0.0, 1.00001)
    path.write_bytes(raw)
    assert np.allclose(read_image(path)[1], by_simpleitk(path), atol=1e-3)


@pytest.mark.parametrize(
    ("sform", "codes", "words"),
    [
        ("of 1 mm", (1, 1), "disagree about the voxel size"),
        ("turned", (1, 2), "the qform is read"),
        ("turned", (2, 1), "the sform is read"),
        ("same", (0, 0), "neither sform nor qform has a code"),
        ("sheared", (0, 1), "distances are computed as if they were"),
        ("sheared", (1, 1), "the qform is read"),
    ],
)
def test_what_is_assumed_is_said_once_with_the_number_of_files(tmp_path, sform, codes, words):
    paths = [write(tmp_path / f"{number}.nii", SFORMS[sform], QFORM, codes) for number in range(3)]
    with collect_assumptions() as noted:
        for path in (*paths, *paths):
            read_image(path)
    (sentence,) = sum_up(noted)
    assert sentence.startswith("3 files: ")
    assert words in sentence


def test_a_single_slice_says_what_its_surface_is(tmp_path):
    path = write(tmp_path / "a.nii", QFORM, QFORM, (1, 1), (4, 5, 1))
    with collect_assumptions() as noted:
        read_label(path, frozenset({0}))
    assert "one voxel along Z" in noted[0][1]


def test_only_data_whose_transforms_disagree_get_another_fingerprint(tmp_path):
    """Caches and cells are named by it; revision 0.2.0 hashed the files alone."""
    path = write(tmp_path / "a.nii.gz", QFORM, QFORM, (1, 1))
    whole = files_hash(tmp_path, [path])
    path.rename(tmp_path / "a.img")  # the same content and length of name, no header that is looked at
    assert whole == hashlib.sha256(b"a.nii.gz" + (tmp_path / "a.img").read_bytes()).hexdigest()[:16]
    path = write(tmp_path / "b.nii.gz", SFORMS["of 1 mm"], QFORM, (1, 1))
    assert files_hash(tmp_path, [path]) != hashlib.sha256(b"b.nii.gz" + path.read_bytes()).hexdigest()[:16]


def test_two_files_share_a_grid_by_either_of_their_transforms(tmp_path):
    both = write(tmp_path / "both.nii", SFORMS["turned"], QFORM, (1, 2))
    by_sform = write(tmp_path / "s.nii", SFORMS["turned"], SFORMS["turned"], (1, 1))
    by_qform = write(tmp_path / "q.nii", QFORM, QFORM, (1, 1))
    far = write(tmp_path / "far.nii", turned(0, origin=(90, 0, 0)), turned(0, origin=(90, 0, 0)), (1, 1))
    affine = {path: read_image(path)[1] for path in (both, by_sform, by_qform, far)}
    for path in (by_sform, by_qform):
        check_same_grid(path, SHAPE, affine[path], both, SHAPE, affine[both])
        check_same_grid(both, SHAPE, affine[both], path, SHAPE, affine[path])
    with pytest.raises(DataError, match="mm elsewhere"):
        check_same_grid(far, SHAPE, affine[far], both, SHAPE, affine[both])
    with pytest.raises(DataError, match="mm elsewhere"):
        check_same_grid(by_sform, SHAPE, affine[by_sform], by_qform, SHAPE, affine[by_qform])


def ball(shape, centre, radius, sizes):
    grid = np.indices(shape).astype(float)
    return sum(((grid[axis] - centre[axis]) * sizes[axis]) ** 2 for axis in range(3)) <= radius**2


def cardiac_pair(folder):
    """Writes headers as ACDC has them: voxels of 1.3158 x 1.3158 x 10 mm by qform and pixdim, of 1 mm by the sform."""
    sizes = (1.31579006, 1.31579006, 10.0)
    qform, sform = np.diag([-sizes[0], -sizes[1], sizes[2], 1]), np.diag([-1.0, -1, 1, 1])
    for number in range(3):
        rng = np.random.default_rng(number)
        centre = [extent / 2 + rng.uniform(-extent / 10, extent / 10) for extent in (24, 24, 10)]
        label = np.zeros((24, 24, 10), np.uint8)
        label[ball(label.shape, centre, 0.33 * 10, (1, 1, 1))] = 1
        label[ball(label.shape, centre, 0.18 * 10, (1, 1, 1))] = 2
        for name, voxels in (("truth", label), ("prediction", np.roll(label, (2, 0, 1), (0, 1, 2)))):
            write(folder / name / f"case{number}.nii.gz", sform, qform, (1, 1), label.shape, voxels=voxels)


def test_distances_are_those_of_the_true_voxel_size(tmp_path):
    """The values of MedPy (HD95, ASSD) and surface-distance (NSD) at 1.3158 x 1.3158 x 10 mm."""
    cardiac_pair(tmp_path)
    convention = convention_of(None, {"ring": (1,), "core": (2,)}, metrics=("hd95", "assd", "nsd"))
    noted = []
    scored = list(evaluate(pair_files(tmp_path / "prediction", tmp_path / "truth"), convention, noted=noted))
    means = {
        (region, metric): np.mean(
            [s.value for _, scores in scored for s in scores if (s.region, s.metric) == (region, metric)]
        )
        for region in ("ring", "core")
        for metric in ("hd95", "assd", "nsd")
    }
    right = {"ring": (6.528, 1.893, 0.561), "core": (10.228, 3.339, 0.347)}
    for region, values in right.items():
        assert [means[region, metric] for metric in ("hd95", "assd", "nsd")] == pytest.approx(values, abs=6e-4)
    assert sum_up(noted)[0].startswith("6 files: sform and pixdim disagree")


def test_a_prediction_by_itk_on_a_truth_with_two_transforms_is_scored(tmp_path):
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 1:3, 2:4] = 1
    for name, codes in (("aligned", (1, 2)), ("mni", (1, 4)), ("scanner", (1, 1))):
        truth = write(tmp_path / f"truth/{name}.nii.gz", SFORMS["turned"], QFORM, codes, voxels=label)
        image = sitk.GetImageFromArray(label.T)
        image.CopyInformation(sitk.ReadImage(str(truth)))
        (tmp_path / "itk").mkdir(exist_ok=True)
        (tmp_path / "nibabel").mkdir(exist_ok=True)
        sitk.WriteImage(image, str(tmp_path / f"itk/{name}.nii.gz"))
        nib.save(nib.Nifti1Image(label, nib.load(truth).affine), tmp_path / f"nibabel/{name}.nii.gz")
    convention = convention_of(None, {"whole": (1,)}, metrics=("dice",))
    for folder in ("itk", "nibabel"):
        scored = dict(evaluate(pair_files(tmp_path / folder, tmp_path / "truth"), convention))
        assert [scores[0].value for scores in scored.values()] == [1.0, 1.0, 1.0]


def test_evaluate_says_it_once_and_scores_the_other_cases(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cardiac_pair(tmp_path)
    (tmp_path / "prediction/case1.nii.gz").write_bytes(b"")
    place = ["--predictions", str(tmp_path / "prediction"), "--reference", str(tmp_path / "truth")]
    assert main(["evaluate", *place, "--regions", "core=2", "--metric", "dice"]) == 2
    shown = capsys.readouterr()
    assert shown.out.count("disagree about the voxel size") == 1
    assert "counted as worst: case1" in shown.out
    assert "case1.nii.gz" in shown.err
    assert "0 bytes" in shown.err


def test_check_and_export_of_a_raw_folder_go_by_the_true_voxel_size(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    sizes, root = (1.31579006, 1.31579006, 10.0), tmp_path / "Dataset001_Heart"
    qform, sform = np.diag([-sizes[0], -sizes[1], sizes[2], 1]), np.diag([-1.0, -1, 1, 1])
    for number in range(5):
        voxels = (np.random.default_rng(number).random(SHAPE) > 0.5).astype(np.uint8)
        for place in (f"imagesTr/case{number}_0000", f"labelsTr/case{number}"):
            write(root / f"{place}.nii.gz", sform, qform, (1, 1), voxels=voxels)
    facts = {"channel_names": {"0": "cine"}, "labels": {"background": 0, "heart": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts))
    assert main(["data", "check", "nnunet_raw", str(root)]) == 0
    assert "disagree about the voxel size" in " ".join(capsys.readouterr().out.split())
    exported = tmp_path / "exported"
    assert main(["data", "export", "nnunet_raw", "--root", str(root), "--nnunet-raw", str(exported)]) == 0
    assert "disagree about the voxel size" in capsys.readouterr().out
    for path in exported.rglob("*.nii.gz"):
        assert nib.load(path).header.get_zooms() == pytest.approx(sizes)
        assert np.allclose(by_simpleitk(path), qform)
