"""What stores give and take together: the export limit and every feeder hold their sum, each store alone only its own envelope.

What one is to give up another gets when it is measured. On a feeder who asks gets: a store that wants nothing leaves its part to the
others. Of the export limit each has its part already, in its envelope.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from ems.dispatch.advice import Wish
from ems.guard.feeders import RULE
from ems.guard.guard import WAITS_S, Verdict
from ems.site.model import Site

NO_POWER: Mapping[str, float] = {}


@dataclass
class Left:
    """What some stores together may still give in kW."""

    stores: Set[str]
    kw: float


def within(room_kw: float, asked_kw: Mapping[str, float], has_kw: Mapping[str, float] = NO_POWER) -> dict[str, float]:
    """Powers of at most what is asked (none negative) whose sum stays within the room: everybody the same fraction of what is asked, but
    more than one has already only as far as the room goes while the others are still at what they have."""
    total_kw = sum(asked_kw.values())
    part = min(1.0, max(0.0, room_kw) / total_kw) if total_kw > 0.0 else 1.0
    more = {k: max(0.0, part * kw - has_kw.get(k, 0.0)) for k, kw in asked_kw.items()}
    more_kw, free_kw = sum(more.values()), max(0.0, room_kw - sum(has_kw.values()))
    wait = 1.0 - min(1.0, free_kw / more_kw) if more_kw > 0.0 else 0.0
    return {k: part * kw - wait * more[k] for k, kw in asked_kw.items()}


def left_to_give(verdict: Verdict, wishes: Mapping[str, Wish]) -> list[Left]:
    """What the export limit and each feeder leave beyond what stores give as wished."""
    groups = [(frozenset(wishes), -verdict.deepest_storage_kw), *((feed.assets & wishes.keys(), feed.given_kw) for feed in verdict.feeds)]
    return [Left(stores, kw + sum(min(0.0, wishes[k].kw) for k in stores)) for stores, kw in groups]


def most_more_kw(left: list[Left], store: str) -> float:
    """How much more one store may give."""
    return max(0.0, min((group.kw for group in left if store in group.stores), default=math.inf))


def take_from(left: list[Left], store: str, kw: float) -> None:
    """Notes that a store gives `kw` more."""
    for group in left:
        if store in group.stores:
            group.kw -= kw


def no_export(site: Site, verdict: Verdict, low_kw: float, wishes: Mapping[str, Wish]) -> dict[str, Wish]:
    """The wishes, no more given by all together than `low_kw` (negative); what others charge meanwhile may end and does not count."""
    return _give_within(site, verdict, set(wishes), -low_kw, dict(wishes), "no export")


def within_feeders(site: Site, verdict: Verdict, it_kw: Mapping[str, float], wishes: Mapping[str, Wish], is_told: bool) -> dict[str, Wish]:
    """The wishes, within every feeder beside clusters that draw `it_kw`. `is_told`: they go out now, so what a store still has counts."""
    out = dict(wishes)
    for feed in verdict.feeds:
        stores = feed.assets & out.keys()
        if stores:
            out = _charge_within(site, verdict, stores, feed.beside_kw(it_kw), out, is_told)
            out = _batteries_within(site, verdict, stores, feed.charging_kw(it_kw), out, is_told)
            out = _give_within(site, verdict, stores, feed.given_kw, out, RULE)
    return out


def _batteries_within(
    site: Site, verdict: Verdict, stores: Set[str], room_kw: float, wishes: dict[str, Wish], is_told: bool
) -> dict[str, Wish]:
    """Charging of the batteries lowered to what the UPSes leave of a room: those hold a reserve and fill up first."""
    reserves = stores & {u.id for u in site.upses}
    room_kw -= sum(max(0.0, wishes[k].kw) for k in reserves)
    return _charge_within(site, verdict, stores - reserves, room_kw, wishes, is_told)


def _charge_within(
    site: Site, verdict: Verdict, stores: Set[str], room_kw: float, wishes: dict[str, Wish], is_told: bool
) -> dict[str, Wish]:
    """Charging of the stores lowered to their room together; one that nobody may lower is taken off it first."""
    has = {k: max(0.0, verdict.storage_now_kw[k]) for k in stores} if is_told and site.control.cycle_s <= WAITS_S else {}
    held = {k for k in stores if verdict.storage[k].low_kw > 0.0}
    room_kw -= sum(max(wishes[k].kw, has.get(k, 0.0)) for k in held)
    free = stores - held
    told = within(room_kw, {k: max(0.0, wishes[k].kw) for k in free}, {k: kw for k, kw in has.items() if k in free})
    less = {k: kw for k, kw in told.items() if kw < wishes[k].kw and wishes[k].kw > 0.0}
    return {**wishes, **{k: replace(wishes[k], kw=kw, reason=f"{wishes[k].reason}; {RULE}") for k, kw in less.items()}}


def _give_within(site: Site, verdict: Verdict, stores: Set[str], room_kw: float, wishes: dict[str, Wish], why: str) -> dict[str, Wish]:
    """Likewise discharging."""
    has = {k: max(0.0, -verdict.storage_least_kw[k]) for k in stores} if site.control.cycle_s <= WAITS_S else {}
    held = {k for k in stores if verdict.storage[k].high_kw < 0.0}
    room_kw -= sum(max(-wishes[k].kw, has.get(k, 0.0)) for k in held)
    free = stores - held
    told = within(room_kw, {k: max(0.0, -wishes[k].kw) for k in free}, {k: kw for k, kw in has.items() if k in free})
    less = {k: -kw for k, kw in told.items() if -kw > wishes[k].kw and wishes[k].kw < 0.0}
    return {**wishes, **{k: replace(wishes[k], kw=kw, reason=f"{wishes[k].reason}; {why}") for k, kw in less.items()}}
