"""The console that every verb prints on: names and messages of others are shown as they are and obeyed in nothing."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.text import printable

#: Columns that are taken for granted: on fewer, and where ``COLUMNS`` is 0, names would be cut to nothing.
_LEAST_WIDTH = 40


class PlainConsole(Console):
    """A console that knows no markup in text, so that a label ``[/x]`` is a label; styled text comes as ``Text``.

    Args:
        settings: Those of :class:`rich.console.Console`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **settings})
        if self.width < _LEAST_WIDTH:
            self.width = 80

    def render_str(self, text: str, **settings: Any) -> Text:
        """Makes text of a string; tables measure by it how wide a column must be."""
        return super().render_str(printable(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders with control characters shown escaped, whatever they are in: text, tables or bars."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def styled(style: str, head: object, rest: str = "") -> Text:
    """Returns a line whose beginning has a style, e.g. ``bold`` or ``red``."""
    return Text.assemble((str(head), style), rest)
