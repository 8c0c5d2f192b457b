"""A run that is told to stop says at once that it heard, whoever told it."""

from __future__ import annotations

import signal
import threading

import pytest

from harness.cli.shared.graceful_shutdown import stopping_in_order


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_stops_like_ctrl_c_and_both_are_answered(capfd, number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopping_in_order():
        signal.raise_signal(number)
    assert "asked to end in order" in capfd.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_a_thread_that_hears_no_signals_nothing_is_changed():
    entered = []

    def enter():
        with stopping_in_order():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]
