"""Reading a journal back, and finding where its hash chain breaks first."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ems.errors import DataError
from ems.journal.entry import Entry, PackedEntry, instant, ticks, unpack
from ems.journal.file import open_to_read, read_rows, read_tail
from ems.journal.segments import Anchor, read_anchor, segment_paths

END = 2**62  # later than any instant


def read_journal(state_dir: Path, kind: str | None = None) -> Iterator[Entry]:
    """The entries of a state directory, oldest first, of one kind or all. Raises DataError where the journal cannot be read."""
    for path in present(state_dir):
        keys: dict[str, tuple[int, bytes]] = {}
        for packed, _ in read_rows(path, kind):
            yield _entry(packed, keys)


def last_entry(state_dir: Path, kind: str, until: datetime | None = None) -> Entry | None:
    """The newest entry of a kind (not after `until`, when given), None when there is none. Does not read the rest."""
    for path in reversed(present(state_dir)):
        newest = None
        keys: dict[str, tuple[int, bytes]] = {}
        for packed, _ in read_tail(path, kind, END if until is None else ticks(until)):
            newest = _entry(packed, keys)
        if newest is not None:
            return newest
    return None


def present(state_dir: Path) -> list[Path]:
    """The journal's files that are there, oldest first; the written one alone when there is none, so that its absence is an error."""
    paths = segment_paths(state_dir)
    return [path for path in paths if path.exists()] or paths[-1:]


def first_sequence(state_dir: Path) -> int:
    """The first entry that is kept: 1, or a later one when old segments were removed."""
    return _anchor_of(present(state_dir)[0]).first_sequence


def verify_journal(state_dir: Path) -> str | None:
    """The first break of the hash chain in words, None when the chain is whole over all files that are kept. Raises DataError when there
    is no journal to read."""
    chain: Anchor | None = None
    for path in present(state_dir):
        chain, broken = _verify_file(path, chain)
        if broken:
            return broken
    return None


def _verify_file(path: Path, before: Anchor | None) -> tuple[Anchor, str | None]:
    """Where the chain stands after a file, and its first break. `before`: where it stood after the file before, None for the oldest."""
    anchor = _anchor_of(path)
    if before is not None and anchor.first_sequence > before.first_sequence:
        return anchor, f"entries {before.first_sequence} to {anchor.first_sequence - 1} are missing: a segment is not there"
    if before is not None and (anchor.first_sequence, anchor.previous) != (before.first_sequence, before.previous):
        return anchor, f"entry {anchor.first_sequence}: {path.name} does not continue the segment before"
    if anchor.first_sequence == 1 and anchor.previous != Anchor().previous:
        return anchor, "entry 1 does not begin a chain"
    previous, expected = anchor.previous, anchor.first_sequence
    keys: dict[str, tuple[int, bytes]] = {}
    try:
        for packed, stored in read_rows(path):
            if packed.sequence != expected:
                return anchor, f"entry {expected} is missing (the next one is {packed.sequence})"
            try:
                if packed.hash_after(previous) != stored:
                    return anchor, f"entry {expected} was changed: its hash does not follow from the entry before"
                _entry(packed, keys)
            except (DataError, AttributeError, TypeError, ValueError, OverflowError) as error:
                return anchor, f"entry {expected} cannot be read: {error}"
            previous, expected = stored, expected + 1
    except DataError as error:
        if not path.exists():
            raise
        return anchor, f"after entry {expected - 1}: {error}"
    return Anchor(expected, previous), None


def _anchor_of(path: Path) -> Anchor:
    """The anchor of a file; that of a beginning where it cannot be read (its entries then say why)."""
    if not path.exists():
        return Anchor()
    try:
        db = open_to_read(path)
        try:
            return read_anchor(db)
        finally:
            db.close()
    except (sqlite3.Error, UnicodeDecodeError, ValueError, TypeError):
        return Anchor()


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
