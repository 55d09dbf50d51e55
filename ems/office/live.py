"""What the office knows of the running site: the newest cycle, plan and forecast, how old they are, and the trail of the last half hour.

Nothing here asks the clock: `now` (site time) is an argument. Ages that decide whether something is alive are wall seconds, so that a
run at twenty times real time is not called dead between two looks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ems.errors import EmsError
from ems.mailbox import Mailbox, Message
from ems.messages import MinuteFrame
from ems.office.alarms.book import Alarm
from ems.office.grid_events import ShownEvent
from ems.plan.plan import Plan, decode_plan
from ems.site.model import Site

FRESH_WALL_S = 5.0  # an older cycle is shown with its age and not as the present
FRESH_PLANS = 2.5  # a plan is fresh for so many planning periods, as control sees it
TRAIL = timedelta(minutes=30)
TRAIL_POINTS = 2400
OVER = 1.001  # import above limit x this is an excursion
LONGEST_GAP_S = 30.0  # of site time between two cycles seen; beyond, nobody looked
HOSTILE = (EmsError, KeyError, TypeError, ValueError, AttributeError, IndexError)  # messages of other processes are never trusted
NEEDED = (
    "at",
    "level",
    "level_name",
    "cause",
    "since",
    "import_kw",
    "limit_kw",
    "limit_source",
    "month_peak_kw",
    "assets",
    "alarms",
    "orders",
)


@dataclass(frozen=True)
class Point:
    """One cycle on the trail; `limit_kw` is None where only minute means are left."""

    at: datetime
    import_kw: float
    limit_kw: float | None


@dataclass
class Live:
    """Call `look` a few times a second; it returns what is new."""

    site: Site
    mailbox: Mailbox
    speed: float = 1.0
    snapshot: dict[str, Any] | None = None
    sequence: int = 0  # of the snapshot
    plan: Plan | None = None
    plan_body: dict[str, Any] = field(default_factory=dict)
    forecast: dict[str, Any] | None = None
    health: dict[str, dict[str, Any]] = field(default_factory=dict)  # by process
    trail: deque[Point] = field(default_factory=lambda: deque(maxlen=TRAIL_POINTS))
    excursions: int = 0
    excursion_s: float = 0.0
    standing: tuple[Alarm, ...] = ()  # as the alarm desk sees them
    feeds: tuple[dict[str, Any], ...] = ()  # as the office told of them, see outbox.py
    grid_events: tuple[ShownEvent, ...] = ()  # as the desk of this office has them
    refused: int = 0  # messages that were not what they should be
    _positions: dict[str, int] = field(default_factory=lambda: {"plan": 0, "forecast": 0, "health": 0, "feeds": 0, "snapshot": 0})
    _is_over: bool = False

    def look(self, now: datetime) -> set[str]:
        """Takes what has arrived; the names of the topics with something new."""
        return {topic for topic in self._positions if self._take_new(topic, now)}

    def age_s(self, now: datetime) -> float | None:
        """Site seconds since the newest cycle, None when there was none."""
        return (now - datetime.fromisoformat(self.snapshot["at"])).total_seconds() if self.snapshot else None

    def age_wall_s(self, now: datetime) -> float | None:
        """Wall seconds since the newest cycle, None when there was none."""
        age_s = self.age_s(now)
        return None if age_s is None else age_s / self.speed

    def is_fresh(self, now: datetime) -> bool:
        """True while the newest cycle may be called the present; a stamp ahead of the clock may not."""
        age = self.age_wall_s(now)
        return age is not None and -FRESH_WALL_S < age < FRESH_WALL_S

    def plan_age_s(self, now: datetime) -> float | None:
        """Site seconds since the newest plan was made, None when there is none."""
        return (now - self.plan.made_at).total_seconds() if self.plan else None

    def is_plan_fresh(self, now: datetime) -> bool:
        """True while the newest plan is valid and was made lately."""
        age_s = self.plan_age_s(now)
        return self.plan is not None and age_s is not None and self.plan.is_valid(now) and age_s <= FRESH_PLANS * self.site.plan.every_s

    def remember_minutes(self, now: datetime) -> None:
        """Fills the trail before the first cycle from the minute means of the last half hour. Call once, at start."""
        for message in self.mailbox.since("minute", max(0, self.mailbox.last_sequence() - 5000), 10_000):
            try:
                frame = MinuteFrame.decode(message.body)
                if frame.poc_kw is not None and now - TRAIL <= frame.start <= now:
                    self.trail.append(Point(frame.start, max(0.0, frame.poc_kw), None))
            except HOSTILE:
                self.refused += 1

    def _take_new(self, topic: str, now: datetime) -> bool:
        messages = self.mailbox.since(topic, self._positions[topic])
        if messages:
            self._positions[topic] = messages[-1].sequence
        taken = [m for m in messages if self._is_taken(m, now)]
        return bool(taken)

    def _is_taken(self, message: Message, now: datetime) -> bool:
        try:
            getattr(self, f"_take_{message.topic}")(message, now)
        except HOSTILE:
            self.refused += 1
            return False
        return True

    def _take_snapshot(self, message: Message, now: datetime) -> None:
        body = message.body
        point = Point(datetime.fromisoformat(body["at"]), float(body["import_kw"]), float(body["limit_kw"]))
        missing = [key for key in NEEDED if key not in body]
        if missing or point.at.tzinfo is None or not all(isinstance(a, dict) and "id" in a and "kind" in a for a in body["assets"]):
            raise ValueError(f"snapshot lacks {missing}")
        self._count_excursion(point, bool(body.get("is_metered", True)))
        self.snapshot, self.sequence = body, message.sequence
        while self.trail and (self.trail[0].at < point.at - TRAIL or self.trail[-1].at >= point.at):
            self.trail.popleft() if self.trail[0].at < point.at - TRAIL else self.trail.pop()
        self.trail.append(point)

    def _take_plan(self, message: Message, now: datetime) -> None:
        plan = decode_plan(message.body)
        if plan.valid_until.tzinfo is None or not plan.starts:
            raise ValueError("plan without steps or time zone")
        self.plan, self.plan_body = plan, message.body

    def _take_forecast(self, message: Message, now: datetime) -> None:
        datetime.fromisoformat(message.body["made_at"])
        dict(message.body["series"])
        self.forecast = message.body

    def _take_feeds(self, message: Message, now: datetime) -> None:
        self.feeds = tuple({**shown, "name": str(shown["name"])} for shown in message.body["feeds"])

    def _take_health(self, message: Message, now: datetime) -> None:
        self.health[str(message.body["process"])] = message.body

    def _count_excursion(self, point: Point, is_metered: bool) -> None:
        """Excursions among the cycles seen; the plant between two looks is not seen here, the journal has every cycle. What is only assumed
        is no excursion."""
        is_over = is_metered and point.limit_kw is not None and point.import_kw > point.limit_kw * OVER
        self.excursions += is_over and not self._is_over
        if is_over and self._is_over and self.trail:
            self.excursion_s += min(max(0.0, (point.at - self.trail[-1].at).total_seconds()), LONGEST_GAP_S)
        self._is_over = is_over
