"""The record of every event: one SQLite file, append-only, hash-chained, durable before anything is done (synchronous = FULL).

One file may be written by several processes (the daemon and a person at the command line) one after the other: `exclusive` is a lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ems.errors import DataError

FILE_NAME = "programs.db"
FIRST_HASH = "0" * 64
_SCHEMA = """
create table if not exists record (
    sequence integer primary key, at text not null, kind text not null, event text not null, body text not null, hash text not null);
create index if not exists by_event on record (event, sequence);
"""


@dataclass(frozen=True)
class Record:
    """One fact. `kind`: message, state, posted, note. `at` never runs backwards within the file."""

    sequence: int
    at: datetime
    kind: str
    event: str
    body: dict[str, Any]
    hash: str

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "at": self.at.isoformat()}

    @staticmethod
    def decode(data: Mapping[str, Any]) -> Record:
        """The record back; raises KeyError, ValueError or TypeError on anything else."""
        return Record(**{**data, "at": datetime.fromisoformat(data["at"])})


def chained(previous: str, sequence: int, at: str, kind: str, event: str, body: str) -> str:
    """SHA-256 over the previous hash and every field, so that no two records read alike."""
    text = json.dumps([previous, sequence, at, kind, event, body])
    return hashlib.sha256(text.encode()).hexdigest()


def plain_text(body: Mapping[str, Any]) -> str:
    """The one JSON text of a body; DataError on what is not plain data."""
    try:
        return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"a record must be plain data: {error}") from error


class EventStore:
    """The file of one site."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise DataError(f"{path}: the record of grid events cannot be opened: {error}") from error

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes from writing meanwhile."""
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def append(self, at: datetime, kind: str, event: str, body: Mapping[str, Any]) -> Record:
        """One more fact, durable when this returns. Its instant is never before that of the last one. DataError when it cannot be kept."""
        text = plain_text(body)
        try:
            self._db.execute("begin immediate")
            try:
                last = self._db.execute("select sequence, at, hash from record order by sequence desc limit 1").fetchone()
                sequence, before, previous = last or (0, "", FIRST_HASH)
                stamp = max(at, datetime.fromisoformat(before)) if before else at
                record = Record(
                    sequence + 1,
                    stamp,
                    kind,
                    event,
                    json.loads(text),
                    chained(previous, sequence + 1, stamp.isoformat(), kind, event, text),
                )
                values = (record.sequence, stamp.isoformat(), kind, event, text, record.hash)
                self._db.execute("insert into record values (?, ?, ?, ?, ?, ?)", values)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: not written: {error}") from error
        return record

    def since(self, sequence: int = 0, event: str | None = None) -> list[Record]:
        """Records after a sequence, of one event or all, oldest first."""
        query = "select sequence, at, kind, event, body, hash from record where sequence > ?"
        values: tuple[Any, ...] = (sequence,)
        if event is not None:
            query, values = query + " and event = ?", (sequence, event)
        try:
            rows = self._db.execute(query + " order by sequence", values).fetchall()
            return [Record(n, datetime.fromisoformat(at), kind, e, json.loads(body), h) for n, at, kind, e, body, h in rows]
        except (sqlite3.Error, ValueError) as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


class KeptRecords:
    """Records that are read from somewhere else than a store, such as a bundle."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)

    def since(self, sequence: int = 0, event: str | None = None) -> list[Record]:
        """Those after a sequence, of one event or all, oldest first."""
        return [r for r in self._records if r.sequence > sequence and event in (None, r.event)]


def broken_at(records: list[Record]) -> int | None:
    """The sequence of the first record whose hash does not follow from the one before (or whose number is out of line); None: whole."""
    previous, number = FIRST_HASH, 0
    for r in records:
        if r.sequence != number + 1 or r.hash != chained(previous, r.sequence, r.at.isoformat(), r.kind, r.event, plain_text(r.body)):
            return r.sequence
        previous, number = r.hash, r.sequence
    return None
