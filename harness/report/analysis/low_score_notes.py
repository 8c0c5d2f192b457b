"""Why a variant scored low: facts of its predictions and its training, for the notes of a table."""

import numpy as np
import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.variants import Variant

#: A mean Dice below this is explained.
LOW_DICE = 0.5

#: Loss that falls by less than this share over the last quarter of a training has settled.
_SETTLED = 0.02


def low_score_notes(study: StudyAnalysis, view: DatasetView) -> list[str]:
    """Returns a sentence for each variant whose mean Dice is below :data:`LOW_DICE`.

    It names regions that were found in no case, and says where training stood when it ended: its loss and its score on
    the validation cases. Whether a longer training would do is for the reader to judge.
    """
    notes = []
    for variant in view.variants:
        summary = view.summary(variant, "dice", view.main)
        if view.status[variant] != "complete" or summary is None or not summary.mean < LOW_DICE:
            continue
        parts = [_never_found(study, view, variant), _training(study, view, variant)]
        words = "; ".join(filter(None, parts)) or "nothing is known of its training"
        notes.append(f"{view.names[variant]} has a mean Dice of {METRICS.get('dice').text(summary.mean)}: {words}.")
    return notes


def _never_found(study: StudyAnalysis, view: DatasetView, variant: Variant) -> str:
    cases = study.results.cases
    mine = cases[
        (cases["dataset"] == view.name)
        & (cases["label"] == variant.label)
        & (cases["leading"] == variant.leading)
        & (cases["metric"] == "dice")
    ]
    best = mine.groupby("region", observed=True)["value"].max()
    never = [region for region in view.regions if best.get(region, np.nan) == 0]
    return f"{', '.join(never)} found in no case" if never else ""


def _training(study: StudyAnalysis, view: DatasetView, variant: Variant) -> str:
    cells = view.cells.loc[view.cells["method"] == view.names[variant], "cell"]
    history = study.results.history
    history = history[history["cell"].isin(cells)]
    if history.empty:
        return ""
    steps = int(history["step"].max())
    parts = [f"when training ended after {count(steps, 'step')}", _trend(history)]
    validated = history.dropna(subset=["val_dice"]).sort_values("epoch").groupby("cell")["val_dice"].last()
    if len(validated):
        parts.append(f"and its validation Dice was {METRICS.get('dice').text(float(validated.mean()))}")
    return " ".join(parts)


def _trend(history: pd.DataFrame) -> str:
    """Returns whether the loss still fell, by the mean of the last quarter of the epochs against the one before."""
    by_epoch = history.groupby("epoch")["loss"].mean()
    quarter = len(by_epoch) // 4
    if quarter == 0:
        return "its loss was seen too rarely to tell a trend"
    before, last = by_epoch.iloc[-2 * quarter : -quarter].mean(), by_epoch.iloc[-quarter:].mean()
    fall = 1 - last / before
    if not np.isfinite(fall) or fall < _SETTLED:
        return "its loss had settled"
    return f"its loss still fell, by {fall:.0%} over the last quarter"
