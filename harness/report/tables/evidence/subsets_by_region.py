"""Scores by the modalities present, region by region: the table of networks made for missing modalities."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.tested import TestedNetwork
from harness.report.inputs.published_numbers import published_over_sets
from harness.report.tables.cells import mean_cell, provenance
from harness.report.tables.table import CHECK, NO_VALUE, Column, CsvFile, Row, Table, TableCell, TableKind
from harness.results.subsets import in_words
from harness.statistics.analysis import Summary

_MEAN = "mean of all sets"


def _tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One row per region and set of modalities, one column per network, whatever way it was trained."""
    del study
    networks = [network for group in view.missing for network in group.tested if network.by_region]
    if not networks or len(view.regions) < 2:
        return
    metric, modalities = METRICS.get(view.missing[0].metric), view.missing[0].modalities
    published = published_over_sets(view.name, metric.name, view.regions)
    methods = list(dict.fromkeys(published["method"]))
    sets = [one for size in range(1, len(modalities) + 1) for one in combinations(modalities, size)]
    yield Table(
        kind="missing-regions",
        dataset=view.name,
        title=f"{view.title}: {metric.title} by region and the modalities present",
        caption=(
            f"{metric.title} in each region by the modalities that are present ({CHECK}): {view.title}.",
            f"Mean over patients, over {view.data.sample}; {metric.direction}. {_MEAN.capitalize()}: each set counts "
            "alike, that of all modalities too; a dash where a set was not tested.",
            "Networks are trained in different ways, so none is ranked here.",
        ),
        row_header=("Region", *modalities),
        columns=(
            *(Column("", network.name, metric.name) for network in networks),
            *(Column("As published", method, metric.name, plain=f"{method}, as published") for method in methods),
        ),
        rows=tuple(row for region in view.regions for row in _rows(region, networks, sets, metric, published)),
        notes=(*_sources(published), *provenance(view)),
    )


def _rows(
    region: str,
    networks: Sequence[TestedNetwork],
    sets: Sequence[tuple[str, ...]],
    metric: Metric,
    published: pd.DataFrame,
) -> Iterator[Row]:
    modalities = sets[-1]
    methods = list(dict.fromkeys(published["method"]))
    for present in sets:
        checks = tuple(CHECK if name in present else "–" for name in modalities)
        cells = (_cell(network.by_region.get(region, {}).get(in_words(present)), metric) for network in networks)
        yield Row((region, *checks), (*cells, *[NO_VALUE] * len(methods)))
    theirs = published[published["region"] == region].set_index("method")["mean"]
    yield Row(
        (region, _MEAN, *[""] * (len(modalities) - 1)),
        (
            *(_number(over_sets(network, region, sets), metric) for network in networks),
            *(_number(float(theirs[method]) if method in theirs else np.nan, metric) for method in methods),
        ),
    )


def over_sets(network: TestedNetwork, region: str, sets: Sequence[tuple[str, ...]]) -> float:
    """Mean of a network over all sets of modalities in a region; NaN where one was not tested on every patient."""
    summaries = network.by_region.get(region, {})
    found = [summaries.get(in_words(present)) for present in sets]
    return float(np.mean([np.nan if one is None or not one.complete else one.mean for one in found]))


def _cell(summary: Summary | None, metric: Metric) -> TableCell:
    return NO_VALUE if summary is None else mean_cell(metric, summary, interval=True)


def _number(value: float, metric: Metric) -> TableCell:
    return NO_VALUE if np.isnan(value) else TableCell(metric.text(value), sort=value)


def _sources(published: pd.DataFrame) -> tuple[str, ...]:
    """Where published numbers come from, and what they were measured on."""
    if published.empty:
        return ()
    rows = published.drop_duplicates(["method", "trained_on", "source"])
    named = "; ".join(f"{row['method']} on {row['trained_on']} ({row['source']})" for row in rows.to_dict("records"))
    return (
        f"As published, the mean of the 15 sets: {named}. Other patients, splits and training than ours: they stand "
        "beside and are not compared.",
    )


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for group in view.missing:
            for network in group.tested:
                for region, summaries in network.by_region.items():
                    for present, summary in summaries.items():
                        place = {"dataset": view.name, **network.variant._asdict(), "dropout": group.dropout}
                        where = {"fill": network.fill, "metric": group.metric, "region": region, "present": present}
                        numbers = {"mean": summary.mean, "complete": summary.complete, "n_patients": summary.n_patients}
                        yield {**place, **where, **numbers}


_COLUMNS = (
    *("dataset", "label", "leading", "dropout", "fill", "metric", "region", "present"),
    *("mean", "complete", "n_patients"),
)

SUBSETS_BY_REGION = TableKind(_tables, csv=(CsvFile("missing_regions", _COLUMNS, _records, optional=True),))
