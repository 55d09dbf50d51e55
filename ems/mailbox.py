"""The mailbox: one SQLite file through which the processes of a run talk. Bounded per topic, never waits long.

A message is `topic, sequence, written_at, valid_until, body`; the topics stand in `ems/messages.py`. Sequences grow by one over all
topics and are never used twice in one file. A file that is absent or no longer a database is replaced by an empty one; `notes` says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ems.errors import DataError

# Messages kept per topic, the newest win. Minutes hold four days, the forecaster's memory.
LIMITS: Mapping[str, int] = {
    "snapshot": 1,
    "plan": 20,
    "minute": 4 * 24 * 60,
    "order": 1000,
    "order_ack": 1000,
    "event": 1000,
    "prices": 3000,
    "weather": 3000,
    "carbon": 3000,
    "feeds": 1,
    "forecast": 4,
    "tariff": 2,
    "health": 50,
}
DEFAULT_LIMIT = 100
NOTES_KEPT = 20
UNREACHABLE = (sqlite3.Error, UnicodeDecodeError, DataError)  # a mailbox that is lost under the run costs messages, not the process

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
create table if not exists message (
    sequence integer primary key autoincrement, topic text not null,
    written_at integer not null, valid_until integer not null, body text not null);
create index if not exists by_topic on message (topic, sequence);
"""


@dataclass(frozen=True)
class Message:
    """One message as it was written. Instants are aware UTC, site time."""

    topic: str
    sequence: int
    written_at: datetime
    valid_until: datetime
    body: dict[str, Any]

    def is_valid(self, now: datetime) -> bool:
        """True until `valid_until`."""
        return now < self.valid_until


class Mailbox:
    """One end of the mailbox. Safe to share between threads of a process; another process opens its own.

    `busy_ms` bounds the wait for another writer; control keeps the default of 50 ms. With `checkpoints` False this end never moves the
    write-ahead log into the file (that may wait for the disk); the supervisor does it with `checkpoint`.
    """

    def __init__(self, path: Path, busy_ms: int = 50, checkpoints: bool = True) -> None:
        self.path = path
        self.notes: list[str] = []
        self._busy_ms = busy_ms
        self._checkpoints = checkpoints
        self._lock = threading.RLock()
        self._inode = 0
        self._db: sqlite3.Connection | None = None
        with self._lock:
            self._open_or_replace()

    def post(self, topic: str, body: Mapping[str, Any], now: datetime, valid_until: datetime) -> int | None:
        """The sequence of the new message; None when the file was busy too long (the message is not sent, a note says so)."""
        sent = self.post_many(topic, [(body, now, valid_until)])
        return sent[-1] if sent else None

    def post_many(self, topic: str, messages: Sequence[tuple[Mapping[str, Any], datetime, datetime]]) -> list[int]:
        """Sequences of many messages (body, now, valid_until) sent at once, oldest first; [] when the file was busy too long."""
        rows = [(topic, _ticks(now), _ticks(until), _encode(topic, body)) for body, now, until in messages]
        with self._lock:
            try:
                return self._healed(lambda db: _insert(db, topic, rows))
            except UNREACHABLE as error:
                self._note(f"message on {topic} not sent: {error}")
                return []

    def latest(self, topic: str, now: datetime) -> Message | None:
        """The newest message of a topic that is still valid at `now`."""
        found = self._read("select * from message where topic = ? and valid_until > ? order by sequence desc limit 1", (topic, _ticks(now)))
        return found[0] if found else None

    def since(self, topic: str, sequence: int, limit: int = 1000) -> list[Message]:
        """At most `limit` messages of a topic after `sequence`, oldest first. A reader ahead of a replaced file starts at its beginning."""
        if sequence > self.last_sequence():
            sequence = 0
        return self._read("select * from message where topic = ? and sequence > ? order by sequence limit ?", (topic, sequence, limit))

    def last_sequence(self) -> int:
        """The newest sequence ever given out in this file, 0 in an empty one."""
        rows = self._rows("select seq from sqlite_sequence where name = 'message'", ())
        return int(rows[0][0]) if rows else 0

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the file without waiting for readers."""
        self._rows("pragma wal_checkpoint(passive)", ())

    def close(self) -> None:
        """Closes this end; the messages stay."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _read(self, query: str, values: Sequence[Any]) -> list[Message]:
        return [m for row in self._rows(query.replace("*", _COLUMNS), values) if (m := self._decoded(row)) is not None]

    def _decoded(self, row: Sequence[Any]) -> Message | None:
        """The message of a row; None (and a note) when its body is no longer what was written."""
        try:
            return _message(row)
        except (ValueError, TypeError, OverflowError) as error:
            self._note(f"message {row[1]} on {row[0]} is damaged: {error}")
            return None

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            try:
                return self._healed(lambda db: db.execute(query, values).fetchall())
            except UNREACHABLE as error:
                self._note(f"mailbox not read: {error}")
                return []

    def _healed(self, work: Any) -> list[Any]:
        """The result of `work`; a broken or replaced file is opened anew first, once."""
        if self._db is None or _inode(self.path) != self._inode:
            self._open_or_replace()
        try:
            return list(work(self._db))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
            self._note(f"mailbox replaced: {error}")
            self._open_or_replace(broken_inode=self._inode)
            return list(work(self._db))

    def _open_or_replace(self, broken_inode: int | None = None) -> None:
        """Opens the file; sets a broken one aside. The side lock keeps two processes from replacing each other's new file."""
        with _side_lock(self.path):
            self.close()
            if broken_inode is not None and _inode(self.path) == broken_inode:
                _set_aside(self.path)
            try:
                self._db = _connect(self.path, self._busy_ms, self._checkpoints)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if not _is_damage(error):
                    raise DataError(f"{self.path}: the mailbox cannot be opened: {error}") from error
                self._note(f"mailbox replaced: {error}")
                _set_aside(self.path)
                self._db = _connect(self.path, self._busy_ms, self._checkpoints)
            self._inode = _inode(self.path)

    def _note(self, text: str) -> None:
        self.notes = [*self.notes[1 - NOTES_KEPT :], text]


_COLUMNS = "topic, sequence, written_at, valid_until, body"


def _connect(path: Path, busy_ms: int, checkpoints: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    try:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = normal")
        if not checkpoints:
            db.execute("pragma wal_autocheckpoint = 0")
        db.executescript(_SCHEMA)
    except (sqlite3.Error, UnicodeDecodeError):
        db.close()
        raise
    return db


def _is_damage(error: Exception) -> bool:
    """True when the file itself is broken (its pages, schema or text), False when it is busy, full, or cannot be reached."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def _insert(db: sqlite3.Connection, topic: str, rows: Sequence[tuple[str, int, int, str]]) -> list[int]:
    db.execute("begin immediate")
    try:
        sent = [
            int(db.execute("insert into message (topic, written_at, valid_until, body) values (?, ?, ?, ?)", row).lastrowid or 0)
            for row in rows
        ]
        db.execute(
            "delete from message where topic = ? and sequence <= "
            "(select sequence from message where topic = ? order by sequence desc limit 1 offset ?)",
            (topic, topic, LIMITS.get(topic, DEFAULT_LIMIT)),
        )
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    return sent


def _message(row: Sequence[Any]) -> Message:
    topic, sequence, written_at, valid_until, body = row
    return Message(topic, sequence, _instant(written_at), _instant(valid_until), json.loads(body))


def _encode(topic: str, body: Mapping[str, Any]) -> str:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(f"message on {topic} is not plain data: {error}") from error


def _ticks(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _instant(ticks: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ticks)


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _set_aside(path: Path) -> None:
    """Keeps the newest broken file for a look; its log must not be played into the next."""
    path.replace(path.with_name(path.name + ".broken"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _side_lock(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(f"{path}: the mailbox cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
