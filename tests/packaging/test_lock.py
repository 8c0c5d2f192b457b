"""The lock: every version from the public index, what pyproject.toml asks for, and the same as pip's constraints."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "uv.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "constraints.py"))
PUBLIC = ("https://pypi.org/simple", "https://files.pythonhosted.org/packages/")


@pytest.fixture(scope="module")
def lock() -> dict:
    return tomllib.loads(LOCK)


def asked_for() -> set[tuple[str, str, str]]:
    """Every requirement of pyproject.toml: name, versions, and its extra."""
    extras = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    requirements = [(Requirement(line), extra) for extra, lines in extras.items() for line in lines]
    return {(canonicalize_name(each.name), str(each.specifier), extra) for each, extra in requirements}


def test_every_address_is_one_of_the_public_index() -> None:
    addresses = set(re.findall(r'"([^"\s]*(?:://|/)[^"\s]*)"', LOCK))
    assert len(addresses) > 1000
    assert {address for address in addresses if not address.startswith(PUBLIC)} == set()


def test_every_source_is_the_public_index_and_every_file_has_its_hash(lock: dict) -> None:
    own = [package for package in lock["package"] if package["source"] != {"registry": PUBLIC[0]}]
    assert [(package["name"], package["source"]) for package in own] == [(PROJECT["name"], {"editable": "."})]
    files = [
        file
        for package in lock["package"]
        for file in (*package.get("wheels", ()), *filter(None, [package.get("sdist")]))
    ]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files)


def test_it_answers_what_the_project_asks_for(lock: dict) -> None:
    """Else `make lock` was forgotten after a change of pyproject.toml."""
    (own,) = (package for package in lock["package"] if package["name"] == PROJECT["name"])
    locked = set()
    for each in own["metadata"]["requires-dist"]:
        extra = re.search(r"extra == '(\w+)'", each.get("marker", ""))
        locked.add((each["name"], str(SpecifierSet(each.get("specifier", ""))), extra[1] if extra else ""))
    assert locked == asked_for()
    assert (lock["requires-python"], own["version"]) == (PROJECT["requires-python"], PROJECT["version"])


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_package_has_a_file_for_each_python(lock: dict, python: str) -> None:
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    fits = re.compile(rf"-(?:(?:py2\.)?py3-none|cp{python.replace('.', '')}-\w+|cp3\w*-abi3|[\w.]*py3[\w.]*-none)-")
    for package in lock["package"]:
        wheels = [wheel["url"].rsplit("/")[-1] for wheel in package.get("wheels", ())]
        assert not wheels or any(map(fits.search, wheels)) or package["name"] == PROJECT["name"], package["name"]
        assert wheels or "sdist" in package or package["name"] == PROJECT["name"], package["name"]


def test_the_constraints_of_pip_say_the_same() -> None:
    assert (ROOT / "constraints.txt").read_text(encoding="utf-8") == SCRIPT["constraints"](SCRIPT["locked_packages"]())


def test_a_package_with_two_versions_has_a_condition_for_each() -> None:
    old = {"name": "a", "version": "1", "resolution-markers": ["python_version < '3.12'"]}
    new = {"name": "a", "version": "2", "resolution-markers": ["python_version == '3.12'", "python_version > '3.12'"]}
    lines = [Requirement(line) for line in SCRIPT["constraints"]([new, old]).splitlines() if line[0] != "#"]
    chosen = {
        python: [
            str(line.specifier) for line in lines if line.marker and line.marker.evaluate({"python_version": python})
        ]
        for python in ("3.11", "3.12", "3.13")
    }
    assert chosen == {"3.11": ["==1"], "3.12": ["==2"], "3.13": ["==2"]}


def test_pytorchs_own_builds_fit_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = (Requirement(line) for line in lines if line.startswith("torch=="))
    (version,) = torch.specifier
    assert torch.specifier.contains(f"{version.version}+cpu")
