"""From a server's response to the plan: the office fetches, the mailbox carries, the planner plans with the price and says which it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app.planner import PlannerProcess
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir
from ems.clock import Clock
from ems.messages import Mode
from ems.office.service import Service, listen
from ems.plan.plan import Plan, decode_plan
from ems.site.model import Site
from tests.adapters.feeds.made import feed, says, serving
from tests.control.loop import demo_site
from tests.office.given import Running

HOUR = timedelta(hours=1)
WITHIN_S = 90.0
PATIENT = {"plan": {"budget_s": 300}}  # a machine that runs other tests plans in its time


def hours(now: datetime, prices: list[float]) -> bytes:
    begin = now.replace(minute=0, second=0, microsecond=0)
    return json.dumps([{"t": (begin + k * HOUR).isoformat(), "p": p} for k, p in enumerate(prices)]).encode()


def dear_evening() -> list[float]:
    return [900.0 if 3 <= k % 24 < 5 else 20.0 + k for k in range(60)]


@contextmanager
def planner(running: Running, site: Site) -> Iterator[PlannerProcess]:
    state = StateDir(running.state_dir)
    RunFile(site, {}, Mode.CONTROL, "", 0, "").save(state.site)
    Clock(running.now + timedelta(seconds=25), time.monotonic(), 1.0).save(state.clock)  # later than the office fetched
    process = PlannerProcess(state)
    try:
        yield process
    finally:
        process.mailbox.close()


def newest_plan(running: Running) -> Plan:
    return decode_plan(running.mailbox.since("plan", 0)[-1].body)


async def fed(service: Service, running: Running, topic: str = "prices") -> None:
    """Runs the office until rows of a topic have reached the mailbox."""
    listening = listen(0)
    task = asyncio.create_task(service.run(listening))
    give_up_at = time.monotonic() + WITHIN_S
    while not running.mailbox.since(topic, 0) and time.monotonic() < give_up_at:
        await asyncio.sleep(0.02)
    await service.stop()
    await task
    service.close()
    listening.close()


async def test_a_price_fetched_over_http_is_the_price_of_the_plan(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.cycle()
    with serving(says(hours(running.now, dear_evening()))) as server:
        ahead = replace(feed(kind="day_ahead_price", url=server.url, step_min=60.0), name="ahead")
        running.site = site = replace(demo_site(**PATIENT), live_feeds=(ahead,))
        await fed(running.service(), running)
    with planner(running, site) as process:
        process.look()
    plan = newest_plan(running)
    at = [plan.starts[0].replace(minute=30, second=0, microsecond=0) + k * HOUR for k in (1, 3)]
    price = [next(p for s, h, p in steps(plan) if s <= t < s + h * HOUR) for t in at]
    assert price[0] == pytest.approx(0.021, abs=1e-6) and price[1] > 0.4  # the risk premium of a dear day-ahead hour is taken off
    assert any(line.startswith("price: day-ahead ") for line in plan.lines), plan.lines
    assert min(plan.power_kw["bess-1"]) < -100.0
    [told] = [f for f in running.mailbox.since("feeds", 0)[-1].body["feeds"] if f["name"] == "ahead"]
    assert not told["is_stale"] and told["from"] == "127.0.0.1" and told["problem"] is None


def steps(plan: Plan) -> list[tuple[datetime, float, float]]:
    return list(zip(plan.starts, plan.duration_h, plan.price_per_kwh, strict=True))


async def test_prices_and_carbon_dropped_as_files_reach_the_plan(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.cycle()
    prices, carbon = tmp_path / "prices-in", tmp_path / "feeds" / "carbon"
    for folder in (prices, carbon):
        folder.mkdir(parents=True)
    begin = running.now.replace(minute=0, second=0, microsecond=0)
    (prices / "p.csv").write_text("time,price\n" + "".join(f"{(begin - k * HOUR).isoformat()},{30 + k}\n" for k in range(1, 30)))
    row = f"{(begin - HOUR).isoformat()},{begin.isoformat()},412\n"
    (carbon / "c.csv").write_text("valid_from,valid_to,carbon_g_per_kwh\n" + row)
    own = feed(folder=str(prices), format="csv", columns={"time": "time", "value": "price"}, step_min=60.0)
    running.site = replace(demo_site(**PATIENT), live_feeds=(own,))
    await fed(running.service(), running, "carbon")
    with planner(running, running.site) as process:
        process.look()
        assert process.plans.carbon.forecast(running.now, [running.now], [1.0]) == pytest.approx([412.0])
        assert process.plans.price_alarm == "no market price is known for now: the plan uses the profile of earlier days"
    assert any(line.startswith("price: profile of earlier days ") for line in newest_plan(running).lines)


def test_a_plan_without_any_price_says_that_it_used_the_declared_one(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.cycle()
    site = demo_site(**PATIENT)
    site = replace(site, tariff=replace(site.tariff, market_fallback_per_kwh=0.083))
    with planner(running, site) as process:
        process.look()
        assert "declared fallback price of 0.083 per kWh" in process.plans.price_alarm
    plan = newest_plan(running)
    assert set(plan.price_per_kwh) == {0.083} and plan.lines[-1] == "price: declared fallback price 49 h"  # in whole hours


def test_rows_of_a_hostile_office_never_stop_the_planner(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.cycle()
    stamp = running.now.isoformat()
    good = {"valid_from": stamp, "valid_to": stamp, "available_at": stamp, "source": "real_time"}
    bad: list[Any] = [
        {"rows": [{**good, "price_per_kwh": "dear"}]},
        {"rows": [{**good, "price_per_kwh": 0.04, "valid_to": None}]},
        {"rows": [{**good, "price_per_kwh": 1e300}]},
        {"rows": [{**good, "price_per_kwh": 0.05, "valid_from": "2024-08-19T05:00:00"}]},
        {"rows": [{**good, "price_per_kwh": True, "extra": 1}]},
        {"rows": "none"},
        {"rows": [None]},
        {},
    ]
    for topic in ("prices", "weather", "carbon"):
        for body in bad:
            running.mailbox.post(topic, body, running.now, running.now + HOUR)
    with planner(running, demo_site(**PATIENT)) as process:
        process.look()
    assert newest_plan(running).price_per_kwh
