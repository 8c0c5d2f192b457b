"""What many tests share: a small copy of the embedded person, generated trees, toy networks, a project folder."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from examples import examples
from filelock import FileLock
from hypothesis import settings

TESTS = Path(__file__).parent
SUPPORT = TESTS / "support"

settings.register_profile("harness", max_examples=examples(100), deadline=None)
settings.load_profile("harness")

#: Fixtures of tests that start processes, train, or read whole patients.
_INTEGRATION_FIXTURES = {"project", "generated", "small_cortex", "report"}

#: Folders whose tests start processes, draw figures, build whole networks or type commands.
_INTEGRATION_FOLDERS = {
    "aahn",
    "baselines",
    "benchmark",
    "conformance",
    "docs",
    "execution",
    "guard",
    "report",
    "scripts",
    "tracking",
}


#: Where Linux keeps files in memory, and the room there that the tests' folders need.
_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30


def pytest_configure() -> None:
    """Puts the tests' folders into memory where there is room: databases and records wait for the disk at each write.

    ``--basetemp`` and pytest's own variable win.
    """
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK):
        system = os.statvfs(_MEMORY)
        if system.f_bavail * system.f_frsize > _ROOM and not system.f_flag & os.ST_NOEXEC:
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)

    gc.set_threshold(
        100_000, 50, 100
    )  # thousands of tests are millions of objects, which Python would look through again and again


def pytest_collection_finish() -> None:
    """Lets Python look for garbage among what tests make, and no more among the tests."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that ``make test-fast`` leaves out, and skips those that need Linux elsewhere."""
    for item in items:
        linux = item.get_closest_marker("linux")
        if linux is not None and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason=f"needs Linux: {linux.args[0]}"))
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in _INTEGRATION_FOLDERS or _INTEGRATION_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs a CUDA GPU where there is none: skipped, with the reason, and never counted as passed."""
    if item.get_closest_marker("cuda") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU: nothing of this is proven on this machine")


@pytest.fixture(autouse=True)
def float32_on_cuda(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets float32 be float32 in tests on a GPU: without TF32, whose results have three digits."""
    if request.node.get_closest_marker("cuda") is None:
        yield
        return
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Returns a function that makes a folder once for all processes of the session; nobody may change the folder."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = root / "made_once" / name
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                unfinished = folder.with_suffix(".unfinished")
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def forked_fork_servers() -> None:
    """Lets the fork servers of this process be forked from one that has imported everything, once for all of them."""
    from forked_worker import ForkedForkServer

    from harness.execution.workers import fork_server

    fork_server.ForkServer = ForkedForkServer  # type: ignore[misc]


@pytest.fixture(scope="session")
def small_cortex(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The embedded person at 3 mm: the same files on a twenty-seventh of the voxels."""
    from harness.data import DATASETS

    def make(folder: Path) -> None:
        folder.mkdir()
        home = DATASETS.get("cortex").home
        for name in ("t1", "epi", "label"):
            image = nib.load(home / f"{name}.nii.gz")
            affine = image.affine @ np.diag([3, 3, 3, 1])
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::3, ::3, ::3], affine), folder / f"{name}.nii.gz")

    return made_once("cortex_3mm", make)


@pytest.fixture(scope="session")
def generated(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Callable[[str], Path]:
    """Returns a function from a dataset's name to a generated tree of it, which nobody may change.

    Six patients at a tenth of the official size: a few seconds for all of them together. Datasets that read the same
    files share a tree.
    """
    from harness.data import DATASETS
    from harness.data.synthetic.generated import generate

    def tree(name: str) -> Path:
        drawn = DATASETS.get(DATASETS.get(name).files)
        return made_once(
            f"generated_{drawn.name}",
            lambda folder: generate(drawn, folder, patients=6, seed=0, scale=0.1),
        )

    return tree


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the toy networks known to this process and to the workers it starts."""
    monkeypatch.syspath_prepend(str(SUPPORT))
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cortex: Path) -> Path:
    """An empty folder that is the working directory; the small person is where the dataset `cortex` is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA_CORTEX", str(small_cortex))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("MLFLOW_TRACKING_URI", "HARNESS_RESULTS", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def empty_database(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """An empty database of MLflow, ``mlflow.db``, to be copied: MLflow takes seconds to make one."""

    def make(folder: Path) -> None:
        from mlflow import MlflowClient

        folder.mkdir()
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()

    return made_once("tracking", make) / "mlflow.db"


@pytest.fixture
def tracking_database(empty_database: Path, project: Path) -> Path:
    """An empty database of MLflow where the harness looks for it."""
    return Path(shutil.copy(empty_database, project))


MICRO_PROTOCOL: dict[str, Any] = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 2},
}


@pytest.fixture
def write_study(project: Path) -> Callable[..., Path]:
    """Returns a function that writes a study file of a few seconds; keyword arguments replace top-level keys."""

    def write(**changes: Any) -> Path:
        study: dict[str, Any] = {
            "name": "micro",
            "question": "Does it run?",
            "protocol": MICRO_PROTOCOL,
            "matrix": {"dataset": ["cortex"], "model": ["toy"]},
            **changes,
        }
        path = project / f"{study['name']}.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write


@pytest.fixture
def finished_study(
    made_once: Callable[[str, Callable[[Path], None]], Path],
    write_study: Callable[..., Path],
    toys: None,
    project: Path,
) -> Path:
    """A micro study that has run to its end: its file; its results and its cache lie in the working directory.

    It is computed once per session and copied, for tests that need a finished study and not the run itself.
    """
    from harness.cli import main

    study = write_study()

    def make(folder: Path) -> None:
        places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
        assert main(["run", str(study), "--workers", "1", "--no-mlflow", *places]) == 0

    made = made_once("finished_study", make)
    for name in ("results", "cache"):
        shutil.copytree(made / name, project / name, symlinks=True)
    return study
