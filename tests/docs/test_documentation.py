"""The documentation: its links lead somewhere, its commands exist, its study is valid."""

from __future__ import annotations

import importlib
import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from types import SimpleNamespace

import pytest
import yaml
from documented import PAGES, ROOT, blocks, documented_commands
from typer.main import get_command

from harness.cli import main
from harness.cli.app import app
from harness.study.expansion import load_study


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    broken = [
        target for target in targets if "://" not in target and not (page.parent / target.replace("%20", " ")).exists()
    ]
    assert not broken


def verbs(group=None, path=()):
    """Every verb and group of verbs, with its help's last words."""
    group = group or get_command(app)
    yield path, group.epilog
    for name, one in getattr(group, "commands", {}).items():
        yield from verbs(one, (*path, name))


def examples():
    """The commands that help texts end with."""
    for _, epilog in verbs():
        yield from re.sub(r"^Examples?: ", "", epilog or "").split("; ")


def test_every_help_text_ends_with_an_example_of_its_verb():
    without = [path for path, epilog in verbs() if not re.match(rf"Examples?: harness {' '.join(path)}", epilog or "")]
    assert without == []


def commands():
    for command in dict.fromkeys([*(command for _, command in documented_commands()), *examples()]):
        for part in re.split(r"&&|\|", command):
            words = shlex.split(part)
            if words[:1] == ["harness"]:
                yield pytest.param(words[1:], id=" ".join(words[1:]))


@cache
def help_of(verb):
    """Returns what the help of a verb shows; None where there is no such verb."""
    with redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()):
        status = main([*verb, "--help"])
    return shown.getvalue() if status == 0 else None


@pytest.mark.parametrize("words", list(commands()))
def test_documented_commands_exist_with_their_options(words):
    verb = tuple(word for word in words[:2] if not word.startswith("-") and "/" not in word and "." not in word)
    shown = help_of(verb) or help_of(verb[:1])
    assert shown is not None
    assert not [word for word in words if word.startswith("--") and word.split("=")[0] not in shown]


def test_the_study_in_the_readme_is_valid(project):
    block = next(
        b for b in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "matrix" in b
    )
    path = project / "readme.yaml"
    path.write_text(block)
    loaded = load_study(path, "demo")
    assert len(loaded.cells) == len(yaml.safe_load(block)["matrix"]["model"])


def test_the_metric_in_contributing_is_computed(tmp_path, monkeypatch):
    for block in blocks(ROOT / "CONTRIBUTING.md"):
        if block.title.startswith("my_metric/"):
            path = tmp_path / block.title
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    metric = importlib.import_module("my_metric").VOLUME_SIMILARITY
    assert metric.value(SimpleNamespace(pair=SimpleNamespace(predicted=3, real=5))) == 0.75


def test_every_difference_from_the_release_is_named_where_numbers_differ():
    facts = yaml.safe_load((ROOT / "harness/study/released_facts.yaml").read_text())
    differing = {
        fact["what"]
        for group in facts["groups"]
        for fact in group["facts"]
        if not fact["paper"].startswith(("the same", "equal"))
    }
    _, _, section = (ROOT / "docs/reproduce.md").read_text().partition("## When the numbers differ")
    words = re.sub(r"\s+", " ", section).replace("**", "")
    assert differing - set(re.findall(r"\*([^*]+)\*", words)) == set()


def test_nothing_names_this_workplace():
    """Documentation and code stand on their own: no absolute path of a machine, nothing outside the tree."""
    suspicious = re.compile(r"(?<![\w.*])/(?:work|root|home/\w+)/|\.\./shared")
    files = [
        *PAGES,
        *(path for folder in ("harness", "aahn", "baselines", "scripts") for path in (ROOT / folder).rglob("*.py")),
    ]
    assert [str(path) for path in files if suspicious.search(path.read_text())] == []
