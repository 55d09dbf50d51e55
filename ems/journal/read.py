"""Reading a journal back, and finding where its hash chain breaks first."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ems.errors import DataError
from ems.journal.entry import FIRST_HASH, Entry, PackedEntry, instant, ticks, unpack
from ems.journal.file import FILE_NAME, read_rows, read_tail

END = 2**62  # later than any instant


def read_journal(state_dir: Path, kind: str | None = None) -> Iterator[Entry]:
    """The entries of a state directory, oldest first, of one kind or all. Raises DataError where the journal cannot be read."""
    keys: dict[str, tuple[int, bytes]] = {}
    for packed, _ in read_rows(state_dir / FILE_NAME, kind):
        yield _entry(packed, keys)


def last_entry(state_dir: Path, kind: str, until: datetime | None = None) -> Entry | None:
    """The newest entry of a kind (not after `until`, when given), None when there is none. Does not read the rest."""
    newest = None
    keys: dict[str, tuple[int, bytes]] = {}
    for packed, _ in read_tail(state_dir / FILE_NAME, kind, END if until is None else ticks(until)):
        newest = _entry(packed, keys)
    return newest


def verify_journal(state_dir: Path) -> str | None:
    """The first break of the hash chain in words, None when the chain is whole. Raises DataError when there is no journal to read."""
    previous, expected = FIRST_HASH, 1
    keys: dict[str, tuple[int, bytes]] = {}
    try:
        for packed, stored in read_rows(state_dir / FILE_NAME):
            if packed.sequence != expected:
                return f"entry {expected} is missing (the next one is {packed.sequence})"
            try:
                if packed.hash_after(previous) != stored:
                    return f"entry {expected} was changed: its hash does not follow from the entry before"
                _entry(packed, keys)
            except (DataError, AttributeError, TypeError, ValueError, OverflowError) as error:
                return f"entry {expected} cannot be read: {error}"
            previous, expected = stored, expected + 1
    except DataError as error:
        if not (state_dir / FILE_NAME).exists():
            raise
        return f"after entry {expected - 1}: {error}"
    return None


def _entry(packed: PackedEntry, keys: dict[str, tuple[int, bytes]]) -> Entry:
    key_sequence, key_text = keys.get(packed.kind, (0, b""))
    if packed.base and packed.base != key_sequence:
        raise DataError(f"entry {packed.sequence} needs entry {packed.base}, which is not there")
    try:
        text = unpack(packed.packed, key_text if packed.base else b"")
        body = json.loads(text)
    except (zlib.error, ValueError) as error:
        raise DataError(f"entry {packed.sequence} cannot be read: {error}") from error
    if not packed.base:
        keys[packed.kind] = (packed.sequence, text)
    return Entry(packed.sequence, packed.kind, instant(packed.at_us), body)
