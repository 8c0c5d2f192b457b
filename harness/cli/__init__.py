"""The command line: one file per verb. Each verb imports heavy libraries inside its function, so that help is fast."""

import io
import sys
import traceback
import warnings
from types import TracebackType
from typing import TextIO

from harness.cli.shared.console import PlainConsole, styled
from harness.errors import HarnessError, HarnessWarning
from harness.redaction import without_secrets
from harness.system_errors import explain_system_error
from harness.text import printable

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    0: done. 1: some cells failed. 2: an error that the user can correct, shown as one message. 130: stopped by Ctrl-C.
    """
    from harness.cli.app import app

    sys.excepthook = _excepthook
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of a terminal that is not UTF-8
    warnings.showwarning = _show_warning
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if not debug and not sys.warnoptions:
        # Warnings of libraries about each other (timm's use of torch.jit) do not help users.
        warnings.simplefilter("ignore", FutureWarning)
    given = [argument for argument in given if argument != "--debug"]
    try:
        app(args=given, prog_name="harness")
    except SystemExit as leaving:  # Typer always ends with SystemExit
        return leaving.code if isinstance(leaving.code, int) else 0
    except HarnessError as error:
        if debug:
            raise
        _print_error(error.message, error.hint)
        return 2
    except OSError as error:
        if debug:
            raise
        explained = explain_system_error(error)
        _print_error(explained.message, explained.hint)
        return 2
    return 0


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Shows the traceback of an unexpected error, without secrets that its text may contain."""
    print(printable(without_secrets("".join(traceback.format_exception(kind, error, trace)))), end="", file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows a warning of ours as a line, one of a library as Python does."""
    if issubclass(category, HarnessWarning):
        console = PlainConsole(stderr=True, highlight=False)
        console.print(styled("bold yellow", "warning:", f" {without_secrets(str(message))}"), soft_wrap=True)
        return
    print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def _print_error(message: str, hint: str) -> None:
    console = PlainConsole(stderr=True, highlight=False)
    console.print(styled("bold red", "error:", f" {without_secrets(message)}"), soft_wrap=True)  # paths stay whole
    if hint:
        console.print(styled("bold", "what to do:", f" {without_secrets(hint)}"), soft_wrap=True)
