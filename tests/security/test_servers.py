"""Dashboards listen on this machine alone unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow.cli
import pytest

from harness.execution.engines.ray import RayEngine

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TOLD = ("README.md", "Makefile", "docs/results.md", "docs/security.md", "harness/cli/run.py")


def is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


@pytest.fixture
def bound(monkeypatch):
    """Reads a command line as MLflow does; returns the host that its server would listen on."""
    monkeypatch.delenv("MLFLOW_HOST", raising=False)

    def read(verb, *words):
        return mlflow.cli.cli.get_command(None, verb).make_context(verb, list(words)).params["host"]

    return read


def told_commands():
    """Every `mlflow ui` that the documentation or the harness tells a user to type, but for opening it to a network."""
    for name in TOLD:
        text = (ROOT / name).read_text()
        for words in re.findall(r"mlflow (?:ui|server)(?: +--?[\w=./:-]+(?: +[\w./:-]+)?)*", text):
            if "--host" not in words:
                yield pytest.param(shlex.split(words)[1:], id=f"{name}: {words}")


def test_the_documentation_says_how_to_start_mlflow():
    assert {parameter.id.partition(":")[0] for parameter in told_commands()} == set(TOLD)


@pytest.mark.parametrize("words", told_commands())
def test_mlflow_as_we_tell_to_start_it_listens_on_loopback(bound, words):
    assert is_loopback(bound(*words))


def test_mlflow_listens_elsewhere_where_it_is_told_to(bound, monkeypatch):
    assert bound("ui", "--host", "0.0.0.0") == "0.0.0.0"
    monkeypatch.setenv("MLFLOW_HOST", "192.0.2.7")
    assert bound("ui") == "192.0.2.7"


@pytest.fixture
def initialised(monkeypatch):
    """Makes a RayEngine with a Ray that notes how it was initialised; returns the note."""
    seen = {}
    fake = SimpleNamespace(
        init=lambda **settings: seen.update(settings),
        cluster_resources=lambda: {"CPU": 2.0},
        remote=lambda **_: lambda function: function,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)

    def make(address):
        RayEngine(address, threads=1, gpus=0)
        return seen

    return make


def test_a_cluster_of_our_own_has_no_dashboard_and_would_bind_it_to_loopback(initialised):
    settings = initialised(None)
    assert settings["include_dashboard"] is False
    assert is_loopback(settings["dashboard_host"])


def test_a_cluster_that_somebody_started_keeps_the_dashboard_it_was_started_with(initialised):
    assert not [name for name in initialised("auto") if "dashboard" in name]
