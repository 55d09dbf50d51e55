"""The random grid events of `make events`: seed -> site, calls, injected fault. Pure: nothing but the seed is looked at.

Every quantity is drawn uniformly from its range. Minutes count from the start of the window; the first call comes after LEAD_MIN minutes,
and the window ends AFTER_MIN minutes after the last event, so that a plain event's window is its notice and length and 90 minutes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SEEDS = range(1, 301)  # the campaign; none is replaced
DEVELOPMENT = range(301, 361)  # what the product may be improved on
SITES = ("demo-2mw", "enterprise-50mw")
STORIES = ("plain", "overlapping", "modified", "cancelled")
PROGRAMS = ("events-mandatory", "events-voluntary")
KINDS = ("reduce_by", "reduce_to", "import_limit")
DEPTH = (0.10, 0.40)  # of the import before the call
NOTICE_MIN = (0, 60)
LENGTH_MIN = (5, 240)
FAULT_S = (20.0, 180.0)
LEAD_MIN, AFTER_MIN = 30, 60
FIRST_DAY, DAYS = datetime(2024, 8, 17, 12, tzinfo=UTC), 4  # generated prices are there from half a day before to a day after

HALLS = {"demo-2mw": ("hall-a", "hall-b"), "enterprise-50mw": ("hall-a", "hall-b", "hall-c", "hall-d")}
UPSES = {"demo-2mw": ("ups-1",), "enterprise-50mw": ("ups-1", "ups-2")}
COOLINGS = {"demo-2mw": ("cooling-1",), "enterprise-50mw": ("cooling-1", "cooling-2")}
BATTERIES = {
    "demo-2mw": ("bess-1",),
    "enterprise-50mw": (*(f"bess-lfp-{n:03d}" for n in range(1, 17)), *(f"bess-nmc-{n:03d}" for n in range(1, 9))),
}
STORE_FAULTS = ("silent", "frozen", "slow", "reject", "ignores", "wrong_sign", "trip", "local", "reboot")
FAULTS = (
    *(("meter", kind) for kind in ("silent", "frozen", "slow", "wrong_sign")),
    *(("battery", kind) for kind in STORE_FAULTS),
    *(("ups", kind) for kind in (*STORE_FAULTS, "input_lost")),
    *(("hall", kind) for kind in ("silent", "frozen", "slow", "reject", "ignores", "trip", "local", "reboot")),
    *(("cooling", kind) for kind in ("silent", "frozen", "slow", "trip")),
    ("process", "planner"),  # no plan
    ("process", "office"),  # no desk: nothing is received, moved or sent
    ("process", "control"),  # killed; another starts from its memory
    ("message", "repeated"),  # every call comes again, an older one after it, and one that means nothing
)


@dataclass(frozen=True)
class Call:
    """One message: an event, a newer version of one, or its end. `depth` is the share of the import before the first call that is to go."""

    at_min: int
    event: str
    modification: int
    program: str
    kind: str
    depth: float
    start_min: int
    end_min: int
    is_cancelled: bool = False


@dataclass(frozen=True)
class InjectedFault:
    """What goes wrong: which part (a device, or a process), how, when, for how long."""

    group: str
    kind: str
    target: str
    at_s: float
    for_s: float


@dataclass(frozen=True)
class Case:
    """One seed."""

    seed: int
    site: str
    story: str
    begins_at: datetime
    calls: tuple[Call, ...]
    fault: InjectedFault

    @property
    def end_min(self) -> int:
        """Where the window ends: an hour after the last event, whenever it was cancelled."""
        return max(c.end_min for c in self.calls) + AFTER_MIN


def case(seed: int) -> Case:
    """The case of a seed."""
    rng = random.Random(f"event {seed}")
    site, story = rng.choice(SITES), rng.choice(STORIES)
    begins_at = FIRST_DAY + timedelta(minutes=rng.randrange(DAYS * 24 * 60))
    calls = _calls(rng, story)
    return Case(seed, site, story, begins_at, calls, _fault(rng, site, calls))


def _calls(rng: random.Random, story: str) -> tuple[Call, ...]:
    notice, length = _whole(rng, NOTICE_MIN), _whole(rng, LENGTH_MIN)
    start = LEAD_MIN + notice
    first = Call(LEAD_MIN, "e1", 0, rng.choice(PROGRAMS), rng.choice(KINDS), rng.uniform(*DEPTH), start, start + length)
    if story == "overlapping":
        return _in_order((first, _overlapping(rng, first)))
    if story == "modified":
        return (first, _modified(rng, first))
    if story == "cancelled":
        at = rng.randint(first.at_min, first.end_min - 1)
        return (first, Call(**{**vars(first), "at_min": at, "modification": 1, "is_cancelled": True}))
    return (first,)


def _overlapping(rng: random.Random, first: Call) -> Call:
    """Another event of the same programme, begun while the first lasts."""
    start = rng.randint(first.start_min, first.end_min - 1)
    notice, length = _whole(rng, NOTICE_MIN), _whole(rng, LENGTH_MIN)
    return Call(start - notice, "e2", 0, first.program, rng.choice(KINDS), rng.uniform(*DEPTH), start, start + length)


def _modified(rng: random.Random, first: Call) -> Call:
    """The same event with another depth and length, told at any time until five minutes before its end."""
    at = rng.randint(first.at_min, first.end_min - LENGTH_MIN[0])
    shortest = max(LENGTH_MIN[0], at + LENGTH_MIN[0] - first.start_min)
    end = first.start_min + rng.randint(shortest, LENGTH_MIN[1])
    return Call(at, "e1", 1, first.program, first.kind, rng.uniform(*DEPTH), first.start_min, end)


def _in_order(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The calls by time, the first after LEAD_MIN minutes."""
    late = LEAD_MIN - min(c.at_min for c in calls)
    moved = (Call(**{**vars(c), **{k: getattr(c, k) + late for k in ("at_min", "start_min", "end_min")}}) for c in calls)
    return tuple(sorted(moved, key=lambda c: c.at_min))


def _fault(rng: random.Random, site: str, calls: tuple[Call, ...]) -> InjectedFault:
    group, kind = rng.choice(FAULTS)
    devices = {"meter": ("poc",), "battery": BATTERIES[site], "ups": UPSES[site], "hall": HALLS[site], "cooling": COOLINGS[site]}
    target = rng.choice(devices.get(group, ("",)))
    at_s = rng.uniform(60.0 * calls[0].at_min, 60.0 * max(c.end_min for c in calls))
    return InjectedFault(group, kind, target, float(int(at_s)), rng.uniform(*FAULT_S))


def _whole(rng: random.Random, between: tuple[int, int]) -> int:
    return rng.randint(*between)
