"""Every shipped network becomes a program that computes the same."""

from __future__ import annotations

import pytest

from harness.publication.exported_program import export_network
from harness.segmenters import SEGMENTERS, Task

SHIPPED = [
    (name, dims)
    for name in SEGMENTERS.names()
    if not SEGMENTERS.get(name).runner and not SEGMENTERS.is_foreign(name)
    for dims in sorted(SEGMENTERS.get(name).spatial_dims)
]
#: Tried in every run; the others are slow.
QUICK = {("segresnet", 2), ("segresnet_ds", 2)}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "dims"), [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in SHIPPED]
)
def test_a_shipped_network_exports(name, dims):
    segmenter = SEGMENTERS.get(name)
    modalities = ("t1", "t1ce", "t2", "flair")
    preset = {"preset": "tiny"} if "tiny" in segmenter.presets else {}
    network = segmenter.build(Task(modalities, 1, 4, (64,) * dims), preset).eval()
    export_network(network, name, len(modalities), (64,) * dims, batch_size=4)  # compares them, or raises
