"""The journal's files: the one that is written, and older segments beside it, each continuing the chain of the one before.

`journal.db` is written; a closed segment is `journal-<first sequence>.db`. Every file knows where the chain stood before its first entry
(its anchor), so that it can be verified alone, and is linked to the one before as long as that one is kept.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ems.errors import DataError
from ems.journal.entry import FIRST_HASH

FORMAT = 2  # of the file; 1 had no anchor. A newer one is refused, an older one is taken over
FILE_NAME = "journal.db"
PATTERN = "journal-*.db"
_ANCHOR = "create table if not exists anchor (first_sequence integer not null, previous blob not null, identity text not null)"


class NewerVersion(DataError):
    """The file was written by a version that came after this one; it was left as it is."""


@dataclass(frozen=True)
class Anchor:
    """Where the chain stood before a file's first entry. `identity` is the same for all files of one journal."""

    first_sequence: int = 1
    previous: bytes = FIRST_HASH
    identity: str = ""


def segment_paths(folder: Path) -> list[Path]:
    """All files of a journal, oldest first, the one that is written last (whether or not it exists)."""
    return [*sorted(folder.glob(PATTERN)), folder / FILE_NAME]


def refuse_newer(db: sqlite3.Connection, path: Path) -> None:
    """NewerVersion when the file was written by a newer version than this one."""
    found = int(db.execute("pragma user_version").fetchone()[0])
    if found > FORMAT:
        said = f"written by a newer version (journal format {found}, this one knows up to {FORMAT})"
        raise NewerVersion(f"{path}: {said}; nothing was changed")


def read_anchor(db: sqlite3.Connection) -> Anchor:
    """The anchor of a file; that of a whole journal for a file of format 1."""
    if db.execute("select count(*) from sqlite_master where name = 'anchor'").fetchone()[0]:
        row = db.execute("select first_sequence, previous, identity from anchor").fetchone()
        if row is not None:
            return Anchor(int(row[0]), bytes(row[1]), str(row[2]))
    return Anchor()


def anchor_file(db: sqlite3.Connection, folder: Path) -> None:
    """Gives a file of format 1, or one just begun, its anchor: after the newest closed segment, or the beginning of all."""
    db.execute("begin immediate")
    try:
        db.execute(_ANCHOR)
        if db.execute("select count(*) from anchor").fetchone()[0] == 0:
            first = db.execute("select sequence from entry order by sequence limit 1").fetchone()
            anchor = Anchor() if first is not None else _after_the_newest(folder)
            db.execute("insert into anchor values (?, ?, ?)", (anchor.first_sequence, anchor.previous, anchor.identity))
        db.execute(f"pragma user_version = {FORMAT}")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


def identity(db: sqlite3.Connection) -> str | None:
    """What tells this journal from one that replaced it: the hash of the first entry it ever had. None while there is none."""
    kept = read_anchor(db).identity
    if kept:
        return kept
    row = db.execute("select hash from entry order by sequence limit 1").fetchone()
    return bytes(row[0]).hex()[:16] if row else None


def close_segment(db: sqlite3.Connection, path: Path) -> Path | None:
    """Makes the written file whole, closes it and renames it; its new place. None when a reader is in the way: then nothing changed."""
    busy, _, _ = db.execute("pragma wal_checkpoint(truncate)").fetchone()
    if busy:
        return None
    first = read_anchor(db).first_sequence
    closed = path.with_name(f"journal-{first:012d}.db")
    db.close()
    os.replace(path, closed)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _sync_folder(path.parent)
    return closed


def retire(folder: Path, keep_bytes: int) -> list[str]:
    """Removes the oldest closed segments while all of them hold more than `keep_bytes`, never the newest; their names."""
    closed = sorted(folder.glob(PATTERN))
    sizes = {path: path.stat().st_size for path in closed}
    gone = []
    while len(closed) > 1 and sum(sizes[path] for path in closed) > keep_bytes:
        oldest = closed.pop(0)
        oldest.unlink()
        gone.append(oldest.name)
    return gone


def _after_the_newest(folder: Path) -> Anchor:
    closed = sorted(folder.glob(PATTERN))
    if not closed:
        return Anchor()
    db = sqlite3.connect(f"{closed[-1].resolve().as_uri()}?mode=ro", uri=True)
    try:
        row = db.execute("select sequence, hash from entry order by sequence desc limit 1").fetchone()
        before = read_anchor(db)
        sequence, digest = (int(row[0]), bytes(row[1])) if row else (before.first_sequence - 1, before.previous)
        return Anchor(sequence + 1, digest, identity(db) or "")
    finally:
        db.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
