"""New entries of the journal, read beside its writer and never written to."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

from ems.errors import DataError
from ems.journal.entry import Entry, instant, unpack
from ems.journal.file import FILE_NAME

BUSY_S = 2.0


class JournalTail:
    """Reads on from a sequence. An entry that cannot be read is named in `damage` and passed over; `ems verify-journal` says where."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self.damage: list[str] = []

    def identity(self) -> str | None:
        """What tells this journal from one that replaced it: the hash of its first entry. None while there is none."""
        rows = self._rows("select hash from entry order by sequence limit 1", ())
        return bytes(rows[0][0]).hex()[:16] if rows else None

    def read(self, after: int, limit: int) -> list[Entry]:
        """At most `limit` entries after a sequence, oldest first. Raises DataError when the journal cannot be read."""
        rows = self._rows(f"{_SELECT} where sequence > ? order by sequence limit ?", (after, limit))
        known = {row[0] for row in rows}
        wanted = sorted({row[3] for row in rows if row[3]} - known)
        keys = [row for part in _parts(wanted) for row in self._rows(f"{_SELECT} where sequence in ({','.join('?' * len(part))})", part)]
        texts: dict[int, bytes] = {}
        for row in keys:
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

    def _rows(self, query: str, values: Sequence[int]) -> list[tuple]:
        if not self._path.exists():
            return []
        try:
            db = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
            try:
                return db.execute(query, values).fetchall()
            finally:
                db.close()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self._path}: the journal cannot be read: {error}") from error


def _parts(values: Sequence[int], size: int = 500) -> list[Sequence[int]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


_SELECT = "select sequence, at_us, kind, base, packed from entry"
