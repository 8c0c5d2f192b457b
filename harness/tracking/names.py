"""Names that MLflow takes, one to one: `ET+TC` and `GTV (nodes)` are regions, and no metrics of MLflow.

MLflow takes letters, digits, ``_ - .``, blanks and slashes. Any other sign stands as ``_xHEX_``, as in names in XML
(ISO 9075-14): ``ET_x2B_TC``. So does the first sign of what would be read as such a code, of a name that has a meaning
of its own (``mean``), and of dots alone. Equal names in MLflow therefore stand for equal names here.
"""

import hashlib
import re
from collections.abc import Collection

#: Characters of a name in MLflow.
_LONGEST = 250

_CODE = re.compile(r"_(?=x[0-9A-F]+_)")
_REFUSED = re.compile(r"[^\w.\- ]")


def metric_name(*parts: str, reserved: Collection[str] = ()) -> str:
    """Returns the name of a metric or parameter that MLflow takes; a slash parts sections of charts.

    Args:
        parts: From the section to the name; any text.
        reserved: Names that mean something else at the end of a name.
    """
    *sections, last = parts
    found = _safe(last)
    if found in reserved:
        found = _code(found[0]) + found[1:]
    name = "/".join([*map(_safe, sections), found])
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256("/".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return f"{name[: _LONGEST - len(digest) - 1]}_{digest}"


def _safe(part: str) -> str:
    if not part.strip("."):  # '', '.' and '..' are folders, or nothing
        return "".join(map(_code, part)) or "_x_"
    part = _CODE.sub(lambda found: _code(found[0]), part)
    return _REFUSED.sub(lambda found: _code(found[0]), part)


def _code(sign: str) -> str:
    return f"_x{ord(sign):X}_"
