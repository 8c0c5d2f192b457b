"""Every command of the documentation is typed, page by page; `commands.yaml` says which are not, and why."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import PAGES, ROOT, Block, Sandbox, blocks, documented_commands

HERE = Path(__file__).parent
EXCEPTIONS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "commands.yaml").read_text())
FOLDERS = ("BraTS2019", "BraTS2023", "BraTS2024", "CHAOS", "HECKTOR21", "Prostate158")
WITH_COMMANDS = sorted({block.page for block, _ in documented_commands()})


def test_every_command_is_written_as_a_shell_reads_it() -> None:
    for block, command in documented_commands():
        done = subprocess.run(["/bin/bash", "-n", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{block.page}:{block.line}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_can_be_read(page: Path) -> None:
    readers: dict[str, Callable[[str], object]] = {
        "python": lambda text: compile(text, str(page), "exec"),
        "yaml": yaml.safe_load,
        "toml": tomllib.loads,
        "json": json.loads,
    }
    for block in blocks(page):
        if block.language in readers:
            readers[block.language](block.text)


def test_exceptions_stand_in_their_pages_and_say_why() -> None:
    documented = {(block.page, command) for block, command in documented_commands()}
    assert set(EXCEPTIONS) == {"from_nothing", "prepared", "instead", "not_run"}
    named = {
        (page, command)
        for kind in ("instead", "not_run")
        for page in EXCEPTIONS[kind]
        for command in EXCEPTIONS[kind][page]
    }
    assert named - documented == set()
    assert {*EXCEPTIONS["from_nothing"], *EXCEPTIONS["prepared"]} <= set(WITH_COMMANDS)
    reasons = [why for page in EXCEPTIONS["not_run"].values() for why in page.values()]
    reasons += [one["why"] for page in EXCEPTIONS["instead"].values() for one in page.values()]
    assert all(reason.endswith(".") for reason in reasons)


@pytest.fixture(scope="session")
def reader(small_cortex: Path, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """What every page finds: studies that take seconds, one of them finished, and invented patients."""
    sandbox = Sandbox(tmp_path_factory.mktemp("reader"), HARNESS_DATA_CORTEX=str(small_cortex))
    for path in [*sorted((ROOT / "studies").rglob("*.yaml")), *sorted((HERE / "world").rglob("*.*"))]:
        sandbox.write(str(path.relative_to(HERE / "world" if path.is_relative_to(HERE) else ROOT)), path.read_text())
    for command in (
        *(f"harness data generate {name.lower()} --out ~/{name} --patients 5" for name in FOLDERS),
        "HARNESS_DATA_HECKTOR21=~/HECKTOR21 harness data export hecktor21 --nnunet-raw ~/nnUNet_raw/Dataset501_Mine",
        "harness run studies/ablation_tcfaf.yaml --profile demo",
    ):
        status, said = sandbox.run(command)
        assert status == 0, f"{command}\n{said[-3000:]}"
    return sandbox


@pytest.fixture
def sandbox(page: str, small_cortex: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """A folder of the page's own."""
    folder = tmp_path / "reader"
    if page not in EXCEPTIONS["from_nothing"]:
        found = request.getfixturevalue("reader").folder
        shutil.copytree(found, folder, ignore=shutil.ignore_patterns(".venv", ".state", ".here"))
    return Sandbox(folder, HARNESS_DATA_CORTEX=str(small_cortex))


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_of_a_page_do_what_they_are_for(page: str, sandbox: Sandbox) -> None:
    for command in EXCEPTIONS["prepared"].get(page, []):
        _type(sandbox, command, f"{page}, prepared")
    for block in blocks(ROOT / page):
        if block.title:
            sandbox.write(block.title, block.text)
        elif block.language == "sh":
            for command in block.commands():
                if command not in EXCEPTIONS["not_run"].get(page, {}):
                    instead = EXCEPTIONS["instead"].get(page, {}).get(command, {"type": command})
                    _type(sandbox, instead["type"], f"{page}:{block.line}")
        elif block.language == "python":
            _run_python(sandbox, block)


def _type(sandbox: Sandbox, command: str, where: str) -> None:
    status, said = sandbox.run(command)
    print(f"$ {command}\n{said}")
    assert status == 0, f"{where}: `{command}` ended with {status}\n{said[-3000:]}"


def _run_python(sandbox: Sandbox, block: Block) -> None:
    (sandbox.here() / "block.py").write_text(block.text)
    _type(sandbox, "python block.py", f"{block.page}:{block.line}")
