"""The page tells each feed's newest value, where it is from and how old it is; a broken message of feeds changes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from ems.alarms import conditions
from ems.office.render import Renderer
from ems.office.service import Service
from tests.office.given import Running


def page_of(running: Running, service: Service) -> str:
    service.live.look(running.now)
    return Renderer(service.live).page(running.now, service.judged(running.now))


def test_feeds_stand_on_the_page_with_source_and_age(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.cycle()
    shown = {
        "name": "rt<b>", "kind": "real_time prices", "from": "prices.example",
        "fetched_at": (running.now - timedelta(minutes=4)).isoformat(),
        "valid_to": running.now.isoformat(), "value": 0.0412, "unit": "price_per_kwh", "is_stale": True, "problem": None,
    }  # fmt: skip
    running.mailbox.post("feeds", {"feeds": [shown]}, running.now, running.now + timedelta(days=1))
    service = running.service()
    found = page_of(running, service)
    assert "▲ <b>rt&lt;b&gt;</b> 0.0412 per kWh until 00:00:01 from prices.example, fetched 4 min ago, stale" in found
    for body in ({"feeds": [1]}, {"feeds": None}, {}):
        running.mailbox.post("feeds", body, running.now, running.now + timedelta(days=1))
        assert "prices.example" in page_of(running, service)
    service.close()


def test_whatever_is_wrong_with_a_price_raises_the_feeds_alarm() -> None:
    said = (
        "feed rt is stale: its newest value ended 2024-08-20 12:15Z (x answers 503); the plan goes on with the day-ahead price",
        "feed rt (a page of HTML or XML (Login))",
        "planner: no market price is known for now: the plan uses the last known price",
    )
    assert [c.kind.name for line in said for c in conditions([line], ["bess-1"])] == ["feed"] * 3
