"""Responses of one feed as they came: the body once, and a line of what became of it. For looking back, and for a restart.

STATE_DIR/feeds/NAME/responses.jsonl        {"at", "from", "sha256", "file", "bytes", "taken", "refused", "reason"}
STATE_DIR/feeds/NAME/<instant>-<hash>.gz    the body
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

KEPT = timedelta(days=30)
KEPT_BYTES = 200_000_000
TRIM_EVERY = 200  # responses
INDEX = "responses.jsonl"
BACK_BYTES, BACK_RESPONSES = 20_000_000, 300  # as much is read back after a restart
MOST_LINE = 300


class ResponseStore:
    """Keeps bodies; trouble with the disk is told by OSError and loses no row."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set_aside: list[datetime] = []  # stamps of the responses the last look back left alone: they lie after what was fetched later
        self._since_trim = 0

    def keep(self, body: bytes, at: datetime, origin: str, taken: int, refused: int, reason: str) -> None:
        """Keeps a response fetched `at`; a body like an earlier one of today is written once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(body).hexdigest()
        path = self.folder / f"{at:%Y%m%dT%H%M%S}-{digest[:12]}.gz"
        same = sorted(self.folder.glob(f"{at:%Y%m%d}T*-{digest[:12]}.gz"))
        if same:
            path = same[0]
        else:
            path.write_bytes(gzip.compress(body, 6, mtime=0))
        line = {"at": at.isoformat(), "from": origin, "sha256": digest, "file": path.name, "bytes": len(body)}
        self._append({**line, "taken": taken, "refused": refused, "reason": reason[:MOST_LINE]})
        self._since_trim += 1
        if self._since_trim >= TRIM_EVERY:
            self.trim(at)

    def read_back(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, bytes]]:
        """(fetched at, body) of the responses taken in `[since, until]`, oldest first; as many of the newest as can be read quickly. A
        response stamped after one that came later, or after `until`, was stamped by a clock that ran ahead: it stays where it is."""
        wanted: list[tuple[datetime, Path]] = []
        size, before = 0, until
        self.set_aside = []
        for line in reversed(self._lines()):
            at = datetime.fromisoformat(line["at"])
            size += line["bytes"]
            if size > BACK_BYTES or len(wanted) == BACK_RESPONSES:
                break
            if at > before:
                self.set_aside += [at] if line["taken"] else []
            elif at >= since:
                before = at
                if line["taken"]:
                    wanted.append((at, self.folder / line["file"]))
        for at, path in reversed(wanted):
            try:
                yield at, gzip.decompress(path.read_bytes())
            except (OSError, EOFError, zlib.error):
                continue  # a body that is gone or damaged is history nobody needs to run

    def trim(self, now: datetime) -> None:
        """Drops what is older than KEPT, and the oldest beyond KEPT_BYTES."""
        self._since_trim = 0
        bodies = sorted(self.folder.glob("*.gz"), reverse=True)
        size = 0
        for path in bodies:
            size += path.stat().st_size
            if path.name < f"{now - KEPT:%Y%m%dT%H%M%S}" or size > KEPT_BYTES:
                path.unlink(missing_ok=True)
        kept = [line for line in self._lines() if datetime.fromisoformat(line["at"]) >= now - KEPT]
        draft = self.folder / f"{INDEX}.new"
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
        draft.replace(self.folder / INDEX)

    def _append(self, line: dict[str, Any]) -> None:
        with (self.folder / INDEX).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        """The index; a line that a power cut left half written is skipped."""
        try:
            text = (self.folder / INDEX).read_text(errors="replace")
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            try:
                data = json.loads(line)
                datetime.fromisoformat(data["at"])
                found.append({"bytes": 0, "taken": 0, "file": "", **data})
            except (ValueError, KeyError, TypeError):
                continue
        return found
