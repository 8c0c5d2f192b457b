"""Any study file is read or refused in one line: no traceback, no hang, no memory beyond a bound."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from fuzzing import changed, rewritten, tried, write_raw_folder
from hypothesis import strategies as st

from harness.data.datasets.layouts import find_dataset
from harness.data.splits import choose_splits
from harness.errors import HarnessError
from harness.study.expansion import load_study

STUDY = {
    "name": "fuzz",
    "question": "Does it end?",
    "protocol": {"base": "demo", "training": {"epochs": 2, "optimiser": {"lr": 0.01}}, "patch_size": [16, 16]},
    "matrix": {
        "dataset": [{"nnunet_raw": "raw", "name": "mine", "leading": "T1", "splits": "folds.json"}],
        "model": [{"name": "toy", "width": 4}, {"name": "toy", "label": "A", "sweep": {"width": [8, 9]}}],
        "leading": ["default"],
        "protocol": {"fast": {"training": {"epochs": 1}}},
        "seed": [0, 1],
        "fold": [0],
    },
    "options": {"toy": {"switch": "off"}},
    "report": {"reference": "A, width=8, fast", "metrics": ["dice", "nsd_2mm"]},
    "profiles": {"small": {"matrix": {"seed": [0]}}},
}
RAW = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2},
    "regions_class_order": [1, 2],
    "numTraining": 6,
    "file_ending": ".nii.gz",
    "name": "Mine",
    "dataset": {
        f"case{n}": {"images": [f"imagesTr/case{n}_000{c}.nii.gz" for c in (0, 1)], "label": f"labelsTr/case{n}.nii.gz"}
        for n in range(6)
    },
}
MSD = {
    "name": "Mine",
    "modality": {"0": "T1"},
    "labels": {"0": "background", "1": "a", "2": "b"},
    "training": [{"image": f"./imagesTr/case{n}_0000.nii.gz", "label": f"./labelsTr/case{n}.nii.gz"} for n in range(6)],
    "test": ["./imagesTr/case0_0001.nii.gz"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A raw folder of nnU-Net with six patients of a few hundred voxels."""
    root = tmp_path_factory.mktemp("fuzz")
    labels = np.random.default_rng(0).integers(0, 3, (6, 8, 7, 3)).astype(np.uint8)
    write_raw_folder(root / "raw", RAW, [([label * 2, label * 3], label) for label in labels])
    folds = [{"train": [f"case{n}" for n in range(3)], "val": ["case3"], "test": ["case4", "case5"]}]
    (root / "folds.json").write_text(json.dumps({"folds": folds}))
    return root


def read_study(path: Path) -> str:
    try:
        load_study(path)
    except HarnessError as refusal:
        return check(refusal)
    return "read"


def check(refusal: HarnessError) -> str:
    assert "\n" not in refusal.message
    assert len(str(refusal)) < 5000
    str(refusal).encode()
    return "refused"


def read_folder(root: Path, layout: str) -> str:
    try:
        dataset = find_dataset(layout, root)
        reader = dataset.open(root)
        reader.fingerprint()
        choose_splits(dataset, reader)
        reader.load(reader.cases()[0])
        for name in reader.unlabelled():
            reader.load(name)
    except HarnessError as refusal:
        return check(refusal)
    return "read"


def dumped(values: object) -> str:
    return yaml.dump(values, sort_keys=False, allow_unicode=True)


def fuzz(
    path: Path, sound: str, contents: st.SearchStrategy[bytes], read: Callable[[], str], count: int
) -> Counter[str]:
    """Writes each content into a file and reads it; returns how often it was read and refused."""
    path.write_text(sound)
    assert read() == "read"  # what that imports is not counted below

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()

    return tried(contents, attempt, count)


def both(document: object, write: Callable[[object], str], more: list[object]) -> st.SearchStrategy[bytes]:
    """Strategy for a document whose values are changed, or whose text is."""
    text = changed(document, more).map(write)
    return st.one_of(text.map(lambda one: one.encode("utf-8", "surrogatepass")), rewritten(write(document)))


def of_study(folder: Path, count: int) -> Counter[str]:
    path = folder / "fuzz.yaml"
    (folder / "raw/dataset.json").write_text(json.dumps(RAW))
    more = [
        ["toy", "nnunet"],
        {"name": "toy_leading"},
        "demo",
        "paper",
        "native",
        {"sweep": {"width": list(range(99))}},
    ]
    return fuzz(path, dumped(STUDY), both(STUDY, dumped, more), lambda: read_study(path), count)


def of_document(folder: Path, count: int, layout: str) -> Counter[str]:
    document = RAW if layout == "nnunet_raw" else MSD
    more = [".nii", ".png", {"images": ["x"], "label": "y"}, "../raw/labelsTr/case0.nii.gz", "CT"]
    contents, path = both(document, json.dumps, more), folder / "raw/dataset.json"
    return fuzz(path, json.dumps(document), contents, lambda: read_folder(folder / "raw", layout), count)


FEW, MANY = 200, 10_000


def test_some_hundred_study_files(folder, toys):
    assert set(of_study(folder, FEW)) == {"read", "refused"}


@pytest.mark.parametrize("layout", ["nnunet_raw", pytest.param("msd", marks=pytest.mark.slow)])
def test_some_hundred_documents_of_datasets(folder, layout):
    assert set(of_document(folder, FEW, layout)) == {"read", "refused"}


@pytest.mark.slow
def test_ten_thousand_study_files(folder, toys):
    assert sum(of_study(folder, MANY).values()) > MANY / 2


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["nnunet_raw", "msd"])
def test_ten_thousand_documents_of_datasets(folder, layout):
    assert sum(of_document(folder, MANY // 2, layout).values()) > MANY / 4
