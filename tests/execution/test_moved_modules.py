"""What was written with the module names of 0.2.0 still loads: queued jobs, readers of others, entry points."""

import importlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_worker import server, work

from harness.execution.workers.attempt import Attempt, Kind
from harness.execution.workers.exit_status import DONE
from harness.execution.workers.process import Slot, worker_arguments
from harness.moved_modules import MOVED
from harness.results.store import CellFolder
from harness.study.expansion import load_study


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old: str) -> None:
    module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[old]


def test_a_part_of_a_moved_package_stands_once() -> None:
    old = importlib.import_module("harness.data.chaos.reader")
    assert old is importlib.import_module("harness.data.datasets.chaos.reader")


#: An attempt and its slot as release 0.2.0 pickled them (protocol 0, where names are text).
WRITTEN = b"""(ccopy_reg
_reconstructor
p0
(charness.execution.engine
Attempt
p1
c__builtin__
object
p2
Ntp3
Rp4
(dp5
Vcell
p6
g0
(charness.results.store
CellFolder
p7
g2
Ntp8
Rp9
(dp10
Vpath
p11
cpathlib
PosixPath
p12
(Vcells
p13
Vabc
p14
tp15
Rp16
sbsVcache
p17
g12
(g17
tp18
Rp19
sVtimeout
p20
F60.0
sVaccumulate
p21
I2
sVtrial
p22
I0%d
sVuntil
p23
N%ssbg0
(charness.execution.process
Slot
p44
g2
Ntp45
Rp46
(dp47
Vdevice
p48
Vcpu
p49
sVgpu
p50
NsVthreads
p51
I1
sVranks
p52
I1
sbtp53
."""


def loaded(trial: int = 0, until: bytes = b"N", name: bytes = b"abc") -> tuple[Attempt, Slot]:
    """Returns the attempt of the last release with other values."""
    written = WRITTEN.replace(b"N%s", until) % trial
    job: tuple[Attempt, Slot] = pickle.loads(written.replace(b"Vabc", b"V" + name))
    return job


@pytest.mark.parametrize(
    ("trial", "until", "kind", "epoch"),
    [(0, b"N", "train", None), (1, b"N", "trial", None), (0, b"I4\n", "rung", 4)],
)
def test_a_job_pickled_by_the_last_release_loads(trial: int, until: bytes, kind: Kind, epoch: int | None) -> None:
    attempt, slot = loaded(trial, until)
    assert slot == Slot("cpu", None, 1)
    assert attempt == Attempt(CellFolder(Path("cells/abc")), Path("cache"), 60.0, 2, kind, epoch)
    assert not hasattr(attempt, "trial")
    assert pickle.loads(pickle.dumps(attempt)) == attempt


@pytest.mark.usefixtures("toys", "project")
@pytest.mark.linux("forks processes that have imported torch")
def test_a_job_pickled_by_the_last_release_runs(write_study: Callable[..., Path]) -> None:
    (planned,) = load_study(write_study()).cells
    cell = CellFolder(Path("cells") / planned.spec.id)
    cell.write_spec(planned.spec.to_json())
    attempt, slot = loaded(trial=1, name=planned.spec.id.encode())
    assert attempt.cell == cell
    process = server().Process(target=work, args=(worker_arguments(attempt, slot),))
    process.start()
    process.join()
    assert process.exitcode == DONE
    assert cell.trial_summary().val_dice >= 0
    assert not (cell.result / "cases.parquet").exists(), "a trial opens no test case"
