"""Engines are found by entry point; their settings are the options of every verb that runs cells."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.shared.engines import choose_engine
from harness.errors import HarnessError
from harness.execution.engines import ENGINES
from harness.execution.engines.local_settings import LocalSettings
from harness.settings import parse_key_values, parse_yaml

WHEEL = Path(__file__).parent / "toy_engine_wheel"

VERBS = ["run", "retry", "lead", "tune", "missing"]

#: What every verb offers, beside `--engine` and `--engine-option`.
COMMON = {"workers": None, "threads": None, "cpu": False, "address": None, "slurm": None, "sbatch": None}
SHARING = {"cells_per_gpu": "1", "gpus_per_cell": 1}


@pytest.fixture
def toy_engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the wheel of a third party as pip does, and removes it."""
    project = tomllib.loads((WHEEL / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("installed")
    info = folder / "toy_engine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    points = project["entry-points"]["harness.engines"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[harness.engines]", *lines, ""]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(WHEEL)
    ENGINES.refresh()
    yield
    monkeypatch.undo()
    ENGINES.refresh()
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_engine"]:
        del sys.modules[name]


def choose(engine="local", **changes):
    return choose_engine({"engine": engine, "engine_option": None, **COMMON, **SHARING, **changes})


def test_ours_are_entry_points():
    assert ENGINES.names() == ["local", "ray", "slurm"]
    assert [ENGINES.get(name).name for name in ENGINES.names()] == ENGINES.names()


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Returns what each verb prints as help, and what all of them have imported, by one process."""
    code = (
        "import contextlib, io, json, sys; from harness.cli import main\n"
        "shown = {}\n"
        f"for verb in {VERBS}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as shown[verb]: main([verb, '--help'])\n"
        "shown['imported'] = json.dumps([one for one in sys.modules if one in ('torch', 'ray', 'submitit')"
        " or one.startswith('harness.execution.engines.') and one.split('.')[-1] in ('local', 'ray', 'slurm')])\n"
        "print(json.dumps({key: getattr(one, 'getvalue', lambda: one)() for key, one in shown.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_help_imports_no_engine(helps):
    assert helps["imported"] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_share_the_options(helps, verb):
    sharing = {"run": SHARING, "retry": SHARING, "missing": ["cells_per_gpu"]}.get(verb, ())
    for option in ("engine", *COMMON, "engine_option", *sharing):
        assert f"--{option.replace('_', '-')} " in helps[verb]


def test_one_object_holds_the_settings_of_the_engine():
    chosen = choose(workers=3, cpu=True)
    assert chosen.settings == LocalSettings(workers=3, cpu=True)
    assert choose(engine_option=["workers=3", "cpu=true"]).settings == chosen.settings


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"engine": "slrum"}, "slrum", "'slurm'"),
        ({"engine_option": ["workers"]}, "workers", "KEY=VALUE|--engine-option"),
        ({"engine_option": ["wrokers=2"]}, "wrokers", "'workers'"),
        ({"engine_option": ["workers=none"]}, "'none'", "workers:"),
    ],
)
def test_what_does_not_belong_to_the_engine_is_refused_with_what_does(options, error, hint):
    with pytest.raises(HarnessError, match=error) as caught:
        choose(**options)
    assert any(word in caught.value.hint for word in hint.split("|"))


def test_a_verb_refuses_settings_it_does_not_offer():
    with pytest.raises(HarnessError, match="gpus_per_cell"):
        choose_engine({"engine": "local", "engine_option": ["gpus_per_cell=2"], **COMMON}, without=SHARING)


def test_the_arguments_can_be_typed_again():
    chosen = choose("slurm", slurm=Path("my slurm.yaml"), sbatch=["gpus=0", "time=5"])
    assert chosen.arguments == "--engine slurm --slurm 'my slurm.yaml' --sbatch gpus=0 --sbatch time=5"
    assert choose(cpu=True, engine_option=["threads=2"]).arguments == "--engine local --cpu --engine-option threads=2"


def test_key_and_value():
    assert parse_key_values(["time=1:30", "a=b=c", "time=2"], "--sbatch", "time=1") == {"time": "2", "a": "b=c"}
    assert parse_yaml(["width=16", "axes=[0, 1]"], "--option", "width=32") == {"width": 16, "axes": [0, 1]}
    for wrong in ("width", "=3", "a b=3"):
        with pytest.raises(HarnessError, match="KEY=VALUE"):
            parse_key_values([wrong], "--option", "width=32")
    with pytest.raises(HarnessError, match="--option"):
        parse_yaml(["width=[3"], "--option", "width=32")


def test_a_third_party_s_engine_runs_a_study(toy_engine, toys, write_study, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [0, 1]})
    options = ["--engine", "toy", "--engine-option", "places=2", "--engine-option", "greeting=good morning,"]
    assert main(["run", str(study), *options, "--no-mlflow"]) == 0
    shown = capsys.readouterr().out
    assert "good morning, micro" in shown
    assert "2 CPU workers" in shown


def test_subsets_of_modalities_are_tested_where_the_engine_says(toy_engine, finished_study, capsys):
    options = ["--engine", "toy", "--engine-option", "greeting=good evening,", "--retries", "1", "--timeout", "10m"]
    assert main(["missing", "micro", "--subsets", "single", *options]) == 0
    assert "good evening, micro" in capsys.readouterr().out
    assert main(["missing", "micro", "--subsets", "single", "--engine", "slurm", "--workers", "2"]) == 2
    assert "parallel=N" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine-option", "place=2"], ["place", "greeting, places"]),
        (["--engine-option", "places=9"], ["places", "less than or equal to 4", "Cells that run at a time."]),
        (["--workers", "2"], ["--workers", "--engine local or ray"]),
    ],
)
def test_bad_options_of_a_third_party_s_engine_name_the_valid_ones(toy_engine, capsys, options, words):
    assert main(["run", "study.yaml", "--engine", "toy", *options]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert all(word in shown for word in words), shown
