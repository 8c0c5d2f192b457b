"""Metrics that a study asks for and finished cells lack: named with the command that computes them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.cli.shared.options import study_arguments


def name_unscored(study: str, profile: str, results: Path, lacking: Mapping[str, int], done: int) -> Iterator[str]:
    """Yields a sentence for each metric that finished cells lack.

    Args:
        study: Name of the study.
        profile: Profile of the study.
        results: The results folder.
        lacking: Number of finished cells that lack a metric, by metric.
        done: Number of finished cells.
    """
    again = study_arguments(study, profile, results)
    for metric, count in lacking.items():
        if count:
            yield (
                f"{count} of {done} finished cells were not scored by '{metric}'. From their predictions: "
                f"harness evaluate {again} --metric {metric}"
            )
