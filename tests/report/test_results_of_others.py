"""Csv files for `harness report --with`: as spreadsheets write them in any locale, and one value for one thing."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fuzzing import changed, rewritten, tried
from hypothesis import strategies as st

from harness.cli import main
from harness.errors import DataError, HarnessError
from harness.report.analysis.analysis import analyse_study
from harness.report.inputs.imported_results import add_imported, read_imported
from harness.report.tables.build import build_tables
from harness.results.schema import StudyResults

HEADINGS = ["method", "label", "dataset", "patient", "case", "region", "metric", "value"]


def row(case: str = "f0c0", value: str = "0.816", **changes: str) -> list[str]:
    plain = dict(zip(HEADINGS, ["m", "Theirs", "cortex", "p0", case, "Cortex", "dice", value], strict=True))
    return list((plain | changes).values())


def table(*rows: list[str], separator: str = ",", **options: object) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, **options).writerows([HEADINGS, *rows])
    return text.getvalue()


def read(folder: Path, content: str | bytes, beside: StudyResults, notes: list[str] | None = None) -> StudyResults:
    path = folder / "theirs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_imported(path, beside, notes=notes)


COMMA = table(row("f0c0", "0,816"), row("f0c1", "1"), separator=";")
POINT = table(row("f0c0", "0.816"), row("f0c1", "1"))

SPREADSHEETS = {
    "commas": POINT,
    "every field in quotes": table(row("f0c0", "0,816"), row("f0c1", "1"), quoting=csv.QUOTE_ALL),
    "semicolons and decimal commas": COMMA,
    "tabs": table(row(), row("f0c1", "1"), separator="\t"),
    "bars": table(row(), row("f0c1", "1"), separator="|"),
    "byte order mark": POINT.encode("utf-8-sig"),
    "Unicode text of Excel": COMMA.replace(";", "\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + POINT.encode("utf-16-be"),
    "Excel names the separator": "sep=;\r\n" + COMMA,
    "trailing empty columns": "".join(f"{line};;\r\n" for line in COMMA.splitlines()),
    "trailing empty columns of the rows alone": POINT.replace("\r\n", ",,\r\n").replace("value,,", "value"),
    "empty rows": POINT.replace("\r\n", "\r\n,,,,,,,\r\n\r\n"),
    "surplus columns": "\r\n".join(f"{number},{line},x" for number, line in enumerate(POINT.splitlines())),
    "headings in upper case, blanks": POINT.replace("value", " Value ").replace("p0", " p0 ").replace("dice", "dice "),
    "old line ends": POINT.replace("\r\n", "\r"),
    "signs and exponents": table(row("f0c0", "+8.16e-1"), row("f0c1", "1.")),
}


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_a_table_is_read_as_any_spreadsheet_writes_it(kind: str, ablation: StudyResults, tmp_path: Path) -> None:
    found = read(tmp_path, SPREADSHEETS[kind], ablation).cases
    assert list(found["value"]) == [0.816, 1.0]
    assert list(found["case"]) == ["f0c0", "f0c1"]
    assert set(found["patient"]) == {"p0"}


def test_an_encoding_that_is_guessed_is_said(ablation: StudyResults, tmp_path: Path) -> None:
    notes: list[str] = []
    content = table(row(label="Müller"), separator=";").encode("cp1252")
    assert read(tmp_path, content, ablation, notes).labels == ("Müller",)
    assert "Windows-1252" in notes[0]


REFUSED = {
    "decimal commas in a table with commas": (POINT.replace("0.816", "0,816"), r"row 2 has 9 fields, the headings 8"),
    "two decimal signs": (
        table(row("f0c0", "0,816"), row("f0c1", "12.5")),
        r"'value'.*'0,816' in row 2.*row 3 a point",
    ),
    "thousands": (table(row("f0c0", "1.234,5")), r"'value'.*'1\.234,5' in row 2"),
    "per cent": (table(row("f0c0", "81,6 %")), r"row 2: value '81,6 %' is refused"),
    "an error of the sheet": (table(row("f0c0", "#DIV/0!")), r"row 2: value '#DIV/0!'"),
    "out of range": (table(row("f0c0", "81,6"), separator=";"), r"row 2: value '81,6'"),
    "infinite": (table(row("f0c0", "inf")), r"row 2: value 'inf'"),
    "digits in groups": (table(row("f0c0", "0_1")), r"row 2: value '0_1'"),
    "a row that ends early": (table(row()).removesuffix(",0.816\r\n"), r"row 2: value ''"),
    "after empty rows": (POINT.replace("\r\n", "\r\n\r\n").replace("Cortex", "Moon"), r"row 3: region 'Moon'"),
    "a column twice": (table(row()).replace("label", "value"), "'value' twice"),
    "no column that is known": ("a;b\n1;2\n", "lacks the columns method"),
    "nothing": ("", "lacks the columns"),
    "headings alone": (table(), "no rows"),
    "a quote without its other half": (table(row()) + 'm,"Theirs', r"row 3 cannot be read as csv"),
    "a workbook": (b"PK\x03\x04 and more", "workbook"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
    "half of UTF-16": (b"\xff\xfea", "not a text file"),
    "a field without end": (table(row("x" * 200_000)), "row 2 cannot be read as csv"),
    "a region of two lines": (table(row(region="a\nb")), r"row 2: region 'a\\nb'"),
    "a dataset of no name": (table(row(dataset="files")), r"dataset 'files' is refused"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_by_file_and_row(kind: str, ablation: StudyResults, tmp_path: Path) -> None:
    content, message = REFUSED[kind]
    with pytest.raises(DataError, match=rf"theirs\.csv.*{message}"):
        read(tmp_path, content, ablation)


def test_missing_columns_are_named_with_the_separator_that_was_seen(ablation: StudyResults, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks the column case") as refused:
        read(tmp_path, COMMA.replace("case", "Fall"), ablation)
    assert "separated by semicolons: method, label, dataset, patient, Fall" in refused.value.hint


@pytest.mark.parametrize("second", ["0.416", "0.816"])
@pytest.mark.parametrize("turned", [False, True])
def test_two_values_for_one_thing_are_refused(
    ablation: StudyResults, tmp_path: Path, second: str, turned: bool
) -> None:
    rows = [row(), row("f0c1"), row(value=second)]
    with pytest.raises(
        DataError, match=r"rows 2 and 4: two values of dice for 'Theirs'.*'f0c0'.*0\.[48]16 and 0\.[48]16"
    ):
        read(tmp_path, table(*(rows[::-1] if turned else rows)), ablation)


def test_two_trainings_and_two_folds_are_no_doubles(ablation: StudyResults, tmp_path: Path) -> None:
    text = table([*row(), "0", "0"], [*row(value="0.9"), "1", "0"], [*row(value="0.7"), "0", "1"])
    found = read(tmp_path, text.replace("value", "value,seed,fold", 1), ablation).cases
    assert list(found["value"]) == [0.816, 0.9, 0.7]


@pytest.mark.parametrize("leading", ["t1", "-"])
def test_a_label_of_the_study_is_renamed_and_said(builder, tmp_path: Path, leading: str) -> None:
    builder.cell("AAHN", [(0.5, 0.6)] * 2, leading=leading)
    path = tmp_path / "others.csv"
    path.write_text(
        table(*(row(f"f0c{case}", label="AAHN", region=part) for case in (0, 1) for part in ("Cortex", "White")))
    )
    joined, notes = add_imported(builder.build(), [path])
    assert joined.labels == ("AAHN", "AAHN (others)")
    assert joined.reference == "AAHN"
    assert "'AAHN' is called 'AAHN (others)'" in notes[0]
    shown = build_tables(analyse_study(joined, allow_mixed=True))[0]
    assert {"AAHN", "AAHN (others)"} <= {one.header[0] for one in shown.rows}


def test_files_of_one_name_and_one_label_stay_apart(ablation: StudyResults, tmp_path: Path) -> None:
    for folder, value in (("a", "0.2"), ("b", "0.4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scores.csv").write_text(table(row(value=value)))
    joined, notes = add_imported(ablation, [tmp_path / "a/scores.csv", tmp_path / "b/scores.csv"])
    theirs = joined.cases[joined.cases["label"].str.startswith("Theirs")]
    assert sorted(theirs["value"]) == [0.2, 0.4]
    assert theirs["label"].nunique() == 2
    assert len(notes) == 2


def test_a_file_that_is_named_twice_is_read_once(ablation: StudyResults, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(table(row()))
    joined, notes = add_imported(ablation, [path, tmp_path / "." / "scores.csv"])
    assert list(joined.cases.loc[joined.cases["label"] == "Theirs", "value"]) == [0.816]
    assert notes == ()


def test_predictions_of_others_on_own_data_are_scored_and_stand_beside_a_study(builder, tmp_path: Path) -> None:
    regions, cases = ("whole tumor", "GTV (nodes)"), ("f0c0", "f0c1")
    builder.dataset("my_data", regions=regions).cell("AAHN", [(0.5, 0.6)] * 2, dataset="my_data", patients=cases)
    label = np.zeros((4, 4, 4), np.uint8)
    label[1:3, 1:3, 1:3], label[1, 1, 1] = 1, 2
    for case in cases:
        for part in ("found", "truth"):
            (tmp_path / part).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / part / f"{case}.nii.gz")
    out = tmp_path / "theirs.csv"
    named = ["--regions", "whole tumor=1,2", "--regions", "GTV (nodes)=2", "--dataset-name", "my_data"]
    folders = ["--predictions", str(tmp_path / "found"), "--reference", str(tmp_path / "truth")]
    assert main(["evaluate", *folders, *named, "--method", "Theirs", "--out", str(out)]) == 0
    joined, _ = add_imported(builder.build(), [out])
    theirs = joined.cases[(joined.cases["label"] == "Theirs") & (joined.cases["metric"] == "dice")]
    assert set(theirs["region"]) == set(regions)
    assert list(theirs["value"]) == [1.0] * 4


def test_a_folder_without_results_is_refused(ablation: StudyResults, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no summary\.json"):
        read_imported(tmp_path, ablation)


def cells(*rows: list[str]) -> st.SearchStrategy[bytes]:
    """Tables whose cells are changed, in any separator and quoting; or whose text is."""
    write = st.tuples(st.sampled_from(",;\t|"), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    drawn = st.tuples(changed([HEADINGS, *rows], ["0,8", "1e999", "-1", "nan", "dice", "", "f0c0"]), write)
    return drawn.map(lambda one: written(*one)).map(lambda text: text.encode("utf-8", "surrogatepass"))


def written(values: object, how: tuple[str, int]) -> str:
    text = io.StringIO()
    lines = values if isinstance(values, list) else [values]
    writer = csv.writer(text, delimiter=how[0], quoting=how[1])
    writer.writerows([str(cell) for cell in line] if isinstance(line, list) else [str(line)] for line in lines)
    return text.getvalue()


def fuzz(path: Path, beside: StudyResults, count: int) -> Counter[str]:
    sound = [row(), row("f0c1", "1"), row("f0c0", "0.4", region="White")]

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        try:
            add_imported(beside, [path])
        except HarnessError as refusal:
            return check(refusal)
        return "read"

    contents = st.one_of(cells(*sound), rewritten(table(*sound)), st.binary(max_size=200))
    return tried(contents, attempt, count)


def check(refusal: HarnessError) -> str:
    assert "\n" not in refusal.message
    assert len(str(refusal)) < 5000
    str(refusal).encode()
    return "refused"


def test_some_tables(tmp_path: Path, ablation: StudyResults) -> None:
    assert set(fuzz(tmp_path / "any.csv", ablation, 40)) == {"read", "refused"}


@pytest.mark.slow
def test_ten_thousand_tables(tmp_path: Path, ablation: StudyResults) -> None:
    assert sum(fuzz(tmp_path / "any.csv", ablation, 10_000).values()) > 5000
