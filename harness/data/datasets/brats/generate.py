"""Generated BraTS trees: official names and kinds of files, invented patients, and every trap of the real archives."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from harness.data.synthetic.phantoms.brain import VoxelGrid, draw_brain
from harness.data.synthetic.phantoms.glioma import SEQUENCES, Glioma, Lesions, draw_lesions, scan

#: Which of the first patients shows which trap.
_WITH_MAC_FILES, _SCANNED_TWICE, _WITHOUT_ENHANCEMENT, _WITH_NOISY_LABEL, _UNCOMPRESSED = range(5)

#: Growth between two scans of a patient.
_GROWTH = 1.15


@dataclass(frozen=True)
class _Release:
    """File format of a release.

    Attributes:
        shape: Official voxels along X, Y, Z.
        directions: For each axis, its direction against right, anterior, superior.
        origin: First voxel's centre in RAS mm.
        separator: Between case and modality.
        modalities: Names of the sequences T1, T1 with contrast agent, T2, FLAIR.
        labels: Label as drawn to value in the file.
    """

    shape: tuple[int, int, int]
    directions: tuple[int, int, int]
    origin: tuple[float, float, float]
    separator: str
    modalities: tuple[str, str, str, str]
    labels: tuple[int, ...] = (0, 1, 2, 3, 4)

    def grid(self, scale: float) -> VoxelGrid:
        """Returns the voxels at a scale: fewer and larger ones, the same head."""
        x, y, z = (max(16, round(extent * scale)) for extent in self.shape)
        return VoxelGrid((x, y, z), 1 / scale, self.directions)

    def affine(self, grid: VoxelGrid) -> NDArray[np.float64]:
        """Returns (4, 4), voxels to RAS mm."""
        affine = np.eye(4)
        affine[:3, :3] = grid.to_head()
        affine[:3, 3] = self.origin
        return affine


_2019 = _Release((240, 240, 155), (-1, -1, 1), (0, 239, 0), "_", ("t1", "t1ce", "t2", "flair"), (0, 1, 2, 4, 0))
_2023 = _Release((240, 240, 155), (-1, -1, 1), (0, 239, 0), "-", ("t1n", "t1c", "t2w", "t2f"))
_2024 = _Release((182, 218, 182), (-1, 1, 1), (90, -126, -72), "-", ("t1n", "t1c", "t2w", "t2f"))


def brats2019(out: Path, patients: int, seed: int, scale: float, informative: str | None = None) -> None:
    """Writes a BraTS 2019 tree; every fourth patient is of low grade, and one has no enhancing tumour."""
    training = out / "MICCAI_BraTS_2019_Data_Training"
    validation = out / "MICCAI_BraTS_2019_Data_Validation"
    draw = _Drawing(_2019, seed, scale, informative)
    rows = []
    numbers = _numbers(patients + _unlabelled(patients), 699, seed)
    for index, number in enumerate(numbers[:patients]):
        grade = "LGG" if index % 4 == _WITHOUT_ENHANCEMENT else "HGG"
        source = (f"CBICA_{_letters(number)}", f"TCIA{index % 13 + 1:02d}_{number}", f"2013_{index + 1}")[index % 3]
        name = f"BraTS19_{source}_1"
        draw.patient(training / grade / name, index, Glioma(enhancing=index != _WITHOUT_ENHANCEMENT))
        rows.append((grade, name))
    for index, number in enumerate(numbers[patients:]):
        draw.patient(validation / f"BraTS19_CBICA_{_letters(number)}_1", patients + index, Glioma(), labelled=False)
    years = [f"{key}_subject_ID" for key in ("BraTS_2017", "BraTS_2018", "TCGA_TCIA", "BraTS_2019")]
    _table(training / "name_mapping.csv", ("Grade", *years), [(grade, "NA", "NA", "NA", name) for grade, name in rows])
    ages = np.random.default_rng([seed, 8]).uniform(30, 80, len(rows))
    survival = [(name, f"{age:.2f}", "NA", "NA") for (_, name), age in zip(rows, ages, strict=True)]
    _table(training / "survival_data.csv", ("BraTS19ID", "Age", "Survival", "ResectionStatus"), survival)


def brats2023(out: Path, patients: int, seed: int, scale: float, informative: str | None = None) -> None:
    """Writes a BraTS 2023 tree; the training archive is unpacked doubly nested, one patient has two timepoints."""
    name = "ASNR-MICCAI-BraTS2023-GLI-Challenge-{}Data"
    training = out / name.format("Training") / name.format("Training")
    validation = out / name.format("Validation")
    draw = _Drawing(_2023, seed, scale, informative)
    numbers = _numbers(patients + _unlabelled(patients), 1666, seed)
    for index, number in enumerate(numbers[:patients]):
        for timepoint in range(2 if index == _SCANNED_TWICE else 1):
            glioma = Glioma(enhancing=index != _WITHOUT_ENHANCEMENT, growth=_GROWTH**timepoint)
            draw.patient(training / f"BraTS-GLI-{number:05d}-{timepoint:03d}", index, glioma, timepoint)
    for index, number in enumerate(numbers[patients:]):
        draw.patient(validation / f"BraTS-GLI-{number:05d}-000", patients + index, Glioma(), labelled=False)


def brats2024(out: Path, patients: int, seed: int, scale: float, informative: str | None = None) -> None:
    """Writes a BraTS 2024 tree; a second timepoint lies in the additional archive, some lack core, tumour or cavity."""
    training = out / "BraTS2024-BraTS-GLI-TrainingData" / "training_data1_v2"
    additional = out / "BraTS2024-BraTS-GLI-AdditionalTrainingData" / "training_data_additional"
    validation = out / "BraTS2024-BraTS-GLI-ValidationData" / "validation_data"
    draw = _Drawing(_2024, seed, scale, informative)
    numbers = _numbers(patients + _unlabelled(patients), 3064, seed)
    for index, number in enumerate(numbers[:patients]):
        for timepoint in range(2 if index == _SCANNED_TWICE else 1):
            glioma = Glioma(
                enhancing=index != _WITHOUT_ENHANCEMENT,
                necrotic=index % 4 != 0,
                cavity=index % 4 != 3,
                growth=_GROWTH**timepoint,
            )
            folder = additional if timepoint or index % 6 == 5 else training
            draw.patient(folder / f"BraTS-GLI-{number:05d}-{100 + timepoint}", index, glioma, timepoint)
    for index, number in enumerate(numbers[patients:]):
        glioma = Glioma(cavity=True)
        draw.patient(validation / f"BraTS-GLI-{number:05d}-100", patients + index, glioma, labelled=False)


class _Drawing:
    """Draws patients of one tree.

    Args:
        release: File format of the release.
        seed: Random seed of the tree.
        scale: Size of the image matrix against the official one.
        informative: Modality that carries the signal alone; ``None`` for what sequences really show.
    """

    def __init__(self, release: _Release, seed: int, scale: float, informative: str | None) -> None:
        self._release, self._seed = release, seed
        self._informative = None
        if informative is not None:
            self._informative = SEQUENCES[release.modalities.index(informative)]
        self._grid = release.grid(scale)

    def patient(self, folder: Path, index: int, glioma: Glioma, timepoint: int = 0, labelled: bool = True) -> None:
        """Draws one scan of a patient and writes it.

        Args:
            folder: Folder of the case; its name is the case's name.
            index: Number of the patient; the same brain and tumour at every timepoint.
            glioma: Composition of the tumour.
            timepoint: Number of the scan; each has its own contrast, shading and noise.
            labelled: Whether the segmentation is written.
        """
        brain = draw_brain(self._grid, np.random.default_rng([self._seed, index, 0]))
        lesions = draw_lesions(brain, self._grid, glioma, np.random.default_rng([self._seed, index, 1]))
        images = scan(
            brain, lesions, self._grid, np.random.default_rng([self._seed, index, 2, timepoint]), self._informative
        )
        folder.mkdir(parents=True)
        affine = self._release.affine(self._grid)
        ending = ".nii" if index == _UNCOMPRESSED else ".nii.gz"
        files: dict[str, NDArray[np.generic]] = {
            name: images[sequence] for name, sequence in zip(self._release.modalities, SEQUENCES, strict=True)
        }
        if labelled:
            files["seg"] = self._in_file(lesions, index)
        for name, voxels in files.items():
            nib.save(nib.Nifti1Image(voxels, affine), folder / f"{folder.name}{self._release.separator}{name}{ending}")
            if index == _WITH_MAC_FILES:
                hidden = folder / f"._{folder.name}{self._release.separator}{name}{ending}"
                hidden.write_bytes(b"\x00\x05\x16\x07" + bytes(60))

    def _in_file(self, lesions: Lesions, index: int) -> NDArray[np.generic]:
        label = np.array(self._release.labels, np.uint8)[lesions.label]
        if index != _WITH_NOISY_LABEL:
            return label
        noise = np.random.default_rng([self._seed, index, 3]).uniform(-1e-4, 1e-4, label.shape)
        return (label + noise * (label > 0)).astype(np.float32)


def _unlabelled(patients: int) -> int:
    return max(2, patients // 6)


def _numbers(count: int, largest: int, seed: int) -> list[int]:
    """Returns patient numbers with gaps, as the real ones have."""
    chosen = np.random.default_rng([seed, 7]).choice(max(largest, 2 * count), count, replace=False)
    return sorted(int(number) for number in chosen)


def _letters(number: int) -> str:
    """Returns three letters, as the codes of one source are."""
    return "".join(chr(65 + number // 26**place % 26) for place in (2, 1, 0))


def _table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
