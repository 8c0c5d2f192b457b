"""``mlflow ui`` in a headless browser: the cells of AAHN's ablation side by side, with the switch and the scores."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from browser import browser, needs_browser
from mlflow import MlflowClient

from harness.cli import main

pytestmark = [pytest.mark.slow, needs_browser]

SHIPPED = Path(__file__).parents[2] / "studies" / "ablation_tcfaf.yaml"
#: The switch of each variant of the shipped study, by what it calls the variant.
SWITCHES = {variant["label"]: variant["tcfaf"] for variant in yaml.safe_load(SHIPPED.read_text())["matrix"]["model"]}
METRICS = ("dice/mean", "dice/Cortex", "hd95/White")


@pytest.fixture
def address(project, write_study):
    """The web interface of a project with the finished, reported ablation; it listens on loopback alone."""
    shipped = yaml.safe_load(SHIPPED.read_text())
    study = write_study(
        name="ablation_tcfaf",
        question=shipped["question"],
        matrix={"dataset": ["cortex"], "model": shipped["matrix"]["model"]},
        options={"aahn": {"preset": "tiny"}},
        report=shipped["report"],
    )
    assert main(["run", str(study), "--workers", "1"]) == 0
    assert main(["report", "ablation_tcfaf", "--no-figures"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{project}/mlflow.db"]
    with (project / "ui.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"], cwd=project, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2)
                break
            except OSError:
                assert server.poll() is None, (project / "ui.log").read_text()
                time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def wait_for(driver, condition, seconds: float = 60):
    """The first true result of a condition; what the page shows when it never comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition(driver):
            return found
        time.sleep(0.3)
    driver.save_screenshot("failed.png")
    Path("failed.html").write_text(driver.page_source)
    pytest.fail(driver.find_element("tag name", "body").text[:3000])


def click(driver, path: str) -> None:
    """Clicks what the path finds, as soon as it is there."""
    found = wait_for(driver, lambda page: page.find_elements("xpath", path))
    driver.execute_script("arguments[0].click()", found[0])


def words(driver) -> str:
    return str(driver.find_element("tag name", "body").text)


def rows(driver) -> dict[str, list[str]]:
    """The rows of the compare page's tables: first cell, then one cell a run."""
    found = """
        const cells = "[role=cell], [role=rowheader], [role=gridcell], th, td";
        return [...document.querySelectorAll("[role=row], tr")].map(
            row => [...row.querySelectorAll(cells)].map(cell => cell.innerText.trim()));
    """
    return {cells[0]: cells[1:] for cells in driver.execute_script(found) if len(cells) > 1}


def test_the_cells_of_the_ablation_are_compared_with_switch_and_scores(address, project, tmp_path):
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("ablation_tcfaf").experiment_id
    with browser(1600, 1000) as driver:
        driver.get(f"{address}/#/experiments/{experiment}/runs")
        wait_for(driver, lambda page: "study ablation_tcfaf (default)" in words(page))
        # The study's run holds the cells: a click on its plus unfolds them.
        click(driver, "//a[starts-with(., 'study ablation_tcfaf')]/ancestor::div[@role='gridcell'][1]//button")
        wait_for(driver, lambda page: all(f"{label} | cortex" in words(page) for label in SWITCHES))
        driver.save_screenshot(str(tmp_path / "runs.png"))
        for label in SWITCHES:
            row = driver.find_element("xpath", f"//a[starts-with(., '{label} | cortex')]/ancestor::div[@role='row'][1]")
            number = row.get_attribute("row-index")
            click(driver, f"//div[@role='row' and @row-index='{number}']//input[@type='checkbox']")
        click(driver, "//button[contains(., 'Compare')]")
        wait_for(driver, lambda page: "compare-runs" in page.current_url)
        wait_for(driver, lambda page: {"Run Name:", "model.tcfaf"} <= set(rows(page)))
        wait_for(driver, lambda page: all(metric in words(page) for metric in METRICS))
        shown, said = rows(driver), words(driver).split()
        names = [name.split(" | ")[0] for name in shown["Run Name:"]]
        assert dict(zip(names, shown["model.tcfaf"], strict=True)) == SWITCHES
        assert set(shown["model.cmhgf"]) == {"full"}
        # Metrics stand in a grid without rows: every value is printed with three decimals, zeros at the end left out.
        scores = {run.info.run_name.split(" | ")[0]: run.data.metrics for run in client.search_runs([experiment])}
        for name in names:
            assert f"{scores[name]['dice/mean']:.3f}".rstrip("0") in said
        driver.save_screenshot(str(tmp_path / "compare.png"))
