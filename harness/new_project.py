"""What ``harness init`` writes: shipped studies, a protocol to change, and what Slurm and git want to know."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import HarnessError, did_you_mean
from harness.shipped import STUDIES, shipped

_PROTOCOL = """\
# A protocol of your own: what differs from the paper's. Name it in a study by `protocol: mine`.
# Every setting: docs/studies.md. `harness plan STUDY` says what a study with it will cost.
base: paper
description: The paper's protocol with fewer epochs.
training:
  epochs: 100
"""

_SLURM = """\
# What one cell asks of Slurm: harness run STUDY --engine slurm --slurm slurm.yaml (docs/engines.md).
partition: gpu
time: 12:00:00        # then it is requeued and goes on; minutes, HH:MM:SS or D-HH:MM:SS
gpus: 1
cpus: 8
memory_gb: 32
parallel: 64          # tasks that run at a time
# setup: [module load cuda]
# container: harness.sif   # an image that the cells run in (docs/containers.md)
# account: mine
"""

_GITIGNORE = """\
# What runs write, and data
/results/
/cache/
/data/
mlflow.db
mlruns/
mlartifacts/
"""


def shipped_studies() -> dict[str, Path]:
    """Returns the shipped studies, name to file, by name."""
    return {path.stem: path for path in sorted(shipped("studies").glob("*.yaml"))}


def write_project(folder: Path, studies: Sequence[str] = ()) -> tuple[list[Path], list[Path]]:
    """Writes a project into a folder; files that are there already stay as they are.

    Args:
        folder: Where; made if it is absent.
        studies: Names of shipped studies; default: all of them.

    Returns:
        The files that were written, and those that were there.

    Raises:
        HarnessError: A study is unknown, or the folder cannot be written.
    """
    known = shipped_studies()
    for name in studies:
        if name not in known:
            raise HarnessError(f"There is no shipped study '{name}'.", hint=did_you_mean(name, known))
    written: list[Path] = []
    there: list[Path] = []
    for place, text in _files(known, studies or tuple(known)):
        path = folder / place
        if path.exists():
            there.append(path)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"{path} cannot be written: {error.strerror}.", hint="Name another folder.") from error
        written.append(path)
    return written, there


def _files(known: dict[str, Path], studies: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for name in studies:
        lines = known[name].read_text(encoding="utf-8").splitlines(keepends=True)
        # where a clone has the schema, for editors
        yield STUDIES / f"{name}.yaml", "".join(line for line in lines if "yaml-language-server" not in line)
    yield STUDIES / "protocols" / "mine.yaml", _PROTOCOL
    yield Path("slurm.yaml"), _SLURM
    yield Path(".gitignore"), _GITIGNORE
