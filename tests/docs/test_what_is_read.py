"""The tables of what is read, refused and assumed (docs/datasets.md): each row is tried, and no row lacks a trial."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from documented import ROOT
from fuzzing import write_raw_folder

from harness.data.assumptions import collect_assumptions
from harness.data.datasets.layouts import find_dataset
from harness.data.reading.files import inside
from harness.data.reading.nifti import read_channels, read_image, read_label
from harness.data.splits import read_splits
from harness.errors import DataError, HarnessError
from harness.study.document import read_document

VOXELS = (np.arange(120) % 3).astype(np.uint8).reshape(4, 5, 6)
LABELS = frozenset({0, 1, 2})
AFFINE = np.diag([2.0, 3, 4, 1])
PAGE = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")


def rows_of(heading: str) -> dict[str, str]:
    """Returns the rows of the table whose first column has a heading."""
    table = PAGE[PAGE.index(f"| {heading} |") :].partition("\n\n")[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines()[2:]]
    return dict(rows)


def nifti(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def write_bare(path: Path, header: nib.Nifti1Header, voxels: np.ndarray = VOXELS) -> None:
    """Writes a header as it is: nibabel would make its fields agree."""
    header["vox_offset"] = 352
    path.write_bytes(header.binaryblock + bytes(4) + voxels.tobytes(order="F"))


def itk(path: Path, voxels: np.ndarray = VOXELS, **more: bool) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(voxels.T, **more), str(path))
    return path


def refuse(read, *arguments: object) -> None:
    with pytest.raises(HarnessError):
        read(*arguments)


def read_plain(folder: Path) -> None:
    for ending in (".mha", ".nrrd", ".gipl"):
        assert np.array_equal(read_image(itk(folder / f"a{ending}"))[0], VOXELS)
    for ending in (".nii", ".nii.gz"):
        image = nib.Nifti1Image(VOXELS, AFFINE)
        image.header.set_slope_inter(2, 1)
        image.to_filename(folder / f"a{ending}")
        written = np.asanyarray(nib.load(folder / f"a{ending}").dataobj)
        assert np.array_equal(read_image(folder / f"a{ending}")[0], written)


def read_pictures(folder: Path) -> None:
    for ending in (".png", ".bmp", ".tif"):
        with collect_assumptions() as noted:
            voxels, affine = read_channels(itk(folder / f"a{ending}", VOXELS[..., 0]))
        assert np.array_equal(voxels, VOXELS[None, ..., :1])
        assert np.array_equal(read_label(folder / f"a{ending}", LABELS)[0], VOXELS[..., :1])
        assert np.linalg.norm(affine[:3, :3], axis=0).tolist() == [1, 1, 1]
        assert any("1 mm is assumed" in words for _, words in noted)
    assert read_image(itk(folder / "b.tif"))[0].shape == VOXELS.shape


def tell_by_content(folder: Path) -> None:
    path = nifti(folder / "a.nii.gz")
    path.write_bytes(gzip.decompress(path.read_bytes()))
    (folder / "b.nii").write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(read_image(path)[0], read_image(folder / "b.nii")[0])


def refuse_other_formats(folder: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), folder / "a.img")
    nib.save(nib.MGHImage(VOXELS, AFFINE), folder / "a.mgz")
    (folder / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(400))
    (folder / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(400))
    for ending in ("hdr", "img", "mgz", "mat", "dcm"):
        refuse(read_image, folder / f"a.{ending}")


def drop_idle_axes(folder: Path) -> None:
    assert read_image(nifti(folder / "a.nii", VOXELS[..., None]))[0].shape == VOXELS.shape


def read_four_axes(folder: Path) -> None:
    path = nifti(folder / "a.nii", np.stack([VOXELS, VOXELS], axis=-1))
    assert read_channels(path)[0].shape == (2, *VOXELS.shape)
    refuse(read_image, path)
    refuse(read_label, path, LABELS)


def read_two_axes(folder: Path) -> None:
    path = nifti(folder / "a.nii", VOXELS[..., 0])
    assert read_channels(path)[0].shape == (1, 4, 5, 1)
    assert read_label(path, LABELS)[0].shape == (4, 5, 1)
    refuse(read_image, path)


def round_labels(folder: Path) -> None:
    assert np.array_equal(read_label(nifti(folder / "a.nii", VOXELS - np.float32(1e-4)), LABELS)[0], VOXELS)
    refuse(read_label, nifti(folder / "a.nii", VOXELS + np.float32(0.4)), LABELS)


def refuse_damaged(folder: Path) -> None:
    whole = nifti(folder / "a.nii.gz").read_bytes()
    for content in (b"", whole[:-9], whole[:60], whole + b"junk", whole[:50] + bytes(9) + whole[59:]):
        (folder / "a.nii.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.nii\.gz"):
            read_image(folder / "a.nii.gz")


def refuse_special(folder: Path) -> None:
    os.mkfifo(folder / "pipe.nii")
    (folder / "folder.nii").mkdir()
    (folder / "device.nii").symlink_to("/dev/zero")
    (folder / "lost.nii").symlink_to("nowhere")
    for path in folder.iterdir():
        refuse(read_image, path)


def follow_links(folder: Path) -> None:
    away = folder / "away"
    away.mkdir()
    root = raw_folder(folder / "raw")
    image = root / "imagesTr/case0_0000.nii.gz"
    shutil.move(image, away)
    image.symlink_to(away / image.name)
    assert find_dataset("nnunet_raw", root).open(root).load("case0")
    refuse(inside, root, image)


def raw_folder(root: Path, **facts: object) -> Path:
    document = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}
    write_raw_folder(root, document | facts, [([VOXELS], VOXELS)] * 5)
    return root


def refuse_untrue_headers(folder: Path) -> None:
    raw = bytearray(nifti(folder / "a.nii").read_bytes())
    raw[42:48] = np.array([2000, 2000, 300], "<i2").tobytes()
    (folder / "a.nii").write_bytes(raw)
    refuse(read_image, folder / "a.nii")


def refuse_bombs(folder: Path) -> None:
    path = nifti(folder / "a.nii.gz")
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(1 << 24), 1))
    refuse(read_image, path)


def refuse_flat_voxels(folder: Path) -> None:
    for affine in ([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]], [[1.0, 0, 0], [0, 1, 0], [0, 0, 0]]):
        header = nib.Nifti1Image(VOXELS, AFFINE).header
        header["qform_code"], header["sform_code"] = 0, 1
        for axis, row in zip("xyz", affine, strict=True):
            header[f"srow_{axis}"] = [*row, 0]
        write_bare(folder / "a.nii", header)
        refuse(read_image, folder / "a.nii")


def refuse_headers_that_lie_elsewhere(folder: Path) -> None:
    (folder / "a.mha").write_text("NDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\nElementDataFile = b.raw\n")
    (folder / "a.nrrd").write_text("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 5\nencoding: raw\n\n")
    (folder / "b.raw").write_bytes(bytes(120))
    for name in ("a.mha", "a.nrrd"):
        refuse(read_image, folder / name)


def refuse_names(folder: Path) -> None:
    images, label = ["imagesTr/case0_0000.nii.gz"], "labelsTr/case0.nii.gz"
    for number, name in enumerate(("a\0b", "a\x1b[2J", "../a", "a/b", os.fsdecode(b"caf\xe9"))):
        root = raw_folder(folder / str(number), dataset={name: {"images": images, "label": label}})
        refuse(find_dataset("nnunet_raw", root).open, root)


def refuse_places(folder: Path) -> None:
    label = "labelsTr/case0.nii.gz"
    for number, image in enumerate((3, None, "x" * 5000, "a\0b")):
        root = raw_folder(folder / str(number), dataset={"case0": {"images": [image], "label": label}})
        refuse(lambda root: find_dataset("nnunet_raw", root).open(root).load("case0"), root)


def refuse_large_documents(folder: Path) -> None:
    root = raw_folder(folder / "raw")
    with (root / "patients.json").open("w") as file:
        file.truncate(257 << 20)
    refuse(find_dataset("nnunet_raw", root).open, root)
    path = folder / "study.yaml"
    for text in ("a: " + "x" * 4_000_001, f"a: [{'x,' * 100_001}]", "a: " + "[" * 51 + "]" * 51):
        path.write_text(text)
        refuse(read_document, path)


def refuse_two_values(folder: Path) -> None:
    root = raw_folder(folder / "raw")
    (root / "patients.json").write_text('{"case0": "a", "case0": "b"}')
    refuse(find_dataset("nnunet_raw", root).open, root)
    (folder / "folds.json").write_text('{"folds": [], "folds": [{"train": ["a"], "val": [], "test": ["b"]}]}')
    refuse(read_splits, folder / "folds.json")


def refuse_colours(folder: Path) -> None:
    nifti(folder / "a.nii", np.zeros(VOXELS.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nifti(folder / "b.nii", VOXELS.astype(np.complex64))
    for name in ("a.nii", "b.nii"):
        refuse(read_image, folder / name)
    itk(folder / "a_0000.png", np.stack([VOXELS[..., 0]] * 3), isVector=True)
    assert read_channels(folder / "a_0000.png")[0].shape == (3, 4, 5, 1)


def refuse_infinite(folder: Path) -> None:
    for value in (np.nan, np.inf):
        refuse(read_image, nifti(folder / "a.nii", np.full(VOXELS.shape, value, np.float32)))


#: Beginning of each row, and what tries it.
FILES = {
    "`.nii.gz`, `.nii`, `.mha`": read_plain,
    "`.png`, `.bmp`, `.tif`": read_pictures,
    "`.nii.gz` that is not compressed": tell_by_content,
    "another format": refuse_other_formats,
    "axes of length 1": drop_idle_axes,
    "four axes": read_four_axes,
    "two axes": read_two_axes,
    "labels like 0.9999": round_labels,
    "label values that": lambda folder: refuse(read_label, nifti(folder / "a.nii"), frozenset({0, 1})),
    "empty, truncated": refuse_damaged,
    "pipe, device": refuse_special,
    "link out of": follow_links,
    "header that declares": refuse_untrue_headers,
    "more voxels than memory": refuse_bombs,
    "an affine without": refuse_flat_voxels,
    "`.mha` or `.nrrd`": refuse_headers_that_lie_elsewhere,
    "names of cases": refuse_names,
    "`dataset.json` that names": refuse_places,
    "`dataset.json`, `patients.json`": refuse_two_values,
    "study, `dataset.json`": refuse_large_documents,
    "colours or complex": refuse_colours,
    "values that are not finite": refuse_infinite,
}


def trial(row: str, trials: dict[str, object]) -> str:
    (found,) = [beginning for beginning in trials if row.startswith(beginning)]
    return found


def test_every_row_has_a_trial():
    for heading, trials in (("file", FILES), ("header", HEADERS)):
        assert sorted(trial(row, trials) for row in rows_of(heading)) == sorted(trials)


@pytest.mark.parametrize("beginning", FILES)
def test_files(tmp_path, beginning):
    FILES[beginning](tmp_path)


def turned(degrees: float, sizes: tuple[float, ...] = (2, 3, 4), origin: float = 5, flip: int = 1) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[flip * cosine, -sine, 0], [flip * sine, cosine, 0], [0, 0, 1]]) * sizes
    affine[:3, 3] = origin
    return affine


SFORM, QFORM = turned(40, origin=-20), turned(10)
SHEARED = turned(25)
SHEARED[0, 1] += 0.7
SMALL = turned(10, sizes=(1, 1, 1))
NEITHER = np.diag([-2.0, -3, 4, 1])

#: Beginning of each row; sform, qform, their codes, and what is read.
HEADERS = {
    "column lengths": [(SMALL, QFORM, (1, 1), QFORM)],
    "sform and qform differ, code of the sform 1": [(SFORM, QFORM, (1, 1), SFORM)],
    "sform and qform differ, code of the sform 2 to 4": [
        *((SFORM, QFORM, (code, 1), QFORM) for code in (2, 3, 4)),
        (turned(10, flip=-1), QFORM, (2, 1), turned(10, flip=-1)),
    ],
    "only one has a code": [(SFORM, QFORM, (2, 0), SFORM), (SFORM, QFORM, (0, 2), QFORM)],
    "neither has a code": [(SFORM, QFORM, (0, 0), NEITHER)],
    "pixdim is 0": [(QFORM, QFORM, codes, turned(10, sizes=(2, 3, 1))) for codes in ((0, 1), (1, 0), (1, 1))],
    "the axes of the sform": [(SHEARED, QFORM, (1, 1), QFORM), (SHEARED, QFORM, (1, 0), SHEARED)],
    "unit of length": [(QFORM, QFORM, (1, 1), 1000 * QFORM)],
    "one voxel along": [(QFORM, QFORM, (1, 1), QFORM)],
}


@pytest.mark.parametrize("beginning", HEADERS)
def test_headers(tmp_path, beginning):
    for sform, qform, codes, expected in HEADERS[beginning]:
        voxels = VOXELS[..., :1] if beginning == "one voxel along" else VOXELS
        header = nib.Nifti1Image(voxels, None).header
        header.set_qform(qform, code=1)
        header.set_sform(sform, code=1)
        header["sform_code"], header["qform_code"] = codes
        header.set_xyzt_units("meter" if beginning == "unit of length" else "mm")
        if beginning == "pixdim is 0":
            header["pixdim"][3] = {0: np.nan, 1: np.inf}.get(codes[0] - codes[1], 0)
        path = tmp_path / "a.nii"
        write_bare(path, header, voxels)
        with collect_assumptions() as noted:
            affine = read_image(path)[1]
        assert np.allclose(affine[:3], expected[:3], atol=1e-4), (beginning, codes)
        assert noted or beginning == "only one has a code"
