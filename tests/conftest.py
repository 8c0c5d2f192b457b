"""What many tests share: a small copy of the embedded person, generated trees, toy networks, a project folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(scope="session")
def small_cortex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded person at 2 mm: the same files on an eighth of the voxels."""
    from harness.data import DATASETS

    home = DATASETS.get("cortex").home
    folder = tmp_path_factory.mktemp("cortex_2mm")
    for name in ("t1", "epi", "label"):
        image = nib.load(home / f"{name}.nii.gz")
        affine = image.affine @ np.diag([2, 2, 2, 1])
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::2, ::2, ::2], affine), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function from a dataset's name to a generated tree of it, which nobody may change.

    Six patients at a tenth of the official size: a few seconds for all of them together.
    """
    from harness.data import DATASETS
    from harness.data.synthetic.generated import generate

    made: dict[str, Path] = {}

    def tree(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("generated") / name
            generate(DATASETS.get(name), out, patients=6, seed=0, scale=0.1)
            made[name] = out
        return made[name]

    return tree


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the toy networks known to this process and to the workers it starts."""
    from harness.segmenters import SEGMENTERS

    monkeypatch.syspath_prepend(str(SUPPORT))
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    SEGMENTERS.refresh()
    yield
    monkeypatch.undo()
    SEGMENTERS.refresh()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cortex: Path) -> Path:
    """An empty folder that is the working directory; the small person is where the dataset `cortex` is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA_CORTEX", str(small_cortex))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("MLFLOW_TRACKING_URI", "HARNESS_RESULTS", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


MICRO_PROTOCOL: dict[str, Any] = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 2},
}


@pytest.fixture
def write_study(project: Path) -> Callable[..., Path]:
    """Returns a function that writes a study file of a few seconds; keyword arguments replace top-level keys."""

    def write(**changes: Any) -> Path:
        study: dict[str, Any] = {
            "name": "micro",
            "question": "Does it run?",
            "protocol": MICRO_PROTOCOL,
            "matrix": {"dataset": ["cortex"], "model": ["toy"]},
            **changes,
        }
        path = project / f"{study['name']}.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write
