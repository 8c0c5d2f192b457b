"""What MkDocs does for this project's pages beyond rendering them (``hooks`` in ``mkdocs.yml``).

Pages that can be generated are generated at every build, so they cannot go stale. Pages that lie outside ``docs/``
because people look for them there (``README.md`` and the like) join the site. Links are written for the repository,
and are turned into links of the site.
"""

from __future__ import annotations

from pathlib import Path

from links import rewritten
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import PAGES

ROOT = Path(__file__).parents[2]

#: Pages outside docs/, by their place in the repository, and where the site has them.
INCLUDED = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "baselines/README.md": "project/baselines.md",
    "harness/data/datasets/cortex/README.md": "project/cortex.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and those that lie outside ``docs/``."""
    for place, made in PAGES.items():
        files.append(File.generated(config, place, content=made()))
    for source, place in INCLUDED.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    places = {f"docs/{file.src_uri}": file.src_uri for file in files if file.generated_by is None} | INCLUDED
    written = {place: source for source, place in places.items()}
    source = written.get(page.file.src_uri)
    if source is None:  # a generated page has no place in the repository, and no links out of the site
        return markdown
    return rewritten(markdown, source, page.file.src_uri, places, ROOT, config.repo_url or "")
