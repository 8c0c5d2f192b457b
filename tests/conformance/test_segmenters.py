"""Every registered segmenter, ours and installed third parties', passes the conformance suite."""

import subprocess
import sys

import pytest

from harness.segmenters import SEGMENTERS, Segmenter
from harness.segmenters.conformance import CHECKS, Case, Check, ConformanceError, cases, computing_on, run

#: Numbers of modalities on which checks run by default; the others run on two.
MODALITIES = {
    "gradients": ("fewest", "two"),  # networks for several modalities break most often where there is one
    "modalities": ("most",),  # a modality can be left out that is neither the first nor the last
    "size": ("fewest",),  # the same operations, whatever the number of modalities
    "overfits": ("fewest",),
}
#: One process can tell for all networks, see :func:`test_declarations_import_no_torch`.
TOGETHER = {"light_import"}
#: What can differ between the dimensions of one network: by default, the other checks run in the first one.
IN_EVERY_DIMENSION = {"device", "output", "gradients"}


def selected(segmenter: Segmenter) -> list[tuple[Check, Case]]:
    """Returns the checks and cases that find a fault of each kind in the least time."""
    every, first = cases(segmenter), min(segmenter.spatial_dims)
    found: list[tuple[Check, Case]] = []
    for dims in sorted(segmenter.spatial_dims):
        of_dims = [case for case in every if case.task.spatial_dims == dims]
        two = [case for case in of_dims if case.task.in_channels == 2]
        chosen = {"fewest": of_dims[0], "two": [*of_dims, *two][-1], "most": of_dims[-1]}
        for check in CHECKS:
            if check.slow or check.name in TOGETHER or (dims != first and check.name not in IN_EVERY_DIMENSION):
                continue
            names = MODALITIES.get(check.name, ("two",)) if dims == first else ("two",)
            found += [(check, chosen[name]) for name in names]
    return [(check, case) for check, case in found if case.task.in_channels >= check.min_modalities]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_conforms(name: str, device: str) -> None:
    segmenter = SEGMENTERS.get(name)
    assert segmenter.name == name
    broken = []
    for check, case in selected(segmenter):
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


def test_by_default_every_check_runs_on_every_network() -> None:
    for name in SEGMENTERS.names():
        segmenter = SEGMENTERS.get(name)
        chosen = selected(segmenter)
        assert {case.task.spatial_dims for _, case in chosen} == segmenter.spatial_dims
        most = max(case.task.in_channels for _, case in chosen)
        expected = {check.name for check in CHECKS if not check.slow and check.min_modalities <= most}
        assert {check.name for check, _ in chosen} == expected - TOGETHER


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
