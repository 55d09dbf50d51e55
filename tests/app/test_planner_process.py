"""The planner process around a stand-in plan loop: when it plans, and what it survives."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app import planner as planner_module
from ems.app.planner import PlannerProcess
from ems.app.prepare import prepared_run
from ems.app.statedir import StateDir
from ems.clock import Clock
from ems.errors import PlanInfeasible
from ems.mailbox import Mailbox
from ems.messages import MinuteFrame
from ems.obligation import Obligation, ObligationKind
from ems.plan.plan import Plan
from ems.plan.state import PlanState
from ems.plan.surprise import is_surprise

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class StandIn:
    """Records what it is given; plans nothing."""

    def __init__(self, site: object, budget_s: float) -> None:
        self.given: list[tuple[str, Any]] = []
        self.planned: list[PlanState] = []
        self.forecasts: dict[str, Any] = {}
        self.price_alarm = ""
        self.trouble: Exception | None = None

    def memory(self) -> dict[str, Any] | None:
        return {"months": [len(self.planned)]}

    def remember(self, data: dict[str, Any]) -> None:
        self.given.append(("tariff", data["months"]))

    def observe(self, frame: MinuteFrame) -> None:
        self.given.append(("minute", frame))

    def add_prices(self, rows: list[Any]) -> None:
        self.given.append(("prices", rows))

    def add_weather(self, rows: list[Any]) -> None:
        self.given.append(("weather", rows))

    def add_events(self, events: list[Obligation]) -> None:
        self.given.append(("event", events))

    def plan(self, now: datetime, state: PlanState) -> Plan:
        self.planned.append(state)
        if self.trouble:
            raise self.trouble
        n = (1.0,)
        return Plan(now, now + HOUR, (now,), (0.25,), {}, {}, {}, n, {}, {}, n, n, ("",), 0.0, 0.0)


class Bench:
    """A planner process on a state directory, and the other end of its mailbox."""

    def __init__(self, folder: Path) -> None:
        state = StateDir(folder)
        self.run_file = prepared_run("demo-2mw", state, None, None, 1, None)
        self.run_file.save(state.site)
        self.clock = Clock.starting_at(NOON, 1.0)
        self.clock.save(state.clock)
        self.mailbox = Mailbox(state.mailbox)
        self.state = state
        self.process = PlannerProcess(state)
        self.loop: StandIn = self.process.plans  # type: ignore[assignment]

    def say(self, topic: str, body: dict[str, Any]) -> None:
        now = self.clock.now()
        assert self.mailbox.post(topic, body, now, now + HOUR)

    def tell_state(self, limit_kw: float = 1450.0) -> None:
        state = PlanState(self.clock.now(), {"bess-1": 500.0}, {}, 900.0, 0.0, None, 0.0, 100.0, limit_kw, 1000.0, None)
        self.say("snapshot", {"plan_state": state.encode()})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(planner_module, "PlanLoop", StandIn)
    return Bench(tmp_path)


def test_without_a_fresh_state_nothing_is_planned(bench: Bench):
    bench.process.look()
    assert bench.loop.planned == []


def test_a_plan_goes_out_at_once_and_then_only_when_its_time_has_come(bench: Bench):
    bench.tell_state()
    for _ in range(3):
        bench.process.look()
    assert len(bench.loop.planned) == 1
    plan, fans = bench.mailbox.latest("plan", bench.clock.now()), bench.mailbox.latest("forecast", bench.clock.now())
    assert plan is not None and plan.valid_until == bench.loop.planned[0].at.replace(microsecond=plan.valid_until.microsecond) + HOUR
    assert fans is not None


def event_body() -> dict[str, Any]:
    event = Obligation("e-1", ObligationKind.IMPORT_LIMIT, 1200.0, NOON + HOUR, NOON + 2 * HOUR, NOON)
    instants = {"start": event.start, "end": event.end, "notice_at": event.notice_at}
    return {**vars(event), "kind": "import_limit", **{k: v.isoformat() for k, v in instants.items()}}


def test_an_event_and_a_changed_limit_are_news_that_make_a_new_plan(bench: Bench):
    bench.tell_state()
    bench.process.look()
    bench.say("event", event_body())
    bench.process.look()
    assert bench.loop.given[-1][0] == "event" and len(bench.loop.planned) == 2
    bench.tell_state(limit_kw=1200.0)
    bench.process.look()
    assert len(bench.loop.planned) == 3


def test_a_price_beyond_all_history_is_alarmed_and_does_not_reach_the_plan(bench: Bench):
    def row(k: int, price: float) -> dict[str, Any]:
        at = NOON + HOUR * (k - 100)
        return {"valid_from": at.isoformat(), "valid_to": (at + HOUR).isoformat(), "available_at": at.isoformat(), "price_per_kwh": price}

    bench.say("prices", {"rows": [row(k, 0.03 + 0.0001 * k) for k in range(99)]})
    bench.say("prices", {"rows": [row(99, 15.0)]})
    bench.process.look()
    assert [len(rows) for topic, rows in bench.loop.given] == [99, 0]
    bench.process._next_health_at = NOON
    bench.process.look()
    health = bench.mailbox.latest("health", bench.clock.now())
    assert health is not None and "real_time price of 15 per kWh from 2024-08-19 11:00Z: " in health.body["note"]


def test_messages_that_make_no_sense_are_passed_over(bench: Bench, capsys: pytest.CaptureFixture[str]):
    for topic in ("minute", "prices", "weather", "event"):
        bench.say(topic, {"rows": [{"valid_from": "yesterday"}]})
        bench.say(topic, {})
        bench.say(topic, {"rows": 7})
    bench.say("snapshot", {"plan_state": {"at": "now"}})
    bench.process.look()
    assert bench.loop.given == [] and bench.loop.planned == []
    assert capsys.readouterr().err.count("not understood") == 13


def test_what_the_tariff_remembers_comes_back_before_any_minute_is_told_again(bench: Bench):
    bench.tell_state()
    bench.process.look()
    assert bench.loop.given == []
    again = PlannerProcess(bench.state)
    assert again.plans.given == [("tariff", [1])]  # type: ignore[attr-defined]


def test_a_memory_that_makes_no_sense_is_passed_over(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench.say("tariff", {"years": []})
    PlannerProcess(bench.state)
    assert "memory of the tariff not understood" in capsys.readouterr().err


def test_an_infeasible_plan_is_said_and_tried_again_soon(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench.loop.trouble = PlanInfeasible("reserve against limit")
    bench.tell_state()
    bench.process.look()
    assert "reserve against limit" in capsys.readouterr().err
    assert bench.mailbox.latest("plan", bench.clock.now()) is None
    assert bench.process._next_plan_at < bench.clock.now() + timedelta(seconds=bench.run_file.site.plan.every_s / 2)


def test_a_defect_costs_the_plan_and_not_the_process(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench.loop.trouble = ValueError("not convex")
    bench.tell_state()
    bench.process.look()
    assert "a defect of this program: ValueError: not convex" in capsys.readouterr().err
    assert bench.mailbox.latest("plan", bench.clock.now()) is None
    assert "not convex" in bench.process._trouble and bench.process._next_plan_at > bench.clock.now()
    bench.loop.trouble, bench.process._next_plan_at = None, bench.clock.now()
    bench.process.look()
    assert bench.process._trouble == "" and bench.mailbox.latest("plan", bench.clock.now()) is not None


def a_plan(site: Any, q90_kw: float) -> Plan:
    starts = tuple(NOON + timedelta(minutes=15 * i) for i in range(4))
    band = {c.id: (q90_kw,) * 4 for c in site.clusters}
    four = (0.0,) * 4
    return Plan(NOON, NOON + HOUR, starts, (0.25,) * 4, {}, {}, {}, four, band, band, four, four, ("",) * 4, 0.0, 0.0)


def a_frame(site: Any, start: datetime, kw: float | None) -> MinuteFrame:
    return MinuteFrame(start, None, {}, {c.id: kw for c in site.clusters}, {}, {}, None)


@pytest.mark.parametrize(
    ("minute", "kw", "surprises"),
    [(5, 500.0, False), (5, 541.0, False), (5, 543.0, True), (50, 900.0, True), (61, 900.0, False), (5, None, False)],
)
def test_demand_far_above_the_planned_band_is_a_surprise(bench: Bench, minute: int, kw: float | None, surprises: bool):
    site = bench.run_file.site  # 1,680 kW of rating: the margin is 84 kW over both halls
    frame = a_frame(site, NOON + timedelta(minutes=minute), kw)
    assert is_surprise(site, a_plan(site, 500.0), frame) is surprises


def test_a_surprise_makes_a_new_plan_but_not_a_storm_of_them(bench: Bench):
    site = bench.run_file.site
    bench.tell_state()
    bench.process.look()
    bench.process._last_plan = a_plan(site, 500.0)
    bench.say("minute", a_frame(site, NOON + timedelta(minutes=1), 900.0).encode())
    bench.process.look()
    assert len(bench.loop.planned) == 2
    bench.process._last_plan = a_plan(site, 500.0)
    bench.say("minute", a_frame(site, NOON + timedelta(seconds=30), 900.0).encode())
    bench.process.look()
    assert len(bench.loop.planned) == 2, "a plan younger than a minute was replaced"
