"""What an aggregator's dispatch means to this site. Start and end may move either way until the end; `authorized: false` cancels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.event import LARGEST_KW, LONGEST, EventInterval, GridEvent
from ems.program.heard import Heard

MOST_SITES = 1_000


def meaning_of(raw: Any, text: str, channel: ChannelFile) -> Heard:
    """One dispatch. `problem` says why it asks nothing."""
    name = raw.get("id") if isinstance(raw, Mapping) else None
    if not isinstance(name, str) or not 1 <= len(name) <= 128 or not name.isprintable() or "/" in name:
        return Heard(f"{channel.id}:?", text, problem="a dispatch without a usable id")
    try:
        return Heard(f"{channel.id}:{name}", text, _event(raw, f"{channel.id}:{name}", channel))
    except DataError as error:
        return Heard(f"{channel.id}:{name}", text, problem=str(error))


def _event(raw: Mapping[str, Any], mine: str, channel: ChannelFile) -> GridEvent:
    program = raw.get("program")
    if not isinstance(program, str) or program not in channel.programs:
        raise DataError(f"programme {str(program)[:60]!r} is not among those of channel {channel.id}")
    number = raw.get("modification_number")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DataError(f"modification_number = {str(number)[:40]}: expected a whole number")
    start = _instant(raw, "start_time")
    end = start + LONGEST if raw.get("end_time") is None else _instant(raw, "end_time")  # open until it is said
    authorized = raw.get("authorized", True)
    if not isinstance(authorized, bool):
        raise DataError(f"authorized = {str(authorized)[:40]}: expected true or false")
    interval = EventInterval(start, end, _commitment_kw(raw, channel))
    return GridEvent(
        mine,
        channel.programs[program],
        number,
        ObligationKind.REDUCE_BY,
        (interval,),
        is_cancelled=not authorized,
        is_test=raw.get("test") is True,
    )


def _commitment_kw(raw: Mapping[str, Any], channel: ChannelFile) -> float:
    """What is committed of this site, in kW."""
    sites = raw.get("sites")
    if not isinstance(sites, list) or len(sites) > MOST_SITES:
        raise DataError("sites: expected a list")
    ours = [s for s in sites if isinstance(s, Mapping) and s.get("site_id") == channel.resource]
    if len(ours) != 1:
        raise DataError(f"site {channel.resource} stands in it {len(ours)} times")
    kw = ours[0].get("commitment_kw")
    if isinstance(kw, bool) or not isinstance(kw, int | float) or not math.isfinite(kw) or not 0.0 <= kw <= LARGEST_KW:
        raise DataError(f"commitment_kw = {str(kw)[:40]}: expected 0 to {LARGEST_KW:.0f}")
    return float(kw)


def _instant(raw: Mapping[str, Any], key: str) -> datetime:
    try:
        at = datetime.fromisoformat(str(raw.get(key)))
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{key} = {str(raw.get(key))[:40]}: expected an instant with its offset")
