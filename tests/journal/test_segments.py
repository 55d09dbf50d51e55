"""Segments: the chain goes on from file to file, each can be verified, none can be lost or swapped unseen, versions are told apart."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ems.errors import DataError
from ems.journal.file import FILE_NAME
from ems.journal.journal import Journal
from ems.journal.read import first_sequence, last_entry, read_journal, verify_journal
from ems.journal.segments import FORMAT, PATTERN, close_segment
from ems.office.journal_tail import JournalTail

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)


def segmented(folder: Path, entries: int = 60, step: timedelta = timedelta(hours=4), keep_bytes: int = 1 << 40) -> None:
    """A journal of ten days and more, one segment a day."""
    journal = Journal(folder / FILE_NAME, time.perf_counter, look_every=1, keep_bytes=keep_bytes)
    for n in range(entries):
        journal.append("memory" if n % 7 == 0 else "cycle", NOON + n * step, {"n": n, "text": "x" * 100})
        assert journal.flush()
    journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    segmented(tmp_path)
    yield tmp_path


def closed(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN))


def test_each_day_has_its_segment_and_everything_is_read_back_in_order(folder: Path):
    assert len(closed(folder)) == 10 and verify_journal(folder) is None and first_sequence(folder) == 1
    assert [e.body["n"] for e in read_journal(folder)] == list(range(60))
    assert [e.sequence for e in read_journal(folder)] == list(range(1, 61))
    assert [e.body["n"] for e in read_journal(folder, "memory")] == list(range(0, 60, 7))
    last = last_entry(folder, "memory", NOON + timedelta(hours=4 * 20))
    assert last is not None and last.body["n"] == 14


def test_a_file_that_has_grown_is_closed_though_the_day_is_the_same(tmp_path: Path):
    journal = Journal(tmp_path / FILE_NAME, time.perf_counter, look_every=1, rotate_bytes=40_000)
    for n in range(40):
        journal.append("cycle", NOON + timedelta(seconds=n), {"n": n, "text": [n * k for k in range(2000)]})
        assert journal.flush()
    journal.close()
    assert len(closed(tmp_path)) >= 2 and verify_journal(tmp_path) is None
    assert [e.body["n"] for e in read_journal(tmp_path)] == list(range(40))


def test_old_segments_are_removed_beyond_the_room_they_may_take_and_the_rest_is_verified(tmp_path: Path):
    segmented(tmp_path, keep_bytes=60_000)
    assert 1 <= len(closed(tmp_path)) <= 4 and first_sequence(tmp_path) > 1
    assert verify_journal(tmp_path) is None
    assert [e.body["n"] for e in read_journal(tmp_path)] == list(range(first_sequence(tmp_path) - 1, 60))


def test_a_segment_that_is_missing_swapped_or_changed_is_found(folder: Path):
    kept = {path: path.read_bytes() for path in closed(folder)}
    second, third = closed(folder)[1:3]
    second.unlink()
    assert "are missing: a segment is not there" in (verify_journal(folder) or "")
    second.write_bytes(kept[third])
    assert verify_journal(folder) is not None
    second.write_bytes(kept[second])
    assert verify_journal(folder) is None
    for change in ("update entry set at_us = at_us + 1 where sequence = 6", "update anchor set previous = x'00'", "delete from anchor"):
        db = sqlite3.connect(second)
        db.execute(change)
        db.commit()
        db.close()
        assert verify_journal(folder) is not None, change
        second.write_bytes(kept[second])


def test_a_kill_between_two_files_loses_nothing(folder: Path):
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    assert close_segment(db, folder / FILE_NAME) is not None
    assert not (folder / FILE_NAME).exists() and verify_journal(folder) is None
    again = Journal(folder / FILE_NAME, time.perf_counter)
    assert again.append("start", NOON + timedelta(days=20), {}) == 61
    again.close()
    assert verify_journal(folder) is None and len(list(read_journal(folder))) == 61


def test_a_reader_in_the_way_puts_the_closing_off(tmp_path: Path):
    journal = Journal(tmp_path / FILE_NAME, time.perf_counter, look_every=1)
    journal.append("cycle", NOON, {"n": 0})
    assert journal.flush()
    reader = sqlite3.connect(tmp_path / FILE_NAME)
    reader.execute("begin")
    assert reader.execute("select count(*) from entry").fetchone() == (1,)
    for n in (1, 2):
        journal.append("cycle", NOON + timedelta(days=n), {"n": n})
        assert journal.flush(10.0)
    reader.close()
    journal.append("cycle", NOON + timedelta(days=3), {"n": 3})
    assert journal.flush(10.0)
    journal.close()
    assert [e.body["n"] for e in read_journal(tmp_path)] == [0, 1, 2, 3] and verify_journal(tmp_path) is None
    assert len(closed(tmp_path)) >= 1


def test_the_office_reads_on_over_segments_and_knows_the_journal_by_the_same_name(folder: Path):
    tail = JournalTail(folder)
    found, after = [], 0
    while entries := tail.read(after, 7):
        found += entries
        after = entries[-1].sequence
    assert [e.body["n"] for e in found] == list(range(60)) and tail.damage == []
    name = tail.identity()
    closed(folder)[0].unlink()
    assert name is not None and tail.identity() == name


def test_a_journal_of_the_version_before_is_taken_over_and_goes_on(tmp_path: Path):
    segmented(tmp_path, entries=3, step=timedelta(seconds=1))
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.executescript("drop table anchor; pragma user_version = 0;")
    db.close()
    assert verify_journal(tmp_path) is None
    again = Journal(tmp_path / FILE_NAME, time.perf_counter)
    assert again.append("start", NOON, {}) == 4
    again.close()
    assert verify_journal(tmp_path) is None and len(list(read_journal(tmp_path))) == 4


def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path):
    segmented(tmp_path, entries=3, step=timedelta(seconds=1))
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute(f"pragma user_version = {FORMAT + 1}")
    db.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(DataError, match="written by a newer version"):
        Journal(tmp_path / FILE_NAME, time.perf_counter)
    with pytest.raises(DataError, match="written by a newer version"):
        list(read_journal(tmp_path))
    assert (tmp_path / FILE_NAME).read_bytes() == before and list(tmp_path.glob("*.broken-*")) == []
