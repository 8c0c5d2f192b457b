"""Published numbers beside ours: verdicts, and why there is none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.data import DATASETS
from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.published_verdict import Published, compare
from harness.report.inputs.published_numbers import TEST_CASES, published_rows, why_not_over_cases
from harness.report.tables.build import build_tables
from harness.report.tables.table import Table
from harness.statistics.analysis import Summary
from harness.statistics.bootstrap import Interval

ROOT = Path(__file__).parents[2]
WT = Published("brats2019", "WT", 0.928, 0.027)


def ours(mean: float, *, sd: float = 0.03, patients: int = 67, seed_sd: float = math.nan, seeds: int = 1) -> Summary:
    return Summary(
        n_patients=patients, n_cases=patients, n_results=patients, n_expected=patients, n_missing=0, n_empty=0,
        complete=True, mean=mean, sd=sd, mean_interval=Interval(mean, mean), median=mean, median_interval=None,
        q1=mean, q3=mean, mean_scored=mean, seed_sd=seed_sd, n_seeds=seeds,
    )  # fmt: skip


@pytest.mark.parametrize(("mean", "words"), [(0.92, "agrees"), (0.9, "ours lower"), (0.95, "ours higher")])
def test_a_verdict_follows_the_interval_of_the_difference(mean: float, words: str) -> None:
    found = compare("real", ours(mean), WT)
    assert found.words == words
    assert found.interval is not None
    assert found.interval.low < mean - WT.mean < found.interval.high


def test_the_published_mean_is_uncertain_too() -> None:
    """0.0085 is more than our own interval reaches (1.96 x 0.03 / sqrt(67) = 0.0072), and less than both together."""
    assert compare("real", ours(WT.mean - 0.0085), WT).words == "agrees"


def test_trainings_that_differ_widen_the_interval() -> None:
    assert compare("real", ours(0.91), WT).words == "ours lower"
    assert compare("real", ours(0.91, seed_sd=0.02, seeds=3), WT).words == "agrees"


@pytest.mark.parametrize(
    ("kind", "patients", "published"),
    [
        ("generated", 67, WT),
        ("real", 5, WT),
        ("real", 67, Published("brats2019", "Mean", 0.863, math.nan)),
        ("real", 67, Published("brats2019", "ET", 0.786, 0.355)),
        ("real", 20, Published("chaos", "Liver", 0.921, 0.185)),
    ],
)
def test_there_is_no_verdict_where_nothing_can_carry_it(kind: str, patients: int, published: Published) -> None:
    found = compare(kind, ours(0.8, patients=patients), published)
    assert found.interval is None
    assert found.words not in ("agrees", "ours higher", "ours lower")


def test_the_fifth_of_the_labelled_cases_is_that_of_the_released_split() -> None:
    cases = {name: release.cases for name in TEST_CASES if (release := DATASETS.get(name).release) is not None}
    cases.pop("prostate158", None)  # the official test list
    assert len(cases) >= 4
    assert {name: count - int(count * 0.8) for name, count in cases.items()} == {
        name: TEST_CASES[name] for name in cases
    }


def test_sds_of_chaos_are_too_large_for_four_patients() -> None:
    reason = why_not_over_cases("chaos", "Liver")
    assert reason == why_not_over_cases("chaos", "Spleen")
    assert "33 of 44" in reason
    rows = published_rows("chaos")
    liver = rows[(rows["method"] == "AAHN") & (rows["region"] == "Liver") & (rows["metric"] == "dice")].iloc[0]
    at_most = np.std([1, 1, 1, 4 * liver["mean"] - 3], ddof=1)
    assert liver["std"] > at_most + 0.02


def test_the_reason_for_et_of_brats_2019_is_right() -> None:
    rows = published_rows("brats2019")
    aahn = rows[(rows["method"] == "AAHN") & (rows["metric"] == "dice")].set_index("region")
    mean, sd, core = aahn.loc["ET", "mean"], aahn.loc["ET", "std"], aahn.loc["TC", "mean"]
    square = mean**2 + sd**2 * 66 / 67
    reason = why_not_over_cases("brats2019", "ET")
    assert f"{1 - mean**2 / square:.0%}".replace("%", " %") in reason  # the others all alike: the fewest zeros
    assert f"{square / mean:.2f}" in reason
    assert f"{core:.3f}" in reason
    one, other = np.linalg.solve([[1, 0.88], [1, 0.88**2 + 0.06**2]], [mean, square])
    assert f"{one:.0%} at 1 and {1 - one - other:.0%}".replace("%", " %") in reason
    assert why_not_over_cases("brats2019", "TC") == ""


def table_of(builder, dataset: str, regions: tuple[str, ...], metrics: tuple[str, ...] = ("dice",)) -> Table:
    builder.metrics = metrics
    builder.dataset(dataset, kind="real", title=dataset, regions=regions, notes=())
    names = [f"p{number}" for number in range(8)]
    for seed in range(2):
        scores = [tuple(0.8 + 0.01 * (number + seed) for _ in regions) for number in range(8)]
        builder.cell("AAHN", scores, dataset=dataset, patients=names, cases=names, seed=seed)
    return next(table for table in build_tables(analyse_study(builder.build())) if table.kind == "published")


def test_the_table_says_why_there_is_no_verdict(builder) -> None:
    table = table_of(builder, "brats2019", ("WT", "TC", "ET"))
    words = {row.cells[1].main: row.cells[-1].main for row in table.rows}
    assert words["WT"] == "ours lower"
    assert words["ET"].startswith("no verdict")
    assert words["Mean over regions"].startswith("no verdict")
    assert any(why_not_over_cases("brats2019", "ET") in note for note in table.notes)
    assert "67 test cases" in " ".join(table.caption)


def test_a_metric_with_a_policy_of_its_own_stands_beside_the_same_number(builder) -> None:
    builder.metrics = ("dice", "hd95")
    plain = table_of(builder, "hecktor21", ("tumor",), ("hd95",))
    study = builder.build()
    study.cases["metric"] = study.cases["metric"].replace({"hd95": "hd95_nan_skip"})
    study = type(study)(**{**vars(study), "metrics": ("hd95_nan_skip",)})
    named = next(table for table in build_tables(analyse_study(study)) if table.kind == "published")
    assert [row.cells[2].main for row in named.rows] == [row.cells[2].main for row in plain.rows] == ["2.08"]


def test_nothing_says_what_the_paper_does_not() -> None:
    """We have read its abstract, its tables and a summary: what these lack, the paper may say."""
    folders = [ROOT / "harness", ROOT / "docs", ROOT / "studies", ROOT / "aahn", ROOT / "baselines"]
    pages = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md", ".yaml")]
    claims = (
        "paper does not",
        "paper prints none",
        "paper publishes neither",
        "paper never",
        "paper prints its",
        "paper has no",
    )
    said = [
        f"{path.relative_to(ROOT)}: {claim}"
        for path in [*pages, ROOT / "README.md"]
        for claim in claims
        if claim in " ".join(path.read_text(encoding="utf-8").split())
    ]
    assert said == []
