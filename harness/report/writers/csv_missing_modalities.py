"""Missing modalities in the long form: one row a network and set of modalities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.missing_modalities import MissingGroup, TestedNetwork
from harness.results.subsets import in_words

__all__ = ["MISSING_COLUMNS", "missing_rows"]

#: ``difference`` is the score minus that with all modalities; ``p_holm`` belongs to it.
MISSING_COLUMNS = [
    "dataset",
    "label",
    "leading",
    "singled_out",
    "dropout",
    "fill",
    "metric",
    "region",
    "present",
    "absent",
    "n_patients",
    "n_cases",
    "complete",
    "mean",
    "mean_low",
    "mean_high",
    "difference",
    "difference_low",
    "difference_high",
    "p_holm",
]


def missing_rows(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    """Yields rows of :data:`MISSING_COLUMNS` at full precision; sets a network was not tested with are left out."""
    for view in study.views.values():
        for group in view.missing:
            for one in group.tested:
                place = {"dataset": view.name, "label": one.variant.label, "leading": one.variant.leading}
                for row in _of(group, one):
                    yield place | row


def _of(group: MissingGroup, one: TestedNetwork) -> Iterator[dict[str, Any]]:
    shared = {"singled_out": one.leading, "dropout": group.dropout, "fill": one.fill}
    shared |= {"metric": group.metric, "region": group.region}
    for present in group.subsets:
        summary, loss = one.summary(present), one.loss(present)
        if summary is None:
            continue
        low, high = summary.mean_interval or (None, None)
        row: dict[str, Any] = {
            "present": in_words(present),
            "absent": in_words([name for name in group.modalities if name not in present]),
            "n_patients": summary.n_patients,
            "n_cases": summary.n_cases,
            "complete": summary.complete,
            "mean": summary.mean,
            "mean_low": low,
            "mean_high": high,
        }
        if loss is not None:
            row["difference"], row["p_holm"] = loss.mean_difference, loss.p_holm
            row["difference_low"], row["difference_high"] = loss.mean_interval or (None, None)
        yield shared | row
