"""Links of the repository, as the site needs them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

#: Code (left alone), or a link: an optional exclamation mark, text, target, anchor.
_CODE_OR_LINK = re.compile(
    r"```.*?```|`[^`\n]+`(?!\]\()|(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)", re.DOTALL
)


def rewritten(
    markdown: str, source: str, place: str, places: Mapping[str, str], root: Path, repository: str = ""
) -> str:
    """Returns a page's text with links that work on the site.

    A link to a page or picture of the site stays one. A link to another file of the repository leads to the
    repository's address, if there is one; else the file is named in words, since the site does not hold it.

    Args:
        markdown: The page as it lies in the repository.
        source: Its path in the repository, e.g. ``docs/aahn.md``.
        place: Its path in the site's sources, e.g. ``aahn.md``.
        places: Path in the repository to path in the site's sources, for all that the site holds.
        root: The repository.
        repository: Its address on the web, or nothing.
    """

    def one(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.group(1), match.group(2), match.group(3), match.group(4) or ""
        if text is None or not target or "://" in target or target.startswith("mailto:"):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in places:
            return f"{mark}[{text}]({posixpath.relpath(places[path], posixpath.dirname(place) or '.')}{anchor})"
        if not (root / path).exists():
            return match.group(0)  # a broken link: MkDocs says so
        if repository:
            return f"{mark}[{text}]({repository.rstrip('/')}/blob/main/{path}{anchor})"
        return f"`{path}`" if path.endswith(text.strip("`")) else f"{text} (`{path}`)"

    return _CODE_OR_LINK.sub(one, markdown)
