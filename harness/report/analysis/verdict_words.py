"""How what the data can show is printed: small differences, numbers of patients, spreads."""

import math

from harness.evaluation import Metric
from harness.report.analysis.verdict import Spread
from harness.statistics.power import MOST_PATIENTS
from harness.statistics.sample_size import ALPHA


def needed(patients: int | None) -> str:
    """A number of patients, rounded as far as it is known: to two digits."""
    if patients is None:
        return f"more than {MOST_PATIENTS:,}"
    if patients < 100:
        return str(patients)
    unit = 10 ** (len(str(patients)) - 2)
    return f"{-(-patients // unit) * unit:,}"


def fine(value: float, metric: Metric, *, signed: bool = False) -> str:
    """A difference with one digit more than scores have: what can be shown is often less than they print."""
    text = f"{value:{'+' if signed else ''}.{metric.decimals + 1}f}".replace("-", "−")
    return f"{text} {metric.unit}".strip()


def fine_p(value: float) -> str:
    """A p with two digits; one below the level is never rounded up to it."""
    if value < 1e-4:
        return "<0.0001"
    text = f"{value:.2g}"
    return f"<{ALPHA}" if value < ALPHA <= float(text) else text


def spread_sentence(spread: Spread, metric: Metric) -> str:
    """The standard deviations in one sentence; what is not known is named."""
    parts = [
        ("methods", spread.methods, ""),
        ("trainings of one method", spread.seeds, ""),
        ("folds", spread.folds, f" (patients alone make it {fine(spread.folds_by_chance, metric)})"),
        ("patients", spread.patients, ""),
        ("patients' differences", spread.differences, ""),
    ]
    known = [f"{name} {fine(value, metric)}{more}" for name, value, more in parts if not math.isnan(value)]
    unknown = " Between trainings it is not known: each method was trained once." if math.isnan(spread.seeds) else ""
    return f"SD of {metric.title} between {', '.join(known)}.{unknown}"
