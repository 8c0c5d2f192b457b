"""``--json``: of every verb that lists something one object, and nothing else on standard output."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from stored import cell_record, finish_whole, manifest
from typer.main import get_command

from harness.cli import main
from harness.cli.app import app
from harness.errors import HarnessWarning
from harness.results.store import Store

#: Every verb with `--json`, as it is typed; `data check` and `plan` read data.
COMMANDS = {
    "models": ["models"],
    "models show": ["models", "show", "aahn"],
    "data": ["data"],
    "data show": ["data", "show", "cortex"],
    "data check": ["data", "check", "cortex"],
    "plan": ["plan", "ablation_tcfaf", "--profile", "minute"],
    "status": ["status"],
    "logs": ["logs", "cell-a"],
    "doctor": ["doctor"],
    "init": ["init", "--list"],
}


@pytest.fixture
def finished(project: Path) -> Store:
    store = Store(Path("results"))
    store.create()
    finish_whole(store.cell("cell-a"))
    store.cell("cell-b").write_spec(cell_record(dataset="data"))
    facts = {
        "name": "data",
        "title": "Data",
        "kind": "real",
        "unit": "patient",
        "modalities": ["t1"],
        "regions": ["WT"],
    }
    store.study("s", "default").write_manifest(manifest("cell-a", "cell-b", datasets=[facts]))
    return store


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_one_object_with_the_command_and_rows(
    command: str, finished: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(capsys, *COMMANDS[command])
    assert found["command"] == command
    assert all(isinstance(row, dict) and len({*row} ^ {*found["rows"][0]}) == 0 for row in found["rows"])
    assert found["rows"] or command in ("data check", "logs")


def test_every_verb_that_has_it_is_tested_here() -> None:
    def having(group: Any, path: tuple[str, ...] = ()) -> set[str]:
        found = {" ".join(path)} if any("--json" in one.opts for one in group.params) else set()
        commands = getattr(group, "commands", {}).items()
        return found.union(*(having(one, (*path, name)) for name, one in commands))

    assert having(get_command(app)) == {*COMMANDS, "verify", "predict"}  # which have tests of their own


def test_status_has_the_numbers_and_null_where_there_are_none(
    finished: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = printed(capsys, "status")["rows"]
    assert (first["state"], first["dice"], first["hd95"]) == ("done", 1.0, 1.0)
    assert (second["state"], second["dice"], second["device"]) == ("new", None, None)


def test_a_plan_of_gpus_has_a_row_per_gpu_and_variant(finished: Store, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--gpu-model", "a100", "--gpu-model", "h100"]
    found = printed(capsys, *COMMANDS["plan"], *arguments)
    assert {(row["gpu"], row["variant"]) for row in found["rows"]} == {
        (gpu, variant) for gpu in ("a100", "h100") for variant in ("w/o T-CFAF", "AAHN")
    }
    assert found["caveat"] == "60 steps: shows the instrument, no result"


def test_warnings_and_errors_go_elsewhere(finished: Store, capsys: pytest.CaptureFixture[str]) -> None:
    warnings.warn("look", HarnessWarning, stacklevel=1)
    for arguments in (["logs", "none"], ["logs", "cell-a", "--follow"], ["status", "none"], ["init"]):
        assert main([*arguments, "--json"]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "error:" in shown.err
