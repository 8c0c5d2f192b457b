"""Secrets never reach logs, messages, reports, the store or hashes: the one place where they are cut out of text.

What is a secret: user names and passwords in addresses, parameters of addresses and headers that carry credentials, and
the values of environment variables whose names say so (``MLFLOW_TRACKING_PASSWORD``, ``..._TOKEN``).
"""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

_HIDDEN = "***"

#: ``scheme://user:password@host``. Greedy: a password may hold an ``@`` or, unquoted, a slash before one.
_USER = re.compile(r"(?<=://)[^\s'\"<>]*@")

#: In an address any parameter that may carry one; elsewhere only what is no usual word of a program.
_PARAMETER = re.compile(
    r"(?i)([?&](?:[\w-]*(?:token|secret|passw(?:or)?d|pwd|signature|credential)s?|[\w-]*key|sig|auth)="
    r"|\b(?:passw(?:or)?d|client_secret|api[_-]?key|access[_-]?token)['\"]?\s*[=:]\s*['\"]?)"
    r"(?!\*\*\*)[^&;,\s'\"<>}]+"
)

_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")

_SECRET_NAME = re.compile(r"(?i)(TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|API_?KEY|ACCESS_?KEY)")

#: Shorter values are words that stand in any text.
_SHORTEST = 6


def without_secrets(text: object) -> str:
    """Returns a text (or an error's, or any object's) with everything secret replaced by ``***``."""
    shown = str(text)
    for secret in sorted(set(_known_secrets(os.environ)), key=len, reverse=True):
        shown = shown.replace(secret, _HIDDEN)
    shown = _USER.sub(f"{_HIDDEN}@", shown)
    shown = _HEADER.sub(rf"\1 {_HIDDEN}", shown)
    return _PARAMETER.sub(rf"\1{_HIDDEN}", shown)


def without_tracking_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment without what leads to the tracking server: workers know nothing of MLflow."""
    return {name: value for name, value in environment.items() if not name.startswith("MLFLOW_")}


def _known_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST:
            yield value
        if "://" in value and (password := _password(value)):
            yield password
            if len(unquote(password)) >= _SHORTEST:
                yield unquote(password)


def _password(address: str) -> str:
    try:
        password = urlsplit(address).password or ""
    except ValueError:  # no address after all
        return ""
    return password if len(password) >= _SHORTEST else ""
