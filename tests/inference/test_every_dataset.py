"""Every registered dataset, generated small: prepared by both readings of the paper, brought back to its own grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.data import DATASETS
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.inference.native_grid import restore
from harness.study.protocol import load_protocol


class Remembering:
    """A reader that loads a case once."""

    def __init__(self, reader):
        self._reader, self.load = reader, cache(reader.load)

    def __getattr__(self, name):
        return getattr(self._reader, name)


@pytest.fixture(scope="module", params=[name for name in DATASETS.names() if DATASETS.get(name).generator])
def opened(request, generated):
    dataset = DATASETS.get(request.param)
    return dataset, Remembering(dataset.open(generated(request.param)))


@pytest.mark.parametrize(("name", "least"), [("paper", 0.9), ("paper_patch", 0.999)])
def test_a_label_comes_back_through_both_readings_of_the_paper(opened, tmp_path, name, least):
    dataset, reader = opened
    protocol, cases = load_protocol(name), reader.cases()[:1]
    prepared = prepare(dataset, reader, cases, protocol.preparation, protocol.patch_size, tmp_path)
    normaliser = Normaliser.fit(dataset.normalisations, prepared)
    for case in prepared:
        content = reader.load(case.name)
        label = torch.from_numpy(np.array(case.label)).long()
        found = restore(F.one_hot(label, len(dataset.labels)).permute(3, 0, 1, 2).float(), case.geometry)
        assert found.shape == content.label.shape
        assert (found == content.label).mean() > 0.995
        foreground, truth = found > 0, content.label > 0
        assert 2 * (foreground & truth).sum() / (foreground.sum() + truth.sum()) > least
        images = normaliser(case.images, case)
        assert np.isfinite(images).all()
        assert np.abs(images).max() < 60
