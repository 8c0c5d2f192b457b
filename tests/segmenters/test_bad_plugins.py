"""Packages of others whose import raises, exits, dies or hangs: each is named with the reason, and hides no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import main
from harness.cores import cores, processes
from harness.data import DATASETS
from harness.errors import HarnessError, StudyError
from harness.import_probe import TRIED
from harness.registry import Registry, resolve
from harness.segmenters import SEGMENTERS, Options, Segmenter, Source, Task, conformance
from harness.segmenters.isolation import Trials
from harness.segmenters.size import count, measure

#: Code of a module, and what is said of it.
MODULES = {
    "good": ("", ""),
    "missing": ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
    "raises": ("raise ValueError('bad \\ud800 day\\nand more')", "ValueError: bad \\ud800 day"),
    "wrong_syntax": ("def", "SyntaxError"),
    "leaves": ("raise SystemExit(0)", "SystemExit: 0"),
    "exits": ("import os; os._exit(0)", "ended with status 0"),
    "dies": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
    "is_no_plugin": ("OBJECT = 3", "is a int, not a SimpleNamespace"),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that registers modules in a group of entry points, as a package of somebody would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(TRIED, raising=False)

    def write(group: str, modules: dict[str, str], package: str = "somebody", damaged: str = "") -> None:
        facts = tmp_path / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}_{name}:OBJECT" for name in modules]
        (facts / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, damaged]) + "\n")
        for name, code in modules.items():
            head = f"from types import SimpleNamespace\nOBJECT = SimpleNamespace(name='{name}')\n"
            (tmp_path / f"{package}_{name}.py").write_text(f"{head}{code}\n")
        for registry in (SEGMENTERS, DATASETS):
            registry.refresh()

    yield write
    monkeypatch.undo()
    for registry in (SEGMENTERS, DATASETS):
        registry.refresh()


def test_each_plugin_that_cannot_be_imported_is_named_with_the_reason_and_hides_no_other(install):
    install("tests.group", {name: code for name, (code, _) in MODULES.items()})
    registry = Registry("tests.group", SimpleNamespace, "thing")
    loaded, broken = registry.load_all()
    assert list(loaded) == ["good"]
    assert broken.keys() == MODULES.keys() - {"good"}
    for name, message in broken.items():
        assert f"thing '{name}' (somebody_{name}:OBJECT)" in message
        assert MODULES[name][1] in message
        assert "\n" not in message
    assert registry.get("good") is loaded["good"]


def test_imports_that_never_end_are_given_up_together(install):
    hangs = "import threading; threading.Event().wait()"
    install("tests.group", dict.fromkeys("abcdefgh", hangs))
    registry = Registry("tests.group", SimpleNamespace, "thing", patience=1.0)
    loaded, broken = registry.load_all()
    assert not loaded
    assert all("did not end within 1 seconds" in message for message in broken.values())
    assert len(broken) == 8


def test_a_process_whose_parent_has_tried_the_imports_does_not_try_them_again(install, monkeypatch):
    install("tests.group", {"raises": "raise ValueError('once')"})
    monkeypatch.setenv(TRIED, "1")
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(HarnessError, match="once"):
        Registry("tests.group", SimpleNamespace, "thing").get("raises")


def test_a_name_that_two_packages_register_is_refused_and_the_others_are_there(install):
    install("tests.group", {"same": "", "one": ""}, "somebody")
    install("tests.group", {"same": "", "two": ""}, "anybody")
    loaded, broken = Registry("tests.group", SimpleNamespace, "thing").load_all()
    assert sorted(loaded) == ["one", "two"]
    assert "somebody" in broken["same"]
    assert "anybody" in broken["same"]


def test_a_package_with_damaged_metadata_hides_no_other(install):
    install("tests.group", {"one": ""}, "anybody", damaged="this is no entry point")
    install("tests.group", {"two": ""}, "somebody")
    assert "two" in Registry("tests.group", SimpleNamespace, "thing").names()


def test_a_name_that_is_unknown_may_be_that_of_a_package_which_is_not_installed():
    with pytest.raises(HarnessError, match="Unknown model 'menett'") as refused:
        SEGMENTERS.get("menett")
    assert "'menet'" in refused.value.hint
    assert "pip install -e" in refused.value.hint


@pytest.mark.parametrize(("verb", "group"), [("models", "harness.segmenters"), ("data", "harness.datasets")])
def test_lists_leave_out_what_is_broken_and_say_so(install, capsys, monkeypatch, verb, group):
    monkeypatch.setenv("COLUMNS", "200")
    install(group, {"exits": "import os; os._exit(0)", "raises": "raise KeyError('x')"})
    assert main([verb]) == 0
    output = capsys.readouterr().out
    assert ("aahn" if verb == "models" else "cortex") in output
    assert output.count("left out:") == 2


@pytest.mark.parametrize("place", ["somebody_raises:x", "somebody_leaves:x", "somebody_good:x", "no:x", "a b", ""])
def test_what_a_declaration_names_may_raise_anything(install, place):
    install("tests.group", {name: MODULES[name][0] for name in ("good", "raises", "leaves")})
    with pytest.raises(HarnessError, match="The factory of 'x'"):
        resolve(place, "factory of 'x'")


def build_none(task, options):
    return None


def build_raising(task, options):
    raise KeyError("depth\nand more")


def build_leaving(task, options):
    raise SystemExit(0)


def build_without_forward(task, options):
    from torch import nn

    return nn.Module()


def build_exiting(task, options):
    os._exit(0)


def build_killed(task, options):
    os.kill(os.getpid(), signal.SIGKILL)


def build_endless(task, options):
    subprocess.Popen(["sleep", "1000"])
    threading.Event().wait()


ENDS = {
    "build_exiting": "ended with status 0",
    "build_killed": "was killed by signal 9",
    "build_endless": "did not return within 0.5 seconds",
    "build_raising": "KeyError: 'depth",
}


def broken_segmenter(monkeypatch, factory):
    monkeypatch.setitem(sys.modules, "broken_networks", SimpleNamespace(**globals()))
    place = f"broken_networks:{factory}"
    return Segmenter(name="broken", title="B", summary="B.", source=Source(paper="none"), factory=place)


@pytest.mark.parametrize("factory", ["build_exiting", "build_killed", "build_endless"])
def test_a_factory_that_ends_its_process_or_never_returns_is_named(monkeypatch, factory):
    network = broken_segmenter(monkeypatch, factory)
    trials = Trials(SEGMENTERS.is_foreign, patience=0.5 if factory == "build_endless" else 60)
    for _ in range(2):  # a second time nothing is waited for
        with pytest.raises(StudyError, match="broken cannot be built and run") as error:
            trials.run(network, measure, Task(("a", "b"), None, 2, (64, 64)), Options())
        assert ENDS[factory] in error.value.message
    (result,) = conformance.run_apart(network, patience=0.5 if factory == "build_endless" else 60)
    assert not result.passed
    assert "broken" in result.message
    assert ENDS[factory] in result.message


def test_a_network_of_somebody_is_tried_apart_and_ours_here(monkeypatch):
    trials = Trials(SEGMENTERS.is_foreign)
    task = Task(("a", "b"), None, 2, (64, 64))
    assert trials.run(SEGMENTERS.get("unetr"), lambda *_: os.getpid(), task) == os.getpid()
    assert trials.run(broken_segmenter(monkeypatch, "build_none"), lambda *_: os.getpid(), task) != os.getpid()
    assert trials.run(broken_segmenter(monkeypatch, "build_sound"), measure, task, Options()).parameters == 3


def test_what_every_trial_imports_is_imported_once_and_not_in_each_process(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow_to_import.py").write_text("")
    network = broken_segmenter(monkeypatch, "build_sound")
    trials = Trials(lambda _: True, needs=("slow_to_import",))
    assert trials.run(network, lambda *_: "slow_to_import" in sys.modules)
    assert sys.modules.pop("slow_to_import")


def build_sound(task, options):
    from torch import nn

    return nn.Conv2d(task.in_channels, 1, 1)


@pytest.fixture(params=["build_none", "build_raising", "build_leaving", "build_without_forward"])
def broken_network(request, monkeypatch):
    return broken_segmenter(monkeypatch, request.param)


def test_a_factory_that_fails_is_named_wherever_it_is_called(broken_network):
    task = Task(("a", "b"), None, 2, (64, 64))
    for way in (
        lambda: measure(broken_network, task, Options()),
        lambda: count(broken_network, task, Options(), 2, True),
    ):
        with pytest.raises(StudyError, match="broken") as error:
            way()
        assert "\n" not in error.value.message
    results = conformance.run(broken_network)
    assert not all(result.passed for result in results)
    assert any("broken" in result.message for result in results)


@pytest.mark.parametrize("factory", [pytest.param(build_raising, marks=pytest.mark.slow), build_exiting])
def test_plan_names_a_network_that_cannot_be_built_and_plans_the_others(
    write_study, toys, capsys, monkeypatch, factory
):
    monkeypatch.setattr("toy_networks.build_group", factory)
    models = ["toy", "toy_unbuildable", "toy_group", "toy_slow"]
    study = write_study(matrix={"dataset": ["cortex"], "model": models})
    for more in ([], ["--gpu-model", "a100"]):
        assert main(["plan", str(study), *more]) == 2
        output = capsys.readouterr().out
        assert output.count("cannot be run:") == 2
        assert "'toy_unbuildable' on cortex" in output or "toy_unbuildable needs patch sides" in output
        assert ENDS[factory.__name__] in output
        assert "toy_slow" in output
    assert main(["run", str(study), "--no-mlflow"]) == 2
    assert not Path("results").exists()
    assert main(["check", "toy_group"]) == 1
    assert ENDS[factory.__name__] in capsys.readouterr().out


def test_processes_are_no_more_than_tasks_or_four_for_each_core():
    assert processes(100_000, 100_000) == cores()
    assert processes(100_000, 3) == min(3, cores())
    assert processes(1, 0) == 1
    with ThreadPoolExecutor(processes(100_000, 2)) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
