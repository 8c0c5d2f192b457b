"""CSV: numbers at full precision; each row says what data it is on and whether a test was refused."""

import io
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from harness.evaluation import METRICS
from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.data_summary import kind_words
from harness.report.tables import build

_CASE_COLUMNS = (
    *("study", "profile", "dataset", "data_kind", "label", "leading"),
    *("metric", "region", "patient", "case", "value"),
)


def csv_files(study: StudyAnalysis) -> Iterator[tuple[str, bytes]]:
    """Yields csv files by name: those that kinds of table declare, then cases and cells.

    The rows of ``cases`` and ``cells`` carry the kind of data; the others also why a test or a ranking was refused: a
    row of a csv file travels without its caption.
    """
    for file in (file for kind in build.TABLES for file in kind.csv):
        table = pd.DataFrame(list(file.rows(study)), columns=list(file.columns))
        if len(table) or not file.optional:
            yield f"{file.name}.csv", _encode(_with_context(table, study))
    yield "cases.csv", _cases(study)
    cells = study.results.cells.sort_values(["dataset", "label", "leading", "fold", "seed"], ignore_index=True)
    yield "cells.csv", _encode(cells.assign(data_kind=cells["dataset"].map(_data_kinds(study))))


def _with_context(table: pd.DataFrame, study: StudyAnalysis) -> pd.DataFrame:
    """Puts study, kind of data, refusals, unit and direction into every row."""
    # Variants without a mean leave gaps, which would make fractions of whole numbers.
    table = table.astype({name: "Int64" for name in table.columns if name.startswith("n_")})
    refusals = {name: view.data.refusal or "" for name, view in study.views.items()}
    whole = table.assign(
        study=study.results.study,
        profile=study.results.profile,
        data_kind=table["dataset"].map(_data_kinds(study)),
        significance=table["dataset"].map(refusals),
        comparability=table["dataset"].map(study.comparability.sentence),
        unit=table["metric"].map(lambda metric: METRICS.get(metric).unit or METRICS.get(metric).scale),
        better=table["metric"].map(lambda metric: "higher" if METRICS.get(metric).higher_is_better else "lower"),
    )
    first = ["study", "profile", "dataset", "data_kind"]
    return whole[[*first, *(column for column in whole.columns if column not in first)]]


def _cases(study: StudyAnalysis) -> bytes:
    """One row per case: the value with seeds averaged. Written by Arrow: there may be millions."""
    schema = pa.schema([(name, pa.float64() if name == "value" else pa.string()) for name in _CASE_COLUMNS])
    shared, kinds, buffer = (
        {"study": study.results.study, "profile": study.results.profile},
        _data_kinds(study),
        io.BytesIO(),
    )
    with pyarrow.csv.CSVWriter(buffer, schema, write_options=pyarrow.csv.WriteOptions(quoting_style="needed")) as file:
        for view, variant, analysis, place in study.places():
            if (name := view.names[variant]) not in analysis.by_case:
                continue
            values = analysis.by_case[name].dropna()
            columns: dict[str, Any] = shared | place | {"data_kind": kinds[view.name]}
            columns = {key: pa.repeat(str(value), len(values)) for key, value in columns.items()}
            columns |= {key: values.index.get_level_values(key).astype(str) for key in ("patient", "case")}
            columns["value"] = values.to_numpy(dtype=float)
            file.write_table(pa.table({key: columns[key] for key in _CASE_COLUMNS}, schema=schema))
    return buffer.getvalue()


def _data_kinds(study: StudyAnalysis) -> dict[str, str]:
    return {name: kind_words(facts) for name, facts in study.results.datasets.items()}


def _encode(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
