"""The planner process: what control measured and the office fetched in, a plan out, on every planning period and on news.

Started by the supervisor as `python -m ems.app.planner STATE_DIR`. It may crash, hang or be late: a plan is data with a validity.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from ems.app.beat import Beat, watch_supervisor
from ems.app.health import HEALTH_EVERY, HEALTH_VALID, health_body
from ems.app.log import log_line
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.control.news import decode_obligation
from ems.errors import EmsError
from ems.forecast.jobs import decode_announced
from ems.forecast.peak_watch import PeakWatch, demand_kw
from ems.forecast.traffic_watch import TrafficWatch
from ems.mailbox import Mailbox, Message
from ems.messages import MinuteFrame
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan, encode_plan
from ems.plan.state import PlanState
from ems.plan.surprise import is_surprise
from ems.signals.carbon import CarbonRow
from ems.signals.price_watch import PriceWatch
from ems.signals.prices import PriceRow
from ems.signals.weather import WeatherRow

NAME = "planner"
LOOK_EVERY_S = 0.1  # wall seconds between two looks into the mailbox
PAGE = 500
STATE_MAX_AGE = timedelta(minutes=2)  # an older snapshot is no state to plan from
FORECAST_VALID = timedelta(hours=1)
MEMORY_VALID = timedelta(days=400)
AHEAD = timedelta(minutes=10)  # a minute that begins later than that from now was stamped by a wrong clock
FAN = (0.1, 0.5, 0.9)
HOSTILE = (EmsError, KeyError, TypeError, ValueError, AttributeError)  # a message from another process is never trusted
TOPICS = ("prices", "weather", "carbon", "event", "jobs", "minute")  # minutes last: what they hold is understood by the rest
NEWS = ("event", "jobs")  # planned for at once
LIMIT_NEWS = 0.01  # of the import limit: so is a change of it by more (a limit in kVA moves a little with every reading)


def main(argv: list[str]) -> int:
    """Plans until terminated or until the supervisor is gone."""
    setproctitle("ems planner")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    watch_supervisor(lambda: os._exit(0))
    try:
        process = PlannerProcess(StateDir(Path(argv[0])))
    except EmsError as error:
        log_line(NAME, "could not run", fields={"error": str(error)})
        return 1
    beat = Beat()
    while True:
        process.look()
        beat.give()
        time.sleep(LOOK_EVERY_S)


class PlannerProcess:
    """Feeds the plan loop from the mailbox and posts its plans."""

    def __init__(self, state: StateDir) -> None:
        run_file = RunFile.load(state.site)
        self.site = run_file.site
        self.clock = shared_clock(state)
        self.mailbox = Mailbox(state.mailbox, busy_ms=2000)
        self.plans = PlanLoop(self.site, budget_s=self.site.plan.budget_s)
        step_s = max(self.site.control.cycle_s, 2.0 * LOOK_EVERY_S * self.clock.speed)
        self.peaks = PeakWatch({c.id: c.rating_kw for c in self.site.clusters}, step_s)
        self.traffic = TrafficWatch(self.site.clusters)
        self.price_watch = PriceWatch()
        self._positions = dict.fromkeys(TOPICS, 0)
        self._next_plan_at = self._next_health_at = self.clock.now()
        self._trouble = ""  # why there was no plan last time
        self._limit_kw: float | None = None
        self._last_plan: Plan | None = None
        self._last_frame: MinuteFrame | None = None
        self._remember_tariff()

    def look(self) -> None:
        """Takes what has arrived; plans when it is time or when the news ask for it."""
        is_news = self._take_messages()
        now = self.clock.now()
        self._tell_health(now)
        state = self._state(now)
        if state is None:
            return
        self._foresee_peaks(now, state)
        is_news |= self._limit_kw is not None and abs(state.import_limit_kw - self._limit_kw) > LIMIT_NEWS * self._limit_kw
        is_news |= self._is_surprised()
        if is_news or now >= self._next_plan_at:
            self._plan(now, state)

    def _is_surprised(self) -> bool:
        """True when the last minute left the band of the last plan, which is not brand-new."""
        plan, frame = self._last_plan, self._last_frame
        return plan is not None and frame is not None and is_surprise(self.site, plan, frame)

    def _foresee_peaks(self, now: datetime, state: PlanState) -> None:
        """Tells the guard, every few seconds, how high each cluster may go in the next seconds and minutes."""
        self.peaks.observe(state.at, demand_kw(self.site, state.clusters))
        body = self.peaks.message(now)
        if body is not None:
            self.mailbox.post("peak", body, now, datetime.fromisoformat(body["valid_until"]))

    def _tell_health(self, now: datetime) -> None:
        if now >= self._next_health_at:
            self._next_health_at = now + HEALTH_EVERY
            notes = [self._trouble, self.plans.price_alarm, *self.price_watch.notes(), *self.traffic.notes(now)]
            self.mailbox.post("health", health_body(NAME, now, notes), now, now + HEALTH_VALID)

    def _plan(self, now: datetime, state: PlanState) -> None:
        self._limit_kw = state.import_limit_kw
        every = timedelta(seconds=self.site.plan.every_s)
        self._next_plan_at = now + every
        try:
            plan = self.plans.plan(now, state)
        except EmsError as error:
            self._trouble = f"no plan: {error}"
            log_line(NAME, "no plan", now, {"error": str(error)})
            self._next_plan_at = now + every / 5
            return
        except Exception as error:  # a defect of ours costs the plan, not the peaks and forecasts that control is told every few seconds
            self._trouble = f"no plan: a defect of this program: {type(error).__name__}: {error}"
            log_line(NAME, "no plan", now, {"error": self._trouble, "traceback": traceback.format_exc()})
            return
        self._trouble, self._last_plan = "", plan
        now = self.clock.now()
        self.mailbox.post("plan", encode_plan(plan), now, plan.valid_until)
        self.mailbox.post("forecast", self._forecast(now), now, now + FORECAST_VALID)
        if (memory := self.plans.memory()) is not None:
            self.mailbox.post("tariff", memory, now, now + MEMORY_VALID)

    def _remember_tariff(self) -> None:
        """What the charges of the tariff remember from before this process: minutes reach back four days, a ratchet a year."""
        message = self.mailbox.latest("tariff", self.clock.now())
        try:
            if message is not None:
                self.plans.remember(message.body)
        except HOSTILE as error:
            log_line(NAME, "memory of the tariff not understood", self.clock.now(), {"error": str(error)})

    def _forecast(self, made_at: datetime) -> dict[str, Any]:
        series = {
            name: {
                "starts": [start.isoformat() for start in fan.starts],
                **{f"q{round(100 * level)}": [float(v) for v in fan.q(level)] for level in FAN},
            }
            for name, fan in self.plans.forecasts.items()
        }
        return {"made_at": made_at.isoformat(), "series": series}

    def _state(self, now: datetime) -> PlanState | None:
        """The measured state, None while control has nothing fresh to say."""
        message = self.mailbox.latest("snapshot", now)
        if message is None or now - message.written_at > STATE_MAX_AGE:
            return None
        try:
            return PlanState.decode(message.body["plan_state"])
        except HOSTILE as error:
            log_line(NAME, "snapshot not understood", now, {"error": str(error)})
            return None

    def _take_messages(self) -> bool:
        """True when something arrived that asks for a plan at once."""
        is_news = False
        for topic in TOPICS:
            while messages := self.mailbox.since(topic, self._positions[topic], PAGE):
                self._positions[topic] = messages[-1].sequence
                self._take(topic, messages)
                is_news |= topic in NEWS
        return is_news

    def _take(self, topic: str, messages: Iterable[Message]) -> None:
        for message in messages:
            try:
                self._take_body(topic, message.body)
            except HOSTILE as error:
                log_line(NAME, f"{topic} not understood", message.written_at, {"error": str(error)})

    def _take_body(self, topic: str, body: dict[str, Any]) -> None:
        if topic == "minute":
            frame = MinuteFrame.decode(body)
            if frame.start > self.clock.now() + AHEAD:
                raise ValueError(f"a minute of the future, {frame.start.isoformat()}: the clock was wrong or is")
            self._last_frame = frame
            self.plans.observe(frame)
            self.traffic.observe(frame)
        elif topic == "prices":
            self.plans.add_prices(self.price_watch.passed(PriceRow(**_instants(row)) for row in body["rows"]))
        elif topic == "weather":
            self.plans.add_weather([WeatherRow(**_instants(row)) for row in body["rows"]])
        elif topic == "carbon":
            self.plans.add_carbon([CarbonRow(**_instants(row)) for row in body["rows"]])
        elif topic == "jobs":
            self.plans.announce(decode_announced(body))
        else:
            self.plans.add_events([decode_obligation(body)])


def _instants(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its instants read."""
    return {**row, **{k: datetime.fromisoformat(row[k]) for k in ("valid_from", "valid_to", "available_at")}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
