"""Feeds by file drop: price, weather and carbon files laid into a folder become rows for the planner, each posted once it is due.

A file is CSV with a header or JSON (a list of objects, or {"rows": [...]}), written elsewhere and renamed into the folder. Columns:
`valid_from, valid_to` (with a time zone), one of `price_per_kwh | price_per_mwh`, `temp_c` or `carbon_g_per_kwh`, and optionally
`available_at` (default: the end of the interval; required for source day_ahead) and `source`. A row that cannot be used is rejected by
file, line, key and value; the others are taken. Repeated rows are counted, holes are named, nothing is filled in.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.feeds.kinds import CARBON, PRICES, WEATHER, FeedRow, Kind
from ems.errors import DataError
from ems.mailbox import Mailbox
from ems.nearest import near_miss
from ems.office.fetching import files_in, stamp_of
from ems.office.outbox import MEMORY, Outbox
from ems.signals.prices import DAY_AHEAD

FILE_LIMIT_BYTES = 20_000_000
NOTES_KEPT = 20
OWN_FORMAT = (PRICES, WEATHER, CARBON)


@dataclass
class FeedFolder:
    """One watched folder. `look` reads what is new in it; `post_due` sends what is due at `now`."""

    kind: Kind
    folder: Path
    mailbox: Mailbox
    counts: Counter[str] = field(default_factory=Counter)  # rows, posted, duplicate, gap, backward, rejected, unreadable
    complaints: list[str] = field(default_factory=list)  # the newest
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    _known: dict[tuple[str, datetime, datetime], FeedRow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.kind, self.mailbox, self.counts)

    @property
    def name(self) -> str:
        """What the feed is called in `ems status`."""
        return self.kind.topic

    def look(self) -> None:
        """Reads new and changed files in the order of their names."""
        for path in files_in(self.folder):
            stamp = stamp_of(path) if path.suffix.lower() in (".csv", ".json") else None
            if stamp is not None and self._seen.get(path.name) != stamp:
                self._seen[path.name] = stamp
                self._read(path)

    def post_due(self, now: datetime) -> int:
        """Posts rows whose time of publication has come; how many. Rows the mailbox did not take are sent next time."""
        posted = self.outbox.post_due(now)
        self._known = {k: r for k, r in self._known.items() if r.valid_to > now - MEMORY}
        return posted

    @property
    def newest_end(self) -> datetime | None:
        """When the newest row posted ends."""
        return self.outbox.newest.valid_to if self.outbox.newest else None

    def is_stale(self, now: datetime) -> bool:
        """True when the feed once gave rows and the newest ended too long ago."""
        return self.newest_end is not None and now - self.newest_end > self.kind.stale_after

    def shown(self, now: datetime) -> dict[str, Any] | None:
        """The feed for `ems status`, None while nothing was ever dropped."""
        if self.outbox.newest is None:
            return None
        return self.outbox.shown(self.name, f"files in {self.folder}", None, self.is_stale(now), self.note(now))

    def note(self, now: datetime) -> str | None:
        """What a person should know of this feed, None when there is nothing."""
        if self.is_stale(now) and self.newest_end is not None:
            return f"{self.kind.topic} feed is stale: the newest row ended {self.newest_end.isoformat()}"
        return f"{self.kind.topic} feed: {self.complaints[-1]}" if self.complaints else None

    def _read(self, path: Path) -> None:
        try:
            raw = list(raw_rows(path))
        except DataError as error:
            self.counts["unreadable"] += 1
            self._complain(str(error))
            return
        rows = []
        for place, data in raw:
            try:
                rows.append((place, row_from(data, self.kind)))
            except DataError as error:
                self.counts["rejected"] += 1
                self._complain(f"{place} {error}")
        self._take(rows)

    def _take(self, rows: Iterable[tuple[str, FeedRow]]) -> None:
        last: dict[str, FeedRow] = {}
        for place, row in rows:
            before = last.get(row.source)
            if before is not None and not self._follows(place, row, before):
                continue
            last[row.source] = row if before is None or row.valid_from >= before.valid_from else before
            self._take_row(place, row)

    def _follows(self, place: str, row: FeedRow, before: FeedRow) -> bool:
        """Names holes and backward stamps; False for a row that overlaps the one before it in the file."""
        if before.valid_from < row.valid_from < before.valid_to:
            self.counts["rejected"] += 1
            self._complain(f"{place} valid_from = {row.valid_from.isoformat()}: expected not inside the row before it")
            return False
        self.counts["backward"] += row.valid_from < before.valid_from
        if row.valid_from > before.valid_to:
            self.counts["gap"] += 1
            self._complain(f"{place} valid_from = {row.valid_from.isoformat()}: nothing from {before.valid_to.isoformat()} on (a gap)")
        return True

    def _take_row(self, place: str, row: FeedRow) -> None:
        key = (row.source, row.valid_from, row.available_at)
        known = self._known.get(key)
        if known is None:
            self.counts["rows"] += 1
            self._known[key] = row
            self.outbox.put(row)
        elif known == row:
            self.counts["duplicate"] += 1
        else:
            self.counts["rejected"] += 1
            self._complain(f"{place} {self.kind.value} = {row.value:g}: expected {known.value:g} as given before, or a later available_at")

    def _complain(self, text: str) -> None:
        self.complaints = [*self.complaints[1 - NOTES_KEPT :], text]


def raw_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(file:line, columns) of every row. Raises DataError for a file that is not one."""
    try:
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise DataError(f"{path.name}: expected at most {FILE_LIMIT_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: cannot be read as text: {error}") from None
    yield from _csv_rows(path.name, text) if path.suffix.lower() == ".csv" else _json_rows(path.name, text)


def _csv_rows(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), restkey="more columns than the header")
    try:
        if not reader.fieldnames or "valid_from" not in reader.fieldnames:
            raise DataError(f"{name}:1 header = {','.join(reader.fieldnames or [])[:80]}: expected valid_from, valid_to and a value")
        for row in reader:
            yield f"{name}:{reader.line_num}", {k: v for k, v in row.items() if v not in (None, "")}
    except csv.Error as error:
        raise DataError(f"{name}:{reader.line_num} is not CSV: {error}") from None


def _json_rows(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON: {error}") from None
    rows = data.get("rows") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise DataError(f"{name}: expected a list of rows")
    for i, row in enumerate(rows):
        yield f"{name}[{i}]", row if isinstance(row, dict) else {"row": row}


def row_from(data: Mapping[str, Any], kind: Kind) -> FeedRow:
    """The row of one line; DataError names key, value and what would be right."""
    expected = {"valid_from", "valid_to", "available_at", "source", *kind.columns}
    unknown = sorted(set(data) - expected)
    if unknown:
        raise DataError(f"{unknown[0]} = {data[unknown[0]]}: expected a known key{near_miss(unknown[0], expected)}")
    start, end = _instant(data, "valid_from"), _instant(data, "valid_to")
    if end <= start:
        raise DataError(f"valid_to = {data['valid_to']}: expected later than valid_from")
    source = str(data.get("source") or kind.source)
    if source == DAY_AHEAD and not data.get("available_at"):
        raise DataError("available_at = nothing: expected the instant a day-ahead price was published")
    known = _instant(data, "available_at") if data.get("available_at") else end
    return FeedRow(known, start, end, source, _value(data, kind))


def _value(data: Mapping[str, Any], kind: Kind) -> float:
    given = [c for c in kind.columns if c in data]
    if len(given) != 1:
        raise DataError(f"{kind.value} = {'nothing' if not given else 'given twice'}: expected one of {', '.join(kind.columns)}")
    key, text = given[0], data[given[0]]
    try:
        value = float(text) * kind.columns[key] if not isinstance(text, bool) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{key} = {text}: expected a number")
    if not kind.low <= value <= kind.high:
        raise DataError(f"{key} = {text}: expected {kind.low / kind.columns[key]:g} to {kind.high / kind.columns[key]:g}")
    return value


def _instant(data: Mapping[str, Any], key: str) -> datetime:
    text = data.get(key)
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise DataError(f"{key} = {text}: expected an instant like 2024-08-20T19:00:00Z") from None
    if instant.tzinfo is None:
        raise DataError(f"{key} = {text}: expected a time zone (Z or an offset)")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise DataError(f"{key} = {text}: expected an instant within living memory") from None
