"""CSV: the long tables at full precision, each row telling what data it is on and whether a test was refused."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import kind_words
from harness.report.analysis.metric_styles import metric_style
from harness.report.analysis.variants import Variant
from harness.report.writers.csv_missing_modalities import MISSING_COLUMNS, missing_rows
from harness.statistics.analysis import Analysis, Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.rankings import AGGREGATE, RANK, TEST

__all__ = ["csv_files"]

_PLACE = ("dataset", "label", "leading", "metric", "region")
_RANKS = {AGGREGATE: "rank_by_mean", RANK: "rank_by_mean_rank", TEST: "rank_by_wins"}


def csv_files(study: StudyAnalysis) -> Iterator[tuple[str, bytes]]:
    """CSV files by name: means, comparisons with the reference, ranks, floors, missing modalities, cases and cells.

    The rows of ``cases`` carry the kind of data; the others also why a test or a ranking was refused: a row of a CSV
    file travels without its caption.
    """
    cells = study.results.cells.sort_values(["dataset", "label", "leading", "fold", "seed"], ignore_index=True)
    yield "means.csv", _csv(_told(pd.DataFrame(_means(study), columns=_MEANS), study))
    yield "comparisons.csv", _csv(_told(pd.DataFrame(_comparisons(study), columns=_COMPARISONS), study))
    yield "ranks.csv", _csv(_told(pd.DataFrame(_ranks(study), columns=[*_PLACE, *_RANKED]), study))
    yield "floors.csv", _csv(_told(pd.DataFrame(_floors(study), columns=_FLOORS), study))
    if any(view.missing for view in study.views.values()):
        yield "missing.csv", _csv(_told(pd.DataFrame(missing_rows(study), columns=MISSING_COLUMNS), study))
    yield "cases.csv", _cases(study)
    yield "cells.csv", _csv(cells.assign(data_kind=cells["dataset"].map(_kinds(study))))


def _flat(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals as two columns."""
    flat: dict[str, Any] = {}
    for name, value in columns.items():
        if name.endswith("_interval"):
            flat[f"{name.removesuffix('_interval')}_low"], flat[f"{name.removesuffix('_interval')}_high"] = value or (
                None,
                None,
            )
        else:
            flat[name] = value
    return flat


_SUMMARY = list(_flat(dict.fromkeys(field.name for field in fields(Summary))))
_MEANS = [*_PLACE, "status", *_SUMMARY]
_FLOORS = ["dataset", "floor", "metric", "region", *_SUMMARY]
_COMPARISONS = [*_PLACE, *_flat(dict.fromkeys(field.name for field in fields(Comparison) if field.name != "method"))]
_RANKED = [*_RANKS.values(), "mean_rank", "ranked_first"]


def _rows(study: StudyAnalysis) -> Iterator[tuple[DatasetView, Variant, Analysis, dict[str, Any]]]:
    for view in study.views.values():
        for (metric, region), analysis in view.analyses.items():
            for variant in view.variants:
                yield view, variant, analysis, dict(zip(_PLACE, (view.name, *variant, metric, region), strict=True))


def _means(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in _rows(study):
        summary = analysis.summaries.get(view.names[variant])
        yield place | {"status": view.status[variant]} | (_flat(asdict(summary)) if summary else {})


def _comparisons(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in _rows(study):
        for each in analysis.comparisons:
            if each.method == view.names[variant]:
                yield place | _flat(asdict(each))


def _ranks(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in _rows(study):
        name, ranking, stable = view.names[variant], analysis.ranking, analysis.stability
        if ranking is None or stable is None or name not in ranking.ranks.index:
            continue
        ranks = {_RANKS[str(scheme)]: value for scheme, value in ranking.ranks.loc[name].items()}
        yield place | ranks | {"mean_rank": ranking.mean_ranks[name], "ranked_first": stable.first[name]}


def _floors(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for (name, metric, region), summary in view.floors.items():
            place = {"dataset": view.name, "floor": name, "metric": metric, "region": region}
            yield place | _flat(asdict(summary))


def _cases(study: StudyAnalysis) -> bytes:
    """One row a case: the value with seeds averaged. Written by Arrow: there may be millions."""
    parts = []
    kinds = _kinds(study)
    for view in study.views.values():
        for (metric, region), analysis in view.analyses.items():
            for variant, name in view.names.items():
                if name not in analysis.by_case:
                    continue
                values = analysis.by_case[name].dropna()
                shared = (study.results.study, study.results.profile, view.name, kinds[view.name])
                constants = dict(zip(_CASES, (*shared, *variant, metric, region), strict=False))
                columns: dict[str, Any] = {
                    key: pa.DictionaryArray.from_arrays(pa.nulls(len(values), pa.int32()).fill_null(0), [value])
                    for key, value in constants.items()
                }
                columns["patient"] = pa.array(values.index.get_level_values("patient")).cast(pa.string())
                columns["case"] = pa.array(values.index.get_level_values("case")).cast(pa.string())
                columns["value"] = pa.array(values.to_numpy(dtype=float))
                parts.append(pa.table(columns).select(_CASES))
    if not parts:
        return (",".join(_CASES) + "\n").encode()
    buffer = io.BytesIO()
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with pyarrow.csv.CSVWriter(buffer, parts[0].cast(_plain(parts[0])).schema, write_options=options) as writer:
        for part in parts:
            writer.write_table(part.cast(_plain(part)))
    return buffer.getvalue()


_CASES = [
    "study",
    "profile",
    "dataset",
    "data_kind",
    "label",
    "leading",
    "metric",
    "region",
    "patient",
    "case",
    "value",
]


def _plain(table: pa.Table) -> pa.Schema:
    """The table's columns as text and numbers."""
    return pa.schema([(name, pa.float64() if name == "value" else pa.string()) for name in table.column_names])


def _kinds(study: StudyAnalysis) -> dict[str, str]:
    return {name: kind_words(facts) or "real data" for name, facts in study.results.datasets.items()}


def _told(table: pd.DataFrame, study: StudyAnalysis) -> pd.DataFrame:
    """Puts study, kind of data, refusals, unit and direction into every row."""
    # Variants without a mean leave gaps, which would make fractions of whole numbers.
    table = table.astype({name: "Int64" for name in table.columns if name.startswith("n_")})
    refusals = {name: view.data.refusal or "" for name, view in study.views.items()}
    told = table.assign(
        study=study.results.study,
        profile=study.results.profile,
        data_kind=table["dataset"].map(_kinds(study)),
        significance=table["dataset"].map(refusals),
        comparability=table["dataset"].map(study.comparability.sentence),
        unit=table["metric"].map(lambda metric: metric_style(metric).unit or metric_style(metric).scale),
        better=table["metric"].map(lambda metric: "higher" if metric_style(metric).higher_is_better else "lower"),
    )
    first = ["study", "profile", "dataset", "data_kind"]
    return told[[*first, *(column for column in told.columns if column not in first)]]


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
