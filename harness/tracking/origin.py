"""Where a run in MLflow comes from: who mirrored it, from which study file, by which code."""

import getpass
import re
from collections.abc import Iterable

from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)


def origin_tags(source: str) -> dict[str, str]:
    """Returns the tags by which MLflow shows user and source.

    Args:
        source: Name of the study's file; may be empty.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = ""
    tags = {MLFLOW_USER: user, MLFLOW_SOURCE_NAME: f"harness run {source}".strip(), MLFLOW_SOURCE_TYPE: "LOCAL"}
    return {key: value for key, value in tags.items() if value}


def commit_tags(commits: Iterable[str]) -> dict[str, str]:
    """Returns the tags by which MLflow shows the code: none where cells are of several commits, or of a release.

    Args:
        commits: As the store records them, see :func:`harness.results.provenance.code_version`.
    """
    found = set(commits)
    commit, plus, note = next(iter(found)).partition("+") if len(found) == 1 else ("", "", "")
    if not re.fullmatch("[0-9a-f]+", commit):
        return {}
    return {MLFLOW_GIT_COMMIT: commit, **({MLFLOW_GIT_DIRTY: "true"} if plus and note == "dirty" else {})}
