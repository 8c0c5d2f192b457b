"""The conformance suite: checks, cases and results."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from harness.child_process import ChildEndedError, in_child
from harness.errors import HarnessError, StudyError
from harness.segmenters.conformance import checks
from harness.segmenters.conformance.recorded import check_recorded
from harness.segmenters.conformance.synthetic import ConformanceError, build
from harness.segmenters.contract import Segmenter, Task

MODALITY_COUNTS = (1, 2, 4)
CLASSES = 3
SIDES = {2: 64, 3: 32}
"""Side of the patch by dimension; where a network refuses it, that with its last side doubled (a coarsest
map of one voxel has no norm), its official patch or ``FALLBACK_SIDE`` is taken."""
FALLBACK_SIDE = 128

#: Seconds that one check may take before it is given up; compilation takes minutes.
PATIENCE = 900.0


@dataclass(frozen=True)
class Case:
    """Task and options for which a check builds a network.

    Attributes:
        task: Segmentation task.
        options: Options as a study would give them.
    """

    task: Task
    options: Mapping[str, Any]

    def __str__(self) -> str:
        size = "x".join(map(str, self.task.patch_size))
        leading = "" if self.task.leading is None else f"-lead{self.task.leading}"
        return f"{size}-{self.task.in_channels}mod{leading}"


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Calling it raises :class:`ConformanceError` where the promise is broken, or where anything else goes wrong.

    Attributes:
        name: Short name, for reports and test ids.
        function: Raises where the promise is broken.
        scope: Whether every case is worth its time, or one of each dimension, or a single one.
        slow: Whether the check takes long and runs only on request.
        min_modalities: Number of modalities without which there is nothing to check.
    """

    name: str
    function: Callable[[Segmenter, Task, Mapping[str, Any]], None]
    scope: Literal["case", "dimension", "segmenter"] = "case"
    slow: bool = False
    min_modalities: int = 1

    def __call__(self, segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
        """Runs the check on one case.

        Raises:
            ConformanceError: The promise is broken; the message names segmenter, check and case.
        """
        where = f"{segmenter.name}, {self.name}, {Case(task, options)}"
        with torch.random.fork_rng(devices=[]):
            try:
                self.function(segmenter, task, options)
            except ConformanceError as error:
                raise ConformanceError(f"{where}: {error.message}", hint=error.hint) from error
            except (Exception, SystemExit) as error:
                raise ConformanceError(f"{where}: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class CheckResult:
    """Result of one check on one case.

    Attributes:
        check: The check's name.
        case: The case, in short.
        passed: Whether the promise is kept.
        message: Description of the problem; empty where the check passed.
        seconds: Time taken.
    """

    check: str
    case: str
    passed: bool
    message: str
    seconds: float


CHECKS: tuple[Check, ...] = (
    Check("facts", checks.check_facts, scope="segmenter"),
    Check("light_import", checks.check_light_import, scope="segmenter"),
    Check("official_parameters", checks.check_official_parameters, scope="segmenter"),
    Check("size", checks.check_size, scope="dimension"),
    Check("device", checks.check_device, scope="dimension"),
    Check("output", checks.check_output),
    Check("deep_supervision", checks.check_deep_supervision),
    Check("finite", checks.check_finite),
    Check("gradients", checks.check_gradients),
    Check("determinism", checks.check_determinism),
    Check("seeds", checks.check_seeds, scope="dimension"),
    Check("batch_independence", checks.check_batch_independence),
    Check("modalities", checks.check_modalities),
    Check("present", checks.check_present, scope="dimension"),
    Check("leading", checks.check_leading, scope="dimension", min_modalities=2),
    Check("state_dict", checks.check_state_dict),
    Check("autocast", checks.check_autocast, scope="dimension"),
    Check("recorded", check_recorded, scope="dimension"),
    Check("overfits", checks.check_overfits, scope="dimension"),
    Check("compiles", checks.check_compiles, scope="dimension", slow=True),
)
"""Every check, cheapest promises first."""


def cases(segmenter: Segmenter) -> list[Case]:
    """Returns the cases a segmenter is checked on.

    They span its dimensions, 1, 2 and 4 modalities as far as it takes them, and no, the first and the last leading
    modality where the leading modality matters. They use its preset ``tiny`` where it has one. Within a dimension the
    last case is the richest.

    Raises:
        ConformanceError: Its dimensions are none that a network has, or no patch size that was tried can be built.
    """
    if not segmenter.spatial_dims or not segmenter.spatial_dims <= SIDES.keys():
        declared = ", ".join(map(str, sorted(segmenter.spatial_dims))) or "nothing"
        raise ConformanceError(f"{segmenter.name} declares spatial_dims {declared}.", hint="Declare 2, 3 or both.")
    options = {"preset": "tiny"} if "tiny" in segmenter.presets else {}
    low, high = segmenter.modality_counts
    counts = [count for count in MODALITY_COUNTS if low <= count <= high] or [low]
    selected = []
    for dims in sorted(segmenter.spatial_dims):
        patch_size = _valid_patch(segmenter, dims, counts[-1], options)
        for count in counts:
            names = tuple(f"modality{index}" for index in range(count))
            leadings = dict.fromkeys([None, 0, count - 1]) if segmenter.uses_leading else [None]
            selected += [Case(Task(names, leading, CLASSES, patch_size), options) for leading in leadings]
    return selected


def plan(segmenter: Segmenter, *, slow: bool = False) -> list[tuple[Check, Case]]:
    """Returns every check with every case it is worth running on.

    Args:
        segmenter: Segmenter to check.
        slow: Whether to include the slow checks.

    Raises:
        ConformanceError: No patch size that was tried can be built.
    """
    selected = cases(segmenter)
    richest = {case.task.spatial_dims: case for case in selected}
    chosen = {"case": selected, "dimension": list(richest.values()), "segmenter": selected[-1:]}
    return [
        (check, case)
        for check in CHECKS
        if slow or not check.slow
        for case in chosen[check.scope]
        if case.task.in_channels >= check.min_modalities
    ]


def run(segmenter: Segmenter, *, slow: bool = False) -> list[CheckResult]:
    """Runs the suite on a segmenter and reports every result, good or bad.

    Args:
        segmenter: Segmenter to check.
        slow: Whether to include the slow checks.
    """
    started = time.perf_counter()
    try:
        todo = plan(segmenter, slow=slow)
    except HarnessError as error:
        return [CheckResult("builds", "", False, str(error), time.perf_counter() - started)]
    return [_result(check, case, segmenter) for check, case in todo]


def run_apart(segmenter: Segmenter, *, slow: bool = False, patience: float = PATIENCE) -> list[CheckResult]:
    """Runs the suite on a network that may end its process or never return: every check in a process of its own.

    Args:
        segmenter: Segmenter to check.
        slow: Whether to include the slow checks.
        patience: Seconds that one check may take.

    Returns:
        The results; the last one is of the check that ended its process or was given up, if one was.
    """
    started = time.perf_counter()
    results: list[CheckResult] = []
    name = "builds", ""
    try:
        todo = in_child(lambda: plan(segmenter, slow=slow), patience)
        segmenter.import_factory()
        for check, case in todo:
            name, started = (check.name, str(case)), time.perf_counter()
            results.append(in_child(partial(_result, check, case, segmenter), patience))
    except HarnessError as error:
        rest = " The checks after this one were not run." if isinstance(error, ChildEndedError) else ""
        message = f"{segmenter.name}, {name[0]}: {error}{rest}"
        results.append(CheckResult(*name, False, message, time.perf_counter() - started))
    return results


def _result(check: Check, case: Case, segmenter: Segmenter) -> CheckResult:
    started = time.perf_counter()
    message = ""
    try:
        check(segmenter, case.task, case.options)
    except ConformanceError as error:
        message = str(error)
    return CheckResult(check.name, str(case), not message, message, time.perf_counter() - started)


def _valid_patch(segmenter: Segmenter, dims: int, modalities: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the first patch size the segmenter can be built for: small ones, its official one, a common one."""
    official = segmenter.official_task
    small = SIDES[dims]
    candidates = [(small,) * dims, (*(small,) * (dims - 1), 2 * small), (FALLBACK_SIDE,) * dims]
    if official is not None and official.spatial_dims == dims:
        candidates.insert(2, official.patch_size)
    names = tuple(f"modality{index}" for index in range(modalities))
    refusals = []
    for patch_size in candidates:
        try:
            build(segmenter, Task(names, 0 if segmenter.uses_leading else None, CLASSES, patch_size), options)
        except StudyError as error:
            refusals.append(f"{'x'.join(map(str, patch_size))}: {error.message}")
        except HarnessError as error:
            raise ConformanceError(f"{segmenter.name} cannot be built: {error.message}", hint=error.hint) from error
        except (Exception, SystemExit) as error:
            raise ConformanceError(f"{segmenter.name} cannot be built: {type(error).__name__}: {error}") from error
        else:
            return patch_size
    raise ConformanceError(
        f"{segmenter.name} declares {dims}D and refuses every patch that was tried ({'; '.join(refusals)}).",
        hint="Give it an official_task with a patch size it accepts.",
    )
