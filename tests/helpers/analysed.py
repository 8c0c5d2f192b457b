"""The analysis of a study that several tests look at, computed once."""

from collections import deque

from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.results.schema import StudyResults

_LATEST: deque[tuple[StudyResults, StudyAnalysis]] = deque(maxlen=4)


def analysed(results: StudyResults) -> StudyAnalysis:
    """Returns the analysis of results, which nobody may change; the latest are kept."""
    for known, study in _LATEST:
        if known is results:
            return study
    study = analyse_study(results)
    _LATEST.append((results, study))
    return study
