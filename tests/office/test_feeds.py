"""Files dropped by others: good rows are posted when they are due, bad ones are refused by name, nothing is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.mailbox import Mailbox
from ems.office.feeds import PRICES, WEATHER, FeedFolder
from ems.signals.prices import PriceBook, PriceRow

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
HEADER = "valid_from,valid_to,available_at,price_per_kwh,source"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    found = Mailbox(tmp_path / "mailbox.db", 1000)
    yield found
    found.close()


@pytest.fixture
def prices(tmp_path: Path, mailbox: Mailbox) -> FeedFolder:
    folder = tmp_path / "prices"
    folder.mkdir()
    return FeedFolder(PRICES, folder, mailbox)


def line(minute: int, price: object, known: str = "", source: str = "") -> str:
    start = NOON + timedelta(minutes=minute)
    return f"{start.isoformat()},{(start + timedelta(minutes=15)).isoformat()},{known},{price},{source}"


def drop(feed: FeedFolder, *lines: str, name: str = "a.csv") -> None:
    (feed.folder / name).write_text("\n".join(lines))
    feed.look()


def posted(mailbox: Mailbox, topic: str = "prices") -> list[dict[str, Any]]:
    return [row for message in mailbox.since(topic, 0) for row in message.body["rows"]]


def test_rows_are_posted_when_they_are_due_and_once(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, 0.05), line(15, 0.06))
    assert prices.post_due(NOON + timedelta(minutes=15)) == 1
    assert prices.post_due(NOON + timedelta(minutes=15)) == 0
    assert prices.post_due(NOON + timedelta(minutes=30)) == 1
    assert [row["price_per_kwh"] for row in posted(mailbox)] == [0.05, 0.06]


def test_the_planner_can_read_what_is_posted(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, "valid_from,valid_to,price_per_mwh", f"{NOON.isoformat()},{(NOON + timedelta(hours=1)).isoformat()},48.5")
    prices.post_due(NOON + timedelta(hours=2))
    [row] = posted(mailbox)
    book = PriceBook()
    book.add([PriceRow(**{**row, **{k: datetime.fromisoformat(row[k]) for k in ("valid_from", "valid_to", "available_at")}})])
    assert book.actual(NOON) == pytest.approx(0.0485)


def test_a_real_time_price_is_known_at_the_end_of_its_interval_unless_the_file_says_otherwise(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, 0.05), line(15, 0.06, known=(NOON + timedelta(minutes=15)).isoformat()))
    prices.post_due(NOON + timedelta(hours=1))
    assert [row["available_at"] for row in posted(mailbox)] == [(NOON + timedelta(minutes=15)).isoformat()] * 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (line(15, "nan"), "price_per_kwh = nan: expected a number"),
        (line(15, "dear"), "price_per_kwh = dear: expected a number"),
        (line(15, ""), "price_per_kwh = nothing"),
        (line(15, 5000), "price_per_kwh = 5000: expected -2 to 20"),
        (line(15, 0.05).replace("+00:00", ""), "expected a time zone"),
        (line(15, 0.05).replace("2024-08-20T12:15", "2024-13-20T12:15"), "expected an instant like"),
        (line(15, 0.05, source="day_ahead"), "available_at = nothing"),
        (f"{NOON.isoformat()},{NOON.isoformat()},,0.05,", "expected later than valid_from"),
        (line(15, 0.05) + ",surplus", "more columns than the header"),
        (line(10, 0.07), "not inside the row before"),
        (line(0, 0.07), "expected 0.05 as given before"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_the_others_are_taken(prices: FeedFolder, mailbox: Mailbox, bad: str, said: str):
    drop(prices, HEADER, line(0, 0.05), bad, line(30, 0.06))
    prices.post_due(NOON + timedelta(hours=1))
    assert prices.counts["rejected"] == 1
    [complaint] = [c for c in prices.complaints if "a gap" not in c]
    assert said in complaint and complaint.startswith("a.csv:3 ")
    assert [row["price_per_kwh"] for row in posted(mailbox)] == [0.05, 0.06]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "header"),
        ("a.csv", b"time,price\n1,2", "header = time,price"),
        ("a.csv", b"\xff\xfe\x00\x01", "cannot be read as text"),
        ("a.json", b"{not json", "is not JSON"),
        ("a.json", b"{}", "expected a list"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.json", b"[1, null]", "row = "),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(prices: FeedFolder, name: str, content: bytes, said: str):
    (prices.folder / name).write_bytes(content)
    prices.look()
    assert said in prices.complaints[0] and prices.complaints[0].startswith(name)
    assert prices.post_due(NOON + timedelta(days=1)) == 0


def test_repeated_rows_are_counted_and_a_later_version_is_taken(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, 0.05))
    later = (NOON + timedelta(hours=2)).isoformat()
    drop(prices, HEADER, line(0, 0.05), line(0, 0.04, known=later), name="b.csv")
    prices.post_due(NOON + timedelta(hours=3))
    assert prices.counts["duplicate"] == 1
    assert sorted(row["price_per_kwh"] for row in posted(mailbox)) == [0.04, 0.05]


def test_holes_and_backward_stamps_are_named_and_nothing_is_filled_in(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, 0.05), line(45, 0.06), line(15, 0.07))
    prices.post_due(NOON + timedelta(hours=2))
    assert (prices.counts["gap"], prices.counts["backward"], len(posted(mailbox))) == (1, 1, 3)
    assert "nothing from 2024-08-20T12:15:00+00:00 on (a gap)" in prices.complaints[0]


def test_negative_prices_are_prices(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, -0.03))
    prices.post_due(NOON + timedelta(hours=1))
    assert posted(mailbox)[0]["price_per_kwh"] == -0.03


def test_a_feed_that_stops_is_called_stale_by_name(prices: FeedFolder):
    assert not prices.is_stale(NOON)
    drop(prices, HEADER, line(0, 0.05))
    prices.post_due(NOON + timedelta(hours=1))
    assert prices.note(NOON + timedelta(hours=1)) is None
    assert "prices feed is stale" in (prices.note(NOON + timedelta(hours=7)) or "")


def test_a_changed_file_is_read_again_and_only_what_is_new_is_posted(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, line(0, 0.05))
    drop(prices, HEADER, line(0, 0.05), line(15, 0.06))
    prices.look()
    prices.post_due(NOON + timedelta(hours=1))
    assert [row["price_per_kwh"] for row in posted(mailbox)] == [0.05, 0.06]


def test_many_rows_go_out_in_bounded_messages(prices: FeedFolder, mailbox: Mailbox):
    drop(prices, HEADER, *(line(15 * k, 0.05) for k in range(700)))
    prices.post_due(NOON + timedelta(days=8))
    sizes = [len(message.body["rows"]) for message in mailbox.since("prices", 0)]
    assert sum(sizes) >= 690 and max(sizes) <= 500


def test_rows_a_busy_mailbox_did_not_take_are_sent_next_time(prices: FeedFolder, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch):
    drop(prices, HEADER, line(0, 0.05))
    with monkeypatch.context() as busy:
        busy.setattr(mailbox, "post", lambda *_: None)
        assert prices.post_due(NOON + timedelta(hours=1)) == 0
    assert prices.post_due(NOON + timedelta(hours=1)) == 1


def test_temperatures_come_the_same_way(tmp_path: Path, mailbox: Mailbox):
    feed = FeedFolder(WEATHER, tmp_path, mailbox)
    row = {"valid_from": NOON.isoformat(), "valid_to": (NOON + timedelta(hours=1)).isoformat(), "temp_c": 34.5}
    (tmp_path / "t.json").write_text(json.dumps({"rows": [row, {**row, "temp_c": 345.0}]}))
    feed.look()
    feed.post_due(NOON + timedelta(hours=2))
    assert [r["temp_c"] for r in posted(mailbox, "weather")] == [34.5]
    assert "temp_c = 345.0: expected -60 to 60" in feed.complaints[0]


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path, mailbox: Mailbox):
    feed = FeedFolder(PRICES, tmp_path / "absent", mailbox)
    feed.look()
    assert feed.post_due(NOON) == 0 and feed.note(NOON) is None
