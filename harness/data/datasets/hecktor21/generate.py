"""Generated HECKTOR 2021 trees: official names, CT and PET on grids of their own, boxes in LPS millimetres.

Traps: PET is coarser than CT and its origin lies elsewhere, spacings differ between patients, the table of boxes has a
row of a patient without files, ``._*`` files, one label carries floating-point noise, one patient's files
are not compressed.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.datasets.hecktor21.boxes import SIDE_MM
from harness.data.synthetic.phantoms.head_neck import EXTENT_MM, HeadNeck, draw_head_neck

#: Which of the first patients shows which trap.
_WITH_MAC_FILES, _WITH_NOISY_LABEL, _UNCOMPRESSED = range(3)

_TRAINING_CENTRES, _TEST_CENTRES = ("CHGJ", "CHMR", "CHUM", "CHUS", "CHUP"), ("CHUV", "CHUP")

#: CT: an official matrix of 512 voxels covers so many mm; slice distances of the real patients.
_CT_FIELD_MM, _CT_MATRIX, _CT_SLICES_MM = 500.0, 512, (1.5, 2.5, 3.0, 3.0, 3.27)
_CT_NOISE = 12.0

#: PET: its voxels, never finer than CT's, its blur (standard deviation) and its noise relative to the uptake.
_PET_VOXEL_MM, _PET_BLUR_MM, _PET_NOISE = 4.07, 2.6, 0.06
_PET_FIELD_MM = 560.0

_INFO = (
    "PatientID", "CenterID", "Gender (1=M,0=F)", "Age", "Tobacco", "Alcohol", "Performance status", "TNM edition",
    "TNM group", "T-stage", "N-stage", "M-stage", "HPV status (0=-, 1=+)", "Chemotherapy",
    "Estimated weight (kg) for SUV",
)  # fmt: skip


def generate(out: Path, patients: int, seed: int, scale: float) -> None:
    """Writes a HECKTOR 2021 tree.

    Args:
        out: Folder to fill.
        patients: Labelled ones; a sixth as many without label join them, two at least.
        seed: Random seed of all draws.
        scale: Size of a CT slice's matrix against the official one; the box keeps 144 mm (readers resample to 1 mm).
    """
    tests = max(2, patients // 6)
    training = _names(_TRAINING_CENTRES, patients, first=1)
    test = _names(_TEST_CENTRES, tests, first=50)
    for part, word, names, first in (("train", "training", training, 0), ("test", "testing", test, patients)):
        folder = out / f"hecktor2021_{part}"
        (folder / "hecktor_nii").mkdir(parents=True)
        boxes = [
            _patient(folder / "hecktor_nii", name, first + index, seed, scale, labelled=part == "train")
            for index, name in enumerate(names)
        ]
        rows = list(zip(names, boxes, strict=True))
        if part == "train":
            rows.append(("CHUP046", boxes[0]))
        columns = ("PatientID", "x1", "x2", "y1", "y2", "z1", "z2")
        _table(folder / f"hecktor2021_bbox_{word}.csv", columns, [(name, *map(repr, box)) for name, box in rows])
        _table(folder / f"hecktor2021_patient_info_{word}.csv", _INFO, _info(names, seed))
    endpoints = [(name, "0", str(400 + 37 * index)) for index, name in enumerate(training)]
    path = out / "hecktor2021_train" / "hecktor2021_patient_endpoint_training.csv"
    _table(path, ("PatientID", "Progression", "Progression free survival"), endpoints)


def _patient(folder: Path, name: str, index: int, seed: int, scale: float, labelled: bool) -> tuple[float, ...]:
    """Writes a patient's files and returns the box: x1, x2, y1, y2, z1, z2 in LPS mm."""
    rng = np.random.default_rng([seed, index])
    in_plane = _CT_FIELD_MM / _CT_MATRIX / scale
    drawn = draw_head_neck(float(np.clip(in_plane, 1.5, 3.0)), rng)
    # Where the table of the scanner put the drawn volume's first voxel, in RAS mm.
    corner = np.array([-EXTENT_MM[0] / 2, -EXTENT_MM[1] / 2, 0]) + rng.uniform([-8, -8, -300], [8, 8, -60])
    slices = _CT_SLICES_MM[index % len(_CT_SLICES_MM)]
    ct_affine, ct_shape = _grid(corner, (in_plane, in_plane, slices), _CT_FIELD_MM, np.zeros(3))
    voxel = max(_PET_VOXEL_MM, 1.2 * in_plane)
    pet_affine, pet_shape = _grid(corner, (voxel, voxel, voxel), _PET_FIELD_MM, rng.uniform(-15, 15, 3))

    noise = _CT_NOISE * rng.standard_normal(ct_shape, dtype=np.float32)
    ct = _sampled(drawn.density, drawn, corner, ct_affine, ct_shape, -1000) + noise
    blurred = ndimage.gaussian_filter(drawn.uptake, _PET_BLUR_MM / drawn.voxel_mm)
    pet = _sampled(blurred, drawn, corner, pet_affine, pet_shape, 0)
    pet += _PET_NOISE * np.sqrt(np.maximum(pet, 0.05)) * rng.standard_normal(pet_shape, dtype=np.float32)
    files: dict[str, tuple[NDArray[np.generic], NDArray[np.float64]]] = {
        "ct": (np.clip(np.rint(ct), -1024, 3071).astype(np.int16), ct_affine),
        "pt": (np.maximum(pet, 0).astype(np.float32), pet_affine),
    }
    if labelled:
        share = _sampled(drawn.tumour.astype(np.float32), drawn, corner, ct_affine, ct_shape, 0)
        label: NDArray[np.generic] = (share > 0.5).astype(np.uint8)
        if index == _WITH_NOISY_LABEL:
            label = ((share > 0.5) * (1 - 1e-4 * rng.random(ct_shape))).astype(np.float32)
        files["gtvt"] = (label, ct_affine)
    for what, (voxels, affine) in files.items():
        ending = ".nii" if index == _UNCOMPRESSED else ".nii.gz"
        nib.save(nib.Nifti1Image(voxels, affine), folder / f"{name}_{what}{ending}")
        if index == _WITH_MAC_FILES:
            (folder / f"._{name}_{what}{ending}").write_bytes(b"\x00\x05\x16\x07" + bytes(60))
    return _box(corner + drawn.tumour_centre, rng)


def _grid(
    corner: NDArray[np.float64], spacing: Sequence[float], field_mm: float, offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Returns affine (RAS; axes run to the left, to the back and upwards) and shape of a scan of the drawn volume."""
    middle = corner[:2] + np.array(EXTENT_MM[:2]) / 2 + offset[:2]
    x, y = (max(8, round(field_mm / size)) for size in spacing[:2])
    z = max(8, round(EXTENT_MM[2] / spacing[2]))
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:2, 3] = middle + np.array([x - 1, y - 1]) * spacing[:2] / 2
    affine[2, 3] = corner[2] + offset[2]
    return affine, (x, y, z)


def _sampled(
    volume: NDArray[np.float32],
    drawn: HeadNeck,
    corner: NDArray[np.float64],
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    outside: float,
) -> NDArray[np.float32]:
    """Resamples a drawn volume to the grid of a scan; the axes of both grids are parallel."""
    scale = np.diag(affine)[:3] / drawn.voxel_mm
    start = (affine[:3, 3] - corner) / drawn.voxel_mm
    sampled: NDArray[np.float32] = ndimage.affine_transform(
        volume, scale, start, output_shape=shape, order=1, mode="constant", cval=outside
    )
    return sampled


def _box(tumour: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, ...]:
    """Returns a box of 144 mm around a place (RAS mm): the tumour is inside, seldom in the middle."""
    middle = tumour * [-1, -1, 1] + rng.uniform(-18, 18, 3)
    low = np.round(middle - SIDE_MM / 2, 4)
    return tuple(float(value) for start in low for value in (start, round(start + SIDE_MM, 4)))


def _names(centres: Sequence[str], count: int, first: int) -> list[str]:
    """Returns names with gaps, spread over the centres."""
    return [f"{centres[index % len(centres)]}{first + 3 * (index // len(centres)):03d}" for index in range(count)]


def _info(names: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    rng = np.random.default_rng([seed, 1_000_000])
    rows: list[tuple[str, ...]] = []
    for name in names:
        sex, age, weight, virus = rng.integers(2), rng.integers(40, 80), rng.integers(50, 110), rng.integers(2)
        centre = str((*_TRAINING_CENTRES, "CHUV").index(name[:4]) + 1)
        stage = ("", "", "", "7", "", "T2", "N1", "M0")
        rows.append((name, centre, str(sex), str(age), *stage, str(virus), "1", str(weight)))
    return rows


def _table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
