"""Ablations: the variants of one model with the switches that differ between them as check marks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import marked_label
from harness.report.tables.ranked import ranked_table
from harness.report.tables.table import CHECK, Table, TableKind

#: Options of each variant.
_Options: TypeAlias = Mapping[Variant, Mapping[str, Any]]

_OFF = "–"
#: Values of an option that stand for all of its parts, and for none.
_ALL, _NONE = ("full", "all"), "none"


def _ablation_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per model that the study runs with several settings of its switches."""
    for model in dict.fromkeys(str(model) for model in view.cells["model"]):
        options = _options_of(view, model)
        if columns := switches(options):
            yield _table(study, view, model, options, columns)


def switches(options: _Options) -> dict[str, dict[Variant, str]]:
    """Columns of the options that differ, each with the setting of every variant.

    An option that is on or off is a check mark or a dash. One that is ``none``, ``full`` or one of several parts (as in
    ``none, ca, cma, full``) becomes one column per part; any other shows its value.
    """
    columns: dict[str, dict[Variant, str]] = {}
    names = dict.fromkeys(name for values in options.values() for name in values)
    for name in names:
        values = {variant: settings.get(name) for variant, settings in options.items()}
        shown = {variant: str(value) for variant, value in values.items()}
        if len(set(shown.values())) < 2:
            continue
        parts = _parts(list(shown.values()))
        for part in parts:
            columns[f"{name}: {part}"] = {
                variant: CHECK if value == part or value in _ALL else _OFF for variant, value in shown.items()
            }
        if not parts:
            columns[name] = {variant: _setting(value) for variant, value in values.items()}
    return columns


def _parts(values: Sequence[str]) -> list[str]:
    """The parts of an option that takes none, some or all of them; empty for an option of another kind."""
    rest = [value for value in dict.fromkeys(values) if value not in (*_ALL, _NONE)]
    return rest if _NONE in values and set(values) & set(_ALL) else []


def _setting(value: object) -> str:
    if value is None or value is False or value == _NONE:
        return _OFF
    return CHECK if value is True or value == "full" else str(value)


def _options_of(view: DatasetView, model: str) -> dict[Variant, dict[str, Any]]:
    cells = view.cells[view.cells["model"] == model].drop_duplicates("method")
    options = dict(zip(cells["method"], cells["options"], strict=True))
    return {variant: json.loads(options[name] or "{}") for variant, name in view.names.items() if name in options}


def _table(
    study: StudyAnalysis,
    view: DatasetView,
    model: str,
    options: _Options,
    columns: Mapping[str, Mapping[Variant, str]],
) -> Table:
    several = len({variant.leading for variant in options}) > 1
    headers = {
        variant: (
            marked_label(view, variant),
            *((variant.leading,) if several else ()),
            *(settings[variant] for settings in columns.values()),
        )
        for variant in options
    }
    return ranked_table(
        study,
        view,
        headers,
        row_header=("Variant", *(("Leading",) if several else ()), *columns),
        kind=f"ablation-{model}",
        title=f"ablation of {model}",
        caption=(
            f"Ablation of {model}: {view.title}.",
            f"{CHECK} on, {_OFF} off; options that do not vary are left out. Mean ± SD over {view.data.sample}.",
        ),
    )


ABLATION = TableKind(_ablation_tables)
