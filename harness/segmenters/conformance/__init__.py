"""The conformance suite: whether a network keeps the segmenter contract.

It checks networks of this project and of other packages alike, and knows none by name. From pytest::

    @pytest.mark.parametrize(("check", "case"), conformance.plan(SEGMENTER), ids=str)
    def test_conformance(check, case):
        check(SEGMENTER, case.task, case.options)

What a network may declare besides the contract of :class:`harness.segmenters.contract.Segmenter`:

``dead_parameters: frozenset[str]``
    Names, as in ``named_parameters()``, of the parameters that never receive a gradient in this configuration, kept for
    the sake of somebody's checkpoints or of parity with published counts. Every other parameter must receive one, and
    these must not. A parameter whose effect a following normalisation cancels (the bias of a convolution before an
    instance norm) receives rounding noise and counts as alive.

All checks run in small cases, from fixed seeds, on the CPU or where :func:`computing_on` says; the caller's random
state on the CPU is left as it was.
"""

from harness.segmenters.conformance.suite import CHECKS, Case, Check, CheckResult, cases, plan, run, run_apart
from harness.segmenters.conformance.synthetic import ConformanceError, computing_on

__all__ = [
    "CHECKS",
    "Case",
    "Check",
    "CheckResult",
    "ConformanceError",
    "cases",
    "computing_on",
    "plan",
    "run",
    "run_apart",
]
