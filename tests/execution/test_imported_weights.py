"""Released weights: imported, tested without training, refused where they do not fit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import harness.results
from harness.cli import main
from harness.segmenters import SEGMENTERS, Task
from harness.segmenters.released import Translation, import_weights, read_checkpoint

pytestmark = pytest.mark.usefixtures("toys")

#: The toy's "authors" call the first layer `stem` and the last one `head`, and keep a layer that nothing uses.
THEIRS = {"0": "stem", "1": "norm", "4": "head"}


@pytest.fixture
def released(tmp_path) -> Path:
    """A checkpoint as nnU-Net v1 writes it: prefixed names, and loss curves of NumPy numbers beside the weights."""
    torch.manual_seed(5)
    network = SEGMENTERS.get("toy").build(Task(("t1", "epi"), 0, 3, (64, 64)))
    state = {}
    for name, tensor in network.state_dict().items():
        layer, _, rest = name.partition(".")
        state[f"model.{THEIRS[layer]}.{rest}"] = tensor
    state["model.spare.weight"] = torch.zeros(3)
    path = tmp_path / "model_final_checkpoint.model"
    torch.save({"state_dict": state, "epoch": 300, "plot_stuff": ([np.float64(0.5)], np.zeros(3))}, path)
    return path


def test_imported_weights_are_tested_without_training(released, write_study, capsys):
    arguments = [
        "import-checkpoint",
        "toy",
        str(released),
        "--modalities",
        "t1,epi",
        "--classes",
        "3",
        "--patch",
        "64x64",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "1 without effect ignored" in said
    study = write_study(
        matrix={
            "dataset": ["cortex"],
            "model": [{"name": "toy", "weights": "toy.safetensors", "label": "authors"}, "toy"],
        }
    )
    assert main(["run", str(study), "--workers", "1", "--no-mlflow"]) == 0
    rows = harness.results.load()
    assert set(rows["label"]) == {"authors", "toy"}
    assert rows["cell"].nunique() == 2, "other weights are another cell"

    from safetensors.torch import load_file

    cells = {rows.loc[rows["label"] == label, "cell"].iloc[0]: label for label in ("authors", "toy")}
    original = read_checkpoint(released)
    for cell, label in cells.items():
        weights = load_file(Path("results/cells") / cell / "result/weights.safetensors")
        assert torch.equal(weights["0.weight"], original["stem.weight"]) == (label == "authors")
    assert main(["report", "--format", "markdown", "--no-figures"]) == 0


@pytest.mark.parametrize("place", ["build", "translate"])
@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda *_: {}["depth"], "KeyError: 'depth'"),
        (lambda *_: sys.exit(0), "SystemExit: 0"),
        (lambda *_: os._exit(0), "ended with status 0"),
        (lambda *_: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9"),
    ],
)
def test_a_network_of_others_that_fails_is_named(released, monkeypatch, capsys, tmp_path, place, end, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"toy_networks.{place}", end)
    assert main(["import-checkpoint", "toy", str(released)]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown
    assert not list(tmp_path.glob("*.safetensors"))


def test_weights_of_another_task_are_a_failure_with_its_reason(released, write_study, capsys):
    assert main(["import-checkpoint", "toy", str(released), "--modalities", "t1,epi", "--classes", "3"]) == 0
    study = write_study(
        matrix={"dataset": ["cortex"], "model": [{"name": "toy", "width": 8, "weights": "toy.safetensors"}]}
    )
    assert main(["run", str(study), "--workers", "1", "--no-mlflow"]) == 1
    assert "do not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--modalities", "t1,epi", "--classes", "4"], "mis-shaped: 4.weight"),
        (["--modalities", "t1,epi,t2", "--classes", "3"], "mis-shaped: 0.weight"),
        (["--modalities", "t1,epi", "--classes", "3", "--leading", "t2"], "'t2' is not among the modalities"),
        (["--modalities", "t1,epi", "--classes", "3", "--patch", "big"], "'big': invalid size"),
        (["--modalities", "t1,epi", "--classes", "3", "--option", "width"], "--option"),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_written(released, project, capsys, arguments, said):
    assert main(["import-checkpoint", "toy", str(released), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not Path("toy.safetensors").exists()


def test_a_partial_match_must_be_asked_for(released, project, capsys):
    arguments = ["import-checkpoint", "toy", str(released), "--modalities", "t1,epi", "--classes", "4", "--partial"]
    assert main(arguments) == 0
    assert "mis-shaped" in capsys.readouterr().out


def test_a_model_without_a_translator_says_so(released, project, capsys):
    assert main(["import-checkpoint", "toy_slow", str(released)]) == 2
    assert "No released weights can be imported" in capsys.readouterr().err


def test_a_file_that_would_run_code_is_refused(project, capsys):
    class Evil:
        def __reduce__(self):
            return Path("owned").touch, ()

    torch.save({"state_dict": {"a": torch.zeros(1)}, "other": Evil()}, "evil.model")
    assert main(["import-checkpoint", "toy", "evil.model"]) == 2
    error = capsys.readouterr().err
    assert "cannot be read safely" in error
    assert "weights_only" not in error, "nobody is advised to read it unsafely"
    assert not Path("owned").exists()


def test_arrays_of_objects_are_refused(project, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "plot_stuff": np.array([print], dtype=object)}, "objects.model")
    assert main(["import-checkpoint", "toy", "objects.model"]) == 2
    assert "cannot be read safely" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"plain text", b"", b"PK not a zip"])
def test_a_file_that_is_no_checkpoint_is_refused(project, capsys, content):
    Path("other.model").write_bytes(content)
    assert main(["import-checkpoint", "toy", "other.model"]) == 2
    assert "cannot be read safely" in capsys.readouterr().err


def test_a_study_that_names_absent_weights_is_refused_by_line(write_study, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": [{"name": "toy", "weights": "nowhere.safetensors"}]})
    assert main(["run", str(study), "--no-mlflow"]) == 2
    error = capsys.readouterr().err
    assert "micro.yaml:" in error
    assert "import-checkpoint" in error


def test_missing_and_surplus_entries_are_told_apart():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    released = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(3), "extra": torch.ones(1), "dead": torch.ones(1)}

    def translate(given, _):
        known = {name: tensor for name, tensor in given.items() if name.startswith("0.")}
        return Translation(known, {name: (name,) for name in known}, frozenset({"dead"}))

    report = import_weights(network, released, translate, strict=False)
    assert report.loaded == ("0.weight",)
    assert report.missing == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    assert report.surplus == ("extra",)
    assert report.misshaped == (("0.bias", (3,), (2,)),)
    assert report.ignored == ("dead",)
    assert not report.complete
    assert torch.equal(network.state_dict()["1.weight"], before["1.weight"])
