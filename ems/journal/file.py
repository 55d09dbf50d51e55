"""The journal's SQLite file: append in one transaction, read in order. Written by one process only (its lock stands in ems/app)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from ems.errors import DataError
from ems.journal.entry import PackedEntry
from ems.journal.segments import FILE_NAME as FILE_NAME
from ems.journal.segments import anchor_file, read_anchor, refuse_newer

MAGIC = b"SQLite format 3\0"
DRAFT = ".restored"
_SCHEMA = """
create table if not exists entry (
    sequence integer primary key, at_us integer not null, kind text not null,
    base integer not null, packed blob not null, hash blob not null);
create index if not exists by_kind on entry (kind, sequence);
"""


def open_for_append(path: Path) -> sqlite3.Connection:
    """A durable connection: what a commit returned from survives a power cut. A file that is no longer a database is kept under another
    name and a new one begun. Raises DataError when the place cannot be written."""
    try:
        return _connect(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise DataError(f"{path}: the journal cannot be opened for writing: {error}") from error
        _set_aside(path)
        return _connect(path)


def is_damage(error: Exception) -> bool:
    """True when the file itself is broken, False when it is busy, full, or cannot be reached."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        refuse_newer(db, path)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.executescript(_SCHEMA)
        anchor_file(db, path.parent)
        head(db)
    except (sqlite3.Error, UnicodeDecodeError, DataError):
        db.close()
        raise
    return db


def _set_aside(path: Path) -> None:
    """Renames a broken journal and its log to the next free `<name>.broken-<n>`; nothing of it is ever deleted."""
    n = 1 + len(list(path.parent.glob(f"{path.name}.broken-*")))
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(path.with_name(f"{path.name}.broken-{n}{suffix}"))


def stands(db_file: os.stat_result, path: Path) -> bool:
    """True while the file at `path` is the one that was opened and begins as a database does. SQLite itself goes on writing into a file
    that was removed, and notices an overwritten one late."""
    try:
        with path.open("rb") as now:
            return os.path.samestat(os.fstat(now.fileno()), db_file) and now.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def restored(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Everything an open connection still holds of a journal that was removed or replaced, written to `path` again; what stands there is
    kept under another name. Raises sqlite3.Error or OSError when it cannot be saved."""
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)
    copy = sqlite3.connect(draft)
    try:
        db.backup(copy)
        if head(copy) != head(db) or copy.execute("pragma quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("what is left of it is not whole")
    finally:
        copy.close()
    _set_aside(path)
    draft.replace(path)
    return _connect(path)


def head(db: sqlite3.Connection) -> tuple[int, bytes]:
    """Sequence and hash of the last entry; where the chain stood before this file while it has none."""
    row = db.execute("select sequence, hash from entry order by sequence desc limit 1").fetchone()
    if row:
        return int(row[0]), bytes(row[1])
    anchor = read_anchor(db)
    return anchor.first_sequence - 1, anchor.previous


def size_bytes(db: sqlite3.Connection) -> int:
    """The size of the file with its log worked in."""
    return int(db.execute("pragma page_count").fetchone()[0] * db.execute("pragma page_size").fetchone()[0])


def append(db: sqlite3.Connection, rows: Sequence[tuple[PackedEntry, bytes]]) -> None:
    """All rows durable, or none: entries with their hashes, in one transaction."""
    db.execute("begin immediate")
    try:
        db.executemany(
            "insert into entry (sequence, at_us, kind, base, packed, hash) values (?, ?, ?, ?, ?, ?)",
            [(e.sequence, e.at_us, e.kind, e.base, e.packed, digest) for e, digest in rows],
        )
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


def read_rows(path: Path, kind: str | None = None) -> Iterator[tuple[PackedEntry, bytes]]:
    """Entries with their stored hashes, oldest first, of one kind or all. Raises DataError when the file cannot be read."""
    where, values = ("where kind = ?", (kind,)) if kind else ("", ())
    return _rows(path, f"{_SELECT} {where} order by sequence", values)


def read_tail(path: Path, kind: str, until_us: int) -> Iterator[tuple[PackedEntry, bytes]]:
    """The newest entry of a kind at or before an instant, after the one it needs to be unpacked. Raises DataError."""
    newest = "(select sequence from entry where kind = ? and at_us <= ? order by sequence desc limit 1)"
    where = f"where sequence = {newest} or sequence = (select base from entry where sequence = {newest})"
    return _rows(path, f"{_SELECT} {where} order by sequence", (kind, until_us, kind, until_us))


_SELECT = "select sequence, at_us, kind, base, packed, hash from entry"


def _rows(path: Path, query: str, values: Sequence[str | int]) -> Iterator[tuple[PackedEntry, bytes]]:
    if not path.exists():
        raise DataError(f"{path}: there is no journal")
    try:
        db = open_to_read(path)
        try:
            refuse_newer(db, path)
            for row in db.execute(query, values):
                if tuple(map(type, row)) != _TYPES:
                    raise DataError(f"{path}: an entry holds {_wrong_column(row)}: it was changed")
                sequence, at_us, name, base, packed, digest = row
                yield PackedEntry(sequence, at_us, name, base, packed), digest
        finally:
            db.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the journal cannot be read: {error}") from error


_COLUMNS = ("sequence", "at_us", "kind", "base", "packed", "hash")
_TYPES = (int, int, str, int, bytes, bytes)


def _wrong_column(row: Sequence[object]) -> str:
    """The first column that is not of the type it was written with; its value is not shown, it may be anything."""
    kinds = zip(_COLUMNS, row, _TYPES, strict=True)
    return next(f"{type(value).__name__} as {name} instead of {kind.__name__}" for name, value, kind in kinds if type(value) is not kind)


def open_to_read(path: Path) -> sqlite3.Connection:
    """Beside a running writer, or from a read-only place (then the file alone is read)."""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
        db.execute("select count(*) from sqlite_master")
        return db
    except sqlite3.OperationalError:
        return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
