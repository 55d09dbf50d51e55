"""The connection to the history database, SQLite or PostgreSQL, by one URL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ems.errors import DataError

BUSY_S = 5.0


def open_engine(url: str) -> Engine:
    """An engine for the history at `url`. Raises DataError for a URL that is none, or whose driver is not installed."""
    try:
        engine = create_engine(url, **_options(url))
    except ImportError as error:
        raise DataError(f"{shown(url)}: no driver for this database ({error}); PostgreSQL needs the extra `postgres`") from None
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        raise DataError(f"{shown(url)}: expected a database URL such as sqlite:///history.sqlite ({error})") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def shown(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "the given address"


def _options(url: str) -> dict[str, Any]:
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    return {"connect_args": {"timeout": BUSY_S}} if is_sqlite else {"pool_pre_ping": True}


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Readers beside a writer; losing the last rows in a power cut is allowed, they are shipped again."""
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = normal")
    cursor.close()
