"""Every registered segmenter, ours and installed third parties', passes the conformance suite."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.segmenters import SEGMENTERS
from harness.segmenters.conformance import Case, Check, plan


def planned() -> list[object]:
    """Every check and case of every segmenter that can be imported; the others fail :func:`test_can_be_imported`.

    By default each check runs on the richest case of each dimension, and on one modality, where networks for several
    modalities break most often; a network is trained in one dimension. The other cases are slow.
    """
    found: list[object] = []
    for name in SEGMENTERS.names():
        try:
            segmenter = SEGMENTERS.get(name)
        except HarnessError:
            continue
        todo = plan(segmenter, slow=True)
        richest = {case.task.spatial_dims: case for _, case in todo}
        for check, case in todo:
            in_first = case.task.spatial_dims == min(richest)
            by_default = case == richest[case.task.spatial_dims] or (in_first and case.task.in_channels == 1)
            slow = check.slow or not by_default or (check.name == "overfits" and not in_first)
            marks = [pytest.mark.slow] if slow else []
            found.append(pytest.param(name, check, case, id=f"{name}-{check}-{case}", marks=marks))
    return found


@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_can_be_imported(name: str) -> None:
    assert SEGMENTERS.get(name).name == name


@pytest.mark.parametrize(("name", "check", "case"), planned())
def test_conforms(name: str, check: Check, case: Case) -> None:
    check(SEGMENTERS.get(name), case.task, case.options)


@pytest.mark.parametrize("name", ["aahn", "nnunet", "unetr"])
def test_ours_are_registered(name: str) -> None:
    assert name in SEGMENTERS.names()
