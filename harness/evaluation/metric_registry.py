"""Finds metrics by name; a name may end in a tolerance and in a policy for empty regions."""

import re

from harness.evaluation.contract import Metric
from harness.evaluation.policy import POLICIES
from harness.registry import Registry

_VARIANT = re.compile(rf"(.+?)(?:_(\d{{1,3}}(?:\.\d{{1,3}})?)mm)?(?:_({'|'.join(POLICIES)}))?", re.ASCII)


class MetricRegistry(Registry[Metric]):
    """The registered metrics, and variants of them: ``nsd_2mm``, ``hd95_brats``, ``nsd_0.5mm_nan_skip``."""

    def knows(self, name: str) -> bool:
        """Returns whether a name is registered, or is that of a variant; nothing is imported."""
        names = self.names()
        return name in names or self._parts(name)[0] in names

    def get(self, name: str) -> Metric:
        """Returns the metric of a name, or its variant.

        Raises:
            HarnessError: The name is not known, its module cannot be imported, or it has no such variant.
        """
        if name in self.names():
            return super().get(name)
        base, tolerance, policy = self._parts(name)
        if base not in self.names():
            return super().get(name)  # says what is known
        return super().get(base).variant(name, tolerance, policy)

    @staticmethod
    def _parts(name: str) -> tuple[str, float | None, str]:
        match = _VARIANT.fullmatch(name)
        if match is None:
            return name, None, ""
        return match[1], float(match[2]) if match[2] else None, match[3] or ""
