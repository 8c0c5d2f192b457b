"""What segmenters and datasets name as ``module:object`` is imported when it is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.data import DATASETS
from harness.data.export import exporter_of
from harness.data.synthetic.generated import generate
from harness.errors import HarnessError
from harness.registry import resolve
from harness.segmenters import SEGMENTERS


def test_an_object_is_imported():
    assert resolve("harness.registry:resolve", "object") is resolve


@pytest.mark.parametrize("place", ["nowhere.module:build", "harness.registry:nothing", "", "harness registry:resolve"])
def test_what_cannot_be_imported_is_named(place):
    with pytest.raises(HarnessError) as raised:
        resolve(place, "reader of 'mine'")
    assert f"reader of 'mine' ({place})" in raised.value.message
    assert ("pip install" in raised.value.hint) == place.startswith("nowhere")


@pytest.mark.parametrize(
    "use",
    [
        lambda place, _: replace(DATASETS.get("cortex"), reader=place).open(),
        lambda place, _: exporter_of(replace(DATASETS.get("cortex"), exporter=place)),
        lambda place, folder: generate(replace(DATASETS.get("chaos"), generator=place), folder / "made", 5, 0, 0.1),
        lambda place, _: replace(SEGMENTERS.get("unetr"), runner=place).load_runner(),
    ],
    ids=["reader", "exporter", "generator", "runner"],
)
def test_every_object_that_is_named_is_imported_in_this_way(use, tmp_path):
    with pytest.raises(HarnessError, match=r"absent\.module:thing"):
        use("absent.module:thing", tmp_path)
