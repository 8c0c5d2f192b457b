"""How a p is printed, so that what is printed never contradicts what was decided."""

from harness.statistics.sample_size import ALPHA

#: Marks a p below :data:`harness.statistics.sample_size.ALPHA`.
STAR = "*"


def p_text(value: float) -> str:
    """Three digits; a p below a limit is never rounded up to it."""
    if value < 0.001:
        return "<0.001"
    text = f"{value:.3f}"
    return f"<{ALPHA}" if value < ALPHA <= float(text) else text


def p_statement(value: float) -> str:
    """In a sentence: ``p = 0.012`` or ``p < 0.001``."""
    text = p_text(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def starred_p(value: float) -> str:
    """The same with a star where it is significant."""
    return f"{p_text(value)}{STAR if value < ALPHA else ''}"
