"""Verbs that are imported when they are used, so that the list of verbs and every other verb come quickly."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

#: What a command has from its verb's function.
_OF_THE_VERB = ("params", "help", "callback")


class LateCommand(TyperCommand):
    """The command of a verb; its function has the verb's name, as has the module of :mod:`harness.cli` it stands in.

    The list of verbs shows the name and ``short_help``. The function is imported as soon as anything else is asked for.
    """

    def __init__(self, name: str | None, **facts: Any) -> None:
        super().__init__(name, **facts)
        for key in _OF_THE_VERB:
            del vars(self)[key]  # what the placeholder had; `__getattr__` finds the verb's

    def __getattr__(self, key: str) -> Any:
        if key not in _OF_THE_VERB:
            raise AttributeError(f"{type(self).__name__} has no attribute {key}")
        name = str(self.name).replace("-", "_")
        app = typer.Typer(add_completion=False)
        app.command()(getattr(import_module(f"harness.cli.{name}"), name))
        whole = get_command(app)
        vars(self).update({one: getattr(whole, one) for one in _OF_THE_VERB})
        return vars(self)[key]


def placeholder() -> None:
    """Stands for a verb that is not imported yet."""
