"""Packages of third parties work unchanged: those that other tests install are still the ones of 0.2.0.

``tests/conformance/test_third_party.py`` installs the toy wheel, ``tests/docs/test_commands.py`` (slow) types the tour
with its package. A change of their files would be a change of what a third party has to write.
"""

from __future__ import annotations

import hashlib

from documented import blocks
from guarding import ROOT

TOUR = {
    "mynet/pyproject.toml": "2783e89f7c81092e",
    "mynet/src/mynet/__init__.py": "4cc8c7560dcbb74e",
    "mynet/src/mynet/network.py": "4ac9d3cd2ae6a7e6",
}

WHEEL = {
    "pyproject.toml": "d7309fad9725d52b",
    "toy_segmenters/__init__.py": "1755399671276a4c",
    "toy_segmenters/network.py": "89b82b0ab0d6c502",
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_package_of_the_tour_is_written_as_before():
    found = {block.title: digest(block.text) for block in blocks(ROOT / "docs" / "tour.md")}
    assert {name: found.get(name) for name in TOUR} == TOUR


def test_the_toy_wheel_is_written_as_before():
    home = ROOT / "tests" / "conformance" / "toy_wheel"
    files = [path for path in home.rglob("*") if path.suffix in (".py", ".toml")]
    assert {str(path.relative_to(home)): digest(path.read_text()) for path in files} == WHEEL
