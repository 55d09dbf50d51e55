"""`ems feeds`, and what `ems status`, `check`, `events` and `verify-journal` say where nothing runs or something was altered."""

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ems.app.feeds import feed_lines, feed_of, response_lines
from ems.app.show import fresh_snapshot
from ems.app.statedir import StateDir, hold_lock, is_stopped
from ems.app.summary import status_line
from ems.clock import Clock
from ems.errors import EmsError
from ems.journal.journal import Journal
from ems.journal.read import verify_journal
from ems.mailbox import Mailbox
from tests.adapters.feeds.made import RESPONSES
from tests.app.test_cli import run_ems  # noqa: F401  a fixture
from tests.site.test_feeds import demo_with

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
FEEDS = "  sun: {page: open-meteo-forecast, url: 'http://127.0.0.1:9/'}\n  rt: {page: dropped-prices, folder: drops}"


@pytest.fixture
def run_here(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path)
    Clock.starting_at(NOON, 1.0).save(state.clock)
    return state


def test_a_saved_response_is_shown_as_it_would_be_taken(tmp_path: Path) -> None:
    feed = feed_of(str(demo_with(tmp_path, FEEDS)), "sun")
    lines = list(response_lines(feed, (RESPONSES / "open-meteo.json").read_bytes()))
    assert lines[0].startswith("sun: weather_forecast, ") and lines[0].endswith("2 values, 1 rows refused")
    assert lines[1] == "  2024-08-19 20:00Z to 21:00Z  temp_c 27.4  public when fetched"
    assert lines[-1] == "  refused: row 2 value = None: expected a number"


def test_a_feed_is_tried_in_one_line_whatever_is_wrong(run_ems, tmp_path: Path) -> None:  # noqa: F811
    site = str(demo_with(tmp_path, FEEDS))
    for words, status, said in (
        (("try", site, "son"), 2, "has no feed son, perhaps `sun`"),
        (("try", "demo-2mw", "rt"), 2, "it names none under `feeds`"),
        (("try", site, "sun"), 1, "127.0.0.1 cannot be asked"),
        (("try", site, "rt"), 1, "no file has been dropped here"),
        (("try", site, "rt", "--body", site), 1, "header = "),
        (("try", site, "rt", "--body", "nowhere"), 1, "nowhere"),
        (("list",), 1, "no site runs here"),
    ):
        code, _, err = run_ems("feeds", *words)
        assert code == status and said in err and "Traceback" not in err and len(err.splitlines()) == 1, err


def test_the_newest_drop_is_tried(run_ems, tmp_path: Path) -> None:  # noqa: F811
    site = str(demo_with(tmp_path, FEEDS))
    (tmp_path / "drops").mkdir()
    (tmp_path / "drops" / "a.csv").write_text("time,price\n2024-08-20T12:00Z,40\n2024-08-20T12:15Z,41\n")
    assert run_ems("feeds", "try", site, "rt")[1].startswith("rt: real_time_price, 53 bytes, 2 values, 0 rows refused\n")


def test_feeds_are_told_with_value_source_and_age(run_here: StateDir) -> None:
    shown = {
        "name": "rt", "kind": "real_time prices", "from": "prices.example", "fetched_at": (NOON - timedelta(minutes=3)).isoformat(),
        "valid_to": NOON.isoformat(), "value": 0.0412, "unit": "price_per_kwh", "is_stale": True, "problem": "feed rt is stale",
    }  # fmt: skip
    mailbox = Mailbox(run_here.mailbox)
    mailbox.post("feeds", {"feeds": [shown, {**shown, "value": None, "fetched_at": None, "problem": None}]}, NOON, NOON + timedelta(days=1))
    mailbox.close()
    assert list(feed_lines(run_here)) == [
        "feed rt: 0.0412 per kWh until Mon 12:00Z from prices.example, fetched 3 min ago, stale",
        "alarm: feed rt is stale",
        "feed rt: nothing yet from prices.example, stale",
    ]


def test_a_site_that_was_stopped_is_not_shown_as_running(run_here: StateDir) -> None:
    mailbox = Mailbox(run_here.mailbox)
    mailbox.post("snapshot", {"at": NOON.isoformat()}, NOON, NOON + timedelta(hours=1))
    assert fresh_snapshot(run_here)["at"] == NOON.isoformat()
    held = hold_lock(run_here, "control")
    assert not is_stopped(run_here) and fresh_snapshot(run_here)
    os.close(held)
    assert is_stopped(run_here)
    with pytest.raises(EmsError, match=r"control is not running \(the last cycle was at 2024-08-19T12:00"):
        fresh_snapshot(run_here)
    mailbox.close()


def test_a_shipped_file_is_checked_by_its_name(run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert run_ems("check", "demo-2mw", "uk-half-hourly", "awattar-day-ahead", "generic-cooling") == (0, "", "")
    code, _, err = run_ems("check", "demo-3mw")
    assert code == 2 and err == "demo-3mw: no such file, and nothing shipped has this name, perhaps `demo-2mw`\n"
    code, _, err = run_ems("check", "demo-3mw.yaml")
    assert err == "demo-3mw.yaml: no such file\n"


def test_the_demo_line_names_its_time(tmp_path: Path) -> None:
    snapshot = {"at": NOON.isoformat(), "plan": None, "assets": [], "limit_kw": 1.0, "import_kw": 1.0, "level": "L0", "level_name": "x"}
    assert status_line(snapshot).startswith("Mon 12:00:00 UTC | ")


def test_a_journal_with_a_column_of_another_type_is_told_in_words(tmp_path: Path) -> None:
    journal = Journal(StateDir(tmp_path).journal, time.monotonic)
    for k in range(3):
        journal.append("note", NOON, {"k": k})
    journal.close()
    db = sqlite3.connect(StateDir(tmp_path).journal)
    db.execute("update entry set kind = x'00ff10' where sequence = 2")
    db.commit()
    db.close()
    broken = verify_journal(tmp_path)
    assert broken is not None and broken.startswith("after entry 1: ") and broken.endswith("bytes as kind instead of str: it was changed")
    assert broken.isprintable()
