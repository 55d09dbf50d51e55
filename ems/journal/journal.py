"""The journal of one control process: entries go into memory at once and become durable beside the loop, one commit per cycle."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ems.errors import DataError
from ems.journal import file
from ems.journal.entry import PackedEntry, canonical_text, instant, pack, ticks
from ems.journal.segments import close_segment, retire

KEY_EVERY = 64  # entries of a kind that share one dictionary; measured: a cycle shrinks to about an eighth of plain deflate
WAITING_LIMIT = 20_000  # entries held in memory while the disk fails; beyond, entries are counted as lost
NOT_TAKEN = 2**62


ROTATE_BYTES = 128 << 20  # a file larger than this, or of another day of site time, is closed and the next one begun
KEEP_BYTES = 8 << 30  # of closed segments; the oldest are removed beyond
LOOK_EVERY = 256  # commits between two looks at size and day


Waiting = tuple[int, str, datetime, dict[str, Any]]


class Journal:
    """Appends entries and commits them in a thread of its own. `is_healthy` is False while a commit is late or the last one was late or
    failed; entries wait in memory (bounded) and go out with the next commit that works, so nothing is lost in between.

    `wall_s` gives monotonic seconds. Commits later than `deadline_s` count as late. A file that has grown to `rotate_bytes` or is of
    another day is closed beside the loop and continued in the next (segments.py).
    """

    def __init__(
        self,
        path: Path,
        wall_s: Callable[[], float],
        deadline_s: float = 0.2,
        rotate_bytes: int = ROTATE_BYTES,
        keep_bytes: int = KEEP_BYTES,
        look_every: int = LOOK_EVERY,
    ) -> None:
        self.path = path
        self.trouble = ""  # why the journal is not healthy, "" when it is
        self.dropped = 0  # entries not taken since the disk failed for too long
        self._wall_s, self._deadline_s = wall_s, deadline_s
        self._rotate_bytes, self._keep_bytes, self._look_every = rotate_bytes, keep_bytes, look_every
        self._commits = 0  # since the last look
        self._is_between = False  # one file is closed and the next not begun yet
        self._db = file.open_for_append(path)
        self._file = path.stat()
        self._lost = ""  # why the file is lost for this run, "" while it is not
        self._sequence, self._hash = file.head(self._db)
        self.durable = self._sequence  # sequence of the last entry that is safe on disk
        self._given = self._sequence
        self._keys: dict[str, tuple[int, bytes]] = {}
        self._waiting: list[Waiting] = []
        self._packed: list[tuple[PackedEntry, bytes]] = []
        self._wake = threading.Condition()
        self._is_closing = False
        self._asked_at: float | None = None  # a commit was asked for and has not begun
        self._asked_upto: int | None = None  # the last entry it was asked for; None: all that wait
        self._writing_since: float | None = None  # when the commit under way was asked for
        self._thread = self._begin()

    def _begin(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="journal", daemon=True)
        thread.start()
        return thread

    @property
    def is_healthy(self) -> bool:
        """True when the last commit was in time and no commit asked for is late."""
        return not self.trouble and not self.dropped and not self._is_late()

    def append(self, kind: str, at: datetime, body: dict[str, Any]) -> int:
        """Takes over one entry (its body must not change afterwards) and gives its sequence; durable once `durable` reaches it.
        While the disk failed for too long it gives NOT_TAKEN; the first entry after that says how many were lost."""
        with self._wake:
            if len(self._waiting) + len(self._packed) >= WAITING_LIMIT:
                self.dropped += 1
                return NOT_TAKEN
            if self.dropped:
                self._take("lost", at, {"entries": self.dropped})
                self.dropped = 0
            return self._take(kind, at, body)

    def _take(self, kind: str, at: datetime, body: dict[str, Any]) -> int:
        self._given += 1
        self._waiting.append((self._given, kind, at, body))
        return self._given

    def commit(self) -> None:
        """Asks for a commit of everything appended so far; returns at once. What is appended after it waits for the next one: the entries
        of a cycle become durable together, an order with the memory that it was taken."""
        with self._wake:
            self._asked_at = self._wall_s() if self._asked_at is None else self._asked_at
            self._asked_upto = self._given
            self._wake.notify()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Waits until everything appended so far is durable; False when that took too long."""
        self.commit()
        with self._wake:
            return self._wake.wait_for(lambda: self.durable >= self._given, timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Commits what waits and closes the file."""
        self.flush(timeout_s)
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _is_late(self) -> bool:
        since = self._writing_since if self._writing_since is not None else self._asked_at
        return since is not None and self._wall_s() - since > self._deadline_s

    def _run(self) -> None:
        while not self._is_closing:
            with self._wake:
                self._wake.wait_for(lambda: self._asked_at is not None or self._is_closing)
            self._turn()
        self._db.close()

    def _turn(self) -> None:
        """One commit of everything that was asked for."""
        with self._wake:
            upto = self._given if self._asked_upto is None else self._asked_upto
            waiting = [entry for entry in self._waiting if entry[0] <= upto]
            self._waiting = self._waiting[len(waiting) :]
            self._writing_since, self._asked_at, self._asked_upto = self._asked_at, None, None
        broken = self._pack_all(waiting)
        self._finish(self._write() or broken)
        self._commits += 1
        if self._commits >= self._look_every:
            self._commits = 0
            self._rotate_if_due()

    def _write(self) -> str:
        """Makes what is packed durable; gives the trouble in words, "" when there was none."""
        try:
            if self._is_between:
                self._open_next()
            if self._packed:
                self._find_again()
                file.append(self._db, self._packed)
        except (sqlite3.Error, DataError) as error:
            return f"journal not written: {error}"
        self._packed = []
        took_s = self._wall_s() - self._writing_since if self._writing_since is not None else 0.0
        return f"journal commit took {took_s * 1000:.0f} ms" if took_s > self._deadline_s else ""

    def _find_again(self) -> None:
        """Puts a journal back that was removed or replaced under the run. DataError when it is lost: entries wait, none is durable."""
        if self._lost:
            raise DataError(self._lost)
        if file.stands(self._file, self.path):
            return
        try:
            found = file.restored(self._db, self.path)
            self._file = self.path.stat()
        except (sqlite3.Error, OSError) as error:
            self._lost = f"{self.path} was removed or overwritten and cannot be put back ({error}); a restart of control begins a new one"
            raise DataError(self._lost) from error
        self._db.close()
        self._db = found

    def _rotate_if_due(self) -> None:
        """Begins a new file when this one is large or of another day. What stands in the way is no trouble: it is tried again."""
        try:
            ends = [self._db.execute(f"select at_us from entry order by sequence {way} limit 1").fetchone() for way in ("asc", "desc")]
            is_due = ends[0] is not None and (_day(ends[0][0]) != _day(ends[1][0]) or file.size_bytes(self._db) >= self._rotate_bytes)
            if is_due and not self._packed and not self._lost and close_segment(self._db, self.path) is not None:
                self._is_between = True
                self._open_next()
                retire(self.path.parent, self._keep_bytes)
        except (sqlite3.Error, OSError, DataError):
            return  # what must be written says so itself with the next commit

    def _open_next(self) -> None:
        """The file after one that was closed."""
        self._db = file.open_for_append(self.path)
        self._file, self._keys, self._is_between = self.path.stat(), {}, False

    def _finish(self, trouble: str) -> None:
        with self._wake:
            self.trouble = trouble
            self.durable = self._sequence if not self._packed else self._packed[0][0].sequence - 1
            self._writing_since = None
            self._wake.notify_all()

    def _pack_all(self, waiting: list[Waiting]) -> str:
        """Chains the waiting entries; an entry that is not plain data is journalled as such, so the chain has no hole."""
        trouble = ""
        for sequence, kind, at, body in waiting:
            try:
                text = canonical_text(body)
            except DataError as error:
                trouble, kind, text = str(error), "broken", canonical_text({"kind": kind, "error": str(error)})
            self._chain(sequence, kind, at, text)
        return trouble

    def _chain(self, sequence: int, kind: str, at: datetime, text: bytes) -> None:
        base, dictionary = self._keys.get(kind, (0, b""))
        if not base or sequence - base >= KEY_EVERY:
            base, dictionary = 0, b""
            self._keys[kind] = (sequence, text)
        entry = PackedEntry(sequence, ticks(at), kind, base, pack(text, dictionary))
        self._hash = entry.hash_after(self._hash)
        self._sequence = sequence
        self._packed.append((entry, self._hash))


def _day(at_us: int) -> date:
    """The UTC day of an entry."""
    return instant(at_us).date()
