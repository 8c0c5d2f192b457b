"""The command line: quick help, lists, and errors a person can use."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing

import pytest
from typer.main import get_command

from harness.cli import main
from harness.cli.app import app
from harness.cli.shared.late_command import LateCommand

HEAVY = ("torch", "monai", "mlflow", "pandas", "numpy", "matplotlib", "nibabel")


#: What the list of verbs needs neither: settings, nor the files of the verbs.
OTHERS = ("pydantic", "yaml", "harness.settings", "harness.cli.run", "harness.cli.plan")


@pytest.mark.parametrize(
    ("words", "without", "shown"),
    [
        (["--help"], (*HEAVY, *OTHERS), "Example: harness run studies/ablation_tcfaf.yaml --profile demo"),
        (["models"], (*HEAVY, "harness.cli.run", "harness.execution"), "parameters: in the authors' configuration."),
    ],
)
def test_lists_import_nothing_that_they_do_not_need(words, without, shown):
    code = f"import sys; from harness.cli import main; main({words}); print([m for m in {without} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert shown in done.stdout


def test_the_list_of_verbs_says_how_the_help_of_each_begins():
    group = get_command(app)
    late = [one for one in group.commands.values() if isinstance(one, LateCommand)]
    assert len(late) > 20
    for command in late:
        assert command.help.split("\n\n")[0].replace("\n", " ") == command.short_help


@pytest.mark.parametrize("verb", ["plan", "run", "status", "report", "evaluate", "models", "data", "mlflow"])
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: harness" in shown
    if verb != "mlflow":
        assert "Example: harness" in shown


@pytest.mark.parametrize(("verb", "old", "new"), [("plan", "--card", "--gpu-model"), ("lead", "--spare", "--keep-")])
def test_old_names_of_options_still_work_and_show_the_new_ones(verb, old, new, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert old in shown
    assert new in shown
    assert main([verb, "nothing", old, "no number and no GPU"]) == 2
    assert "No such option" not in capsys.readouterr().err


def callbacks(group=None):
    """Every verb's function."""
    for command in (group or get_command(app)).commands.values():
        yield from callbacks(command) if hasattr(command, "commands") else [inspect.unwrap(command.callback)]


def test_every_number_of_the_command_line_has_bounds():
    """Those of engines are bounded by their settings."""
    found, unbounded = 0, []
    for verb in callbacks():
        for parameter in inspect.signature(verb, eval_str=True).parameters.values():
            kind, *more = typing.get_args(parameter.annotation) or (parameter.annotation,)
            kinds = typing.get_args(kind) or (kind,)
            if not {int, float} & set(kinds):
                continue
            found += 1
            (option,) = more
            if option.max is None or (option.min is None and parameter.name != "patients"):  # it is said why
                unbounded.append((verb.__name__, parameter.name))
    assert found > 20
    assert unbounded == []


@pytest.mark.parametrize("arguments", [["--patients", "100000000000"], ["--seed", "-1"], ["--scale", "nan"]])
def test_numbers_beyond_the_bounds_are_refused(arguments, tmp_path, capsys):
    assert main(["data", "generate", "prostate158", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_checking_a_study_imports_no_torch(project):
    """A study is validated, expanded and named without loading a network library."""
    code = (
        "import sys; from pathlib import Path; from harness.study.expansion import load_study;"
        "load_study(Path(sys.argv[1]), 'demo'); print('torch' in sys.modules)"
    )
    from pathlib import Path

    study = Path(__file__).parents[2] / "studies" / "ablation_tcfaf.yaml"
    done = subprocess.run([sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_models_are_listed_with_their_facts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    for name in ("aahn", "unetr", "nnunet", "31,199,796"):
        assert name in shown


def test_a_model_is_shown_with_options_presets_and_source(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models", "show", "aahn"]) == 0
    shown = capsys.readouterr().out
    for word in ("tcfaf", "joker-527/AAHN", "preset tiny", "Asymmetric Adaptive Heterogeneous Network"):
        assert word in shown


def test_a_dataset_is_shown_with_splits_licence_and_caveats(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("HARNESS_DATA_CORTEX", raising=False)
    assert main(["data", "show", "cortex"]) == 0
    shown = capsys.readouterr().out
    for word in ("Fold 0", "Fold 1", "BSD-2-Clause", "One person"):
        assert word in shown
    assert main(["data"]) == 0
    assert "ships with us" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "show", "ahn"], "Did you mean 'aahn'?"),
        (["data", "show", "cortx"], "Did you mean 'cortex'?"),
        (["run", "nothing.yaml"], "There is no file nothing.yaml"),
        (["report"], "harness run"),
        (["status"], "harness run"),
        (["report", "--results", "/proc/nothing"], "There are no studies"),
    ],
)
def test_mistakes_are_said_in_one_message_with_what_to_do(project, capsys, arguments, said):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "error:" in error
    assert "what to do:" in error or "There is no file" in error
    assert said in error
    assert "Traceback" not in error


def test_an_unknown_verb_or_format_exits_with_two(project, capsys):
    assert main(["rn"]) == 2
    assert main(["report", "--format", "word"]) == 2


def test_the_version_is_the_package_s(capsys):
    from harness import __version__

    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
