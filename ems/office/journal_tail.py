"""New entries of the journal, read beside its writer and never written to."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ems.errors import DataError
from ems.journal.entry import Entry, instant, unpack
from ems.journal.segments import FILE_NAME, identity, segment_paths

BUSY_S = 2.0
T = TypeVar("T")


class JournalTail:
    """Reads on from a sequence. An entry that cannot be read is named in `damage` and passed over; `ems verify-journal` says where."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self.damage: list[str] = []

    def identity(self) -> str | None:
        """What tells this journal from one that replaced it: the hash of the first entry it ever had. None while there is none."""
        newest = next((path for path in reversed(segment_paths(self._path.parent)) if path.exists()), None)
        return None if newest is None else self._asked(newest, identity)

    def read(self, after: int, limit: int) -> list[Entry]:
        """At most `limit` entries after a sequence, oldest first. Raises DataError when the journal cannot be read."""
        found: list[Entry] = []
        for path in segment_paths(self._path.parent):
            if path.exists() and len(found) < limit:
                found += self._read_file(path, after, limit - len(found))
        return found

    def _read_file(self, path: Path, after: int, limit: int) -> list[Entry]:
        rows = self._rows(path, f"{_SELECT} where sequence > ? order by sequence limit ?", (after, limit))
        known = {row[0] for row in rows}
        wanted = sorted({row[3] for row in rows if row[3]} - known)
        parts = [(f"{_SELECT} where sequence in ({','.join('?' * len(part))})", part) for part in _parts(wanted)]
        texts: dict[int, bytes] = {}
        for row in [row for query, part in parts for row in self._rows(path, query, part)]:
            self._text(row, texts)
        return [entry for row in rows if (entry := self._entry(row, texts)) is not None]

    def _entry(self, row: tuple[int, int, str, int, bytes], texts: dict[int, bytes]) -> Entry | None:
        text = self._text(row, texts)
        try:
            return None if text is None else Entry(row[0], row[2], instant(row[1]), json.loads(text))
        except ValueError as error:
            self._note(row[0], error)
            return None

    def _text(self, row: tuple[int, int, str, int, bytes], texts: dict[int, bytes]) -> bytes | None:
        """The body; that of a key entry is kept as the dictionary of those that follow."""
        sequence, _, _, base, packed = row
        try:
            text = unpack(packed, texts[base] if base else b"")
        except (zlib.error, KeyError) as error:
            self._note(sequence, error)
            return None
        if not base:
            texts[sequence] = text
        return text

    def _note(self, sequence: int, error: Exception) -> None:
        self.damage = [*self.damage[-19:], f"entry {sequence} cannot be read: {error}"]

    def _rows(self, path: Path, query: str, values: Sequence[int]) -> list[tuple]:
        return self._asked(path, lambda db: db.execute(query, values).fetchall())

    def _asked(self, path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
            try:
                return ask(db)
            finally:
                db.close()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: the journal cannot be read: {error}") from error


def _parts(values: Sequence[int], size: int = 500) -> list[Sequence[int]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


_SELECT = "select sequence, at_us, kind, base, packed from entry"
