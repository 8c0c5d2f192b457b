"""The page in headless Chromium: it loads from a file, its own script runs, tables sort, and it fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, needs_browser, resize

pytestmark = needs_browser


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(report: tuple[Path, list[Path]]) -> str:
    return (report[0] / "report.html").as_uri()


def test_the_page_loads_offline_and_breaks_none_of_its_own_rules(driver: Any, page: str) -> None:
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    driver.get(page)
    assert driver.get_log("browser") == []
    broken = "return [...document.images].filter(each => each.loading !== 'lazy' && !each.naturalWidth).length"
    assert driver.execute_script(broken) == 0
    assert driver.execute_script("return document.images.length") > 3


def test_a_click_sorts_a_table_and_a_second_one_turns_it(driver: Any, page: str) -> None:
    driver.get(page)
    table = driver.find_element("css selector", "table.sortable")
    button = table.find_element("css selector", "thead button[data-column='1']")
    shown = []
    for _ in range(2):
        button.click()
        cells = table.find_elements("css selector", "tbody:first-of-type tr td:nth-child(2)")
        shown.append([float(cell.get_attribute("data-sort")) for cell in cells])
    assert len(shown[0]) == 4
    assert shown[0] == sorted(shown[0]) != shown[1]
    assert shown[1] == sorted(shown[1], reverse=True)
    state = button.find_element("xpath", "ancestor::th").get_attribute("aria-sort")
    assert state == "descending"
    assert driver.get_log("browser") == []


def test_captions_have_two_lines_at_most(driver: Any, page: str) -> None:
    resize(driver, 1200, 1000)
    driver.get(page)
    driver.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    tall = """return [...document.querySelectorAll('caption, .plot + figcaption')].filter(each => {
        const style = getComputedStyle(each);
        const text = each.getBoundingClientRect().height - parseFloat(style.paddingBottom);
        return text > 2.1 * parseFloat(style.lineHeight);
    }).map(each => each.textContent)"""
    assert driver.execute_script(tall) == []


def test_the_contents_unfold_what_they_lead_to(driver: Any, page: str) -> None:
    driver.get(page)
    folded = "return document.querySelector('#provenance').closest('details').open"
    assert driver.execute_script(folded) is False
    driver.find_element("css selector", "nav a[href='#provenance']").click()
    for _ in range(50):
        if driver.execute_script(folded):
            break
    assert driver.execute_script(folded) is True
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("width", [375, 1200])
def test_nothing_but_tables_scrolls_sideways(driver: Any, page: str, width: int) -> None:
    resize(driver, width)
    driver.get(page)
    driver.execute_script("for (const each of document.querySelectorAll('details.part')) each.open = true")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    # Text is never cut: whatever is wider than the page stands in a box that scrolls.
    outside = """
        const wide = [...document.querySelectorAll("main *")].filter(each => !each.closest(".scroll")
            && !each.closest("details:not([open])") && each.getBoundingClientRect().right > innerWidth + 1);
        return wide.map(each => each.tagName);
    """
    assert driver.execute_script(outside) == []
    sizes = "return [...document.querySelectorAll('p, td, li')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(driver.execute_script(sizes)) >= 12
