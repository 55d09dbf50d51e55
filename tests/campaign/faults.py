"""The catalogue of what goes wrong, by its numbers, and seeded schedules of it.

A fault has a kind, a target, a begin, a length and a strength; all of it is plain data, so that a schedule can be kept, shrunk and run
again. `KINDS` says what each does to the world, what it takes away from the controller (for the oracle's search of a feasible answer), and
which alarm it must raise within how many seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ems.plan.plan import Plan, encode_plan
from simulators.plant import Demand
from tests.campaign.world import EPOCH, World
from tests.control.plans import flat_plan, hostile_plan

METER, STORAGE, CLUSTERS, COOLING = ("poc",), ("bess-1", "ups-1"), ("hall-a", "hall-b"), ("cooling-1",)
DEVICES = (*METER, *STORAGE, *CLUSTERS, *COOLING)
COMMANDED = (*STORAGE, *CLUSTERS)
SITE = ("site",)
RELEASED_AFTER_S = 1800.0  # a device in quarantine is looked after by then
PLAN_EVERY_S = 300
SOURCE_ANSWER_S = 3.0  # after the heartbeat: the cycle that misses it, and the way down
CANARY = "canary-7f3a91"  # stands for a secret in a message; nothing may keep it


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong over `[at_s, at_s + for_s)` world seconds."""

    at_s: float
    kind: str
    target: str
    for_s: float
    strength: float = 0.0

    @property
    def number(self) -> str:
        """Its number in the catalogue."""
        return KINDS[self.kind].number

    def is_active(self, at_s: float, after_s: float = 0.0) -> bool:
        """True while it lasts, and `after_s` seconds longer."""
        return self.at_s <= at_s < self.at_s + self.for_s + after_s


@dataclass(frozen=True)
class Kind:
    """What a fault of the catalogue is here. `takes_away`: the target no longer does what it is told. `alarm_s`: its alarm, naming the
    target (or one of `words`), must stand within so many seconds; None where nobody can or need notice."""

    number: str
    targets: tuple[str, ...]
    lasts_s: tuple[float, float]
    begin: Callable[[World, Fault], None]
    takes_away: bool = False
    alarm_s: float | None = None
    words: tuple[str, ...] = ()
    strength: Callable[[random.Random], float] = lambda rng: 0.0


def _bus(world: World, fault: Fault) -> None:
    world.bus.endpoints[fault.target].begin(fault.kind.split(" ")[0], world.time.s + fault.for_s, fault.strength)


def _partition(world: World, fault: Fault) -> None:
    for asset in world.bus.endpoints if fault.target == "site" else ():
        if (hash_of(asset) + int(fault.strength)) % 2:
            world.bus.endpoints[asset].begin("silent", world.time.s + fault.for_s)


def hash_of(name: str) -> int:
    """A small number that does not change from run to run."""
    return sum(name.encode())


def _kill(world: World, fault: Fault) -> None:
    world.kill_control(max(0.5, fault.strength))


def _pause(world: World, fault: Fault) -> None:
    process = world.control
    if process is None:
        return
    process.is_paused = True

    def go_on() -> None:
        process.is_paused = False

    world.at(world.time.s + fault.for_s, go_on)


def _full(world: World, fault: Fault) -> None:
    world.disk.is_full = True
    world.at(world.time.s + fault.for_s, lambda: setattr(world.disk, "is_full", False))


def _slow_disk(world: World, fault: Fault) -> None:
    world.disk.delay_s = fault.strength
    world.at(world.time.s + fault.for_s, lambda: setattr(world.disk, "delay_s", 0.0))


def _load(world: World, fault: Fault) -> None:
    normal, begun_s = world.load_override, world.time.s

    def demand(at_s: float) -> Mapping[str, Demand]:
        return LOADS[fault.kind](world, at_s - begun_s, fault)

    world.load_override = demand
    world.at(world.time.s + fault.for_s, lambda: setattr(world, "load_override", normal))


def _share(world: World, share: float) -> Mapping[str, Demand]:
    out = {}
    for cluster in world.site.clusters:
        kw = share * (cluster.rating_kw - cluster.idle_kw)
        out[cluster.id] = Demand(0.4 * kw, 0.4 * kw, 0.2 * kw)
    return out


LOADS: dict[str, Callable[[World, float, Fault], Mapping[str, Demand]]] = {
    "load step": lambda w, s, f: _share(w, 0.1 if s < 20.0 else 0.9),
    "load on-off": lambda w, s, f: _share(w, 0.9 if int(s // 2.0) % 2 == 0 else 0.3),
    "load surge": lambda w, s, f: _share(w, 1.0),
    "load gone": lambda w, s, f: _share(w, 0.0),
    "load hovers": lambda w, s, f: _share(w, (0.55 if w.limit_kw < 1200.0 else 0.8) * (1.0 + 0.02 * math.sin(s))),
}


def _limit_drop(world: World, fault: Fault) -> None:
    """A lawful order lowers the limit, with notice of its own length; the same message comes three times."""
    notice_s = 60.0
    begin_s, end_s = world.time.s + notice_s, world.time.s + notice_s + fault.for_s
    kw = world.limit_kw * fault.strength
    body = _order_event(f"order-{int(world.time.s)}", kw, begin_s, end_s, world.time.s)
    world.limit_events.append((begin_s, end_s, kw))
    for _ in range(3):
        post(world, "event", body, 7200.0)


def _bad_events(world: World, fault: Fault) -> None:
    """Events that are past, endless, empty or no events at all."""
    old = (EPOCH + timedelta(seconds=world.time.s - 7200.0)).isoformat()
    far = (EPOCH + timedelta(days=3650)).isoformat()
    base = {"id": "bad", "kind": "import_limit", "kw": 5000.0, "start": old, "end": old, "notice_at": old}
    for body in (
        base,
        {**base, "kind": "nonsense"},
        {**base, "kw": "much", "end": far},
        {"id": 7},
        {**base, "end": far, "id": "long", "kw": 9e9},
    ):
        post(world, "event", body, 600.0)


def _outage(world: World, fault: Fault) -> None:
    """The grid goes: the UPS carries the halls, everything else stands still; it comes back at once."""
    _lose(world, [*STORAGE, *COOLING], world.time.s + fault.for_s)


def _dips(world: World, fault: Fault) -> None:
    """The grid is gone for a second, several times within a minute."""
    for k in range(3):
        at_s = world.time.s + 15.0 * k
        world.at(at_s, lambda at_s=at_s: _lose(world, [*STORAGE, *COOLING], at_s + 2.0))  # type: ignore[misc]


def _feed_lost(world: World, fault: Fault) -> None:
    _lose(world, ["ups-1"], world.time.s + fault.for_s)


def _lose(world: World, assets: Sequence[str], until_s: float) -> None:
    for asset in assets:
        world.bus.endpoints[asset].begin("input_lost" if asset == "ups-1" else "trip", until_s)


def _flapping_limit(world: World, fault: Fault) -> None:
    """Somebody curtails and releases the site every minute, with a new id each time."""
    for k in range(int(fault.for_s // 60.0)):
        begin_s, end_s = world.time.s + 60.0 * k, world.time.s + 60.0 * k + 30.0
        kw = world.limit_kw * fault.strength
        body = _order_event(f"flap-{int(begin_s)}", kw, begin_s, end_s, world.time.s)
        world.limit_events.append((begin_s + 1.0, end_s, kw))
        post(world, "event", body, 7200.0)


def _order_event(name: str, kw: float, begin_s: float, end_s: float, notice_s: float) -> dict[str, Any]:
    def iso(at_s: float) -> str:
        return (EPOCH + timedelta(seconds=at_s)).isoformat()

    return {
        "id": name,
        "kind": "import_limit",
        "kw": kw,
        "start": iso(begin_s),
        "end": iso(end_s),
        "notice_at": iso(notice_s),
        "program": "manual",
        "baseline_kw": None,
    }


def _flood(world: World, fault: Fault) -> None:
    """Thousands of messages of no meaning."""
    for k in range(2000):
        post(world, "event", {"id": f"junk-{k}", "kind": "nonsense", "token": CANARY}, 60.0)


def _maintenance(world: World, fault: Fault) -> None:
    """A person takes one asset out of control and hands it back; in between nothing is written to it."""
    for kind, at_s in (("observe", world.time.s), ("control", world.time.s + fault.for_s)):
        at = (EPOCH + timedelta(seconds=at_s)).isoformat()
        order = {"kind": "mode", "asset": fault.target, "by": "Ada", "why": "work on it", "at": at, "mode": kind, "kw": None, "until": None}
        world.at(at_s, lambda order=order: post(world, "order", order, 600.0))  # type: ignore[misc]


def _source_lost(world: World, fault: Fault) -> None:
    """Nobody speaks for the flexible connection any more: what it declared for that holds until it was heard again for a minute."""
    for limit in world.site.point_of_connection.limits:
        if limit.heartbeat_s is not None and limit.fail_safe_kw is not None:
            world.source_lost_until_s = world.time.s + fault.for_s
            begin_s = world.time.s + limit.heartbeat_s + SOURCE_ANSWER_S
            world.limit_events.append((begin_s, world.time.s + fault.for_s, limit.fail_safe_kw))


def _orders(world: World, fault: Fault) -> None:
    """A person holds, overrides and releases, contradicting himself."""
    rng = random.Random(f"{fault.at_s} orders")
    at = EPOCH + timedelta(seconds=world.time.s)
    for _ in range(4):
        kind = rng.choice(["hold", "override", "release", "mode", "nonsense"])
        order = {
            "kind": kind,
            "asset": rng.choice(["bess-1", "ups-1", "hall-b", "nobody"]),
            "by": "Ada",
            "why": "test",
            "at": at.isoformat(),
            "mode": "control",
            "kw": rng.choice([-5000.0, -200.0, 0.0, 150.0, 1e12]),
            "until": (at + timedelta(seconds=fault.for_s)).isoformat(),
        }
        post(world, "order", order, 600.0)
    release = {
        "kind": "release",
        "asset": "all",
        "by": "Ada",
        "why": "enough",
        "at": at.isoformat(),
        "mode": None,
        "kw": None,
        "until": None,
    }
    world.at(world.time.s + fault.for_s, lambda: post(world, "order", release, 600.0))


def _stop(world: World, fault: Fault) -> None:
    """Everything is stopped by a person, and released later."""
    at = (EPOCH + timedelta(seconds=world.time.s)).isoformat()
    post(world, "order", _order("stop", at), 600.0)
    world.at(world.time.s + fault.for_s, lambda: post(world, "order", _order("release", at), 600.0))


def _order(kind: str, at: str) -> dict[str, Any]:
    return {"kind": kind, "asset": "all", "by": "Ada", "why": "drill", "at": at, "mode": None, "kw": None, "until": None}


def post(world: World, topic: str, body: Mapping[str, Any], valid_s: float) -> None:
    """A message of another process."""
    now = EPOCH + timedelta(seconds=world.time.s)
    world.mailbox.post(topic, body, now, now + timedelta(seconds=valid_s))


class Person:
    """Looks after a device that the controller no longer trusts, and releases it half an hour later."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.called: set[str] = set()
        world.mailbox.watchers.append(self._message)

    def _message(self, topic: str, body: Mapping[str, Any], now: Any) -> None:
        if topic != "snapshot":
            return
        distrusted = {asset for asset, trust in body["trust"].items() if trust["state"] == "quarantined"}
        for asset in sorted(distrusted - self.called):
            self.world.at(self.world.time.s + RELEASED_AFTER_S, lambda asset=asset: self._release(asset))  # type: ignore[misc]
        self.called |= distrusted

    def _release(self, asset: str) -> None:
        self.called.discard(asset)
        at = (EPOCH + timedelta(seconds=self.world.time.s)).isoformat()
        post(self.world, "order", {**_order("release", at), "asset": asset}, 600.0)


class Planner:
    """The planner as an actor: an honest plan every few minutes, or whatever a fault makes of it."""

    def __init__(self, world: World, kind: str) -> None:
        self.world, self.kind = world, kind
        self.rng = random.Random(f"{world.setting.seed} planner")
        self.fault = ""
        self.number = 0
        if kind != "none":
            world.at(0.5, self.turn)

    def turn(self) -> None:
        """Posts the plan of this moment and comes back."""
        kind = self.fault or self.kind
        now = EPOCH + timedelta(seconds=self.world.time.s)
        made = PLANS[kind](self, now) if kind in PLANS else None
        for body in made or ():
            post(self.world, "plan", body, 1800.0)
        self.world.at(self.world.time.s + (1.0 if kind in EVERY_SECOND else PLAN_EVERY_S), self.turn)

    def honest(self, now: Any) -> Plan:
        """Charges and discharges by turns, sometimes defers; within the ratings."""
        self.number += 1
        kw = (-200.0, 0.0, 150.0, -350.0, 250.0)[self.number % 5]
        return flat_plan(self.world.site, now, kw, 0.95 * self.world.limit_kw, 30.0 * (self.number % 3))


def _sign_flips(p: Planner, now: Any) -> list[dict[str, Any]]:
    p.number += 1
    return [encode_plan(flat_plan(p.world.site, now, 500.0 if p.number % 2 else -500.0, 0.95 * p.world.limit_kw))]


def _greedy(p: Planner, now: Any) -> list[dict[str, Any]]:
    """Takes everything every store can give."""
    plan = flat_plan(p.world.site, now, -500.0, 0.5 * p.world.limit_kw)
    return [encode_plan(replace(plan, power_kw={k: tuple(-1e4 for _ in row) for k, row in plan.power_kw.items()}))]


def _nonsense(p: Planner, now: Any) -> list[dict[str, Any]]:
    good = encode_plan(p.honest(now))
    return [{**good, "import_kw": [math.nan] * 12}, {**good, "power_kw": {}}, {"made_at": 7}, {**good, "starts": []}]


def _scaled_loads(plan: Plan, by: float) -> Plan:
    """A plan made on a forecast that is nothing, or a thousand times what is true."""
    loads = {k: tuple(kw * by for kw in row) for k, row in plan.load_q50_kw.items()}
    highs = {k: tuple(kw * by for kw in row) for k, row in plan.load_q90_kw.items()}
    quantile = None if plan.critical_q99_kw is None else plan.critical_q99_kw * by
    return replace(plan, load_q50_kw=loads, load_q90_kw=highs, critical_q99_kw=quantile)


PLANS: dict[str, Callable[[Planner, Any], list[dict[str, Any]]]] = {
    "honest": lambda p, now: [encode_plan(p.honest(now))],
    "hostile": lambda p, now: [encode_plan(hostile_plan(p.world.site, now, p.rng))],
    "flips": _sign_flips,
    "greedy": _greedy,
    "nonsense": _nonsense,
    "zeros": lambda p, now: [encode_plan(_scaled_loads(p.honest(now), 0.0))],
    "thousandfold": lambda p, now: [encode_plan(_scaled_loads(p.honest(now), 1000.0))],
    "stepped": lambda p, now: [encode_plan(p.honest(now + timedelta(hours=p.rng.choice([-1, 1]))))],
}
EVERY_SECOND = ("hostile", "flips", "nonsense")


def _planner(world: World, fault: Fault) -> None:
    planner: Planner = world.planner  # type: ignore[attr-defined]
    planner.fault = fault.kind.removeprefix("planner ")
    if planner.fault in EVERY_SECOND:
        planner.turn()

    def heal() -> None:
        planner.fault = ""

    world.at(world.time.s + fault.for_s, heal)


def _soc(rng: random.Random) -> float:
    return rng.choice([-0.2, 0.2])


KINDS: dict[str, Kind] = {
    # the wire
    "silent": Kind("F22", DEVICES, (4, 120), _bus, True, 8.0),
    "silent long": Kind("F27", DEVICES, (600, 600), _bus, True, 8.0),
    "black_hole": Kind("F24", DEVICES, (5, 60), _bus, True, 8.0),
    "flapping": Kind("F25", DEVICES, (20, 60), _bus, True),
    "reboot": Kind("F26", DEVICES, (10, 60), _bus, True, 8.0),
    "slow": Kind("F28", DEVICES, (20, 120), _bus),
    "late": Kind("F29", DEVICES, (10, 60), _bus, True, 8.0),
    "wrong_unit": Kind("F32", DEVICES, (5, 60), _bus, True, 8.0),
    "short_answers": Kind("F34", DEVICES, (5, 60), _bus, True, 8.0),
    "map_fault": Kind("F37", DEVICES, (5, 60), _bus, True, 8.0),
    "device_failure": Kind("F38", DEVICES, (5, 60), _bus, True, 8.0),
    "busy": Kind("F39", DEVICES, (5, 60), _bus, True, 8.0),
    "gateway": Kind("F40", DEVICES, (5, 60), _bus, True, 8.0),
    "swapped": Kind("F41", DEVICES, (5, 60), _bus, True),
    "sentinels": Kind("F42", DEVICES, (5, 60), _bus, True, 8.0),
    "moved_map": Kind("F44", DEVICES, (5, 60), _bus, True, 8.0),
    "lost_answers": Kind("F49", COMMANDED, (5, 60), _bus, True),
    "torn": Kind("F45", DEVICES, (10, 60), _bus),
    "partition": Kind("F64", SITE, (10, 120), _partition, True, strength=lambda rng: float(rng.randrange(2))),
    # what devices say and do
    "frozen": Kind("F46", DEVICES, (10, 60), _bus),
    "frozen meter": Kind("F46", METER, (60, 120), _bus, alarm_s=35.0),
    "wrong_sign": Kind("F47", (*METER, *STORAGE, *CLUSTERS), (10, 60), _bus),
    "offset": Kind("F63", (*METER, *CLUSTERS), (20, 120), _bus, strength=lambda rng: rng.choice([-60.0, 60.0])),
    "rescaled": Kind("F43", (*METER, *STORAGE, *CLUSTERS), (10, 60), _bus, True, strength=lambda rng: rng.choice([0.1, 10.0])),
    "deaf": Kind("F48", COMMANDED, (20, 60), _bus, True),
    "reverts": Kind("F50", COMMANDED, (30, 90), _bus, True),
    "other_master": Kind("F51", COMMANDED, (20, 60), _bus, True, strength=lambda rng: rng.choice([0.3, 0.7, 1.0])),
    "ignores": Kind("F52", COMMANDED, (20, 90), _bus, True),
    "reversed": Kind("F53", ("bess-1",), (20, 60), _bus, True),
    "reject": Kind("F14", COMMANDED, (20, 90), _bus, True),
    "local": Kind("F96", COMMANDED, (20, 90), _bus, True, 8.0),
    "trip": Kind("F20", STORAGE, (20, 120), _bus, True),
    "trip chiller": Kind("F95", COOLING, (20, 120), _bus, True),
    "trip hall": Kind("F95", CLUSTERS, (20, 60), _bus, True),
    "soc_jump": Kind("F15", STORAGE, (30, 300), _bus, strength=_soc),
    "soc_stuck": Kind("F16", STORAGE, (120, 600), _bus),
    "derated": Kind("F17", ("bess-1",), (20, 120), _bus, strength=lambda rng: 0.3),
    # load, limits, people
    "load step": Kind("F11", SITE, (60, 120), _load),
    "load on-off": Kind("F12", SITE, (120, 600), _load),
    "load surge": Kind("F21", SITE, (30, 120), _load),
    "load gone": Kind("F11", SITE, (30, 120), _load),
    "load hovers": Kind("F19", SITE, (120, 300), _load),
    "grid outage": Kind("F94", SITE, (20, 120), _outage, True, 5.0, ("grid outage",)),
    "dips": Kind("F94", SITE, (40, 40), _dips, True),
    "feed lost": Kind("F95", ("ups-1",), (20, 120), _feed_lost, True, 5.0),
    "limit flaps": Kind("F91", SITE, (180, 360), _flapping_limit, strength=lambda rng: rng.choice([0.8, 0.9])),
    "source lost": Kind("F93", SITE, (90, 300), _source_lost, alarm_s=70.0, words=("limit source lost",)),
    "flood": Kind("F88", SITE, (1, 1), _flood),
    "maintenance": Kind("F96", COMMANDED, (20, 90), _maintenance, True),
    "limit drop": Kind("F89", SITE, (120, 300), _limit_drop, strength=lambda rng: rng.choice([0.75, 0.85])),
    "bad events": Kind("F89", SITE, (1, 1), _bad_events),
    "orders": Kind("F92", SITE, (30, 120), _orders),
    "stop": Kind("F92", SITE, (30, 60), _stop),
    # planner
    "planner gone": Kind("F04", SITE, (300, 900), _planner),
    "planner hostile": Kind("F07", SITE, (60, 600), _planner),
    "planner flips": Kind("F08", SITE, (60, 300), _planner),
    "planner nonsense": Kind("F05", SITE, (30, 120), _planner, alarm_s=10.0, words=("planner hostile",)),
    "planner greedy": Kind("F06", SITE, (60, 300), _planner),
    "planner zeros": Kind("F10", SITE, (300, 600), _planner),
    "planner thousandfold": Kind("F10", SITE, (300, 600), _planner),
    "planner stepped": Kind("F76", SITE, (300, 600), _planner),
    # the daemon
    "kill": Kind("F65", SITE, (1, 1), _kill, strength=lambda rng: rng.uniform(0.5, 3.0)),
    "pause": Kind("F78", SITE, (3, 90), _pause, True),
    "disk full": Kind("F69", SITE, (10, 120), _full, words=("journal",)),
    "disk slow": Kind("F70", SITE, (20, 60), _slow_disk, strength=lambda rng: rng.choice([0.5, 3.0])),
}


def schedule(seed: int, seconds: int, mean_gap_s: float = 240.0, pairs: float = 0.25, first_s: float = 30.0) -> list[Fault]:
    """A seeded schedule: faults one after another with pauses to recover, a share of them in pairs. Every kind comes up in turn, in an
    order of the seed, so that a few hours see all of them."""
    rng = random.Random(f"{seed} schedule")
    names: list[str] = []
    faults: list[Fault] = []
    at_s = first_s + rng.uniform(0.0, 30.0)
    while at_s < seconds - 60.0:
        if len(names) < 2:
            names += rng.sample(sorted(KINDS), len(KINDS))
        fault = drawn(rng, names.pop(), at_s)
        faults.append(fault)
        last_s = fault.at_s + fault.for_s
        if rng.random() < pairs:
            second = drawn(rng, names.pop(), fault.at_s + rng.uniform(0.0, min(20.0, fault.for_s)))
            faults.append(second)
            last_s = max(last_s, second.at_s + second.for_s)
        at_s = last_s + rng.uniform(0.4, 1.6) * mean_gap_s
    return faults


def drawn(rng: random.Random, name: str, at_s: float) -> Fault:
    """A fault of a kind, its target, length and strength drawn."""
    kind = KINDS[name]
    return Fault(float(int(at_s)), name, rng.choice(kind.targets), rng.uniform(*kind.lasts_s), kind.strength(rng))


def put(world: World, faults: Sequence[Fault], planner: str = "honest") -> None:
    """Gives the world its planner and its faults."""
    world.planner = Planner(world, planner)  # type: ignore[attr-defined]
    Person(world)
    for fault in faults:
        world.at(fault.at_s, lambda fault=fault: KINDS[fault.kind].begin(world, replace(fault, at_s=world.time.s)))  # type: ignore[misc]
