"""Every registered segmenter, ours and installed third parties', passes the conformance suite."""

import subprocess
import sys
from collections import Counter

import pytest

from harness.segmenters import SEGMENTERS
from harness.segmenters.conformance import CHECKS, Case, Check, ConformanceError, cases, computing_on, run

#: Numbers of modalities on which checks run by default, those after the first in turn; the others run on two.
MODALITIES = {
    "gradients": ("two", "fewest"),  # networks for several modalities break most often where there is one
    "modalities": ("most",),  # a modality can be left out that is neither the first nor the last
    "size": ("fewest",),  # the same operations, whatever the number of modalities
    "overfits": ("fewest",),
}
#: One process can tell for all networks, see :func:`test_declarations_import_no_torch`.
TOGETHER = {"light_import"}
#: What can differ between the dimensions of one network: in the other dimensions, these alone run by default, in turn.
IN_EVERY_DIMENSION = {"device", "output"}
#: What each network alone can break. By default each of the other checks runs on every fifth network, in turn: what
#: networks compute is held by their authors' outputs, and all checks run on all of them among the slow tests.
ON_EVERY_NETWORK = {"facts", "official_parameters", "device", "gradients", "modalities", "present", "leading"}
SHARE = 5


def chosen(name: str, everything: bool = False) -> list[tuple[Check, int, str]]:
    """Returns the checks, dimensions and numbers of modalities that find a fault of each kind in the least time.

    Args:
        name: Network to check.
        everything: Whether to run every check, not only those whose turn it is.
    """
    segmenter = SEGMENTERS.get(name)
    first = min(segmenter.spatial_dims)
    found: list[tuple[Check, int, str]] = []
    for dims in sorted(segmenter.spatial_dims):
        for check in CHECKS:
            if check.slow or check.name in TOGETHER or segmenter.modality_counts[1] < check.min_modalities:
                continue
            in_turn = everything or its_turn(name, check)
            counts = MODALITIES.get(check.name, ("two",))
            if dims == first and (in_turn or check.name in ON_EVERY_NETWORK):
                found += [(check, dims, count) for count in (counts if in_turn else counts[:1])]
            elif dims != first and in_turn and check.name in IN_EVERY_DIMENSION:
                found.append((check, dims, "two"))
    return found


def selected(name: str, everything: bool = False) -> list[tuple[Check, Case]]:
    """Returns the chosen checks, each with the case it runs on."""
    by_dims: dict[int, dict[str, Case]] = {}
    every = cases(SEGMENTERS.get(name))
    for dims in {case.task.spatial_dims for case in every}:
        of_dims = [case for case in every if case.task.spatial_dims == dims]
        two = [case for case in of_dims if case.task.in_channels == 2]
        by_dims[dims] = {"fewest": of_dims[0], "two": [*of_dims, *two][-1], "most": of_dims[-1]}
    return [(check, by_dims[dims][count]) for check, dims, count in chosen(name, everything)]


def its_turn(name: str, check: Check) -> bool:
    """Returns whether it is a network's turn to have all of a check."""
    return (SEGMENTERS.names().index(name) + CHECKS.index(check)) % SHARE == 0


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_conforms(name: str, device: str) -> None:
    segmenter = SEGMENTERS.get(name)
    assert segmenter.name == name
    broken = []
    for check, case in selected(name, everything=device != "cpu"):
        try:
            with computing_on(device):
                check(segmenter, case.task, case.options)
        except ConformanceError as error:
            broken.append(str(error))
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_conforms_in_every_case(name: str) -> None:
    assert [result.message for result in run(SEGMENTERS.get(name), slow=True) if not result.passed] == []


def test_by_default_every_check_runs_on_several_networks() -> None:
    runs: Counter[str] = Counter()
    other_dims: Counter[int] = Counter()
    for name in SEGMENTERS.names():
        segmenter = SEGMENTERS.get(name)
        found = chosen(name)
        other_dims.update(dims for _, dims, _ in found if dims != min(segmenter.spatial_dims))
        checks = {check.name for check, _, _ in found}
        assert checks >= ON_EVERY_NETWORK - ({"leading"} if segmenter.modality_counts[1] < 2 else set())
        runs.update(checks)
    expected = {check.name for check in CHECKS if not check.slow} - TOGETHER
    least = len(SEGMENTERS.names()) // SHARE
    assert min(runs[name] for name in expected) >= least
    assert other_dims[3] >= least, "of those that can do both, one check or the other"


def test_declarations_import_no_torch() -> None:
    code = (
        "import sys; from harness.segmenters import SEGMENTERS; "
        "print([name for name in SEGMENTERS.names() if SEGMENTERS.get(name) and 'torch' in sys.modules][:1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "the first of these imports torch, or something before it"


@pytest.mark.parametrize("name", ["aahn", "nnunet", "unetr"])
def test_ours_are_registered(name: str) -> None:
    assert name in SEGMENTERS.names()
