"""What the processes tell each other through the mailbox, and what a person may order. Plain data, JSON on the wire.

Topics (body is JSON; every message has written_at and valid_until in site time):

    plan       planner -> control, office   encode_plan(Plan)
    order      CLI, office -> control       Order.encode(); every order is handled once, in sequence
    order_ack  control -> CLI, office       {"sequence": of the order, "is_done", "text"}; sent once the order is durable in the journal
    self_test  control -> CLI, office       the report of a self-test that ended
    event      office -> control, planner   encoded Obligation
    contact    office -> control            {"source", "at"}: who gives limits was heard; see ems/guard/heartbeat.py
    snapshot   control -> office, CLI       the newest cycle, for eyes (see ems/control/snapshot.py); bounded to 1
    minute     control -> planner, office   means of one minute of site time (see MinuteFrame); bounded to 4 days
    prices     office -> planner            rows {valid_from, valid_to, available_at, price_per_kwh, source}
    weather    office -> planner            rows {valid_from, valid_to, available_at, temp_c, source}
    carbon     office -> planner            rows {valid_from, valid_to, available_at, carbon_g_per_kwh, source}
    feeds      office -> CLI, page          how the feeds are: {"at", "feeds": [...]} (see ems/office/outbox.py); bounded to 1
    forecast   planner -> office, control   fans for the page and scores; {"made_at", "series": {name: {"starts", "q10", "q50", "q90"}}}
    tariff     planner -> planner           what the tariff's charges remember of past months (see ems/plan/tariff_memory.py); outlives it
    health     each process -> supervisor, office   {"process", "pid", "at", "note"}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """How far an asset is handed over. Every asset off loopback starts in observe."""

    OBSERVE = "observe"  # reads, decides, journals, writes nothing
    ADVISE = "advise"  # as observe, and shows the setpoint as advice
    CONTROL = "control"  # writes


class OrderKind(StrEnum):
    """What a person may order at any time, planner and office alive or dead."""

    STOP = "stop"  # withdraw: safe values by ramp, then let go (L5); release resets it
    HOLD = "hold"  # keep the present power
    RELEASE = "release"  # end stop, hold and override
    MODE = "mode"
    OVERRIDE = "override"  # a power in kW until an instant, inside the guard's interval
    SELF_TEST = "self_test"  # a small step of one device that is not in control: lease, sign, read-back, identity


@dataclass(frozen=True)
class Order:
    """One order by a named person. `asset` is an asset id or "all"."""

    kind: OrderKind
    asset: str
    by: str
    why: str
    at: datetime
    mode: Mode | None = None
    kw: float | None = None
    until: datetime | None = None

    def encode(self) -> dict[str, Any]:
        """Plain data for the mailbox."""
        data = asdict(self)
        data["at"] = self.at.isoformat()
        data["until"] = self.until.isoformat() if self.until else None
        return data

    @staticmethod
    def decode(data: dict[str, Any]) -> Order:
        """The order back; raises KeyError or ValueError on anything else."""
        return Order(
            kind=OrderKind(data["kind"]),
            asset=data["asset"],
            by=data["by"],
            why=data["why"],
            at=datetime.fromisoformat(data["at"]),
            mode=Mode(data["mode"]) if data.get("mode") else None,
            kw=data.get("kw"),
            until=datetime.fromisoformat(data["until"]) if data.get("until") else None,
        )


@dataclass(frozen=True)
class MinuteFrame:
    """Means over one minute `[start, start + 60 s)` of site time; None where nothing fresh was read. Counters are at the end."""

    start: datetime
    poc_kw: float | None
    asset_kw: dict[str, float | None]
    demand_kw: dict[str, float | None]  # per cluster, uncapped
    class_demand_kw: dict[str, dict[str, float | None]]  # per cluster and class
    soc: dict[str, float | None]
    outdoor_temp_c: float | None
    available_kw: dict[str, float | None] = field(default_factory=dict)  # per renewable, what sun or wind would have given
    tokens: float | None = None  # output tokens in the minute
    tokens_per_s: dict[str, tuple[float, float]] = field(default_factory=dict)  # prompt and output tokens, per cluster that counts both

    def encode(self) -> dict[str, Any]:
        """Plain data for the mailbox."""
        data = asdict(self)
        data["start"] = self.start.isoformat()
        return data

    @staticmethod
    def decode(data: dict[str, Any]) -> MinuteFrame:
        """The frame back from plain data."""
        return MinuteFrame(**{**data, "start": datetime.fromisoformat(data["start"])})
