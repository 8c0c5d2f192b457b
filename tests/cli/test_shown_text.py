"""What others wrote is shown as it is: no markup is obeyed, no escape sequence reaches the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.table import Table
from stored import cell_record, manifest

import harness
from harness.cli import main
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.progress import task_bars
from harness.cli.shared.status_table import status_table
from harness.files import read_json, write_json
from harness.results.store import Store
from harness.text import printable

HOSTILE = ["[/x]", "[link=http://a.b]c[/link]", "[bold]", ":warning:", "\x1b[2Jgone", "bad \ud800", "a\\", "\u202eabc"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is_in_lines_tables_and_bars(text):
    console = PlainConsole(file=StringIO(), width=120, force_terminal=True, color_system=None)
    listing = Table("name", title=text)
    listing.add_row(text)
    console.print(text)
    console.print(styled("red", text, text))
    console.print(listing)
    with task_bars(console, text):
        pass
    shown = console.file.getvalue()
    shown.encode()
    assert shown.count(printable(text)) >= 6
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("\x1b[2J", "\\x1b[2J"), ("\ud800", "\\ud800"), ("\u202e", "\\u202e"), ("\x00", "\\x00"), ("\r", "\\r"),
        ("a\n\tb", "a\n\tb"), ("é 肿瘤 ≥", "é 肿瘤 ≥"), ("\x9b", "\\x9b"),
    ],
)  # fmt: skip
def test_only_what_acts_is_escaped(text, right):
    assert printable(text) == right


@pytest.mark.parametrize("columns", ["0", "1", "20"])
def test_names_stay_whole_however_narrow_the_terminal_claims_to_be(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    console = PlainConsole(file=StringIO())
    console.print("the name of a variant")
    assert "the name of a variant" in console.file.getvalue()


def test_verbs_print_on_no_console_that_obeys_markup():
    for path in Path(harness.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "console.py":
            assert not re.search(r"(?<!Plain)\bConsole\(", text), path
        assert "markup=True" not in text, path
        for column in re.findall(r"\bTextColumn\(.*", text):
            assert "{" not in column or "markup=False" in column, path


@pytest.fixture
def failed(tmp_path):
    """A study with one cell that failed, and how to show it."""
    store = Store(tmp_path)
    store.create()
    cell = store.cell("a")
    cell.write_spec(cell_record())
    study = store.study("s", "default")
    study.write_manifest(manifest("a", labels=["[/x]"], cells=[{"cell": "a", "label": "[/x]"}]))

    def show() -> str:
        console = PlainConsole(file=StringIO(), width=160)
        console.print(status_table(study, store))
        return console.file.getvalue()

    return cell, show


def test_a_message_that_cannot_be_encoded_is_stored_and_shown_escaped(failed):
    cell, show = failed
    cell.fail("bad \ud800 \x1b[2J[/y]", "hint \ud800", "trace \ud800")
    stored = read_json(cell.path / "failure.json")
    assert stored["reason"] == "bad \\ud800 \\x1b[2J[/y]"
    assert "bad \\ud800 \\x1b[2J[/y] hint" in show()
    assert "[/x]" in show()


def test_a_message_that_an_earlier_version_stored_is_shown_escaped(failed):
    cell, show = failed
    write_json(cell.path / "failure.json", {"kind": "exception", "reason": "bad \ud800", "hint": "", "log": "\x1b[2J"})
    assert "bad \\ud800" in show()
    assert cell.failure().log == "\\x1b[2J"


def test_logs_show_no_escape_sequences(failed, capsys):
    cell, _ = failed
    cell.work.mkdir(parents=True)
    cell.log.write_bytes(b"step 1\rstep 2\x1b[2J\xff\n")
    assert main(["logs", "a", "--results", str(cell.path.parent.parent)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "step 2\\x1b[2J" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf8_gets_escapes(failed, monkeypatch, encoding):
    cell, _ = failed
    cell.fail("肿瘤 ≥ 1", "", "")
    raw = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(raw, encoding=encoding))
    assert main(["status", "s", "--results", str(cell.path.parent.parent)]) == 0
    sys.stdout.flush()
    assert b"\\u80bf\\u7624" in raw.getvalue()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_closed_descriptors_cost_nothing(failed, monkeypatch, name):
    cell, _ = failed
    monkeypatch.setattr(f"sys.{name}", None)
    assert main(["status", "s", "--results", str(cell.path.parent.parent)]) == 0
    assert main(["status", "nothing", "--results", str(cell.path.parent.parent)]) == 2


@pytest.mark.integration
@pytest.mark.parametrize("redirect", ["", "<&- >&- 2>&-"], ids=["the plain locale", "all descriptors closed"])
def test_a_command_runs_in_the_plain_locale_and_without_descriptors(failed, redirect):
    cell, _ = failed
    cell.fail("肿瘤 ≥ 1", "", "")
    code = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "status", "s", "--results", str(cell.path.parent.parent)]
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "200"}
    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}', *command], env={**os.environ, **plain}, capture_output=True
    )
    assert ended.returncode == 0
    assert ended.stderr == b""
    assert redirect or b"\\u80bf\\u7624" in ended.stdout
