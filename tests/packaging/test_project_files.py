"""What GitHub and citers read: workflows that call what exists, and a citation of this version."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    """Reads a workflow; YAML 1.1 takes its key `on` for a truth."""
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(path: Path) -> list[dict[str, Any]]:
    read = load(path)
    jobs = [read["runs"]] if "runs" in read else list(read["jobs"].values())
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("path", [*WORKFLOWS, *GITHUB.glob("actions/*/action.yml")], ids=lambda path: path.stem)
def test_steps_call_what_exists(path: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for step in steps(path):
        if "uses" in step:
            action, _, version = step["uses"].partition("@")
            assert version or (ROOT / action / "action.yml").is_file()
            continue
        script = re.sub(r"\$\{\{.*?\}\}", "", step["run"])
        assert subprocess.run(["/bin/bash", "-n", "-c", script]).returncode == 0
        assert set(re.findall(r"(?m)^make ([\w-]+)", script)) <= targets
        assert all((ROOT / name).exists() for name in re.findall(r"\.ci/run|constraints\.txt|tests/\w+", script))


def test_a_workflow_only_reads() -> None:
    assert [load(path)["permissions"] for path in WORKFLOWS] == [{"contents": "read"}] * 2


def test_every_change_and_every_week_passes_ci() -> None:
    ci, newest = (load(GITHUB / "workflows" / f"{name}.yml") for name in ("ci", "newest"))
    assert {"push", "pull_request"} <= set(ci["on"])
    assert "schedule" in newest["on"]
    assert newest["jobs"]["newest"]["env"] == {"CONSTRAINTS": ""}
    for path in WORKFLOWS:
        assert "bash .ci/run" in [step.get("run") for step in steps(path)]


def test_each_python_of_the_lock_tries_the_wheel() -> None:
    tried = load(GITHUB / "workflows" / "ci.yml")["jobs"]["wheel"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert tried == [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["keywords"] == project["keywords"]
    assert citation["title"].startswith(project["name"])
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
