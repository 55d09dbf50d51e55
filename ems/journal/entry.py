"""One journal entry, its packed body and its place in the hash chain. Standard library only."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ems.errors import DataError

FIRST_HASH = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """What the journal says happened: kind, instant (site time), body as plain data."""

    sequence: int
    kind: str
    at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PackedEntry:
    """An entry as it lies in the file. `base` is the sequence of the entry whose body text is the dictionary of this one, 0 for none."""

    sequence: int
    at_us: int
    kind: str
    base: int
    packed: bytes

    def hash_after(self, previous: bytes) -> bytes:
        """SHA-256 over the previous hash and every field, lengths first so that no two entries read alike."""
        kind = self.kind.encode()
        head = b"".join(n.to_bytes(8, "big", signed=True) for n in (self.sequence, self.at_us, self.base, len(kind), len(self.packed)))
        return hashlib.sha256(previous + head + kind + self.packed).digest()


def canonical_text(body: Mapping[str, Any]) -> bytes:
    """The one JSON text of a body; raises DataError on what is not plain data (NaN included)."""
    try:
        return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"a journal entry must be plain data: {error}") from error


def pack(text: bytes, dictionary: bytes) -> bytes:
    """The text deflated; `dictionary` is a text like it (a cycle resembles the last one), or empty."""
    deflate = zlib.compressobj(6, zdict=dictionary) if dictionary else zlib.compressobj(6)
    return deflate.compress(text) + deflate.flush()


def unpack(packed: bytes, dictionary: bytes) -> bytes:
    """The text back; raises zlib.error on damage."""
    inflate = zlib.decompressobj(zdict=dictionary) if dictionary else zlib.decompressobj()
    return inflate.decompress(packed) + inflate.flush()


def ticks(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(at_us: int) -> datetime:
    """The aware UTC instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at_us)
