"""What this machine has, what a run would use of it, and what is missing."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from harness.cores import cores
from harness.data import DATASETS
from harness.diagnostics.launch_time import launch_seconds_of
from harness.diagnostics.next_step import NextStep, Situation, last_study, next_step
from harness.errors import HarnessError
from harness.execution.costs.bench_figures import keep_launch
from harness.execution.engines.local import detect_gpus, plan_slots
from harness.gpu_driver import find_driver, find_unusable_gpu
from harness.memory import installed_memory
from harness.results.provenance import code_version, package_versions
from harness.shipped import STUDIES, shipped
from harness.training.device import Precision, choose_device
from harness.training.settings import TrainingSettings

#: Optional extra to the package that shows it is there, and what it is for.
_EXTRAS = {
    "ray": ("ray", "harness run --engine ray"),
    "slurm": ("submitit", "harness run --engine slurm"),
}

#: Program to what it is for.
_PROGRAMS = {
    "git": "the commit that every result records",
    "nvidia-smi": "driver and free memory of NVIDIA GPUs",
    "g++": "training.compile in a protocol",
    "pdflatex": "compiling the LaTeX tables of a report",
    "chromium": "printing the HTML report",
    "sbatch": "harness run --engine slurm",
}

_FEW_GB = 10.0
_SMALL_SHARED_GB = 1.0


@dataclass(frozen=True)
class Gpu:
    """One GPU that torch sees.

    Attributes:
        name: Model.
        memory_gb: All of its memory.
        capability: CUDA compute capability, e.g. ``9.0``.
        bf16: Whether it computes in bfloat16 without emulation.
        launch_us: Microseconds that the host needs to launch a kernel on it; None where it refuses to compute.
    """

    name: str
    memory_gb: float
    capability: str
    bf16: bool
    launch_us: float | None


@dataclass(frozen=True)
class Machine:
    """Hardware and drivers of this machine; sizes in GB (10^9 bytes)."""

    system: str
    python: str
    cores: int
    memory_gb: float
    disk_free_gb: float
    shared_memory_gb: float | None
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None


@dataclass(frozen=True)
class Use:
    """What `harness run` would use without further options."""

    device: str
    precision: str
    slots: int
    threads_a_slot: int
    backend: str


@dataclass(frozen=True)
class MissingItem:
    """Something missing.

    Attributes:
        what: Its name.
        needed_for: What cannot be done without it.
        how: How to get it.
        required: Nothing works without it.
        is_data: A dataset that is not here; most are not, on most machines.
    """

    what: str
    needed_for: str
    how: str
    required: bool = False
    is_data: bool = False


@dataclass(frozen=True)
class Report:
    """All findings; ``next`` is what to type next."""

    machine: Machine
    use: Use
    harness: str
    packages: dict[str, str]
    extras: dict[str, str | None]
    programs: dict[str, str | None]
    datasets: dict[str, str | None]
    missing: tuple[MissingItem, ...]
    next: NextStep


def examine(results: Path, name_study: Callable[[str, str, Path], str]) -> Report:
    """Looks at this machine.

    Args:
        results: Results folder; the free space of its disk is reported.
        name_study: Returns the arguments by which commands find a study, from its name, profile and results folder.
    """
    machine, unusable = _machine(results), find_unusable_gpu()
    packages = package_versions()
    extras = {name: _version_if_installed(package) for name, (package, _) in _EXTRAS.items()}
    programs = {name: shutil.which(name) for name in _PROGRAMS}
    if programs["chromium"] is None:
        programs["chromium"] = shutil.which("chromium-browser") or shutil.which("google-chrome")
    datasets, missing_data = _datasets()
    missing = [
        *(
            MissingItem(name, "everything", "pip install aahn-harness", True)
            for name, v in packages.items()
            if v == "absent"
        ),
        *_missing_of_machine(machine, unusable, results, programs["nvidia-smi"]),
        *_missing_extras(extras),
        *_missing_programs(programs, slurm=extras["slurm"] is not None),
        *missing_data,
    ]
    study, unfinished = last_study(results)
    here = Situation(
        lacking=[name for name, found in packages.items() if found == "absent"],
        unwritable=not _writable(results),
        has_gpu=bool(machine.gpus),
        unusable_gpu=unusable is not None,
        has_slurm=programs["sbatch"] is not None,
        has_submitit=extras["slurm"] is not None,
        has_project=STUDIES.is_dir(),
        data=[name for name, place in datasets.items() if place and DATASETS.get(name).kind == "real"],
        study=study,
        unfinished=unfinished,
    )
    again = name_study(*study, results) if study else ""
    compared = {path.stem.removeprefix("compare_"): path.stem for path in shipped(str(STUDIES)).glob("compare_*.yaml")}
    step = next_step(here, again, dict(sorted(compared.items())))
    use = _use(cpu=unusable is not None)
    return Report(machine, use, code_version(), packages, extras, programs, datasets, tuple(missing), step)


def _writable(results: Path) -> bool:
    """Returns whether files can be written into a folder that need not be there yet."""
    place = results.resolve()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def _version_if_installed(package: str) -> str | None:
    """Returns the version of a package; a folder of that name, or what an installation left behind, is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine(results: Path) -> Machine:
    shared = Path("/dev/shm")  # noqa: S108 - measured, not written to
    return Machine(
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        python=platform.python_version(),
        cores=cores(),
        memory_gb=installed_memory() / 1e9,
        disk_free_gb=shutil.disk_usage(_existing(results)).free / 1e9,
        shared_memory_gb=shutil.disk_usage(shared).total / 1e9 if shared.is_dir() else None,
        gpus=tuple(_gpus()),
        driver=(driver.version or None) if (driver := find_driver()) is not None else None,
        cuda=torch.version.cuda,
    )


def _existing(path: Path) -> Path:
    """Returns the path or the nearest folder above it that exists."""
    path = path.resolve()
    return path if path.is_dir() or path == path.parent else _existing(path.parent)


def _gpus() -> Iterator[Gpu]:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        launch = launch_seconds_of(torch.device("cuda", index))
        if launch is not None:
            keep_launch(facts.name, launch)
        # Compute capability 8 (Ampere) is the first with bfloat16 units.
        capability = f"{facts.major}.{facts.minor}"
        yield Gpu(
            facts.name, facts.total_memory / 1e9, capability, facts.major >= 8, None if launch is None else launch * 1e6
        )


def _use(cpu: bool) -> Use:
    device = choose_device("cpu" if cpu else None)
    slots = plan_slots([] if cpu else detect_gpus(), None, None)
    return Use(
        device=slots[0].device,
        precision=Precision.choose(device, TrainingSettings(), spatial_dims=2).name,
        slots=len(slots),
        threads_a_slot=slots[0].threads,
        backend="CUDA" if device.type == "cuda" else f"CPU ({torch.backends.cpu.get_cpu_capability()})",
    )


def _missing_of_machine(
    machine: Machine, unusable: HarnessError | None, results: Path, smi: str | None
) -> Iterator[MissingItem]:
    if unusable is not None:
        yield MissingItem("CUDA GPU that torch can use", "every command without --cpu", str(unusable), required=True)
    elif not machine.gpus:
        how = "Run on a machine with an NVIDIA GPU and its driver; everything works on a CPU too, slower"
        yield MissingItem("CUDA GPU", "trainings of the paper's size", how)
    if machine.disk_free_gb < _FEW_GB:
        how = "Free some space (harness clean), or choose another disk with --results and --cache"
        yield MissingItem(f"disk space ({machine.disk_free_gb:.1f} GB free)", "caches, checkpoints and results", how)
    if not _writable(results):
        how = "Correct its permissions, or choose a folder with --results"
        yield MissingItem(f"write access to {results}", "results", how, True)
    if machine.gpus and machine.shared_memory_gb is not None and machine.shared_memory_gb < _SMALL_SHARED_GB:
        how = "Start the container with --shm-size=8g, or set sampling.workers: 0 in the protocol"
        yield MissingItem(f"shared memory ({machine.shared_memory_gb:.2f} GB)", "batches made by other processes", how)
    if machine.gpus and smi is None:
        yield MissingItem("nvidia-smi", _PROGRAMS["nvidia-smi"], "Make it visible inside the container")


def _missing_extras(extras: dict[str, str | None]) -> Iterator[MissingItem]:
    for name, found in extras.items():
        if found is None:
            yield MissingItem(name, _EXTRAS[name][1], f"pip install 'aahn-harness[{name}]'")


def _missing_programs(programs: dict[str, str | None], slurm: bool) -> Iterator[MissingItem]:
    """Yields missing programs; those for GPUs or Slurm only where these are used."""
    for name, found in programs.items():
        if found is None and name != "nvidia-smi" and (name != "sbatch" or slurm):
            yield MissingItem(name, _PROGRAMS[name], "Install it with the system's package manager")


def _datasets() -> tuple[dict[str, str | None], list[MissingItem]]:
    found: dict[str, str | None] = {}
    missing = []
    DATASETS.load_all()  # those that cannot be loaded are tried at one time
    for name in DATASETS.names():
        found[name] = None
        try:
            dataset = DATASETS.get(name)
        except HarnessError as error:  # the package that brings the dataset is broken
            missing.append(MissingItem(f"data of {name}", f"studies on {name}", error.hint or error.message))
            continue
        try:
            found[name] = str(dataset.locate().resolve())
        except HarnessError as error:
            how = error.hint or error.message
            missing.append(MissingItem(f"data of {name}", f"studies on {dataset.title}", how, is_data=True))
    return found, missing
