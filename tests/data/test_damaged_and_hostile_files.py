"""Files that are damaged, special or written to harm: named with a remedy, before memory or time is taken."""

from __future__ import annotations

import gzip
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fuzzing import most_memory

from harness.cli import main
from harness.data import DATASETS
from harness.data.batches.batches import stream
from harness.data.datasets.layouts import find_dataset
from harness.data.preparation.prepare import prepare
from harness.data.reading.nifti import read_channels, read_image, read_label
from harness.data.settings import PreparationSettings
from harness.errors import DataError

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


@pytest.fixture
def path(tmp_path):
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


def declare(path, *shape):
    """Overwrites the shape in the header."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:56] = np.array([len(shape), *shape, *[1] * (7 - len(shape))], "<i2").tobytes()
    path.write_bytes(gzip.compress(raw))


def test_an_empty_file_is_named(path):
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.nii\.gz cannot be read: .*0 bytes") as caught:
        read_image(path)
    assert "again" in caught.value.hint


@pytest.mark.parametrize("length", [1, 9, 100, 347, 352])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_ends_early_is_named(path, length, compressed):
    raw = gzip.decompress(path.read_bytes())[:length]
    path.write_bytes(gzip.compress(raw) if compressed else raw)
    with pytest.raises(DataError, match=r"a\.nii\.gz cannot be read as NIfTI"):
        read_image(path)


def test_a_file_that_is_not_compressed_is_read_whatever_it_is_called(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert np.array_equal(read_image(path)[0], VOXELS)
    compressed = path.with_name("b.nii")
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(read_image(compressed)[0], VOXELS)


def test_members_of_a_compressed_file_are_read_in_a_row(path):
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:300]) + gzip.compress(raw[300:400]) + gzip.compress(raw[400:]) + bytes(10))
    assert np.array_equal(read_image(path)[0], VOXELS)
    path.write_bytes(path.read_bytes() + b"junk")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(path)


@pytest.mark.parametrize("shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1)])
def test_idle_trailing_axes_go(tmp_path, shape):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image((VOXELS % 3).astype(np.uint8).reshape(shape), np.eye(4)), path)
    assert read_label(path, frozenset({0, 1, 2}))[0].shape == (4, 5, 6)
    assert read_image(path)[0].shape == (4, 5, 6)
    assert read_channels(path)[0].shape == (1, 4, 5, 6)


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (32767,) * 7, (0, 5, 6), (-4, 5, 6), (2000, 2000, 300)])
def test_a_header_that_cannot_be_true_is_refused_before_memory_is_taken(path, shape):
    declare(path, *shape)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a\.nii\.gz cannot be read"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_what_is_inflated_beyond_the_header_is_bounded(path):
    zeros = gzip.compress(bytes(1 << 24), 1)
    path.write_bytes(path.read_bytes() + zeros * 8)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than twice"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.linux("limits this process's address space")
def test_a_volume_that_memory_does_not_hold_is_refused(path):
    """A gigabyte of zeros that its header declares truly, in a megabyte."""
    declare(path, 1024, 1024, 1024)
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(1 << 24)) * 128)
    with most_memory(1 << 30), pytest.raises(DataError, match="does not fit into memory"):
        read_image(path)


@pytest.mark.parametrize("special", ["pipe", "device", "folder", "lost link"])
def test_a_special_file_is_refused_before_it_blocks(tmp_path, special):
    path = tmp_path / "a.nii.gz"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if special == "device" else tmp_path / "lost")
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".gipl"])
def test_other_formats_lie_where_simpleitk_says(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    image = sitk.GetImageFromArray(VOXELS.T)
    image.SetSpacing((1.5, 2, 3))
    image.SetOrigin((7, 8, 9))
    sitk.WriteImage(image, str(path))
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "a.nii"))
    voxels, affine = read_image(path)
    assert np.array_equal(voxels, VOXELS)
    assert np.allclose(affine, read_image(tmp_path / "a.nii")[1], atol=1e-5)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=f"a{ending} cannot be read"):
        read_image(path)


def test_pictures_are_planes_and_a_tiff_has_its_voxel_size_beside_it(tmp_path):
    plane = VOXELS[:, :, 0].astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(plane.T), str(tmp_path / "a_0000.png"))
    assert np.array_equal(read_channels(tmp_path / "a_0000.png")[0], plane[None, ..., None])
    colours = np.stack([plane, plane + 1, plane + 2], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(colours.swapaxes(0, 1), isVector=True), str(tmp_path / "c_0000.png"))
    assert np.array_equal(read_channels(tmp_path / "c_0000.png")[0][2, ..., 0], plane + 2)
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS.astype(np.uint8).T), str(tmp_path / "t_0000.tif"))
    (tmp_path / "t.json").write_text('{"spacing": [4.0, 0.5, 0.25]}')
    voxels, affine = read_image(tmp_path / "t_0000.tif")
    assert voxels.shape == VOXELS.shape
    assert np.linalg.norm(affine[:3, :3], axis=0).tolist() == [0.25, 0.5, 4.0]
    (tmp_path / "t.json").write_text('{"spacing": [0, 1]}')
    with pytest.raises(DataError, match=r"t\.json states no voxel size"):
        read_image(tmp_path / "t_0000.tif")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mha", "NDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\nElementDataFile = ../secret.raw\n"),
        ("a.nrrd", "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 5 6\nencoding: raw\ndata file: ../secret.raw\n\n"),
    ],
)
def test_a_header_may_not_name_another_file_for_its_voxels(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="names another file"):
        read_image(tmp_path / name)


class Raising:
    """A reader of somebody else, with a fault of its own."""

    def fingerprint(self):
        return "raising"

    def patient(self, case):
        return case

    def load(self, case):
        raise KeyError(f"no series in {case}")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_reader_raises_in_a_process_is_what_is_raised_here(tmp_path, workers):
    dataset = DATASETS.get("brats2023")
    with pytest.raises(KeyError, match="no series in a") as caught:
        prepare(dataset, Raising(), ["a", "b"], PreparationSettings(), (16, 16), tmp_path, workers=workers)
    assert any("Case a of brats2023" in note for note in caught.value.__notes__)
    assert "DataLoader worker" not in str(caught.value)


class Odd(Exception):
    """Cannot be made anew from its text."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Failing(torch.utils.data.Dataset):
    def __init__(self, error):
        self._error = error

    def __getitem__(self, step):
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (DataError("case7.nii.gz cannot be read", hint="Get it again."), DataError, "case7.nii.gz cannot be read"),
        (Odd(1, 2), RuntimeError, "Odd: 1 and 2"),
    ],
)
def test_an_error_while_batches_are_made_is_not_hidden_by_the_process(error, kind, words):
    with pytest.raises(kind) as caught:
        list(stream(Failing(error), 0, 2, 1, pin_memory=False))
    assert str(caught.value).startswith(words)
    assert "test_damaged_and_hostile_files" in caught.value.__notes__[0]
    if kind is DataError:
        assert caught.value.hint == "Get it again."


def test_an_empty_file_is_named_by_check_and_by_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    root = tmp_path / "Dataset001_A"
    for name in [f"case{n}" for n in range(6)]:
        for place in (f"imagesTr/{name}_0000", f"labelsTr/{name}"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image((VOXELS % 2).astype(np.uint8), np.eye(4)), root / f"{place}.nii.gz")
    (root / "dataset.json").write_text(
        '{"channel_names": {"0": "T1"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}'
    )
    for name in ("case1", "case3"):
        (root / f"imagesTr/{name}_0000.nii.gz").write_bytes(b"")
    assert main(["data", "check", "nnunet_raw", str(root)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("0 bytes") == 1, "the same fault of several cases is one line"
    assert "case1, case3" in shown
    dataset = find_dataset("nnunet_raw", root)
    with pytest.raises(DataError, match=r"case1_0000\.nii\.gz.*0 bytes"):
        prepare(
            dataset, dataset.open(root), ["case0", "case1"], PreparationSettings(), (16, 16), tmp_path / "c", workers=2
        )


def read_case_of(reader, path):
    """Reads the case that a file belongs to: reading all of them takes long."""
    cases = (*reader.cases(), *reader.unlabelled())
    (case,) = (case for case in cases if case in path.parts or path.name.startswith(case))
    reader.load(case)


@pytest.mark.parametrize("name", ["brats2023", "hecktor21", "chaos"])
def test_a_pipe_among_the_files_of_an_archive_is_refused_before_it_blocks(copied, name):
    root = copied(name)
    ending = ".dcm" if name == "chaos" else ".nii.gz"
    path = next(path for path in sorted(root.rglob(f"*{ending}")) if not path.name.startswith("."))
    path.unlink()
    os.mkfifo(path)
    reader = DATASETS.get(name).open(root)
    with pytest.raises(DataError, match="is a pipe"):
        read_case_of(reader, path)
    if name != "chaos":  # its fingerprint leaves out what is no file
        with pytest.raises(DataError, match="is a pipe"):
            reader.fingerprint()


@pytest.mark.parametrize("name", ["hecktor21", "chaos", "prostate158"])
def test_an_empty_file_of_an_archive_is_named(copied, name):
    root = copied(name)
    paths = [
        path for path in sorted(root.rglob("*.*")) if path.suffix in (".gz", ".dcm", ".nii") and path.name[0] != "."
    ]
    paths[0].write_bytes(b"")
    reader = DATASETS.get(name).open(root)
    assert reader.fingerprint()
    with pytest.raises(DataError, match=f"{paths[0].name} cannot be read: .*0 bytes"):
        read_case_of(reader, paths[0])


def test_names_that_are_not_utf8_are_refused_by_evaluate(tmp_path, capsys):
    for folder in ("truth", "found"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / os.fsdecode(b"caf\xe9.nii.gz")
        nib.save(nib.Nifti1Image(VOXELS.astype(np.uint8) % 2, np.eye(4)), path)
    arguments = ["--predictions", str(tmp_path / "found"), "--reference", str(tmp_path / "truth"), "--regions", "a=1"]
    assert main(["evaluate", *arguments]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_a_run_says_once_what_was_assumed(tmp_path, caplog):
    root = tmp_path / "Dataset001_A"
    shifted = np.eye(4)
    shifted[0, 3] = 50
    for name in [f"case{n}" for n in range(3)]:
        for place in (f"imagesTr/{name}_0000", f"labelsTr/{name}"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            image = nib.Nifti1Image((VOXELS % 2).astype(np.uint8), np.eye(4))
            image.set_qform(shifted, code=1)
            nib.save(image, root / f"{place}.nii.gz")
    (root / "dataset.json").write_text(
        '{"channel_names": {"0": "T1"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}'
    )
    dataset = find_dataset("nnunet_raw", root)
    for workers in (2, 0):  # the second time from the cache: nothing is read
        cases = ["case0", "case1", "case2"]
        prepare(dataset, dataset.open(root), cases, PreparationSettings(), (16, 16), tmp_path / "c", workers=workers)
    (record,) = caplog.records
    assert "6 files: sform and qform disagree" in record.getMessage()
