"""What the guard stands on: trees that need no images.

Nothing here imports the harness, so that it works with whatever modules the harness has.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "tests" / "guard"


def write_placeholder_trees(folder: Path) -> dict[str, str]:
    """Writes trees of the official layouts whose images hold a few fixed bytes: enough to plan, and equal everywhere.

    Returns:
        Environment variables that say where they are.
    """
    _brats(folder / "brats2019", [f"HGG/BraTS19_CBICA_{name}_1" for name in ("AAA", "AAB", "AAC", "AAD")], "_")
    _brats(folder / "brats2019", [f"LGG/BraTS19_TMC_{name}_1" for name in ("30014", "30042")], "_")
    _brats(folder / "brats2023", [f"BraTS-GLI-{number:05d}-000" for number in (0, 2, 3, 5, 6, 8, 9)], "-")
    _brats(folder / "brats2024", [f"BraTS-GLI-{number:05d}-{100 + number % 2}" for number in range(5, 12)], "-")
    _hecktor(folder / "hecktor21")
    _prostate(folder / "prostate158")
    _chaos(folder / "chaos")
    _nnunet(folder / "Dataset501_Invented")
    names = ("brats2019", "brats2023", "brats2024", "hecktor21", "prostate158", "chaos")
    return {f"HARNESS_DATA_{name.upper()}": str(folder / name) for name in names}


def prepare_plans(folder: Path) -> None:
    """Puts the shipped studies, and those of the guard, where they can be planned."""
    for study in (*(ROOT / "studies").glob("*.yaml"), *GUARD.glob("*.yaml")):
        shutil.copy(study, folder)
    folds = [
        {"train": ["P0", "P1"], "val": ["P2"], "test": ["P3", "P4"]},
        {"train": ["P3", "P4"], "val": ["P2"], "test": ["P0", "P5"]},
    ]
    (folder / "folds.json").write_text(json.dumps({"folds": folds}))
    (folder / "weights.safetensors").write_bytes(b"placeholder")


def _write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"placeholder of {path.name}\n")


def _brats(folder: Path, cases: Sequence[str], separator: str) -> None:
    official = {"_": ("t1", "t1ce", "t2", "flair", "seg"), "-": ("t1n", "t1c", "t2w", "t2f", "seg")}
    for case in cases:
        for suffix in official[separator]:
            _write(folder / case / f"{Path(case).name}{separator}{suffix}.nii.gz")


def _hecktor(folder: Path) -> None:
    lines = ["PatientID,x1,x2,y1,y2,z1,z2"]
    for name in ("CHGJ007", "CHGJ008", "CHMR001", "CHUM001", "CHUS002", "CHUP003"):
        lines.append(f"{name},-72,72,-72,72,0,144")
        for suffix in ("ct", "pt", "gtvt"):
            _write(folder / "hecktor_nii" / f"{name}_{suffix}.nii.gz")
    _write(folder / "hecktor2021_bbox_training.csv", "\n".join(lines) + "\n")


def _prostate(folder: Path) -> None:
    for table, numbers in (("train", (1, 2, 3, 4)), ("valid", (5,)), ("test", (6, 7))):
        lines = ["ID,t2,adc,dwi,t2_anatomy_reader1"]
        archive = folder / ("prostate158_test" if table == "test" else "prostate158_train")
        for number in numbers:
            files = [f"{table}/{number:03d}/{name}.nii.gz" for name in ("t2", "adc", "dwi", "t2_anatomy_reader1")]
            for file in files:
                _write(archive / file)
            lines.append(f"{number}," + ",".join(files))
        _write(archive / f"{table}.csv", "\n".join(lines) + "\n")


def _chaos(folder: Path) -> None:
    for number in (1, 2, 3, 5, 8, 10):
        home = folder / "Train_Sets" / "MR" / str(number)
        for kind in ("DICOM_anon/InPhase", "DICOM_anon/OutPhase", "Ground"):
            ending = "png" if kind == "Ground" else "dcm"
            _write(home / "T1DUAL" / kind / f"IMG-0004-00002.{ending}")
        _write(home / "T2SPIR" / "DICOM_anon" / "IMG-0002-00001.dcm")
        _write(home / "T2SPIR" / "Ground" / "IMG-0002-00001.png")


def _nnunet(folder: Path) -> None:
    facts = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 6}
    _write(folder / "dataset.json", json.dumps({**facts, "file_ending": ".nii"}))
    image = nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.diag([1, 1, 3, 1]))  # its header is read
    for number in range(6):
        for name in (f"imagesTr/P{number}_0000", f"imagesTr/P{number}_0001", f"labelsTr/P{number}"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            nib.save(image, folder / f"{name}.nii")
