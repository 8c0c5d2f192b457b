"""A metric of a third party, and a dataset that declares it; both join through entry points. No numpy is imported."""

from dataclasses import replace

from harness.data.datasets.cortex import DATASET as CORTEX
from harness.evaluation import Metric

VOLUME_SIMILARITY = Metric(
    name="volume_similarity",
    title="Volume similarity",
    measure="toy_metric:volume_similarity",
    implementation="toy-metric {toy-metric}",
)

DATASET = replace(CORTEX, name="cortex-toy", metrics=("dice", "volume_similarity"))


def volume_similarity(pair):
    """Returns 1 - |P - T| / (P + T) of two volumes."""
    return 1 - abs(pair.predicted - pair.real) / (pair.predicted + pair.real)
