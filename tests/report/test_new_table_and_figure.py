"""A new table or figure is its own module and a line in one list: every writer takes it from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.figures import build as figures
from harness.report.figures.figure import Drawing, new_figure
from harness.report.tables import build as tables
from harness.report.tables.table import Column, CsvFile, Row, Table, TableCell, TableKind
from harness.report.write import write_report
from harness.results.schema import StudyResults


def toy_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    yield Table(
        kind="toy",
        dataset=view.name,
        title=f"{view.title}: a toy table",
        caption=("A toy caption.",),
        row_header=("Toy",),
        columns=(Column("", "toy number"),),
        rows=(Row(("a toy row",), (TableCell("12.3", sort=12.3456),)),),
        notes=("A toy note.",),
    )


def toy_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        yield {"dataset": view.name, "metric": "dice", "toy_number": 12.3456}


def toy_figure(study: StudyAnalysis, view: DatasetView) -> Drawing:
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, "toy")
    return Drawing(f"toy_{view.name}", "A toy figure", "A toy figure's caption.", figure)


@pytest.fixture(scope="module")
def folder(ablation: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with both added, written once."""
    kind = TableKind(toy_tables, csv=(CsvFile("toy", ("dataset", "metric", "toy_number"), toy_records),))
    made = tmp_path_factory.mktemp("new")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "TABLES", (*tables.TABLES, kind))
        patch.setattr(figures, "DATASET_FIGURES", (toy_figure,))
        patch.setattr(figures, "METRIC_FIGURES", ())
        patch.setattr(figures, "CASE_FIGURES", ())
        write_report(ablation, made)
    return made


def test_a_listed_table_stands_in_every_format(folder: Path) -> None:
    for name in ("tables.md", "tables.tex", "latex/toy-cortex.tex", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        for words in ("A toy caption.", "A toy note.", "toy number", "a toy row", "12.3"):
            assert words in text, name


def test_the_numbers_of_a_listed_table_are_a_csv_file_with_context(folder: Path) -> None:
    row = pd.read_csv(folder / "csv" / "toy.csv").iloc[0]
    assert row["toy_number"] == 12.3456
    assert (row["study"], row["data_kind"], row["better"]) == ("ablation_tcfaf", "embedded data", "higher")


def test_a_listed_figure_is_a_file_and_stands_on_the_page(folder: Path) -> None:
    files = {path.name for path in (folder / "figures").iterdir()}
    assert files == {"toy_cortex.pdf", "toy_cortex.png"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("<figcaption>A toy figure&#39;s caption.</figcaption>") == 1
