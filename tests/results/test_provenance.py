"""What a number was computed by is said truly: the harness's own commit, or its version."""

from __future__ import annotations

import subprocess

import pytest

import harness
from harness.results import provenance


def git(folder, *arguments):
    said = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *said, *arguments], check=True, capture_output=True)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A harness inside somebody's git repository, which does not track it."""
    folder = tmp_path / "venv" / "harness"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "theirs.txt").touch()
    git(tmp_path, "init")
    git(tmp_path, "add", "theirs.txt")
    git(tmp_path, "commit", "-m", "theirs")
    monkeypatch.setattr(harness, "__file__", str(folder / "__init__.py"))
    provenance.code_version.cache_clear()
    yield folder
    provenance.code_version.cache_clear()


def test_an_environment_inside_another_repository_is_not_taken_for_that_repository(code):
    assert provenance.code_version() == f"release {harness.__version__}"


def test_a_commit_is_named_with_what_was_changed_since(code):
    git(code, "add", "__init__.py")
    git(code, "commit", "-m", "ours")
    commit = provenance.code_version()
    assert len(commit) == 12
    (code / "__init__.py").write_text("changed = True\n")
    provenance.code_version.cache_clear()
    assert provenance.code_version() == f"{commit}+dirty"


def test_a_repository_named_for_a_hook_is_not_asked(code, tmp_path, monkeypatch):
    git(code, "add", "__init__.py")
    git(code, "commit", "-m", "ours")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert len(provenance.code_version()) == 12


def test_a_git_that_takes_too_long_costs_no_result(code, monkeypatch):
    git(code, "add", "__init__.py")
    git(code, "commit", "-m", "ours")
    run = subprocess.run

    def slow(command, **options):
        if "status" in command:
            raise subprocess.TimeoutExpired("git", options["timeout"])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", slow)
    assert provenance.code_version().endswith("+unchecked")
