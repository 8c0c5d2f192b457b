"""Profiles, alone and together: what they change, what they are called, and that every shipped one has a demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.cli.shared.options import study_arguments
from harness.data import DATASETS
from harness.errors import HarnessError, StudyError
from harness.execution.study import register
from harness.results.reading import load
from harness.results.store import Store
from harness.study.expansion import LoadedStudy, load_study
from harness.study.profiles import Profiles
from harness.study.protocol import load_protocol

ROOT = Path(__file__).parents[2]
COMPARED = ("chaos", "hecktor21", "brats2019")
BESIDE_DEMO = ("patch", "released", "released_all", "paper_leading", "second_leading", "others", "one_seed", "cv")

PROFILES: dict[str, Any] = {
    "short": {"matrix": {"seed": [5]}, "report": {"reference": "toy"}},
    "two": {"matrix": {"seed": [1, 2]}},
    "wide": {"options": {"toy": {"width": 8}}},
    "off": {"options": {"toy": {"switch": "off"}}},
    "demo": {"protocol": "demo"},
    "brief": {"protocol": {"training": {"epochs": 3}}},
    "released": {"protocol": "paper_released"},
    "patch": {"protocol": {"base": "paper_patch", "training": {"epochs": 7}}},
    "invented": {"protocol": "demo_generated"},
    "native": {"protocol": "native"},
}


@pytest.fixture
def loaded(write_study: Callable[..., Path], toys: None) -> Callable[..., LoadedStudy]:
    """Returns a function that loads a study of one toy under profiles."""
    path = write_study(protocol="paper", profiles=PROFILES)
    return lambda *profiles: load_study(path, profiles)


def test_profiles_are_merged_in_order_and_joined_in_the_name(loaded):
    study = loaded("short", "wide", "two", "off")
    assert study.profile == "short+wide+two+off"
    assert [cell.spec.seed for cell in study.cells] == [1, 2]
    assert study.cells[0].spec.options == {"width": 8, "switch": "off"}
    assert study.study.report.reference == "toy"
    assert [cell.spec.seed for cell in loaded("two", "short").cells] == [5]


def test_the_joined_name_stands_for_the_profiles(loaded):
    assert loaded("two+wide") == loaded("two", "wide")
    assert loaded().profile == "default"
    assert loaded("two").profile == "two"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("two", "two"), "twice"),
        (("two+wide", "two"), "twice"),
        (("two", "wdie"), "'wdie'.*Did you mean 'wide'"),
        (("two", ""), "no profile ''"),
        (tuple(f"{number:060}" for number in range(4)), "too long"),
        (("demo", "native"), "'demo' and 'native'.*exclude each other"),
        (("invented", "demo"), "exclude each other"),
    ],
)
def test_what_cannot_be_combined_is_refused(names, said, loaded):
    with pytest.raises(StudyError, match=f"(?s){said}"):
        loaded(*names)


def test_a_demo_of_another_protocol_is_as_short_and_otherwise_as_that(loaded):
    """Whichever is named first; a shorter demo of the user's own shortens that too."""
    one, other = loaded("demo", "released"), loaded("released", "demo")
    assert [cell.spec.id for cell in one.cells] == [cell.spec.id for cell in other.cells]
    protocol, demo, released = one.protocol, load_protocol("demo"), load_protocol("paper_released")
    assert protocol.name == "demo with paper_released"
    assert protocol.training.epochs == demo.training.epochs
    assert protocol.training.optimiser.lr == demo.training.optimiser.lr
    assert protocol.patch_size == demo.patch_size
    assert protocol.preparation == released.preparation
    assert protocol.training.checkpoint.select == "best_average"
    assert protocol.training.optimiser.clip_norm is None
    assert loaded("demo", "released", "brief").protocol.training.epochs == 3
    assert loaded("brief", "released", "demo").protocol.training.epochs == 3


def test_protocols_that_build_on_each_other_are_one(loaded):
    assert loaded("released", "two").protocol.name == "paper_released"
    assert loaded("released", "patch").protocol.training.epochs == 7
    both = loaded("patch", "released").protocol
    assert both.preparation == load_protocol("paper_released").preparation


def test_with_lays_the_changes_of_a_protocol_over_another():
    laid = load_protocol({"base": "demo", "with": "paper_released", "training": {"epochs": 1}})
    assert (laid.name, laid.training.epochs, laid.sampling.foreground_by) == (
        "demo with paper_released (modified)",
        1,
        "slice",
    )
    for base in ("demo", "native", "paper"):
        with pytest.raises(StudyError, match="no set of changes"):
            load_protocol({"base": "demo", "with": [base]})
    with pytest.raises(StudyError, match="must name protocols"):
        load_protocol({"base": "demo", "with": 3})
    with pytest.raises(StudyError, match="Did you mean 'paper_released'"):
        load_protocol({"base": "demo", "with": ["paper_relesed"]})


def test_results_of_several_profiles_are_found_again(loaded, project):
    store = Store(project / "results")
    for names in ((), ("demo",), ("demo", "two")):
        register(loaded(*names), store, Path("micro.yaml"))
    assert store.find_study("micro", ["demo", "two"]).profile == "demo+two"
    assert store.find_study("micro", "demo+two").profile == "demo+two"
    with pytest.raises(HarnessError, match=r"(?s)demo\+tow.*Did you mean 'demo\+two'"):
        store.find_study("micro", ["demo", "tow"])


def test_every_command_takes_the_option_more_than_once(write_study, toys, project, capsys):
    path = write_study(protocol="paper", profiles=PROFILES)
    both = ["--profile", "demo", "-p", "two"]
    assert main(["plan", str(path), *both]) == 0
    assert "micro (demo+two)" in capsys.readouterr().out
    store = Store(project / "results")
    store.create()
    register(load_study(path, "demo+two"), store, path)
    assert main(["status", "micro", *both]) == 0
    assert "micro (demo+two)" in capsys.readouterr().out
    assert main(["retry", "micro", *both]) == 0
    assert "No cell of micro (demo+two) has failed" in capsys.readouterr().out
    for words in (["report"], ["missing"], ["evaluate"], ["predict", "--export", "cortex", "--out", "x"]):
        assert main([words[0], "micro", *words[1:], "-p", "demo", "-p", "tow"]) == 2
        assert "Did you mean 'demo+two'" in capsys.readouterr().err
    assert main(["run", str(path), "-p", "demo", "-p", "tow"]) == 2
    assert "Did you mean 'two'" in capsys.readouterr().err
    assert study_arguments("micro", "demo+two", Path("results")) == "micro --profile demo --profile two"


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("compare_*.yaml")), ids=lambda path: path.stem)
def test_cv_of_one_dataset_is_its_cross_validation(path):
    study = yaml.safe_load(path.read_text())
    if "cv" in study["profiles"] and len(study["matrix"]["dataset"]) == 1:
        names = DATASETS.get(study["matrix"]["dataset"][0]).fold_names
        folds = study["profiles"]["cv"]["matrix"]["fold"]
        assert [names[fold] for fold in folds] == ["cv1", "cv2", "cv3", "cv4", "cv5"]


@pytest.fixture
def trees(generated, kept_readers, monkeypatch):
    """Generated trees of the three datasets."""
    for name in COMPARED:
        monkeypatch.setenv(DATASETS.get(name).variable, str(generated(name)))


@pytest.mark.parametrize("dataset", COMPARED)
def test_every_profile_of_a_comparison_has_a_demo(dataset, trees):
    path = ROOT / "studies" / f"compare_{dataset}.yaml"

    def cells(profiles: Profiles) -> dict[str, Any]:
        return {cell.spec.id: cell.spec for cell in load_study(path, profiles).cells}

    demo = cells("demo")
    training = next(iter(demo.values())).protocol.training
    for beside in BESIDE_DEMO:
        both = cells(["demo", beside])
        assert both == cells([beside, "demo"])
        assert all(spec.protocol.training.epochs == training.epochs for spec in both.values())
        assert all(spec.protocol.training.steps_per_epoch == training.steps_per_epoch for spec in both.values())
        assert all(spec.protocol.patch_size == (64, 64) for spec in both.values())
        assert (both == demo) == (beside in {"one_seed", "paper_leading"})
    assert {spec.fold for spec in cells("demo+cv").values()} == {1, 2, 3, 4, 5}
    assert {spec.options.get("auxiliary") for spec in cells("demo+others").values()} == {None, "others"}
    assert cells(["demo", *BESIDE_DEMO[1:]])


def test_the_released_codes_second_channel_leads_in_every_study(trees):
    for profile in ("released", "second_leading"):
        study = load_study(ROOT / "studies" / "compare_all.yaml", profile, assume_absent=True)
        led = {cell.spec.dataset: cell.spec.leading for cell in study.cells if cell.spec.model == "aahn"}
        assert led == {name: DATASETS.get(name).modalities[1] for name in led}
        for name in COMPARED:
            one = load_study(ROOT / "studies" / f"compare_{name}.yaml", profile)
            assert {cell.spec.leading for cell in one.cells if cell.spec.model == "aahn"} == {led[name]}


def test_the_modality_that_the_papers_summary_names_leads_by_profile_and_by_default(trees):
    for name, leading in (("hecktor21", "ct"), ("brats2019", "t2")):
        for profile in (None, "paper_leading"):
            study = load_study(ROOT / "studies" / f"compare_{name}.yaml", profile)
            assert {cell.spec.leading for cell in study.cells if cell.spec.model == "aahn"} == {leading}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", COMPARED)
def test_every_profile_runs_in_demo_form(dataset, trees, project):
    study = yaml.safe_load((ROOT / "studies" / f"compare_{dataset}.yaml").read_text())
    study["profiles"]["demo"] |= {
        "protocol": {"base": "demo_generated", "training": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 2}},
        "options": {"aahn": {"preset": "tiny"}},
        "matrix": {"model": ["aahn"], "seed": [0]},
    }
    path = project / "short.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    for beside in BESIDE_DEMO:
        profiles = ["--profile", "demo", "--profile", beside]
        assert main(["run", str(path), *profiles, "--no-mlflow", "--cpu"]) == 0
        rows = load(f"compare_{dataset}", ["demo", beside])
        assert set(rows["metric"]) >= {"dice", "hd95"}
        assert rows["cell"].nunique() == (5 if beside == "cv" else 1)
        assert main(["report", f"compare_{dataset}", *profiles]) == 0
