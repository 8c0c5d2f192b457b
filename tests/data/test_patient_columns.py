"""Columns of patients: where they are read from, what is refused, and folds that go by them."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.data import DATASETS, Split
from harness.data.patients.by_column import Folds, SplitBy, split_by
from harness.data.patients.check import check_columns
from harness.data.patients.columns import read_columns
from harness.data.patients.shares import keep_share, patients_of_share
from harness.data.splits import check_leak
from harness.errors import DataError

LOO, PAIRS = SplitBy("site", "leave-one-out"), SplitBy("site", "pairs")


class Reader:
    """A reader whose cases are PATIENT-TIMEPOINT; one patient, ``new``, has no label."""

    def __init__(self, patients: int = 6) -> None:
        self._patients = [f"p{number}" for number in range(patients)]

    def cases(self) -> tuple[str, ...]:
        return tuple(f"{patient}-{time}" for patient in self._patients for time in (0, 1))

    def unlabelled(self) -> tuple[str, ...]:
        return ("new-0",)

    def patient(self, case: str) -> str:
        return case.partition("-")[0]


class Coded(Reader):
    def patient_columns(self) -> dict[str, dict[str, str]]:
        return {patient: {"site": patient[0].upper(), "age": "70"} for patient in self._patients}


def write(root: Path, name: str, content: object) -> Path:
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def sites_of(root: Path, reader: Reader | None = None, column: str = "site") -> dict[str, str]:
    return read_columns("mine", root, reader or Reader()).of(column)


SITES = {f"p{number}": "AB"[number % 2] for number in range(6)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("patients.json", {patient: {"site": site, "age": 40} for patient, site in SITES.items()}),
        (
            "patients.json",
            {f"{p}-{time}": {"patient": p, "site": site} for p, site in SITES.items() for time in (0, 1)},
        ),
        ("patients.csv", "patient,site\n" + "".join(f"{p},{site}\n" for p, site in SITES.items())),
        ("patients.csv", "\ufeffage;patient;site\r\n" + "".join(f'"1,5";{p};{s}\r\n' for p, s in SITES.items())),
        ("participants.tsv", "participant_id\tsite\n" + "".join(f"sub-{p}\t{site}\n" for p, site in SITES.items())),
    ],
    ids=["json by patient", "json by case", "csv", "csv of a spreadsheet", "BIDS"],
)
def test_columns_are_read_from_every_form(tmp_path, name, content):
    assert sites_of(write(tmp_path, name, content)) == SITES


def test_a_table_of_the_users_counts_before_what_the_dataset_says(tmp_path):
    assert set(sites_of(tmp_path, Coded()).values()) == {"P"}
    write(tmp_path, "patients.csv", "patient,site\n" + "".join(f"{p},{site}\n" for p, site in SITES.items()))
    assert sites_of(tmp_path, Coded()) == SITES
    assert set(sites_of(tmp_path, Coded(), "age").values()) == {"70"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("patients.csv", "patient,site\np0,A\nq7,B\n", r"patients\.csv names 1 patient .* q7"),
        ("patients.json", {"q7": {"site": "B"}}, r"patients\.json names 1 patient .* q7"),
        ("patients.csv", "patient,site\np0,A\np1,n/a\nnew,B\n", "5 of 6 patients of mine have no 'site': p1, p2, p3"),
        ("patients.csv", "patient,sit\np0,A\n", "no column 'site'; they have sit"),
        ("patients.csv", "case,site\np0,A\n", "has no column 'patient': its headings.* commas, are case, site"),
        ("patients.csv", "Patient ID;site\np0;A\n", "separated by semicolons, are Patient ID, site"),
        ("patients.csv", "\n", "it is empty"),
        ("patients.csv", "patient,site\np0,A\np0,B\n", "row 3: patient 'p0' stands twice"),
        ("patients.csv", "patient,site,site\np0,A,B\n", "the heading 'site' twice"),
        ("patients.csv", "patient,site\np0,A\n,B\n", "row 3 names no patient"),
        ("patients.csv", "patient,site\np0,\"A\n", "row 2 cannot be read as csv"),
        ("patients.csv", "patient,site\np0,A,B\n", "row 2: 3 values for 2 columns"),
        ("patients.json", {"p0": {"site": ["A"]}}, "a text or a number"),
        ("patients.json", {f"p0-{n}": {"patient": "p0", "site": "AB"[n]} for n in (0, 1)}, "p0' differ in 'site'"),
        ("patients.json", {"p0": 3}, "does not map cases to patients"),
        ("nothing.csv", "", r"no column 'site': .* holds no patients\.json or"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_one_clear_error(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as error:
        sites_of(write(tmp_path, name, content))
    assert error.value.hint
    assert (name == "nothing.csv") == ("Write patients.csv" in error.value.hint)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"patient,site\np0,\xff\n", "not in UTF-8"), (b"PK\x03\x04\x00", "a workbook"), (b"\x89PNG\x00", "not a text")],
)
def test_bytes_that_are_no_text_are_refused(tmp_path, content, message):
    (tmp_path / "patients.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        sites_of(tmp_path)


ROWS = "patient,site\r\n" + "".join(f"{patient},{site}\r\n" for patient, site in SITES.items())
SPREADSHEETS = {
    "byte order mark, semicolons": ROWS.replace(",", ";").encode("utf-8-sig"),
    "Unicode text of Excel": ROWS.replace(",", "\t").encode("utf-16"),
    "Excel names the separator": "sep=;\r\n" + ROWS.replace(",", ";"),
    "trailing empty columns": ROWS.replace("\r\n", ",,\r\n"),
    "empty rows": ROWS.replace("\r\n", "\r\n,\r\n\r\n"),
    "a heading in upper case": ROWS.replace("patient", "Patient"),
}


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_a_table_of_patients_is_read_as_any_spreadsheet_writes_it(tmp_path, kind):
    content = SPREADSHEETS[kind]
    (tmp_path / "patients.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert sites_of(tmp_path) == SITES


def test_the_check_of_the_data_finds_one_site_that_is_written_in_two_ways(tmp_path):
    write(tmp_path, "patients.csv", ROWS.replace("p4,A", "p4,a"))
    (found,) = check_columns(DATASETS.get("prostate158"), tmp_path, Reader())
    assert (found.severity, found.where) == ("look", "p4")
    assert "'site' of p0 and p4" in found.what


def test_the_check_of_the_data_names_unknown_patients_and_gaps_but_no_value(tmp_path):
    dataset = DATASETS.get("prostate158")
    write(tmp_path, "patients.csv", "patient,site\np0,Charite\n")
    (gap,) = check_columns(dataset, tmp_path, Reader())
    assert (gap.severity, gap.where, gap.what) == ("look", "p1", "5 of 6 patients have no 'site'.")
    write(tmp_path, "patients.csv", "patient,site\nq7,Charite\n")
    (stranger,) = check_columns(dataset, tmp_path, Reader())
    assert stranger.severity == "fix"
    assert "q7" in stranger.what
    assert "Charite" not in gap.what + stranger.what


patients_at_sites = st.lists(st.integers(3, 12), min_size=2, max_size=5).map(
    lambda sizes: {f"p{site}{number:02d}": "ABCDE"[site] for site, size in enumerate(sizes) for number in range(size)}
)


def timepoints(patients) -> dict[str, str]:
    return {f"{patient}-{time}": patient for patient in patients for time in (0, 1)}


@given(patients_at_sites)
def test_leaving_one_site_out_tests_all_of_its_patients_and_trains_on_none(sites):
    cases = timepoints(sites)
    folds = split_by(cases, sites, LOO, "mine")
    assert len(folds) == len(set(sites.values()))
    for site, split in zip(sorted(set(sites.values())), folds, strict=True):
        check_leak(split, DATASETS.get("prostate158"), Reader(), "mine")
        assert {cases[case] for case in split.test} == {patient for patient, own in sites.items() if own == site}
        assert sorted([*split.train, *split.val, *split.test]) == sorted(cases)
        assert split.val


@given(patients_at_sites)
def test_pairs_train_at_one_site_and_test_at_every_one(sites):
    cases = timepoints(sites)
    for site, split in zip(sorted(set(sites.values())), split_by(cases, sites, PAIRS, "mine"), strict=True):
        check_leak(split, DATASETS.get("prostate158"), Reader(), "mine")
        assert {sites[cases[case]] for case in (*split.train, *split.val)} == {site}
        assert {sites[cases[case]] for case in split.test} == set(sites.values())
        assert split.train
        assert split.val


@pytest.mark.parametrize(
    ("sites", "by", "message"),
    [
        ({"p0": "A", "p1": "A"}, LOO, "have the same 'site', A"),
        ({"p0": "A", "p1": "A", "p2": "B"}, LOO, "too few patients with 'site' B: 1, and 2 are needed"),
        ({"p0": "A", "p1": "A", "p2": "B", "p3": "B", "p4": "B"}, PAIRS, "'site' A: 2, and 3 are needed"),
    ],
)
def test_a_site_with_too_few_patients_is_refused(sites, by, message):
    with pytest.raises(DataError, match=message):
        split_by(timepoints(sites), sites, by, "mine")


def test_parts_of_one_patient_are_not_split_by_a_column():
    cortex = DATASETS.get("cortex")
    with pytest.raises(DataError, match="parts of one patient"):
        Folds(by=LOO).all(cortex, cortex.open(), Path())


@given(st.integers(2, 40), st.integers(0, 3), st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
def test_shares_are_nested_and_touch_training_patients_only(count, seed, shares):
    patients = timepoints([f"p{number:02d}" for number in range(count)])
    split = Split(tuple(sorted(patients)), ("v",), ("t",))
    kept = []
    for share in sorted(shares):
        part = keep_share(split, patients, share, seed)
        assert (part.val, part.test) == (split.val, split.test)
        chosen = {patients[case] for case in part.train}
        assert part.train == tuple(case for case in split.train if patients[case] in chosen)
        assert len(chosen) == patients_of_share(count, share)
        kept.append(chosen)
    assert all(small <= large for small, large in pairwise(kept))
    assert keep_share(split, patients, 1.0, seed) is split


def test_another_seed_draws_other_patients():
    patients = timepoints([f"p{number:02d}" for number in range(20)])
    split = Split(tuple(sorted(patients)), (), ("t",))
    assert len({keep_share(split, patients, 0.5, seed).hash for seed in range(3)}) == 3
    assert keep_share(split, patients, 0.5, 0) == keep_share(split, patients, 0.5, 0)


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (0.25, 3), (0.3, 3), (0.5, 5), (0.01, 1), (1, 10)])
def test_a_share_is_rounded_up_to_whole_patients(share, expected):
    assert patients_of_share(10, share) == expected


@pytest.mark.parametrize(("name", "columns"), [("hecktor21", {"site", "Age"}), ("brats2019", {"site", "grade"})])
def test_centres_of_the_archives_are_columns(generated, name, columns):
    root = generated(name)
    found = read_columns(name, root, DATASETS.get(name).open(root))
    assert columns <= set(found.values)
    assert len(set(found.of("site").values())) > 1


def test_folds_by_a_column_are_written_to_a_file(generated, tmp_path, capsys):
    root = shutil.copytree(generated("brats2019"), tmp_path / "brats2019")
    cases = DATASETS.get("brats2019").open(root).cases()
    rows = [f"{case.rpartition('_')[0]},{'AB'[number % 2]}" for number, case in enumerate(cases)]
    write(root, "patients.csv", "\n".join(["patient,half", *rows]))
    out = tmp_path / "folds.json"
    assert main(["data", "splits", "brats2019", "--root", str(root), "--by", "half", "--out", str(out)]) == 0
    assert len(json.loads(out.read_text())["folds"]) == 2
    assert "{name: brats2019, splits:" in capsys.readouterr().out
    assert main(["data", "splits", "brats2019", "--root", str(root), "--by", "grade", "--kind", "x", "--out", "y"]) == 2
    assert "--kind x is not known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "file", "heading"),
    [
        ("brats2023", "BraTS2023_2017_GLI_Mapping", "BraTS2023,Site No (represents the originating institution),More"),
        ("brats2024", "BraTS-PTG supplementary demographic information and metadata", "BraTS Subject ID,Site,More"),
    ],
)
def test_the_owners_spreadsheet_of_brats_is_read_under_its_name_once_it_is_csv(tmp_path, name, file, heading):
    patients = [f"BraTS-GLI-{number:05d}" for number in range(6)]
    for number, patient in enumerate(patients):
        (tmp_path / f"{patient}-{number % 2:03d}").mkdir()
    (tmp_path / f"{file}.xlsx").write_bytes(b"PK")
    reader = DATASETS.get(name).open(tmp_path)
    with pytest.raises(DataError) as error:
        read_columns(name, tmp_path, reader).of("site")
    assert f"{file}.xlsx is a spreadsheet" in error.value.hint
    rows = [f"{patient}-{time:03d},{1 + number // 3},x" for number, patient in enumerate(patients) for time in (0, 1)]
    table = tmp_path / f"{file}.csv"
    table.write_text("\n".join([heading, *rows, "BraTS-GLI-09999-000,7,y"]))
    columns = read_columns(name, tmp_path, reader)
    assert columns.of("site") == {patient: str(1 + number // 3) for number, patient in enumerate(patients)}
    assert set(columns.of("More").values()) == {"x"}
    table.write_text("\n".join([heading, *rows, f"{patients[0]}-002,2,x"]))
    with pytest.raises(DataError, match=f"patient '{patients[0]}' differ"):
        read_columns(name, tmp_path, reader)
