"""``harness view``: a page of one case that works from a file, with the worst first."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from browser import browser, needs_browser, resize

from harness.cli import main
from harness.data import DATASETS
from harness.report.writers.case_viewer import ViewedCase, view_page, worst_regions


def sphere(shape, centre, radius):
    grid = np.mgrid[tuple(slice(extent) for extent in shape)]
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < radius**2


def some_case(shape=(12, 40, 32), modalities=("t1", "t2")):
    """Two lesions; variant A finds both nearly, variant B misses the small one in slice 9."""
    truth = np.zeros(shape, np.uint8)
    truth[sphere(shape, [shape[0] // 3, shape[1] // 2, shape[2] // 2], shape[1] // 5)] = 1
    truth[sphere(shape, [shape[0] * 3 // 4, shape[1] // 4, shape[2] // 4], 2.5)] = 2
    first, second = truth.copy(), np.where(truth == 2, 0, truth).astype(np.uint8)
    first[:, shape[1] // 2] = 0
    random = np.random.default_rng(0)
    images = random.normal(400, 60, (len(modalities), *shape)).astype(np.float32) * sphere(
        shape, [extent / 2 for extent in shape], shape[1] / 2
    )
    return ViewedCase(
        name='a<b>"c',
        images=images + 300 * (truth > 0),
        truth=truth,
        predictions={"A & co": first, "B": second},
        spacing=(1.0, 2.0),
        modalities=modalities,
        labels={0: "background", 1: "core", 2: "rim"},
        regions={"whole": (1, 2), "rim": (2,), "nothing": (3,)},
        title="Invented",
    )


def test_the_worst_region_comes_first_with_the_slice_that_differs_most():
    case = some_case()
    rows = worst_regions(case)
    assert (rows[0].region, rows[0].variant, rows[0].dice) == ("rim", "B", 0.0)
    assert rows[0].slice == int((case.truth == 2).sum(axis=(1, 2)).argmax())
    assert [row.dice for row in rows[-2:]] == [None, None]
    known = [row.dice for row in rows if row.dice is not None]
    assert known == sorted(known)


def test_the_page_has_every_slice_and_loads_nothing():
    case = some_case()
    page = view_page(case)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [len(one) for one in data["images"]] == [12, 12]
    assert [bool(one) for one in data["truth"]] == case.truth.any(axis=(1, 2)).tolist()
    different = [bool(one) for one in data["differences"][1]]
    assert different == (case.truth != case.predictions["B"]).any(axis=(1, 2)).tolist()
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", page)
    assert "a<b>" not in page


@pytest.mark.slow
def test_a_page_of_a_case_of_brats_size_is_below_30_megabytes():
    case = some_case((155, 240, 240), ("t1", "t1c", "t2", "flair"))
    assert len(view_page(case)) < 30_000_000


def test_the_verb_writes_the_worst_case_and_the_report_links_to_it(finished_study, project, capsys):
    (cell,) = (path.name for path in (project / "results" / "cells").iterdir())
    assert main(["view", cell]) == 0
    (page,) = (project / "results" / "reports" / "micro" / "default" / "cases").glob("*.html")
    assert "images of a patient" in capsys.readouterr().out
    assert page.stem in DATASETS.get("cortex").open().split(0).test
    assert main(["report", "micro", "--no-figures"]) == 0
    report = (page.parents[1] / "report.html").read_text()
    assert f'href="cases/{page.name}"' in report
    assert main(["view", cell, "nobody"]) == 2
    assert "no prediction of case 'nobody'" in capsys.readouterr().err
    assert main(["view", cell, page.stem, "--out", "own.html"]) == 0
    assert (project / "own.html").is_file()


@needs_browser
def test_the_page_works_from_a_file_with_keys_wheel_and_switches(tmp_path: Any) -> None:
    case = some_case()
    path = tmp_path / "case.html"
    path.write_text(view_page(replace(case, name="case")), encoding="utf-8")
    with browser() as driver:
        driver.get(path.as_uri())
        number = "return document.getElementById('number').textContent"
        first = worst_regions(case)[0].slice
        assert driver.execute_script(number) == f"slice {first + 1} of 12"
        shown = "return [...document.querySelectorAll('.stack img:not([hidden])')].map(one => one.className)"
        assert set(driver.execute_script(shown)) == {"image", "prediction-1", "difference-1"}
        press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], cancelable: true}))"
        driver.execute_script(press, "t")
        assert "truth" in driver.execute_script(shown)
        for key in ("1", "d"):
            driver.execute_script(press, key)
        assert set(driver.execute_script(shown)) == {"image", "truth", "prediction-0", "prediction-1"}
        driver.execute_script(press, "ArrowUp")
        assert driver.execute_script(number) == f"slice {first + 2} of 12"
        wheel = (
            "document.getElementById('panels').dispatchEvent(new WheelEvent('wheel', {deltaY: 9, cancelable: true}))"
        )
        driver.execute_script(wheel)
        assert driver.execute_script(number) == f"slice {first + 1} of 12"
        driver.find_element("css selector", "tr:last-child button").click()
        checked = "return [...document.querySelectorAll('[data-variant]')].map(one => one.checked)"
        assert driver.execute_script(checked).count(True) == 1
        for width in (375, 1200):
            resize(driver, width)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert driver.get_log("browser") == []
