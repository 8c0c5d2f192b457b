"""A process for code of others: whatever becomes of it, there is a result or an error in one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from functools import partial

import pytest

from harness.child_process import ChildEndedError, in_child
from harness.errors import DataError, HarnessError
from harness.results.json_record import DamagedRecordError


def raise_(error):
    raise error


def wait_for_ever():
    subprocess.Popen(["sleep", "1000"])
    threading.Event().wait()


def test_what_is_returned_comes_back():
    assert in_child(lambda: {"a": [1, 2]}) == {"a": [1, 2]}
    assert in_child(os.getpid) != os.getpid()
    assert len(in_child(partial(bytes, 1 << 22))) == 1 << 22


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_started_process_says_what_was_raised(method):
    with pytest.raises(HarnessError, match="ValueError: invalid literal"):
        in_child(partial(int, "x"), method=method)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("T1"), "KeyError: 'T1'"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (RuntimeError("x" * 10**6), "characters"),
        (AssertionError(), "AssertionError"),
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (OSError(errno.ENOSPC, "No space left on device", "f.nii"), "f.nii: the disk is full"),
        (RuntimeError("bad \ud800 \x1b[2J"), "bad \\ud800 \\x1b[2J"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_whatever_is_raised_is_one_line(error, said):
    with pytest.raises(HarnessError) as caught:
        in_child(partial(raise_, error))
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_an_error_of_ours_keeps_kind_and_remedy(tmp_path):
    with pytest.raises(DataError, match="no file") as caught:
        in_child(partial(raise_, DataError("no file", hint="get it")))
    assert caught.value.hint == "get it"
    with pytest.raises(HarnessError, match="f is damaged") as caught:
        in_child(partial(raise_, DamagedRecordError(tmp_path / "f", "it is empty", "Write it anew.")))
    assert caught.value.hint == "Write it anew."


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda: os._exit(0), "ended with status 0"),
        (lambda: os._exit(7), "ended with status 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9"),
        (wait_for_ever, "did not return within 0.5 seconds"),
    ],
)
def test_a_process_that_ends_or_hangs_is_named(end, said):
    with pytest.raises(ChildEndedError, match=said):
        in_child(end, 0.5 if end is wait_for_ever else None)
