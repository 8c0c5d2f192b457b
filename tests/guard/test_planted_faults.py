"""The list of planted faults fits the code: each can still be planted, and tests that find it exist."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_fault_can_be_planted_and_has_its_tests() -> None:
    path = ROOT / "scripts" / "guard" / "planted_faults.py"
    spec = importlib.util.spec_from_file_location("planted_faults", path)
    assert spec is not None
    assert spec.loader is not None
    script = sys.modules["planted_faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    contents, faults = script.read_packages(ROOT), script.read_faults()
    assert len(faults) >= 40
    for fault in faults:
        _, search, replace = script.find_text(contents, fault)
        assert search != replace
        assert script.find_tests(ROOT, fault), f"{fault.number}: none is called {fault.tests}"
