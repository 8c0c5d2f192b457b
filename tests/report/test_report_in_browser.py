"""The page in headless Chromium: it loads from a file, its own script runs, and sorting moves rows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

_CLICK = """
const button = document.querySelectorAll("table.sortable thead button[data-column='1']")[0];
button.click();
document.title = Array.from(button.closest("table").tBodies[0].rows, (row) => row.cells[1].dataset.sort).join(" ");
"""


@pytest.mark.skipif(_BROWSER is None, reason="neither chromium nor google-chrome is installed")
def test_sorting_a_table_in_the_browser(report: tuple[Path, list[Path]], tmp_path: Path) -> None:
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    # The page's policy refuses scripts that are not its own: the test's is let in beside it.
    text = re.sub(r"script-src 'sha256-[^']*'", r"script-src 'unsafe-inline'", text)
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", f"<script>{_CLICK}</script></body>"), "utf-8")
    done = _browse(tmp_path, page)
    found = re.search(r"<title>([\d. ]+)</title>", done.stdout)
    assert found, done.stderr[-500:]
    values = [float(value) for value in found[1].split()]
    assert len(values) == 4
    assert values == sorted(values)


@pytest.mark.skipif(_BROWSER is None, reason="neither chromium nor google-chrome is installed")
def test_the_page_breaks_none_of_its_own_rules(report: tuple[Path, list[Path]], tmp_path: Path) -> None:
    done = _browse(tmp_path, report[0] / "report.html")
    assert "CONSOLE" not in done.stderr
    assert "Content Security Policy" not in done.stderr


def _browse(home: Path, page: Path) -> subprocess.CompletedProcess[str]:
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={home}/profile",
    ]
    command = [str(_BROWSER), *options, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
