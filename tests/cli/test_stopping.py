"""A command that is told to stop says so at once, and ends with status 130."""

from __future__ import annotations

import signal
import threading

import pytest
import typer
from rich.console import Console

from harness.cli.shared.graceful_shutdown import graceful_shutdown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_stops_like_ctrl_c_and_both_are_answered(capfd, number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopped = []
    with pytest.raises(typer.Exit) as caught, graceful_shutdown(Console(), lambda: stopped.append(True)):
        signal.raise_signal(number)
    shown = capfd.readouterr()
    assert "Stopping" in shown.err
    assert "Nothing is lost" in shown.out
    assert caught.value.exit_code == 130
    assert stopped == [True]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_errors_pass_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="another"), graceful_shutdown(Console()):
        raise ValueError("another")
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_thread_that_receives_no_signals_nothing_is_changed():
    entered = []

    def enter():
        with graceful_shutdown(Console()):
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]
