"""nnU-Net's results by nnU-Net's own rule, and the means that its files state."""

import math
from collections.abc import Iterator
from typing import Any

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.own_rule import METRIC, OwnRule, by_own_rule
from harness.report.analysis.verdict_words import fine_p
from harness.report.tables.cells import provenance
from harness.report.tables.table import NO_VALUE, Column, CsvFile, Row, Table, TableCell, TableKind
from harness.results.schema import STATED_COLUMNS

#: A mean that a file states may differ from that of its cases by this much.
TOLERANCE = 1e-6


def _own_rule_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table for a dataset with results of nnU-Net."""
    found = by_own_rule(study.results, view.name)
    if not found:
        return
    dice = METRICS.get(METRIC)
    columns = [Column("", "cases missing"), Column("", "regions in neither mask")]
    columns += [Column(dice.heading_with_arrow, region, METRIC, region) for region in view.regions]
    columns.append(Column(dice.heading_with_arrow, "mean over regions that are not NaN"))
    compared = any(not math.isnan(one.difference) for one in found)
    if compared:
        columns += [Column(f"Difference to {study.results.reference}", title) for title in ("mean", "p, uncorrected")]
    yield Table(
        kind="own-rule",
        dataset=view.name,
        title=f"{view.title}: Dice by nnU-Net's own rule",
        caption=(
            f"{view.title}: Dice as nnU-Net takes means, {found[0].patients} patients.",
            "It leaves out a region that is in neither mask (NaN) and a case without a prediction; the other tables "
            "count both by the report's policy. Not ranked: by this rule methods may stand on different cases.",
        ),
        row_header=("Variant",),
        columns=tuple(columns),
        rows=tuple(Row((one.label,), tuple(_cells(one, view, compared=compared))) for one in found),
        notes=(_said_of_means(study, view), *provenance(view)),
    )


def _cells(one: OwnRule, view: DatasetView, *, compared: bool) -> Iterator[TableCell]:
    yield from (TableCell(str(number), sort=number) for number in (one.missing, one.undefined))
    means = [one.by_region.get(region, math.nan) for region in view.regions]
    yield from (NO_VALUE if math.isnan(mean) else TableCell(f"{mean:.4f}", sort=mean) for mean in (*means, one.mean))
    if not compared:
        return
    signed = f"{one.difference:+.4f}".replace("-", "−")
    yield NO_VALUE if math.isnan(one.difference) else TableCell(signed, sort=one.difference)
    yield NO_VALUE if math.isnan(one.p) else TableCell(fine_p(one.p), sort=one.p)


def _said_of_means(study: StudyAnalysis, view: DatasetView) -> str:
    """Whether the means that the files state are those of their cases."""
    stated = study.results.stated
    stated = stated[(stated["dataset"] == view.name) & stated["stated"].notna()]
    if stated.empty:
        return "The files state no means."
    gap = (stated["stated"] - stated["computed"]).abs()
    wrong = stated[~(gap <= TOLERANCE)]
    if wrong.empty:
        return f"All {len(stated)} means that the files state are those of their cases (to {TOLERANCE:g})."
    first = wrong.to_dict("records")[0]
    return (
        f"{len(wrong)} of {len(stated)} means that the files state are not those of their cases, e.g. "
        f"{first['label']}, {first['file']}, {first['region']}: {first['stated']:.6f} stated, "
        f"{first['computed']:.6f} of the cases. Was a file changed?"
    )


def _stated_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    yield from ({str(key): value for key, value in row.items()} for row in study.results.stated.to_dict("records"))


OWN_RULE = TableKind(
    _own_rule_tables, csv=(CsvFile("stated_means", tuple(STATED_COLUMNS), _stated_records, optional=True),)
)
