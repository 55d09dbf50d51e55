"""The feeds of a site: versions and when they were known, what is stale, what is kept, what survives a restart."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.feeds.http import new_client
from ems.mailbox import Mailbox
from ems.office.fetching import DropFolder, Poller
from ems.office.live_feed import LiveFeed
from ems.office.response_store import ResponseStore
from ems.signals.another_unit import is_another_unit
from ems.signals.prices import PriceBook, PriceRow
from tests.adapters.feeds.made import feed, says, serving

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
MIN = timedelta(minutes=1)


def live(place: Path, **keys: Any) -> LiveFeed:
    return LiveFeed(feed(**keys), Mailbox(place / "mailbox.db", 1000), ResponseStore(place / "kept"))


def rows(*prices: float, start: datetime = NOON) -> bytes:
    return json.dumps([{"t": (start + 15 * k * MIN).isoformat(), "p": p} for k, p in enumerate(prices)]).encode()


def posted(found: LiveFeed) -> list[dict[str, Any]]:
    return [row for message in found.outbox.mailbox.since(found.kind.topic, 0) for row in message.body["rows"]]


def price_rows(found: LiveFeed) -> list[PriceRow]:
    instants = ("valid_from", "valid_to", "available_at")
    return [PriceRow(**{**r, **{k: datetime.fromisoformat(r[k]) for k in instants}}) for r in posted(found)]


def test_a_value_is_known_from_its_fetch_and_not_before_it_is_public(tmp_path: Path) -> None:
    found = live(tmp_path)
    assert found.take(rows(40, 50, 60), NOON + 20 * MIN, "test")  # the first interval is over, the second runs, the third is to come
    found.post_due(NOON + 20 * MIN)
    assert [row["price_per_kwh"] for row in posted(found)] == [0.04]
    found.take(rows(70, start=NOON + 45 * MIN), NOON + 65 * MIN, "test")
    found.post_due(NOON + 65 * MIN)
    known = {row["price_per_kwh"]: row["available_at"] for row in posted(found)}
    assert known == {
        0.04: (NOON + 15 * MIN).isoformat(),  # before our first look: by its rule
        0.05: (NOON + 30 * MIN).isoformat(),
        0.06: (NOON + 45 * MIN).isoformat(),
        0.07: (NOON + 65 * MIN).isoformat(),  # public at 13:00, fetched at 13:05
    }


def test_a_revised_value_is_a_new_version_and_the_old_one_stays_what_was_known(tmp_path: Path) -> None:
    found, book = live(tmp_path), PriceBook()
    found.take(rows(40), NOON + 20 * MIN, "test")
    found.take(rows(90), NOON + 60 * MIN, "test")
    found.take(rows(90), NOON + 70 * MIN, "test")
    found.post_due(NOON + 70 * MIN)
    assert (found.counts["revised"], found.counts["duplicate"], len(posted(found))) == (1, 1, 2)
    book.add(price_rows(found))
    at = [float(book.forecast(now, [NOON], [0.25])[0]) for now in (NOON + 59 * MIN, NOON + 60 * MIN)]
    assert at == pytest.approx([0.04, 0.09])


def test_a_body_that_cannot_be_used_loses_nothing_and_is_kept(tmp_path: Path) -> None:
    found = live(tmp_path)
    found.take(rows(40), NOON + 20 * MIN, "test")
    assert not found.take(b"<html><title>Login</title>", NOON + 25 * MIN, "test")
    found.post_due(NOON + 25 * MIN)
    assert len(posted(found)) == 1 and found.note(NOON + 25 * MIN) == "feed rt (a page of HTML or XML (Login))"
    lines = [json.loads(line) for line in (tmp_path / "kept" / "responses.jsonl").read_text().splitlines()]
    assert [(line["taken"], line["reason"]) for line in lines] == [(1, ""), (0, "a page of HTML or XML (Login)")]
    assert gzip.decompress((tmp_path / "kept" / lines[1]["file"]).read_bytes()) == b"<html><title>Login</title>"
    assert found.take(rows(40, 41), NOON + 40 * MIN, "test") and found.note(NOON + 40 * MIN) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rows(40, start=NOON - timedelta(days=40)), "no value of the last 8 or the next 15 days: the newest ends 2024-07-11"),
        (rows(40, start=NOON + timedelta(days=40)), "the newest ends 2024-09-29"),
        (b"[]", "no row"),
        (b'[{"t": "x", "p": 1}]', "no usable row, first row 0 time = x"),
    ],
)
def test_a_response_without_a_value_for_now_says_so(tmp_path: Path, body: bytes, said: str) -> None:
    found = live(tmp_path)
    assert not found.take(body, NOON, "test") and said in found.problem


def test_values_a_thousand_times_off_are_another_unit_and_a_scarcity_is_not(tmp_path: Path) -> None:
    found = live(tmp_path)
    ordinary = [20.0 + k % 30 for k in range(96)]
    found.take(rows(*ordinary, start=NOON - timedelta(days=1)), NOON, "test")
    assert not found.take(rows(*(p / 1000 for p in ordinary)), NOON + timedelta(days=1), "test")
    assert "a thousand times off" in found.problem
    assert found.take(rows(*([9000.0] * 90)), NOON + timedelta(days=1), "test")
    assert is_another_unit([0.4] * 24, [400.0] * 24) and not is_another_unit([9.0] * 24, [0.03] * 24)
    assert not is_another_unit([5000.0] * 3, [5.0] * 96) and not is_another_unit([0.0] * 24, [40.0] * 24)


def test_a_feed_that_stops_is_stale_and_says_what_holds_instead(tmp_path: Path) -> None:
    found = live(tmp_path)
    found.take(rows(40), NOON + 15 * MIN, "test")
    found.post_due(NOON + 15 * MIN)
    assert not found.is_stale(NOON + 75 * MIN) and found.is_stale(NOON + 76 * MIN)
    found.refuse("prices.example answers 503 Service Unavailable")
    note = found.note(NOON + 76 * MIN) or ""
    assert "feed rt is stale: its newest value ended 2024-08-20 12:15Z (prices.example answers 503" in note and "day-ahead" in note
    assert found.shown(NOON + 76 * MIN)["is_stale"]


def test_a_feed_that_never_answers_is_stale_after_a_while(tmp_path: Path) -> None:
    found = live(tmp_path)
    found.post_due(NOON)
    assert not found.is_stale(NOON + 60 * MIN) and "has given nothing yet" in (found.note(NOON + 61 * MIN) or "")


def test_a_day_ahead_price_is_stale_once_it_no_longer_covers_now(tmp_path: Path) -> None:
    found = live(tmp_path, kind="day_ahead_price")
    found.take(rows(40, 41), NOON, "test")
    found.post_due(NOON)
    assert [row["source"] for row in posted(found)] == ["day_ahead"] * 2
    assert not found.is_stale(NOON + 30 * MIN) and found.is_stale(NOON + 31 * MIN)


def test_what_was_kept_is_read_back_after_a_restart_with_its_instants(tmp_path: Path) -> None:
    first = live(tmp_path)
    first.take(rows(40), NOON + 20 * MIN, "test")
    first.take(rows(90), NOON + 60 * MIN, "test")
    first.take(b"broken", NOON + 65 * MIN, "test")
    with (tmp_path / "kept" / "responses.jsonl").open("a") as index:
        index.write('{"at": "2024-08-20T13:')  # a power cut
    again = LiveFeed(first.feed, Mailbox(tmp_path / "other.db", 1000), ResponseStore(tmp_path / "kept"))
    again.read_back(NOON + 90 * MIN)
    again.post_due(NOON + 90 * MIN)
    assert [(r["price_per_kwh"], r["available_at"]) for r in posted(again)] == [
        (0.04, (NOON + 15 * MIN).isoformat()),
        (0.09, (NOON + 60 * MIN).isoformat()),
    ]
    assert again.fetched_at == NOON + 60 * MIN


def test_a_rolling_feed_in_local_time_knows_both_hours_of_the_clock_change_and_revises_none(tmp_path: Path) -> None:
    """Half an hour of a five-minute price in Chicago's time, asked every five minutes from 05:30Z to 08:30Z."""
    found, zone = live(tmp_path, time_zone="America/Chicago", step_min=5.0), ZoneInfo("America/Chicago")
    first = datetime(2024, 11, 3, 5, tzinfo=UTC)
    for k in range(6, 43):
        window = [(first + 5 * j * MIN, j) for j in range(k - 6, k)]
        naive = [{"t": t.astimezone(zone).replace(tzinfo=None).isoformat(), "p": j} for t, j in window]
        found.take(json.dumps(naive).encode(), first + 5 * k * MIN, "test")
    found.post_due(first + 300 * MIN)
    known = {row["valid_from"]: round(1000.0 * row["price_per_kwh"]) for row in posted(found)}
    assert known == {(first + 5 * j * MIN).isoformat(): j for j in range(42)} and found.counts["revised"] == 0


def test_what_was_fetched_by_a_clock_that_ran_ahead_is_set_aside_at_a_restart_and_asked_again(tmp_path: Path) -> None:
    keys = {"kind": "day_ahead_price", "known": "fetched"}
    first = live(tmp_path, **keys)
    first.take(rows(38, start=NOON - 60 * MIN), NOON - 60 * MIN, "test")
    first.take(rows(40, 41), NOON + timedelta(days=2), "test")
    again = LiveFeed(first.feed, Mailbox(tmp_path / "other.db", 1000), first.store)
    again.read_back(NOON)
    again.post_due(NOON)
    assert [r["price_per_kwh"] for r in posted(again)] == [0.038] and again.fetched_at == NOON - 60 * MIN
    assert "1 kept responses stamped by a clock that was ahead are set aside" in (again.note(NOON) or "")
    again.take(rows(40, 41), NOON, "test")
    again.post_due(NOON)
    assert [(r["price_per_kwh"], r["available_at"]) for r in posted(again)[1:]] == [(p, NOON.isoformat()) for p in (0.04, 0.041)]
    assert again.note(NOON) is None and len((tmp_path / "kept" / "responses.jsonl").read_text().splitlines()) == 3
    later = LiveFeed(first.feed, Mailbox(tmp_path / "third.db", 1000), first.store)
    later.read_back(NOON + timedelta(days=3))  # the wrong stamp has passed, and is as wrong as before
    later.post_due(NOON + timedelta(days=3))
    assert {r["available_at"] for r in posted(later)} == {(NOON - 60 * MIN).isoformat(), NOON.isoformat()}


def test_a_clock_set_back_while_running_is_told_and_everything_is_asked_for_again(tmp_path: Path) -> None:
    found, ahead = live(tmp_path, kind="day_ahead_price", known="fetched"), NOON + timedelta(days=2)
    found.take(rows(40, 41), ahead, "test")
    found.post_due(ahead)
    found.post_due(NOON)
    assert (found.note(NOON) or "").startswith("feed rt (the clock went back from 2024-08-22 12:00Z")
    assert found.fetched_at is None and found.is_stale(NOON + 61 * MIN)
    assert "nothing was fetched since the clock went back" in (found.note(NOON + 61 * MIN) or "")
    found.take(rows(40, 41), NOON + 62 * MIN, "test")
    found.post_due(NOON + 62 * MIN)
    assert {r["available_at"] for r in posted(found)[2:]} == {(NOON + 62 * MIN).isoformat()} and len(posted(found)) == 4
    found.take(rows(40, 41), NOON + 63 * MIN, "test")
    assert found.counts["duplicate"] == 2 and found.problem == ""


@given(
    st.lists(st.tuples(st.sampled_from(["right", "ahead", "restart"]), st.integers(1, 60), st.integers(20, 25)), min_size=1, max_size=12)
)
@settings(max_examples=20, deadline=None)
def test_with_the_clock_right_the_planner_knows_the_newest_response_whatever_the_clock_did_before(
    seen: list[tuple[str, int, int]],
) -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        found, book = live(place, kind="day_ahead_price", known="fetched"), PriceBook()
        for k, (what, ahead_h, price) in enumerate(seen):
            now = NOON + k * timedelta(hours=7)
            if what == "restart":
                found = LiveFeed(found.feed, found.outbox.mailbox, found.store)
                found.read_back(now)
            at = now + timedelta(hours=ahead_h, minutes=30) if what == "ahead" else now
            found.take(rows(price, start=NOON + timedelta(days=4)), at, "test")
            found.post_due(at)
            if what != "ahead":
                book = PriceBook()
                book.add(price_rows(found))
                assert float(book.forecast(now, [NOON + timedelta(days=4)], [0.25])[0]) == pytest.approx(price / 1000.0)


async def test_a_source_is_asked_for_the_whole_again_after_the_clock_was_set_back(tmp_path: Path) -> None:
    now = NOON + timedelta(days=2)
    with serving(says(rows(40), etag='"a"')) as server:
        found = live(tmp_path, url=server.url, kind="day_ahead_price", known="fetched")
        poller = Poller(found, lambda: now, {})
        async with new_client() as client:
            await poller.ask(client)
            now = NOON
            await poller.ask(client)
            assert "if-none-match" not in server.asked[-1][1]
            await poller.ask(client)
            assert server.asked[-1][1]["if-none-match"] == '"a"'
    assert found.post_due(NOON) == 1


def test_the_store_is_bounded_and_a_repeated_body_is_written_once(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path)
    for day in range(40):
        for hour in range(2):
            store.keep(str(day).encode(), NOON + timedelta(days=day, hours=hour), "test", 1, 0, "")
    assert len(list(tmp_path.glob("*.gz"))) == 40
    store.trim(NOON + timedelta(days=40))
    assert len(list(tmp_path.glob("*.gz"))) == 30
    assert len((tmp_path / "responses.jsonl").read_text().splitlines()) == 60


def test_a_disk_that_is_full_costs_no_row(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    found = live(tmp_path)
    assert found.take(rows(40), NOON + 20 * MIN, "test") and found.counts["not kept"] == 1
    assert found.post_due(NOON + 20 * MIN) == 1


async def test_a_failing_address_is_asked_sooner_then_ever_less_often_up_to_its_period(tmp_path: Path) -> None:
    with serving(says("no", 500)) as server:
        poller = Poller(live(tmp_path, url=server.url, poll_s=100.0), lambda: NOON, {})
        async with new_client() as client:
            pauses = [await poller.ask(client) for _ in range(5)]
            server.answer = says("no", 503, retry_after="600")
            patient = await poller.ask(client)
            server.answer = says(rows(40))
            well = await poller.ask(client)
            server.answer = says("no", 500)
            first_again = await poller.ask(client)
    assert pauses == [15.0, 30.0, 60.0, 100.0, 100.0]
    assert (patient, well, first_again) == (600.0, 100.0, 15.0)


async def test_an_unchanged_response_keeps_the_feed_fresh_and_a_refused_one_is_asked_for_whole(tmp_path: Path) -> None:
    found = live(tmp_path)
    now = NOON + 20 * MIN
    with serving(says(rows(40), etag='"a"')) as server:
        poller = Poller(LiveFeed(feed(url=server.url), found.outbox.mailbox, found.store), lambda: now, {})
        async with new_client() as client:
            await poller.ask(client)
            server.answer = says("", 304)
            await poller.ask(client)
            assert server.asked[-1][1]["if-none-match"] == '"a"' and poller.live.counts["unchanged"] == 1
            server.answer = says("<p>", etag='"b"')
            await poller.ask(client)
            await poller.ask(client)
    assert "if-none-match" not in server.asked[-1][1] and poller.live.counts["posted"] == 0


async def test_a_client_error_of_any_kind_stays_inside(tmp_path: Path) -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("")

    poller = Poller(live(tmp_path), lambda: NOON, {})
    async with httpx.AsyncClient(transport=Broken()) as client:
        assert await poller.ask(client) == 15.0
    assert poller.live.problem == "127.0.0.1 cannot be asked: ReadError"


async def test_a_defect_of_ours_is_told_and_the_feed_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poller = Poller(live(tmp_path), lambda: NOON, {})

    async def broken(_: httpx.AsyncClient) -> float:
        raise KeyError("column")

    monkeypatch.setattr(poller, "ask", broken)
    async with new_client() as client:
        assert await poller._ask_again(client) == 15.0
    assert poller.live.problem == "a defect of this program: KeyError: 'column'"


def drop_folder(tmp_path: Path) -> DropFolder:
    (tmp_path / "in").mkdir()
    keys = {"folder": str(tmp_path / "in"), "format": "csv", "columns": {"time": "time", "value": "price"}, "max_bytes": 1000}
    return DropFolder(live(tmp_path, **keys))


def test_files_dropped_are_taken_once_and_changed_ones_again(tmp_path: Path) -> None:
    drop = drop_folder(tmp_path)
    drop.look(NOON)
    (tmp_path / "in" / "a.csv").write_text("time,price\n2024-08-20T12:00Z,40\n")
    for _ in range(2):
        drop.look(NOON + 16 * MIN)
    (tmp_path / "in" / "a.csv").write_text("time,price\n2024-08-20T12:00Z,40\n2024-08-20T12:15Z,41\n")
    drop.look(NOON + 31 * MIN)
    assert drop.live.post_due(NOON + 31 * MIN) == 2 and drop.live.counts["responses"] == 2
    drop.look(NOON + 20 * MIN)  # the clock was set back
    assert drop.live.counts["responses"] == 3 and drop.live.fetched_at == NOON + 20 * MIN


def test_half_written_odd_and_huge_files_are_left_or_refused(tmp_path: Path) -> None:
    drop = drop_folder(tmp_path)
    for name in (".a.csv", "b.csv.part", "c.csv.tmp"):
        (tmp_path / "in" / name).write_text("time,price\n2024-08-20T12:00Z,40\n")
    (tmp_path / "in" / "folder").mkdir()
    (tmp_path / "in" / "gone.csv").symlink_to(tmp_path / "nowhere")
    drop.look(NOON)
    assert drop.live.counts == {}
    (tmp_path / "in" / "huge.csv").write_text("x" * 2000)
    drop.look(NOON)
    assert drop.live.problem == "huge.csv has 2000 bytes: expected at most 1000"
