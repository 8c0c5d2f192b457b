"""Every registered segmenter, ours and installed third parties', passes the conformance suite."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.segmenters import SEGMENTERS
from harness.segmenters.conformance import Case, Check, plan


def planned() -> list[object]:
    """Every check and case of every segmenter that can be imported; the others fail :func:`test_can_be_imported`."""
    found: list[object] = []
    for name in SEGMENTERS.names():
        try:
            segmenter = SEGMENTERS.get(name)
        except HarnessError:
            continue
        for check, case in plan(segmenter, slow=True):
            marks = [pytest.mark.slow] if check.slow else []
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
