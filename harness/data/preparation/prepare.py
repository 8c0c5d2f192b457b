"""Preparation: a case is read, brought to the network's grid once, and kept in a cache.

What is done to a case is in :mod:`harness.data.preparation.preprocessing`. Intensities stay as in the files; they are
normalised when batches are made (:mod:`harness.data.preparation.normalisation`).

The cache has a folder named by a hash of the dataset's files and of all settings that shape an entry. Entries are
written atomically, processes share the work instead of doing it twice, and remains of killed processes are removed.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.cores import cores, processes
from harness.data.assumptions import Assumption, collect_assumptions, sum_up
from harness.data.contract import Case, Dataset, Reader
from harness.data.incomplete import absent_channels
from harness.data.preparation.cache import PreparedCase, open_entry, write_entry
from harness.data.preparation.preprocessing import PreprocessingPlan, preprocess
from harness.data.settings import PreparationSettings
from harness.errors import DataError, HarnessError
from harness.files import atomic_folder
from harness.loader_errors import LoaderError, attempt, unwrap

_Entry = TypeVar("_Entry")

#: Outcome of preparing a case, see :meth:`_Job.run`.
_Outcome = list[Assumption] | HarnessError | None

_LOG = logging.getLogger(__name__)

#: Raised whenever the prepared arrays change for the same settings.
_REVISION = 3

#: Threads that verify checksums: reading and summing up are both outside Python's lock.
_VERIFIERS = 8


def prepare(
    dataset: Dataset,
    reader: Reader,
    cases: Sequence[str],
    settings: PreparationSettings,
    patch_size: tuple[int, ...],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
) -> list[PreparedCase]:
    """Returns the cases prepared, from the cache where they are there already.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        cases: Identifiers of the cases to prepare.
        settings: Preparation settings of the protocol.
        patch_size: Network input; its last two numbers are the plane that slices are resized to.
        cache: Folder of the cache.
        progress: Called with (done, total), first with what is in the cache, then after each case.
        workers: Processes that prepare cases; 0 prepares them in this one.

    Raises:
        DataError: Cases cannot be read or written; all that fail are named, the others are prepared.
    """
    report = progress or _ignore_progress
    job = _Job(dataset, reader, PreprocessingPlan.choose(dataset, settings, patch_size), cache)
    entries = dict(zip(cases, _read(job.open, cases), strict=True))
    missing = [name for name, entry in entries.items() if entry is None]
    done = len(entries) - len(missing)
    report(done, len(entries))
    failures: dict[str, HarnessError] = {}
    noted: list[Assumption] = []
    # Cases that another process is preparing are left to it; we wait for them at the end.
    busy: list[str] = []
    for wait, names in ((False, missing), (True, busy)):
        for name, outcome in zip(names, _outcomes(job, names, wait, workers), strict=True):
            if outcome is None:
                busy.append(name)
                continue
            if isinstance(outcome, HarnessError):
                failures[name] = outcome
            else:
                noted += outcome
            done += 1
            report(done, len(entries))
    for sentence in sum_up(noted):
        _LOG.warning("%s: %s", dataset.title, sentence)
    if failures:
        raise _joined(failures, len(entries))
    made = dict(zip(missing, _read(job.reopen, missing), strict=True))
    return [entries[name] or made[name] for name in cases]


def _read(reading: Callable[[str], _Entry], names: Sequence[str]) -> list[_Entry]:
    """Reads entries of the cache whole, several at once."""
    with ThreadPoolExecutor(min(_VERIFIERS, cores())) as pool:
        return list(pool.map(reading, names))


def _ignore_progress(done: int, total: int) -> None:
    del done, total


def entry_folder(
    dataset: Dataset, reader: Reader, settings: PreparationSettings, patch_size: tuple[int, ...], cache: Path
) -> Path:
    """Returns the folder that holds the entries of all cases prepared in this way."""
    return _Job(dataset, reader, PreprocessingPlan.choose(dataset, settings, patch_size), cache).folder


class _Job:
    """Prepares single cases; works in any process.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        plan: Preprocessing steps.
        cache: Folder of the cache.
    """

    def __init__(self, dataset: Dataset, reader: Reader, plan: PreprocessingPlan, cache: Path) -> None:
        self._dataset = dataset
        self._reader = reader
        self._plan = plan
        parts = [_REVISION, dataset.name, dataset.revision, reader.fingerprint(), plan.json_values()]
        self.folder = cache / dataset.name / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def open(self, name: str) -> PreparedCase | None:
        """Returns a case that is in the cache and intact."""
        return open_entry(self.folder / name, name, self._reader.patient(name))

    def reopen(self, name: str) -> PreparedCase:
        """Returns a case that was just prepared.

        Raises:
            DataError: The entry is already damaged.
        """
        prepared = self.open(name)
        if prepared is None:
            raise DataError(
                f"The cache entry {self.folder / name} is damaged right after writing.",
                hint="Is the disk full or failing?",
            )
        return prepared

    def run(self, name: str, wait: bool) -> _Outcome:
        """Prepares one case unless it is there.

        Returns:
            What was assumed of its files; none where another process is preparing it and ``wait`` is false; or the
            error.
        """
        noted: list[Assumption] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The system releases the lock when a process ends, however it ends.
            with FileLock(self.folder / f".{name}.lock", blocking=wait):
                if self.open(name) is None:
                    self._remove_remains(name)
                    with collect_assumptions() as noted:
                        self._prepare(name)
        except Timeout:
            return None
        except HarnessError as error:
            return error
        except (OSError, NotImplementedError) as error:  # NotImplementedError: the file system has no locks
            return DataError(
                f"The cache entry {self.folder / name} cannot be written: {error}",
                hint="Make room on the disk, or name another folder by --cache or HARNESS_CACHE.",
            )
        return noted

    def _remove_remains(self, name: str) -> None:
        """Removes a damaged entry and unfinished entries of killed processes."""
        unfinished = re.compile(rf"\.{re.escape(name)}\.\d+\.[0-9a-f]{{8}}\.tmp")
        for path in list(self.folder.iterdir()):
            if path.name == name or unfinished.fullmatch(path.name):
                shutil.rmtree(path)

    def _prepare(self, name: str) -> None:
        try:
            case = self._reader.load(name)
        except OSError as error:
            raise DataError(f"The files cannot be read: {error}", hint="Check them and their permissions.") from error
        except HarnessError:
            raise
        except Exception as error:
            error.add_note(f"Case {name} of {self._dataset.name} was being read.")
            raise
        absent = absent_channels(self._dataset, self._reader, name)
        if absent and case.images[list(absent)].any():  # what a reader puts there means nothing
            case = replace(case, images=case.images.copy())
            case.images[list(absent)] = 0
        _check(case, self._dataset, name)
        made = preprocess(case, name, self._plan)
        with atomic_folder(self.folder / name) as temporary:
            write_entry(
                temporary,
                name,
                made.images,
                made.label,
                made.intensities,
                made.moments,
                made.geometry,
                self._plan.classes,
                absent,
            )


class _Outcomes(TorchDataset[_Outcome | LoaderError]):
    """Prepares case number n when outcome number n is read."""

    def __init__(self, job: _Job, names: Sequence[str], wait: bool) -> None:
        self._job, self._names, self._wait = job, names, wait

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> _Outcome | LoaderError:
        return attempt(lambda: self._job.run(self._names[index], self._wait))


def _outcomes(job: _Job, names: Sequence[str], wait: bool, workers: int) -> Iterator[_Outcome]:
    """Prepares cases and yields their outcomes, in order.

    The processes are torch's: they end when this one ends, however it ends.
    """
    if not names:
        return
    loader = DataLoader(
        _Outcomes(job, names, wait),
        batch_size=None,
        num_workers=processes(workers, len(names)) if workers and len(names) > 1 else 0,
        generator=torch.Generator(),  # its own, so that no global random number is drawn
    )
    try:
        yield from map(unwrap, loader)
    except RuntimeError as error:
        # Errors raised in a process are handed over by `attempt`; torch itself says here that one was killed.
        if "DataLoader worker (pid" not in str(error):
            raise
        raise DataError(
            f"A process that prepared data was killed: {error}",
            hint="Most likely memory ran out: use fewer `--workers`. What was prepared is kept.",
        ) from error


def _joined(failures: dict[str, HarnessError], total: int) -> DataError:
    first = next(iter(failures.values()))
    if len(failures) == 1:
        return DataError(f"Case {next(iter(failures))}: {first.message}", hint=first.hint)
    listed = "\n".join(f"- {name}: {error.message}" for name, error in failures.items())
    return DataError(f"{len(failures)} of {total} cases cannot be prepared:\n{listed}", hint=first.hint)


def _check(case: Case, dataset: Dataset, name: str) -> None:
    expected = (len(dataset.modalities), *case.label.shape)
    if case.images.shape != expected:
        raise DataError(
            f"Case {name} of {dataset.name}: images have shape {case.images.shape}, but the label requires {expected}.",
            hint="All modalities and the label of a case must share one grid.",
        )
    if not np.isfinite(case.affine).all() or not np.linalg.det(case.affine):
        raise DataError(
            f"Case {name} of {dataset.name} has no valid affine: {case.affine.tolist()}",
            hint="The voxel size must not be 0 along any axis: convert the files again from their source.",
        )
    if not np.isfinite(case.images).all():
        raise DataError(
            f"Case {name} of {dataset.name} holds voxels that are not finite.",
            hint="Convert the images again from their source.",
        )
    if not case.images.any():
        raise DataError(f"Case {name} of {dataset.name} is empty: every voxel is 0.", hint="Check the source files.")
    if case.label.max(initial=0) not in dataset.labels:
        raise DataError(
            f"Case {name} of {dataset.name} holds label {case.label.max()}, which the dataset does not declare.",
            hint=f"Declared are {sorted(dataset.labels)}: is this the label of another dataset?",
        )
