"""The body of a response as raw rows: JSON (a list of rows, or columns of equal length) or CSV. What is none is refused by name."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ems.errors import DataError
from ems.site.feed import Feed

MOST_ROWS = 50_000
SHOWN = 60  # characters of what was found instead
PARTS = ("time", "value", "end", "published")

RawRow = Mapping[str, Any]  # by part: time, value, end, published, and what expect_row asks for


class Absent:
    """What stands at a place that is not there."""


ABSENT = Absent()


def raw_rows(body: bytes, feed: Feed) -> Iterator[tuple[str, RawRow]]:
    """(place, parts) of every row. Raises DataError that names what is wrong with the body as a whole."""
    text = _text(body)
    rows = _csv_rows(text, feed) if feed.format == "csv" else _json_rows(text, feed)
    for number, row in enumerate(rows):
        if number == MOST_ROWS:
            raise DataError(f"more than {MOST_ROWS} rows")
        yield row


def at(data: Any, path: str) -> Any:
    """What stands at a path of keys and places (`data.0.price`; a key that itself holds dots is found as well), ABSENT without one."""
    if path == "":
        return data
    if isinstance(data, Mapping) and path in data:
        return data[path]
    first, _, rest = path.partition(".")
    if isinstance(data, Mapping):
        return at(data[first], rest) if first in data else ABSENT
    if isinstance(data, list) and first.isdecimal() and int(first) < len(data):
        return at(data[int(first)], rest)
    return ABSENT


def shown(value: object) -> str:
    """A value in a few characters."""
    text = "nothing" if value is ABSENT else repr(value) if not isinstance(value, str) else value
    return " ".join(text.split())[:SHOWN]


def _text(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not text: {error.reason} at byte {error.start}") from None
    if not text.strip():
        raise DataError("an empty body")
    if text.lstrip()[:1] == "<":
        title = re.search(r"<title[^>]*>([^<]{1,80})", text[:5000], re.IGNORECASE)
        raise DataError("a page of HTML or XML" + (f" ({shown(title.group(1))})" if title else ""))
    return text


# -- JSON ------------------------------------------------------------------------------------------------------------------------------


def _json_rows(text: str, feed: Feed) -> Iterator[tuple[str, RawRow]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {shown(str(error))}") from None
    for path, expected in feed.expect.items():
        if str(at(data, path)) != expected:
            raise DataError(f"{path} = {shown(at(data, path))}: expected {expected}")
    rows = at(data, feed.rows)
    if isinstance(rows, list):
        yield from ((f"row {i}", _parts(row, feed)) for i, row in enumerate(rows))
    elif isinstance(rows, Mapping):
        yield from _columnar(rows, feed)
    else:
        raise DataError(f"{feed.rows or 'the document'} = {shown(rows)}: expected a list of rows, or columns")


def _columnar(data: Mapping[str, Any], feed: Feed) -> Iterator[tuple[str, RawRow]]:
    columns = {part: at(data, name) for part, name in _named(feed)}
    for part, name in _named(feed):
        if not isinstance(columns[part], list):
            raise DataError(f"{name} = {shown(columns[part])}: expected a column of values")
    if len({len(column) for column in columns.values()}) > 1:
        raise DataError("columns of unequal length: " + ", ".join(f"{name} {len(columns[part])}" for part, name in _named(feed)))
    for i, values in enumerate(zip(*columns.values(), strict=True)):
        yield f"row {i}", dict(zip(columns, values, strict=True))


def _parts(row: Any, feed: Feed) -> RawRow:
    return {part: at(row, name) for part, name in _named(feed)}


def _named(feed: Feed) -> Sequence[tuple[str, str]]:
    """(part, column) of everything a row is read for."""
    columns = feed.columns
    named = zip(PARTS, (columns.time, columns.value, columns.end, columns.published), strict=True)
    return [*((part, name) for part, name in named if name is not None), *((name, name) for name in feed.expect_row)]


# -- CSV -------------------------------------------------------------------------------------------------------------------------------


def _csv_rows(text: str, feed: Feed) -> Iterator[tuple[str, RawRow]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=feed.delimiter)
    try:
        for _ in range(feed.skip_lines):
            next(reader.reader, None)
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        missing = [name for _, name in _named(feed) if name not in header]
        if missing:
            raise DataError(f"header = {shown(','.join(header))}: expected a column {missing[0]}")
        for row in reader:
            yield f"line {reader.line_num}", {part: ABSENT if row[name] in (None, "") else row[name] for part, name in _named(feed)}
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} is not CSV: {error}") from None
