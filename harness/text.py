"""Text of others, made fit to be shown and stored."""

import unicodedata


def printable(text: str) -> str:
    r"""Returns a text with all that acts on a terminal, turns the direction of reading or cannot be encoded escaped.

    Messages of exceptions, names and logs may come from anybody: ``\x1b[2J`` would clear the screen, and a lone
    surrogate (``\ud800``) can be written to no file. Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(repr(one)[1:-1] if _acts(one) else one for one in text)


def _acts(letter: str) -> bool:
    return not letter.isprintable() and letter not in "\n\t" and unicodedata.category(letter) in {"Cc", "Cf", "Cs"}
