"""The aggregator's REST profile through the office: repeated and late webhooks, moving start and end, `authorized: false`; telemetry
stamped with the end of each half minute and filled back after an outage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from adapters.aggregator.client import reading
from ems.office.hooks import add_hooks
from ems.program.states import State
from simulators.aggregator import AggregatorHeadEnd
from simulators.openadr3.serve import AppServer
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, HeadEnd
from tests.office.test_channels import Office

SECONDS = timedelta(seconds=1)


class Joined:
    """The aggregator, and the office with its hook."""

    def __init__(self, folder: Path, head: AggregatorHeadEnd, grid: Any, url: str) -> None:
        (folder / "hook").write_text("from-the-aggregator")
        (folder / "key").write_text("of-the-site")
        webhook = {"callback_url": "https://site.example/hooks/agg", "token_file": "hook"}
        channel = {"id": "agg", "profile": "aggregator", "url": url, "programs": {"standard": "nonfirm-connection"}, "resource": "dc-1"}
        channel |= {"client_id": None, "secret_file": "key", "webhook": webhook, "poll_s": 30.0, "capacity": None}
        self.head, self.office, self.grid = head, Office(folder, grid, **channel), grid
        self.app = FastAPI()
        add_hooks(self.app, self.office.channels.hint)

    def step(self, after: timedelta = timedelta(0)) -> None:
        self.office.step(after)

    def run(self, length: timedelta, kw: float) -> None:
        """Cycles every 5 s, as the office sees them; the line acts every half minute."""
        for n in range(int(length / (5 * SECONDS))):
            now = self.grid.wait(5 * SECONDS)
            body = {"at": now.isoformat(), "import_kw": kw, "is_metered": True, "degraded": []}
            self.office.mailbox.post("snapshot", body, now, now + HOUR)
            self.office.programs.tick(now)
            if n % 6 == 5:
                for line in self.office.channels.lines.values():
                    line.step()

    def status(self, name: str = "d1") -> Any:
        return self.office.programs.desk().events[f"agg:{name}"]

    def refusals(self) -> list[str]:
        return [m["why"] for m in self.office.trail("message") if m["verdict"] == "refused"]


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Joined]:
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    grid: Any = HeadEnd(None, None, None)  # type: ignore[arg-type]
    head = AggregatorHeadEnd("of-the-site", lambda: grid.now)
    with AppServer(head.app) as server:
        grid.server = server
        made = Joined(tmp_path, head, grid, server.url)
        with AppServer(made.app) as hook:
            head._hook = (f"{hook.url}/hooks/agg", "from-the-aggregator")
            made.step()
            yield made
        made.office.close()


def test_a_webhook_brings_a_dispatch_at_once_and_only_with_its_token(joined: Joined):
    body = joined.head.dispatch("d1", "dc-1", 200.0, NOW + HOUR, NOW + 2 * HOUR)
    joined.head.dispatches.clear()  # the webhook alone says it
    assert joined.head.call(body, token="guess") == 401
    joined.step(SECONDS)
    assert "agg:d1" not in joined.office.programs.desk().events
    assert joined.head.call(body) == 200
    joined.office.programs.tick(joined.grid.wait(SECONDS))
    assert joined.status().opt == "in" and joined.status().event.intervals[0].kw == 200.0
    assert httpx.get(f"{joined.head._hook[0]}", params={"echo": "42"}).text == "42"  # type: ignore[index]


def test_webhooks_that_repeat_or_come_late_change_nothing(joined: Joined):
    first = joined.head.dispatch("d1", "dc-1", 200.0, NOW + HOUR, NOW + 2 * HOUR)
    second = joined.head.dispatch("d1", "dc-1", 250.0, NOW + HOUR, NOW + 2 * HOUR)
    for body in (first, second, second, first):
        joined.head.call(body)
        joined.step(SECONDS)
    assert joined.status().event.intervals[0].kw == 250.0 and joined.status().event.modification == 1
    assert joined.refusals() == ["modification 0 is older than 1"]


def test_start_and_end_move_either_way_until_the_end(joined: Joined):
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + HOUR, None)
    joined.step(30 * SECONDS)
    assert joined.status().event.end > NOW + 24 * HOUR
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + 30 * MINUTE, NOW + 2 * HOUR)
    joined.step(30 * SECONDS)
    assert (joined.status().event.start, joined.status().event.end) == (NOW + 30 * MINUTE, NOW + 2 * HOUR)
    joined.step(40 * MINUTE)
    joined.step(SECONDS)
    assert joined.status().is_moving
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + 30 * MINUTE, NOW + 90 * MINUTE)
    joined.step(30 * SECONDS)
    assert joined.status().event.end == NOW + 90 * MINUTE and joined.status().is_moving
    joined.step(60 * MINUTE)
    joined.step(SECONDS)
    assert joined.status().state in (State.RECOVERING, State.COMPLETED)


def test_not_authorized_is_cancelled_also_while_it_runs_and_missing_is_not(joined: Joined):
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + 10 * MINUTE, NOW + 2 * HOUR)
    joined.step(30 * SECONDS)
    joined.step(20 * MINUTE)
    kept = joined.head.dispatches.pop("d1")
    joined.step(MINUTE)
    assert joined.status().is_moving
    joined.head.dispatches["d1"] = kept
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + 10 * MINUTE, NOW + 2 * HOUR, authorized=False)
    joined.step(MINUTE)
    assert joined.status().state is State.RECOVERING and not joined.status().is_moving


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"program": "other"}, "is not among those"),
        ({"modification_number": "1"}, "a whole number"),
        ({"start_time": "2027-07-15T13:00:00"}, "with its offset"),
        ({"authorized": "no"}, "true or false"),
        ({"sites": [{"site_id": "dc-1", "commitment_kw": -5}]}, "commitment_kw"),
        ({"sites": [{"site_id": "dc-1", "commitment_kw": 1}, {"site_id": "dc-1", "commitment_kw": 2}]}, "2 times"),
        ({"id": "a/b"}, "usable id"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_dispatch_that_cannot_be_meant_is_refused_and_kept(joined: Joined, change: dict[str, Any], why: str):
    joined.head.dispatch("d1", "dc-1", 200.0, NOW + HOUR, NOW + 2 * HOUR, **change)
    joined.step(30 * SECONDS)
    assert len(joined.refusals()) == 1 and why in joined.refusals()[0] and not joined.office.programs.desk().events
    assert json.loads(joined.office.trail("message")[0]["raw"])["program"]


def test_a_body_that_is_no_json_is_kept_as_refused(joined: Joined):
    httpx.post(joined.head._hook[0], content=b"\xff{", headers={"Authorization": "Bearer from-the-aggregator"})  # type: ignore[index]
    joined.step(SECONDS)
    assert joined.refusals() == ["a dispatch without a usable id"]


def test_telemetry_is_stamped_with_its_end():
    assert reading((NOW, 30.0, 812.3456, "ok")) == {
        "timestamp": "2027-07-15T12:00:30Z",
        "interval_s": 30.0,
        "load_kw": 812.346,
        "quality": "ok",
    }


def test_after_ten_minutes_without_the_head_end_every_half_minute_is_filled_back(joined: Joined):
    joined.run(2 * MINUTE, 800.0)
    joined.head.is_down = True
    joined.run(10 * MINUTE, 700.0)
    joined.head.is_down = False
    joined.run(4 * MINUTE, 600.0)
    ends = sorted(joined.head.readings)
    assert joined.head.faults == [] and ends[-1] - ends[0] >= 13 * MINUTE
    assert all(b - a == 30 * SECONDS for a, b in pairwise(ends))
    middle = [joined.head.readings[e] for e in ends if NOW + 4 * MINUTE < e < NOW + 11 * MINUTE]
    assert middle == [700.0] * 13
