"""A class of storage strings speaks with one power; here it becomes one wish per string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ems.assets.battery.model import Battery
from ems.assets.envelope import Envelope
from ems.dispatch.advice import Wish
from ems.dispatch.water_fill import StringRoom, water_fill
from ems.state.estimate import SiteState

Classes = Mapping[str, Sequence[Battery]]
NO_CLASSES: Classes = {}


def spread_class(strings: Sequence[Battery], kw: float, reason: str) -> dict[str, Wish]:
    """One wish per string in proportion to its rating; `balance_strings` finds the better split once the envelopes are known."""
    rating_kw = sum(s.power_kw for s in strings)
    return {s.id: Wish(kw * s.power_kw / rating_kw, reason) for s in strings}


def balance_strings(classes: Classes, state: SiteState, envelopes: Mapping[str, Envelope], wishes: Mapping[str, Wish]) -> dict[str, Wish]:
    """The same wishes with the power of each class split anew: fuller strings give first, none leaves its envelope, sums are kept.

    A string somebody ordered about keeps its own wish.
    """
    out = dict(wishes)
    for strings in classes.values():
        free = [s for s in strings if s.id in wishes and not wishes[s.id].is_ordered]
        room = [_room(s, state, envelopes[s.id]) for s in free]
        powers = water_fill(sum(wishes[s.id].kw for s in free), room) if free else []
        out |= {s.id: replace(wishes[s.id], kw=kw) for s, kw in zip(free, powers, strict=True)}
    return out


def _room(string: Battery, state: SiteState, envelope: Envelope) -> StringRoom:
    return StringRoom(envelope.low_kw, envelope.high_kw, string.energy_kwh, state.batteries[string.id].soc)
