"""Scores by region and the modalities present: what was planted is in the table, and published means stand beside."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysed import analysed

from harness.report.inputs.published_numbers import published_over_sets
from harness.report.tables.build import build_tables
from harness.report.tables.table import CHECK, Table
from harness.report.writers.csv import csv_files
from harness.results.schema import SUBSET_COLUMNS, StudyResults

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
REGIONS = ("WT", "TC", "ET")
SETS = [one for size in range(1, 5) for one in itertools.combinations(MODALITIES, size)]
PEOPLE = [f"p{number:02d}" for number in range(6)]


def planted(label: str, present: tuple[str, ...]) -> tuple[float, float, float]:
    """T2-FLAIR carries the whole tumour, contrast-enhanced T1 the enhancing one; RFNet loses half as much."""
    lost = 0.5 if label == "RFNet" else 1.0
    whole, enhancing = 0.9 - lost * 0.3 * ("t2f" not in present), 0.8 - lost * 0.6 * ("t1c" not in present)
    return whole, (whole + enhancing) / 2, enhancing


def study(builder_of: Callable[[], object], dataset: str, without: tuple[str, ...] = ()) -> StudyResults:
    builder, rows = builder_of(), []
    builder.dataset(dataset, title=dataset, kind="generated", unit="patient", modalities=MODALITIES, regions=REGIONS)
    for label in ("RFNet", "AAHN"):
        everything = [planted(label, MODALITIES)] * len(PEOPLE)
        cell = builder.cell(label, everything, dataset=dataset, leading="-", patients=PEOPLE)
        mine = [row for row in builder.cases if row["cell"] == cell and row["metric"] == "dice"]
        for present in SETS[:-1]:
            if present == without and label == "AAHN":
                continue
            values = dict(zip(REGIONS, planted(label, present), strict=True))
            more = {"present": "+".join(present), "fill": "zeros", "default_leading": "t1c"}
            more["dropout"] = "never dropped" if label == "RFNet" else "dropped with p 0.5"
            rows += [row | more | {"value": values[row["region"]]} for row in mine]
    return replace(builder.build(), subsets=pd.DataFrame(rows, columns=list(SUBSET_COLUMNS)))


def table_of(results: StudyResults) -> Table:
    return next(table for table in build_tables(analysed(results)) if table.kind == "missing-regions")


@pytest.fixture(scope="module")
def brats(new_study: Callable[[], object]) -> Table:
    return table_of(study(new_study, "brats2023"))


def test_every_region_has_every_set_of_all_networks_whatever_their_training(brats: Table) -> None:
    assert [column.title for column in brats.columns] == ["RFNet", "AAHN", "RFNet", "mmFormer"]
    assert len(brats.rows) == 3 * 16
    for region, first in zip(REGIONS, range(0, 48, 16), strict=True):
        for present, row in zip(SETS, brats.rows[first : first + 15], strict=True):
            assert row.header == (region, *(CHECK if name in present else "–" for name in MODALITIES))
            place = REGIONS.index(region)
            assert [cell.sort for cell in row.cells[:2]] == pytest.approx(
                [planted(label, present)[place] for label in ("RFNet", "AAHN")]
            )


def test_the_mean_of_all_sets_stands_beside_the_published_one(brats: Table) -> None:
    row = brats.rows[47]
    assert row.header[:2] == ("ET", "mean of all sets")
    by_hand = [np.mean([planted(label, present)[2] for present in SETS]) for label in ("RFNet", "AAHN")]
    assert [cell.sort for cell in row.cells[:2]] == pytest.approx(by_hand)
    assert [cell.main for cell in row.cells[2:]] == ["0.615", "0.632"]
    assert any("dyh127/RFNet" in note and "not compared" in note for note in brats.notes)


def test_nothing_is_published_for_other_data(new_study: Callable[[], object]) -> None:
    assert [column.title for column in table_of(study(new_study, "gliomas")).columns] == ["RFNet", "AAHN"]
    assert published_over_sets("brats2023", "hd95", REGIONS).empty
    assert published_over_sets("brats2023", "dice", ("WT", "TC")).empty


def test_a_set_that_was_not_tested_is_a_dash_and_so_is_the_mean(new_study: Callable[[], object]) -> None:
    table = table_of(study(new_study, "gliomas", without=("t1c",)))
    assert [cell.main for cell in table.rows[1].cells] == ["0.750", "–"]
    assert table.rows[15].cells[1].main == "–"
    assert table.rows[15].cells[0].main != "–"


def test_the_csv_file_holds_the_numbers(new_study: Callable[[], object]) -> None:
    files = dict(csv_files(analysed(study(new_study, "brats2023"))))
    lines = files["missing_regions.csv"].decode().splitlines()
    assert len(lines) == 1 + 2 * 3 * 15
