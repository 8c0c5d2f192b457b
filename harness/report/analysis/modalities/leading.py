"""Which modality should lead, from the test patients of a study: by the rule that ``harness lead`` uses in its race."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.evaluation import METRICS
from harness.report.analysis.modalities.lead_words import lead_sentence, to_tell_words, too_few_words
from harness.statistics.bootstrap import Interval
from harness.statistics.chances import Resamples, chances_of_best, not_told_from, patients_to_tell
from harness.statistics.patients import NothingCounts, build_grid, patient_table


@dataclass(frozen=True)
class Leader:
    """One leading modality.

    Attributes:
        name: The modality, or ``none``.
        mean: Mean over patients and seeds.
        chance: Probability to be the best; None where patients are too few.
        behind: Distance to the first one, above 0 where it is worse; 0 for the first.
        interval: 95 % interval of it, patients and seeds resampled; None for the first, and for too few patients.
    """

    name: str
    mean: float
    chance: float | None
    behind: float
    interval: Interval | None


@dataclass(frozen=True)
class LeadingChoice:
    """Which modality should lead in one network.

    Attributes:
        metric: Metric of the scores.
        patients: Number of patients; of parts, where all are of one patient.
        parts: Whether they are parts of one patient.
        seeds: Seeds that every leading modality was trained with.
        leaders: Leading modalities, the best first.
        equals: Others that the data cannot tell from the first; empty where it should lead, or patients are too few.
        sentence: The answer.
        needed: How many patients it takes, in a sentence; empty where the data can tell.
    """

    metric: str
    patients: int
    parts: bool
    seeds: int
    leaders: tuple[Leader, ...]
    equals: tuple[str, ...]
    sentence: str
    needed: str = ""

    @property
    def first(self) -> Leader:
        """The best one."""
        return self.leaders[0]

    @property
    def refused(self) -> bool:
        """Whether patients are too few for an answer."""
        return self.first.chance is None


def choose_leading(
    rows: pd.DataFrame, dataset: str, metric: str, region: str, regions: Sequence[str], *, parts: bool
) -> LeadingChoice | None:
    """Returns which modality should lead in one network; None where fewer than two have every result.

    Args:
        rows: Results of the network's variants that are complete, in one metric.
        dataset: Name of the dataset.
        metric: Name of the metric.
        region: Region of the scores, or the mean over regions.
        regions: Regions of the mean.
        parts: Whether cases are parts of a patient, so that cases may stand for patients where there is one.
    """
    sign = 1 if METRICS.get(metric).higher_is_better else -1
    try:
        found = _scores(rows, dataset, metric, region, regions, parts=parts)
    except NothingCounts:
        return None
    if found is None:
        return None
    scores, single = found
    seeds, patients = next(iter(scores.values())).shape
    ordered = sorted(scores, key=lambda name: -sign * float(scores[name].mean()))
    first, others = ordered[0], ordered[1:]
    means = {name: float(scores[name].mean()) for name in ordered}
    gaps = {name: sign * (scores[first] - scores[name]) for name in ordered}
    if not single and (refusal := too_few_words(patients)):
        leaders = tuple(Leader(name, means[name], None, float(gaps[name].mean()), None) for name in ordered)
        return LeadingChoice(metric, patients, single, seeds, leaders, (), refusal)
    draws = Resamples(seeds, patients)
    chances = chances_of_best([{name: sign * scores[name] for name in ordered}], draws)
    ends = {name: draws.interval(gaps[name]) for name in others}
    leaders = tuple(
        Leader(name, means[name], chances[name], float(gaps[name].mean()), ends.get(name)) for name in ordered
    )
    title = METRICS.get(metric)
    sentence = lead_sentence(
        first,
        chances,
        {name: (float(gaps[name].mean()), ends[name]) for name in others},
        title.title,
        title.text,
    )
    equals = not_told_from(first, chances)
    needed = ""
    if equals and not single:
        needed = to_tell_words(first, equals[0], patients_to_tell(gaps[equals[0]]), patients)
    return LeadingChoice(metric, patients, single, seeds, leaders, equals, sentence, needed)


def _scores(
    rows: pd.DataFrame, dataset: str, metric: str, region: str, regions: Sequence[str], *, parts: bool
) -> tuple[dict[str, NDArray[np.float64]], bool] | None:
    """Seeds x patients of each leading modality, and whether cases of one patient stand in their place."""
    tables = []
    for _, mine in rows.groupby("seed", observed=True, sort=True):
        grid = build_grid(mine.assign(method=mine["leading"].astype(str)), dataset, metric)
        found = patient_table(grid, region, regions=[one for one in regions if one in grid.regions])
        single = parts and len(found.values) == 1
        tables.append(found.by_case[found.values.columns] if single else found.values)
    shared = [str(name) for name in tables[0] if all(name in table for table in tables)] if tables else []
    if len(shared) < 2:
        return None
    places = tables[0].index
    for table in tables[1:]:
        places = places.intersection(table.index)
    stacked = {
        name: np.stack([table[name].reindex(places).to_numpy(dtype=float) for table in tables]) for name in shared
    }
    return stacked, parts and isinstance(places, pd.MultiIndex)
