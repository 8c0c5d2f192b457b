"""The documentation's site: it builds without a warning, and works from a folder without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import browser, needs_browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """What a page can be reached by, what it leads to, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.anchors.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "next", "prev"):
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])


def test_every_link_and_picture_is_there(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 20
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # served for any address: its links are absolute
            continue
        for target in [*page.links, *page.loaded]:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file() or (file in pages and unquote(parts.fragment) not in pages[file].anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert [one for one in Page(path).loaded if urlsplit(one).scheme or one.startswith("//")] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text(encoding="utf-8"))


def test_links_out_of_the_site_became_words(site: Path) -> None:
    text = (site / "aahn.html").read_text(encoding="utf-8")
    assert "<code>aahn/decoder.py</code>" in text
    assert "../aahn/decoder.py" not in text


def test_reference_pages_hold_what_the_program_says(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "harness data generate" in commands
    assert "--cells-per-gpu" in commands
    assert "install-completion" not in commands
    assert "splits" in (site / "reference" / "study_file.html").read_text(encoding="utf-8")
    assert "paper_patch" in (site / "reference" / "protocols.html").read_text(encoding="utf-8")
    networks = (site / "reference" / "networks.html").read_text(encoding="utf-8")
    assert all(name in networks for name in ("tcfaf", "nestedformer", "token_patch"))


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1200, 375])
def test_pages_fit_and_are_searched_without_a_network(site: Path, width: int) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with browser(width) as driver:
        for path in sorted(set(site.rglob("*.html")) - {site / "404.html"}):
            driver.get(path.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width, path.name
        driver.get((site / "index.html").as_uri())
        driver.execute_script("document.getElementById('__search').click()")
        driver.find_element(By.NAME, "query").send_keys("tcfaf")
        found = WebDriverWait(driver, 20).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".md-search-result__link"))
        assert any("aahn.html" in one.get_attribute("href") for one in found)
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
