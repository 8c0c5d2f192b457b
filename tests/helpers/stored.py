"""Records of the store with everything they need, for tests that care about some of it."""

from __future__ import annotations

from typing import Any

from harness.results.records import Manifest, Summary


def summary(**facts: Any) -> Summary:
    """The facts of a finished cell."""
    needed = {
        "device": "cpu (1 thread)",
        "train_seconds": 60.0,
        "commit": "abc",
        "packages": {},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
    }
    return Summary(**{**needed, **facts})


def manifest(*cells: str, **facts: Any) -> Manifest:
    """A study of some cells, each with its identity as label."""
    needed = {
        "name": "s",
        "profile": "default",
        "question": "Which?",
        "report": {"reference": None, "metrics": ["dice"]},
        "labels": cells,
        "datasets": [],
        "cells": [{"cell": cell, "label": cell} for cell in cells],
    }
    return Manifest.model_validate({**needed, **facts})


def cell_record(**facts: Any) -> dict[str, Any]:
    """What ``cell.json`` says of a cell."""
    needed = {
        "dataset": "cortex",
        "data": "d",
        "model": "unet",
        "options": {},
        "leading": "-",
        "fold": 0,
        "split": "s",
        "seed": 0,
        "protocol": {"name": "paper", "sampling": {"batch_size": 2}},
    }
    return {**needed, **facts}
