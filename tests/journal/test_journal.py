"""The journal: what it says is durable survives a kill, every change to it is found, and trouble with the disk is admitted."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from ems.errors import DataError
from ems.journal import journal as journal_module
from ems.journal.file import FILE_NAME
from ems.journal.journal import Journal
from ems.journal.read import last_entry, read_journal, verify_journal

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / FILE_NAME, time.perf_counter)
    yield opened
    opened.close()


def a_cycle(n: int) -> dict[str, object]:
    return {"image": {"bess-1": {"power_kw": [n / 7, 12.0, "good"]}}, "setpoints": [["bess-1", "power_setpoint_kw", n * 1.5, "plan"]]}


def small_journal(folder: Path) -> Path:
    opened = Journal(folder / FILE_NAME, time.perf_counter)
    for n in range(6):
        opened.append("cycle" if n else "start", NOON + timedelta(seconds=n), a_cycle(n))
    opened.close()
    return folder / FILE_NAME


def test_entries_come_back_as_they_went_in(journal: Journal, tmp_path: Path):
    for n in range(200):
        journal.append("cycle", NOON + timedelta(seconds=n), a_cycle(n))
    assert journal.flush()
    entries = list(read_journal(tmp_path))
    assert [e.body for e in entries] == [a_cycle(n) for n in range(200)]
    assert [e.at for e in entries] == [NOON + timedelta(seconds=n) for n in range(200)]
    assert verify_journal(tmp_path) is None


def test_the_last_entry_of_a_kind_is_found_without_reading_the_rest(journal: Journal, tmp_path: Path):
    for n in range(150):
        journal.append("memory" if n % 10 == 0 else "cycle", NOON + timedelta(seconds=n), a_cycle(n))
    assert journal.flush()
    last = last_entry(tmp_path, "memory")
    assert last is not None and last.body == a_cycle(140)
    before = last_entry(tmp_path, "cycle", NOON + timedelta(seconds=90.5))
    assert before is not None and before.body == a_cycle(89)
    assert last_entry(tmp_path, "order") is None


def test_the_chain_goes_on_over_a_restart(tmp_path: Path):
    small_journal(tmp_path)
    again = Journal(tmp_path / FILE_NAME, time.perf_counter)
    assert again.append("start", NOON, {}) == 7
    again.close()
    assert verify_journal(tmp_path) is None
    assert [e.sequence for e in read_journal(tmp_path)] == list(range(1, 8))


def test_cycles_that_resemble_each_other_take_little_room(journal: Journal, tmp_path: Path):
    chance = Random(7)
    names = [f"a point with a name {i}" for i in range(60)]
    for n in range(300):
        journal.append("cycle", NOON + timedelta(seconds=n), {name: [chance.random(), 0.25, "good"] for name in names})
    assert journal.flush()
    kept = sum(len(row[0]) for row in sqlite3.connect(tmp_path / FILE_NAME).execute("select packed from entry"))
    plain = sum(len(json.dumps(e.body)) for e in read_journal(tmp_path))
    assert kept < plain / 2.5  # the random digits are all that is left


@pytest.mark.parametrize(
    "change",
    [
        "update entry set packed = {other} where sequence = 3",
        "update entry set at_us = at_us + 1 where sequence = 3",
        "update entry set kind = 'order' where sequence = 3",
        "update entry set hash = {other} where sequence = 3",
        "update entry set base = 1 where sequence = 3",
        "update entry set sequence = 30 where sequence = 6",
        "delete from entry where sequence = 3",
        "delete from entry where sequence = 1",
    ],
)
def test_a_changed_or_removed_entry_is_found(tmp_path: Path, change: str):
    path = small_journal(tmp_path)
    db = sqlite3.connect(path)
    db.execute(change.format(other="x'00ff'"))
    db.commit()
    db.close()
    assert verify_journal(tmp_path) is not None


def test_an_entry_of_another_journal_in_the_place_of_ours_is_found(tmp_path: Path):
    """Both entries are whole in themselves; only the one before tells them apart."""
    ours, other = small_journal(tmp_path), tmp_path / "other"
    other.mkdir()
    stranger = Journal(other / FILE_NAME, time.perf_counter)
    for n in range(6):
        stranger.append("memory", NOON + timedelta(seconds=n), {"n": n})
    stranger.close()
    rows = sqlite3.connect(other / FILE_NAME).execute("select * from entry where sequence = 4").fetchall()
    db = sqlite3.connect(ours)
    db.execute("delete from entry where sequence = 4")
    db.executemany("insert into entry values (?, ?, ?, ?, ?, ?)", rows)
    db.commit()
    db.close()
    assert "entry 4 was changed" in (verify_journal(tmp_path) or "")


def test_no_single_byte_of_the_file_can_change_what_is_read_without_being_found(tmp_path: Path):
    path = small_journal(tmp_path)
    whole, told = path.read_bytes(), list(read_journal(tmp_path))
    places = [i for i, byte in enumerate(whole) if byte or i % 61 == 0]  # every byte in use, and a sample of the empty ones
    found = 0
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        if verify_journal(tmp_path) is None:
            assert list(read_journal(tmp_path)) == told, f"byte {place} changed the journal unseen"
        else:
            found += 1
    assert found > 500
    path.write_bytes(whole)
    assert verify_journal(tmp_path) is None


def test_nothing_said_to_be_durable_is_lost_by_kill_9(tmp_path: Path):
    script = """
import sys, time
from datetime import datetime, UTC
from pathlib import Path
from ems.journal.journal import Journal
journal = Journal(Path(sys.argv[1]), time.perf_counter)
for n in range(1_000_000):
    journal.append("cycle", datetime(2024, 8, 19, tzinfo=UTC), {"n": n})
    if n % 5 == 0:
        journal.flush()
        print(journal.durable, flush=True)
"""
    for run in range(3):
        writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / FILE_NAME)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(10 + 7 * run):
            durable = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert verify_journal(tmp_path) is None
        assert len(list(read_journal(tmp_path))) >= durable


def until(is_so: Callable[[], bool]) -> None:
    """Waits for the journal's thread."""
    give_up_at = time.perf_counter() + 60.0
    while not is_so():
        assert time.perf_counter() < give_up_at, "it did not become so"
        time.sleep(0.01)


class Stopwatch:
    """A clock for the journal that runs only when told, or at each look."""

    def __init__(self, per_look_s: float = 0.0) -> None:
        self.at_s, self.per_look_s = 0.0, per_look_s

    def __call__(self) -> float:
        self.at_s += self.per_look_s
        return self.at_s


def test_a_late_commit_is_admitted_and_forgiven_after_one_in_time(tmp_path: Path):
    watch = Stopwatch(per_look_s=0.3)
    journal = Journal(tmp_path / FILE_NAME, watch)
    journal.append("cycle", NOON, {})
    journal.flush()
    assert not journal.is_healthy and "took" in journal.trouble
    watch.per_look_s = 0.0
    journal.append("cycle", NOON, {})
    journal.flush()
    assert journal.is_healthy
    journal.close()


class ByHand(Journal):
    """A journal whose disk comes to it when a test says so."""

    def _begin(self) -> threading.Thread:
        return threading.Thread()


def test_a_commit_that_is_late_takes_nothing_of_the_next_cycle(tmp_path: Path):
    """Half of a cycle must not be durable: an order without the memory that it was taken would be taken again after a kill."""
    journal = ByHand(tmp_path / FILE_NAME, Stopwatch())
    journal.append("cycle", NOON, {"n": 1})
    journal.commit()
    journal.append("order", NOON, {"n": 2})  # the next cycle is under way
    journal._turn()
    assert journal.durable == 1
    journal.append("memory", NOON, {"n": 3})
    journal.commit()
    journal._turn()
    journal._db.close()
    assert journal.durable == 3 and [e.body["n"] for e in read_journal(tmp_path)] == [1, 2, 3]


def failing(times: int) -> Callable[..., None]:
    real, left = journal_module.file.append, [times]

    def append(*arguments: object) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise sqlite3.OperationalError("database or disk is full")
        real(*arguments)

    return append


def test_a_failed_commit_is_admitted_and_its_entries_go_out_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module.file, "append", failing(1))
    journal = Journal(tmp_path / FILE_NAME, Stopwatch())
    journal.append("cycle", NOON, {"n": 1})
    assert not journal.flush(0.3)
    until(lambda: "disk is full" in journal.trouble)
    assert not journal.is_healthy and journal.durable == 0
    journal.append("cycle", NOON, {"n": 2})
    assert journal.flush() and journal.is_healthy and journal.durable == 2
    journal.close()
    assert [e.body for e in read_journal(tmp_path)] == [{"n": 1}, {"n": 2}]
    assert verify_journal(tmp_path) is None


def test_a_disk_that_fails_for_long_costs_entries_that_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "WAITING_LIMIT", 3)
    journal = Journal(tmp_path / FILE_NAME, Stopwatch())
    given = [journal.append("cycle", NOON, {"n": n}) for n in range(5)]
    assert given[3:] == [journal_module.NOT_TAKEN] * 2 and not journal.is_healthy
    journal.flush()
    journal.append("cycle", NOON, {"n": 5})
    assert journal.flush() and journal.is_healthy
    journal.close()
    assert [e.body for e in read_journal(tmp_path)][3:] == [{"entries": 2}, {"n": 5}]


def test_an_entry_that_is_not_plain_data_leaves_a_mark_and_no_hole(journal: Journal, tmp_path: Path):
    journal.append("cycle", NOON, {"power_kw": float("nan")})
    journal.append("cycle", NOON, {})
    journal.flush()
    assert not verify_journal(tmp_path)
    assert [e.kind for e in read_journal(tmp_path)] == ["broken", "cycle"]


def test_a_journal_that_is_no_database_is_kept_and_a_new_one_begun(tmp_path: Path):
    (tmp_path / FILE_NAME).write_bytes(b"scribble" * 1000)
    journal = Journal(tmp_path / FILE_NAME, time.perf_counter)
    journal.append("start", NOON, {})
    journal.close()
    assert verify_journal(tmp_path) is None
    assert (tmp_path / f"{FILE_NAME}.broken-1").read_bytes().startswith(b"scribble")


def test_a_place_without_a_journal_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(DataError, match="there is no journal"):
        verify_journal(tmp_path)
    with pytest.raises(DataError, match="cannot be opened for writing"):
        Journal(tmp_path / "nowhere" / FILE_NAME, time.perf_counter)


@pytest.mark.parametrize("becomes", ["removed", "renamed", "another journal", "no database"])
def test_a_journal_taken_away_under_the_run_is_put_back_whole(tmp_path: Path, becomes: str):
    journal = Journal(tmp_path / FILE_NAME, Stopwatch())
    journal.append("start", NOON, {"n": 0})
    assert journal.flush()
    taken = (tmp_path / FILE_NAME).rename(tmp_path / "taken")
    if becomes != "renamed":
        taken.unlink()
    if becomes == "another journal":
        (tmp_path / "other").mkdir()
        small_journal(tmp_path / "other").rename(tmp_path / FILE_NAME)
    if becomes == "no database":
        (tmp_path / FILE_NAME).write_bytes(b"scribble" * 1000)
    journal.append("order", NOON, {"n": 1})
    assert journal.flush() and journal.is_healthy
    journal.close()
    assert [e.body for e in read_journal(tmp_path)] == [{"n": 0}, {"n": 1}]
    assert verify_journal(tmp_path) is None
    assert (tmp_path / f"{FILE_NAME}.broken-1").exists() == (becomes in ("another journal", "no database"))


@pytest.mark.parametrize("left", [b"", b"scribble" * 1000])
def test_a_journal_overwritten_in_place_is_admitted_and_nothing_more_is_called_durable(tmp_path: Path, left: bytes):
    journal = Journal(tmp_path / FILE_NAME, time.perf_counter)
    journal.append("start", NOON, {"n": 0})
    assert journal.flush()
    journal._db.execute("pragma wal_checkpoint(truncate)")
    journal._db.execute("pragma shrink_memory")  # nothing of it is left but the file
    (tmp_path / FILE_NAME).write_bytes(left)
    at = journal.append("order", NOON, {"n": 1})
    assert not journal.flush(0.3)
    until(lambda: "removed or overwritten" in journal.trouble)
    assert not journal.is_healthy and journal.durable < at
    journal.close(0.2)
    again = Journal(tmp_path / FILE_NAME, time.perf_counter)
    again.append("start", NOON, {"n": 2})
    assert again.flush()
    again.close()
    assert verify_journal(tmp_path) is None
