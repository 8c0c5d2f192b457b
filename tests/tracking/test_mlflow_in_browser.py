"""``mlflow ui`` in a headless browser: the cells of an ablation side by side, with switches and scores."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from browser import browser, needs_browser
from mlflow import MlflowClient

from harness.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toys"), needs_browser]


@pytest.fixture
def address(project, write_study):
    """The web interface of a project with a finished, reported ablation; it listens on loopback alone."""
    models = [{"name": "toy", "label": "on"}, {"name": "toy", "switch": "off", "label": "off"}]
    study = write_study(matrix={"dataset": ["cortex"], "model": models}, report={"reference": "on"})
    assert main(["run", str(study), "--workers", "1"]) == 0
    assert main(["report", "micro"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{project}/mlflow.db"]
    log = (project / "ui.log").open("wb")
    server = subprocess.Popen([*command, "--port", str(port), "--workers", "1"], cwd=project, stdout=log, stderr=log)
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
    pytest.fail(driver.find_element("tag name", "body").text[:3000])


def words(driver) -> str:
    return str(driver.find_element("tag name", "body").text)


def test_the_cells_of_an_ablation_are_compared_with_switches_and_scores(address, project, tmp_path):
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("micro").experiment_id
    with browser(1600, 1000) as driver:
        driver.get(f"{address}/#/experiments/{experiment}/runs")
        wait_for(driver, lambda page: "study micro (default)" in words(page))
        # The study's run holds the cells: a click on its plus unfolds them.
        unfold = "//a[starts-with(., 'study micro')]/ancestor::div[@role='gridcell'][1]//button"
        wait_for(driver, lambda page: page.find_elements("xpath", unfold))
        driver.execute_script("arguments[0].click()", driver.find_element("xpath", unfold))
        wait_for(driver, lambda page: "on | cortex" in words(page) and "off | cortex" in words(page))
        driver.save_screenshot(str(tmp_path / "runs.png"))
        for label in ("on", "off"):
            row = driver.find_element("xpath", f"//a[starts-with(., '{label} | cortex')]/ancestor::div[@role='row'][1]")
            number = row.get_attribute("row-index")
            box = f"//div[@role='row' and @row-index='{number}']//input[@type='checkbox']"
            driver.execute_script("arguments[0].click()", driver.find_element("xpath", box))
        wait_for(driver, lambda page: page.find_elements("xpath", "//button[contains(., 'Compare')]"))
        button = driver.find_element("xpath", "//button[contains(., 'Compare')]")
        driver.execute_script("arguments[0].click()", button)
        wait_for(driver, lambda page: "compare-runs" in page.current_url)
        wait_for(driver, lambda page: "model.switch" in words(page) and "dice/mean" in words(page))
        shown = words(driver)
        driver.save_screenshot(str(tmp_path / "compare.png"))
        for said in ("model.switch", "on", "off", "dice/Cortex", "hd95/White", "train/loss"):
            assert said in shown, said
