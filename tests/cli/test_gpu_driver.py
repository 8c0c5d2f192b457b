"""A GPU that torch cannot use is named with its driver, torch's CUDA and a remedy; nothing falls back to the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import gpu_driver
from harness.cli import main
from harness.gpu_driver import Driver, TorchBuild, explain_unusable, find_driver, find_unusable_gpu

GPU = "NVIDIA GeForce RTX 3090"


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver is too old for a torch built for CUDA 13."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(gpu_driver, "find_driver", lambda: Driver("535.183.01", (GPU,)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("driver", "cuda", "complaint", "visible", "said", "remedy"),
    [
        ("535.183.01", "13.0", "", None, ["too old", "535.183.01", "CUDA 13.0", "580 or newer"], "whl/cu126"),
        ("470.82.01", "12.8", "", None, ["too old", "470.82.01", "CUDA 12.8", "525 or newer"], "whl/cu118"),
        ("390.10", "12.8", "", None, ["too old"], "previous-versions"),
        ("600.1", "14.0", "The NVIDIA driver on your system is too old", None, ["too old", "a newer driver"], "Update"),
        ("580.95", None, "", None, ["built without CUDA"], "whl/cu130"),
        ("580.95", "13.0", "No CUDA GPUs are available", "2,3", ["CUDA_VISIBLE_DEVICES=2,3", "has 1"], "unset"),
        ("580.95", "13.0", "unknown error", None, ["torch says: unknown error"], "Restart"),
        ("", "13.0", "", None, ["finds none"], "Restart"),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(
    driver: str, cuda: str | None, complaint: str, visible: str | None, said: list[str], remedy: str
) -> None:
    error = explain_unusable(Driver(driver, (GPU,)), TorchBuild("2.14", cuda, complaint), visible)
    assert GPU in error.message
    assert all(words in error.message for words in said)
    assert remedy in error.hint
    assert "--cpu" in error.hint


def program(folder: Path, prints: str, status: int = 0) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_nvidia_smi_is_asked_first(tmp_path: Path) -> None:
    smi = program(tmp_path, f"{GPU}, 535.183.01\nNVIDIA A100, 80GB, 535.183.01")
    assert find_driver(smi, tmp_path, tmp_path) == Driver("535.183.01", (GPU, "NVIDIA A100, 80GB"))


@pytest.mark.parametrize("status", [0, 6])
def test_gpus_that_a_job_may_not_use_do_not_count(tmp_path: Path, status: int) -> None:
    (tmp_path / "nvidia0").touch()
    found = find_driver(program(tmp_path, "No devices were found", status), tmp_path, tmp_path)
    assert found is not None
    assert found.gpus == ()


@pytest.mark.parametrize("has_program", [True, False])
def test_without_nvidia_smi_the_kernel_is_asked(tmp_path: Path, has_program: bool) -> None:
    words = "Failed to initialize NVML: Driver/library version mismatch"
    smi = program(tmp_path, words, 18) if has_program else str(tmp_path / "absent")
    proc = tmp_path / "proc"
    (proc / "gpus/0000:01:00.0").mkdir(parents=True)
    (proc / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 2021\n")
    (proc / "gpus/0000:01:00.0/information").write_text(f"Model: \t\t {GPU}\nIRQ: 42\n")
    container = find_driver(smi, proc, tmp_path)
    assert container is not None
    assert (container.version, container.gpus) == ("470.82.01", ()), "a container without GPUs"
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    found = find_driver(smi, proc, tmp_path)
    assert found is not None
    assert (found.version, found.gpus) == ("470.82.01", (GPU, "an NVIDIA GPU"))
    assert has_program == (words in found.trouble)


@pytest.mark.usefixtures("old_driver")
@pytest.mark.parametrize(("visible", "is_named"), [(None, True), ("0", True), ("", False), ("-1", False)])
def test_gpus_that_are_hidden_on_purpose_are_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, is_named: bool
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (find_unusable_gpu() is not None) == is_named


@pytest.mark.usefixtures("old_driver", "toys", "project")
@pytest.mark.parametrize(("verb", "status"), [("run", 2), ("plan", 0), ("doctor", 1)])
def test_no_verb_takes_the_cpu_in_silence(write_study, capsys, verb: str, status: int) -> None:
    assert main([verb, *([str(write_study())] if verb != "doctor" else [])]) == status
    shown = capsys.readouterr()
    text = " ".join((shown.out + shown.err).split())
    assert all(words in text for words in ("535.183.01", "CUDA 13.0", "580 or newer", "--cpu"))
    assert not list(Path("results").rglob("log.txt")), "no process was started"
