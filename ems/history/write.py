"""Putting rows into history: each write may be repeated and changes nothing the second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from ems.history.tables import mark

Rows = Sequence[Mapping[str, Any]]


def put(connection: Connection, table: Table, rows: Rows) -> int:
    """Inserts rows, or replaces what stands under the same key; the number of rows."""
    if not rows:
        return 0
    keys = [c.name for c in table.primary_key]
    statement = _insert(connection, table)
    others = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys and c.name in rows[0]}
    update = statement.on_conflict_do_update(index_elements=keys, set_=others) if others else statement.on_conflict_do_nothing()
    connection.execute(update, list(rows))
    return len(rows)


def put_new(connection: Connection, table: Table, rows: Rows) -> int:
    """Inserts rows; what stands under the same key stays. The number of rows given."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), list(rows))
    return len(rows)


def read_mark(connection: Connection, name: str, identity: str) -> tuple[int, dict[str, Any]]:
    """How far a source was shipped and what to compare with; the beginning when the source is another one than last time."""
    found = connection.execute(select(mark.c.identity, mark.c.position, mark.c.memory).where(mark.c.name == name)).one_or_none()
    if found is None or found.identity != identity:
        return 0, {}
    return found.position, dict(found.memory)


def write_mark(connection: Connection, name: str, identity: str, position: int, memory: Mapping[str, Any], now: datetime) -> None:
    """Moves the mark, in the transaction of the rows it stands for."""
    row = {"name": name, "identity": identity, "position": position, "memory": dict(memory), "at": now}
    put(connection, mark, [row])


def _insert(connection: Connection, table: Table) -> Any:
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
