"""The mailbox: what was sent arrives once and in order, it stays bounded, and a broken file costs messages, never the run."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ems.errors import DataError
from ems.mailbox import LIMITS, Mailbox
from tests.app.rig import waited_s

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mailbox.db")


def send(mailbox: Mailbox, topic: str, value: object, at: datetime = NOON) -> int | None:
    return mailbox.post(topic, {"value": value}, at, at + HOUR)


def test_a_message_arrives_as_it_was_sent(mailbox: Mailbox):
    sequence = mailbox.post("order", {"kw": -12.5, "by": "Änne"}, NOON, NOON + HOUR)
    (message,) = mailbox.since("order", 0)
    assert (message.sequence, message.body) == (sequence, {"kw": -12.5, "by": "Änne"})
    assert (message.written_at, message.valid_until) == (NOON, NOON + HOUR)


def test_the_latest_message_is_not_given_after_its_validity(mailbox: Mailbox):
    send(mailbox, "plan", "old", NOON)
    send(mailbox, "plan", "new", NOON - 2 * HOUR)  # already over at noon
    latest = mailbox.latest("plan", NOON)
    assert latest is not None and latest.body == {"value": "old"}
    assert mailbox.latest("plan", NOON + HOUR) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topics=st.lists(st.sampled_from(["order", "event", "snapshot"]), max_size=30), limit=st.integers(1, 7))
def test_a_reader_gets_every_message_once_and_in_order_whatever_the_page_size(tmp_path: Path, topics: list[str], limit: int):
    mailbox = Mailbox(tmp_path / f"{random.Random(repr((topics, limit))).getrandbits(64):x}.db")
    sent = [(topic, send(mailbox, topic, i)) for i, topic in enumerate(topics)]
    got, last = [], 0
    while page := mailbox.since("order", last, limit):
        got += [m.sequence for m in page]
        last = page[-1].sequence
    assert got == [s for topic, s in sent if topic == "order"]


@pytest.mark.parametrize("topic", ["snapshot", "plan", "something else"])
def test_a_topic_never_holds_more_than_its_limit_and_keeps_the_newest(mailbox: Mailbox, topic: str):
    limit = LIMITS.get(topic, 100)
    mailbox.post_many(topic, [({"value": i}, NOON, NOON + HOUR) for i in range(limit + 5)])
    send(mailbox, topic, "last")
    kept = [m.body["value"] for m in mailbox.since(topic, 0, 10_000)]
    assert len(kept) == limit and kept[-1] == "last"


def test_messages_of_another_process_are_seen(mailbox: Mailbox):
    script = (
        "from ems.mailbox import Mailbox; from datetime import *; from pathlib import Path; import sys\n"
        "now = datetime(2024, 8, 19, 12, tzinfo=UTC)\n"
        "print(Mailbox(Path(sys.argv[1])).post('order', {'from': 'elsewhere'}, now, now + timedelta(hours=1)))"
    )
    subprocess.run([sys.executable, "-c", script, str(mailbox.path)], check=True, capture_output=True)
    assert [m.body for m in mailbox.since("order", 0)] == [{"from": "elsewhere"}]


def test_a_writer_that_holds_the_file_delays_a_post_by_the_busy_time_only(mailbox: Mailbox):
    other = sqlite3.connect(mailbox.path, isolation_level=None)
    other.execute("begin immediate")
    began, waited = time.perf_counter(), waited_s([os.getpid()])
    assert send(mailbox, "snapshot", 1) is None
    assert time.perf_counter() - began < 0.5 + waited_s([os.getpid()]) - waited  # time without a core is not counted
    assert "not sent" in mailbox.notes[-1]
    other.execute("rollback")
    assert send(mailbox, "snapshot", 2) is not None


def test_a_file_that_is_no_database_is_replaced_and_named(tmp_path: Path):
    path = tmp_path / "mailbox.db"
    path.write_bytes(b"not a database at all" * 400)
    mailbox = Mailbox(path)
    assert "mailbox replaced" in mailbox.notes[0]
    assert send(mailbox, "order", 1) == 1
    assert (tmp_path / "mailbox.db.broken").read_bytes().startswith(b"not a database")


def test_a_file_deleted_under_the_run_is_made_again_and_a_reader_ahead_of_it_misses_nothing(mailbox: Mailbox):
    for i in range(5):
        send(mailbox, "order", i)
    for suffix in ("", "-wal", "-shm"):
        mailbox.path.with_name(mailbox.path.name + suffix).unlink(missing_ok=True)
    send(mailbox, "order", "fresh")
    assert [m.body["value"] for m in mailbox.since("order", 5)] == ["fresh"]


def test_a_folder_lost_under_the_run_costs_messages_and_not_the_process(tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    mailbox = Mailbox(folder / "mailbox.db")
    shutil.rmtree(folder)
    assert send(mailbox, "order", 1) is None and "not sent" in mailbox.notes[-1]
    assert mailbox.since("order", 0) == [] and mailbox.latest("order", NOON) is None
    folder.mkdir()
    assert send(mailbox, "order", 2) is not None


def test_a_file_damaged_under_the_run_never_raises_and_works_again(tmp_path: Path):
    chance = random.Random(7)
    for attempt in range(25):
        path = tmp_path / f"{attempt}.db"
        mailbox = Mailbox(path)
        mailbox.post_many("order", [({"value": "x" * 50}, NOON, NOON + HOUR)] * 40)
        mailbox.close()
        damaged = bytearray(path.read_bytes())
        for _ in range(200):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        mailbox = Mailbox(path)
        mailbox.since("order", 0)
        mailbox.latest("order", NOON)
        for _ in range(3):
            last = send(mailbox, "order", "after")
        assert last is not None
        assert mailbox.latest("order", NOON).body == {"value": "after"}


def test_a_message_that_is_not_plain_data_is_refused_where_it_is_made(mailbox: Mailbox):
    with pytest.raises(DataError, match="message on plan"):
        send(mailbox, "plan", float("nan"))


def test_a_place_that_cannot_be_written_is_an_error_with_the_path(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere.*cannot be opened"):
        Mailbox(tmp_path / "nowhere" / "mailbox.db")
