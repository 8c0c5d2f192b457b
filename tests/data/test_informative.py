"""On request one modality of a generated tree carries the signal alone."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import DATASETS
from harness.data.synthetic.generated import MARKER, describe, generate
from harness.errors import HarnessError
from harness.files import read_json


def contrasts(root, name="brats2023"):
    """Returns for each modality the least contrast that a region has to the rest of the brain, in its deviations."""
    dataset = DATASETS.get(name)
    reader = dataset.open(root)
    found = []
    for case in reader.cases()[:3]:
        content = reader.load(case)
        healthy = (content.label == 0) & content.images.all(axis=0)
        regions = [content.label == value for value in dataset.labels if value and (content.label == value).any()]
        found.append(
            [
                min(abs(image[region].mean() - image[healthy].mean()) / image[healthy].std() for region in regions)
                for image in content.images
            ]
        )
    return dict(zip(dataset.modalities, np.mean(found, axis=0), strict=True))


def test_one_modality_shows_every_part_of_the_tumour_and_the_others_hardly_any(tmp_path):
    generate(DATASETS.get("brats2023"), tmp_path / "out", 5, 0, 0.1, "t2w")
    shown = contrasts(tmp_path / "out")
    others = max(value for name, value in shown.items() if name != "t2w")
    assert shown["t2w"] > 1
    assert shown["t2w"] > 4 * others
    assert read_json(tmp_path / "out" / MARKER)["informative"] == "t2w"
    assert "t2w informative" in describe(tmp_path / "out")


def test_without_the_option_nothing_changes(tmp_path):
    from harness.data.datasets.brats.generate import brats2023

    generate(DATASETS.get("brats2023"), tmp_path / "out", 5, 0, 0.07)
    (tmp_path / "plain").mkdir()
    brats2023(tmp_path / "plain", 5, 0, 0.07)
    files = sorted(path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.nii.gz"))
    assert files
    assert all((tmp_path / "out" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes() for file in files)
    assert "informative" not in read_json(tmp_path / "out" / MARKER)


@pytest.mark.parametrize(
    ("name", "modality", "words"), [("brats2023", "T1c", "no modality 'T1c'"), ("chaos", "t2spir", "cannot make")]
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, name, modality, words):
    with pytest.raises(HarnessError, match=words):
        generate(DATASETS.get(name), tmp_path / "out", 5, 0, 0.07, modality)
    assert not list(tmp_path.iterdir())
