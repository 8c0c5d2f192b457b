"""The tracking server: asked once whether it is there, given seconds, and never worth a result."""

import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import mlflow
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from harness.errors import HarnessError
from harness.redaction import without_secrets

#: Seconds that a server has to answer a knock.
PATIENCE = 3.0

#: MLflow's own are 7 retries of 120 seconds: minutes of silence where a server is gone.
_SHORT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}

#: Table by which MLflow knows the version of its database.
_VERSION_TABLE = "alembic_version"

#: How SQLAlchemy repeats the error of a database's driver.
_OF_DATABASE = re.compile(r"\([\w.]+Error\) ")


class TrackingError(HarnessError):
    """MLflow cannot be used, for whatever reason: every result is safe without it."""


class RefusedError(HarnessError):
    """MLflow works, and refuses what some cells hold, or that cannot be read: all others are mirrored."""


@contextmanager
def tracking(what: str, hint: str) -> Iterator[None]:
    """Within the block MLflow is given seconds, and whatever it raises becomes one message.

    Args:
        what: What was tried, e.g. ``The report cannot be logged``.
        hint: What to do next.

    Raises:
        TrackingError: The server cannot be reached or written, its database is locked, damaged, of another version or
            another program's, or anything else that MLflow or its libraries raise.
    """
    before = {name: os.environ[name] for name in _SHORT if name in os.environ}
    os.environ.update(_SHORT | before)
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:  # SQLAlchemy, requests, alembic and the drivers raise what they like
        raise TrackingError(f"{what} at {tracking_place()}: {_reason(error)}", hint=hint) from error
    finally:
        for name in set(_SHORT) - set(before):
            os.environ.pop(name, None)


def tracking_place() -> str:
    """Returns the tracking URI without user name, password and query: fit for logs and messages."""
    uri = mlflow.get_tracking_uri()
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return without_secrets(uri)
    if parts.hostname is None:
        return str(uri)
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def knock() -> None:
    """Asks whether the tracking server is there, within seconds.

    Raises:
        OSError: Nobody answers, or the database cannot be written.
        HTTPException: What answers is no web server.
        ValueError: The database is another program's.
        sqlite3.Error: It is locked or damaged.
    """
    uri = mlflow.get_tracking_uri()
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        _try_sqlite(uri)
    elif scheme in _PORTS:
        parts = urlsplit(uri)
        if not parts.hostname or (scheme in getproxies() and not proxy_bypass(parts.hostname)):
            return
        address = parts.hostname, parts.port or _PORTS[scheme]
        if scheme == "http":  # a server may take a call and never answer it
            with closing(HTTPConnection(*address, timeout=PATIENCE)) as connection:
                connection.request("HEAD", parts.path or "/")
                connection.getresponse()
        else:
            socket.create_connection(address, PATIENCE).close()


def _try_sqlite(uri: str) -> None:
    try:
        name = make_url(uri).database
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    if not name or name == ":memory:" or name.startswith("file:"):
        return
    path = Path(name)
    if not path.exists():
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
        return
    if not path.is_file():
        raise ValueError("it is no file")
    place = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(place, uri=True, timeout=PATIENCE)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and _VERSION_TABLE not in tables:
            raise ValueError(f"the database is another program's: it has tables {', '.join(sorted(tables)[:3])}")
        database.execute("BEGIN IMMEDIATE")
        database.rollback()


def _reason(error: BaseException) -> str:
    """Returns what was raised in a line; for databases, remarks stand before it and all data behind it."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if _OF_DATABASE.match(line)), lines[0])
    return without_secrets(line.strip())
