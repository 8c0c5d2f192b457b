"""MLflow never costs a result: what goes wrong with it is said, and the command goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from harness.cli.shared.console import styled
from harness.errors import HarnessError


@contextmanager
def saying_untracked(console: Console) -> Iterator[None]:
    """Within the block, what is done already stands: an error is shown, and the command ends as without MLflow.

    Args:
        console: Console to show the message on.
    """
    try:
        yield
    except HarnessError as error:
        text = f" {error.message} {error.hint}".rstrip()
        console.print(styled("yellow", "Not in MLflow:", text), highlight=False, soft_wrap=True)
