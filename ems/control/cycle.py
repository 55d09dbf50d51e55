"""The cycle, on one screen: read -> estimate -> guard -> arbitrate -> write -> record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ems.control.controller import Controller
from ems.control.decision import Decision
from ems.control.ports import Field, Inbox, Record
from ems.state.image import SiteImage, encode_image


def run_cycle(controller: Controller, field: Field, record: Record, inbox: Inbox, now: datetime) -> tuple[SiteImage, Decision]:
    """One turn of the field loop. Intents are in the journal before they are handed to the field; a journal that is late or broken
    lowers the ladder, but narrowing writes still go out. The caller feeds the watchdog only when this returned."""
    image = field.image(now)
    news = inbox.news(now)
    journal_ok = record.is_healthy
    decision = controller.decide(image, news, now, journal_ok)
    record.append("cycle", now, encode_cycle(image, news, journal_ok, decision))
    field.apply(decision.written, refresh_leases=decision.is_healthy, astray=decision.astray)
    if decision.withdraw:
        field.release(decision.withdraw)
    return image, decision


def encode_cycle(image: SiteImage, news: Sequence[tuple[str, dict[str, Any]]], journal_ok: bool, decision: Decision) -> dict[str, Any]:
    """Everything needed to decide this cycle again, and what was decided."""
    return {
        "image": encode_image(image),
        "news": [[topic, body] for topic, body in news],
        "journal_ok": journal_ok,
        "level": decision.rung.level.name,
        "cause": decision.rung.cause,
        "setpoints": encode_setpoints(decision),
        "alarms": list(decision.alarms),
    }


def encode_setpoints(decision: Decision) -> list[list[Any]]:
    """Setpoints as rows: asset, command, kW, reason, whether it went to the field."""
    written = {(s.asset, s.command) for s in decision.written}
    return [[s.asset, s.command, s.power_kw, s.reason, (s.asset, s.command) in written] for s in decision.setpoints]
