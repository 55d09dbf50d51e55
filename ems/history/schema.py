"""The schema of history, moved up and down by Alembic, with its configuration built here: no alembic.ini is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ems.errors import DataError
from ems.history.engine import open_engine, shown
from ems.history.tables import metadata
from ems.resources import bundled

T = TypeVar("T")


def upgrade(url: str, revision: str = "head") -> None:
    """Brings the database at `url` up to a revision, creating it when it is new. Raises DataError in one line."""
    _run(url, lambda config, _: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Takes the database down to a revision (`base` for empty, `-1` for one step). Raises DataError in one line."""
    _run(url, lambda config, _: command.downgrade(config, revision))


def current(url: str) -> str | None:
    """The revision the database stands at, None for one without a schema. Raises DataError when it cannot be reached."""
    return _run(url, lambda _, connection: MigrationContext.configure(connection).get_current_revision())


def check(url: str) -> str | None:
    """What keeps the database from fitting the code, in one line: an older revision or tables that differ; None when it fits."""
    return _run(url, _misfit)


def _misfit(config: Config, connection: Connection) -> str | None:
    scripts = ScriptDirectory.from_config(config)
    at, newest = MigrationContext.configure(connection).get_current_revision(), scripts.get_current_head()
    if at is not None and at not in {script.revision for script in scripts.walk_revisions()}:
        return f"the schema is at revision {at}, which this version does not know; its newest is {newest}: use the version that made it"
    if at != newest:
        return f"the schema is at revision {at or 'none'}, the newest is {newest}: run `ems db upgrade`"
    return "; ".join(_in_words(d) for d in compare_metadata(_context(connection), metadata)) or None


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"compare_type": True})


def _in_words(difference: object) -> str:
    """One difference as Alembic names it: `add_table plan`, `modify_type mark.position`."""
    first = difference[0] if isinstance(difference, list) else difference
    if not isinstance(first, tuple):
        return str(first)
    what, *rest = first
    return f"{what} " + " ".join(str(getattr(part, "name", part)) for part in rest if part is not None)


def _run(url: str, work: Callable[[Config, Connection], T]) -> T:
    with _connection(url) as connection:
        config = Config()
        config.set_main_option("script_location", str(bundled("migrations")).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            return work(config, connection)
        except CommandError as error:
            raise DataError(f"{shown(url)}: {error}") from None


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise DataError(f"{shown(url)}: {str(getattr(error, 'orig', None) or error).splitlines()[0]}") from None
    finally:
        engine.dispose()
