"""``harness doctor``: what is there, what would be used, what is missing and how to get it."""

from __future__ import annotations

import json
from collections import namedtuple
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

import harness.diagnostics.doctor as doctor
from harness.cli import main
from harness.errors import HarnessError

Properties = namedtuple("Properties", "name total_memory major minor")


def absent(package):
    """As for a package that is not installed."""
    raise PackageNotFoundError(package)


@pytest.fixture
def nothing(monkeypatch):
    """A machine without programs, extras and GPUs."""
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def asked(capsys, *arguments) -> dict:
    assert main(["doctor", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def lacking(found) -> dict:
    return {lack["what"]: lack["how"] for lack in found["missing"]}


def test_it_says_what_is_there(project, capsys, small_cortex):
    found = asked(capsys)
    assert found["packages"]["torch"] == version("torch")
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_gb"] > 0.1
    assert found["machine"]["disk_free_gb"] > 0
    assert found["datasets"]["cortex"] == str(small_cortex.resolve())
    assert found["use"]["slots"] >= 1
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for words in ("This machine", "harness run would use", version("torch"), "cortex"):
        assert words in shown


@pytest.mark.usefixtures("nothing")
def test_it_says_what_is_missing_and_how_to_get_it(project, capsys):
    found = asked(capsys)
    missing = lacking(found)
    assert "pip install 'aahn-harness[ray]'" in missing["ray"]
    assert "pip install 'aahn-harness[slurm]'" in missing["slurm"]
    assert {"git", "pdflatex", "CUDA GPU"} <= set(missing)
    assert "sbatch" not in missing, "nobody asked for Slurm"
    assert found["use"]["device"] == "cpu"
    assert found["use"]["precision"] == "fp32"
    main(["doctor"])
    assert "pip install 'aahn-harness[ray]'" in capsys.readouterr().out


def test_a_folder_that_is_called_like_a_package_is_none(project, capsys, monkeypatch):
    """As an installation leaves one behind, or as a user's own in the working directory."""
    (project / "ray").mkdir()
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setattr(doctor, "version", absent)
    assert asked(capsys)["extras"]["ray"] is None


@pytest.mark.parametrize(("capability", "precision"), [((9, 0), "bf16"), ((7, 5), "fp16")])
def test_gpus_and_the_precision_their_card_gives(project, capsys, monkeypatch, capability, precision):
    """The names and numbers of a machine with two GPUs; nothing runs on them."""
    card = Properties("NVIDIA Test", 80_000_000_000, *capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    native = capability >= (8, 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = asked(capsys)
    assert [gpu["memory_gb"] for gpu in found["machine"]["gpus"]] == [80, 80]
    assert found["use"] | {"threads_a_slot": 0} == {
        "device": "cuda:0",
        "precision": precision,
        "slots": 2,
        "threads_a_slot": 0,
        "backend": "CUDA",
    }
    assert main(["doctor"]) == 0
    assert "NVIDIA Test, 80 GB" in capsys.readouterr().out


def test_a_results_folder_that_cannot_be_written_ends_with_status_1(project, capsys, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [lack["what"] for lack in found["missing"] if lack["required"]] == ["write access to results"]


@pytest.mark.parametrize("place", ["results", "/dev/null", "results/below"])
def test_a_file_in_place_of_the_results_folder_is_no_place_to_write(project, capsys, place):
    Path("results").write_text("")
    assert main(["doctor", "--json", "--results", place]) == 1
    assert json.loads(capsys.readouterr().out)["next"]["command"].startswith("harness doctor")


def test_a_dataset_whose_package_is_broken_is_missing_and_the_rest_is_told(project, capsys, monkeypatch):
    get = doctor.DATASETS.get

    def broken(name):
        if name == "chaos":
            raise HarnessError("The dataset 'chaos' cannot be imported: no pydicom", hint="Install what it needs.")
        return get(name)

    monkeypatch.setattr(doctor.DATASETS, "get", broken)
    found = asked(capsys)
    assert found["datasets"]["chaos"] is None
    assert lacking(found)["data of chaos"] == "Install what it needs."
    assert found["datasets"]["cortex"] is not None
