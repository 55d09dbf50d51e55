"""Prices judged by their own history before the plan acts on them. What is withheld stays out of the plan alone: the settlement reads the
rows as they came.

- A price far beyond the week before has to be confirmed by the interval next to it; until then, and for ever when that is an ordinary
  one, it is withheld.
- A price no market reaches, or a level about a thousand times the week's for UNIT_ROWS rows, is another unit: withheld while it lasts.
- A price that repeats itself much longer than the week ever saw is stuck: withheld until it moves. Far above the week it is told all the
  same and believed: a market at its cap rests for days (ERCOT, February 2021: 80 hours), and then the price counts most.

What is withheld longer than the memory becomes the history, and is believed again: a market may change for good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import numpy as np

from ems.signals.another_unit import UNIT_FACTOR, UNIT_ROWS, is_another_unit
from ems.signals.prices import PriceRow

FAR = 20.0  # times the week's upper decile; ERCOT's hub of 2024 goes there 12 times a year, Victoria's dispatch price once in six months
LEAST_LEVEL_PER_KWH = 0.02  # of that decile: in a week of free power every price is far
MEMORY = timedelta(days=8)  # as long as the mailbox keeps prices
TYPICAL = timedelta(days=7)  # of history before a price can be called stuck: a time-of-use price rests over a weekend
STUCK_AFTER = timedelta(hours=8)  # at least; ERCOT's hub rested 5.75 h in 2024, Victoria's price less than 2 h
NEXT_WITHIN = timedelta(hours=1)  # a feed may skip intervals
AHEAD = timedelta(days=2)  # what is told of later stands beyond any horizon, and must not move the clock of the watch
STUCK_TIMES = 3.0  # the longest rest of the week
CAP_TIMES = 5.0  # times the week's upper decile before the rest
INSTEAD = "withheld, the plan goes on with the day-ahead price or the profile of earlier days"


class PriceWatch:
    """All price sources of a site, each judged by itself. `passed` gives the rows to act on, `notes` the alarms."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def passed(self, rows: Iterable[PriceRow]) -> list[PriceRow]:
        """The rows the plan may act on: those that are plausible, and one withheld before that is confirmed now."""
        given = list(rows)
        judged: dict[str, list[PriceRow]] = {}
        for row in given:
            if _can_be_judged(row):
                judged.setdefault(row.source, []).append(row)
        passed = [row for row in given if not _can_be_judged(row)]  # the book refuses and counts them
        for name, own in judged.items():
            own.sort(key=lambda row: (row.valid_from, row.available_at))
            passed += self._sources.setdefault(name, _Source(name)).passed(own)
        return passed

    def notes(self) -> tuple[str, ...]:
        """One line per source whose newest price is withheld."""
        return tuple(source.why for source in self._sources.values() if source.why)


class _Source:
    """The prices of one source in the order they came, and why the newest is withheld."""

    def __init__(self, name: str) -> None:
        self.name, self.why = name, ""
        self._believed: dict[datetime, PriceRow] = {}  # of the memory, by the instant they begin
        self._arrived: list[PriceRow] = []  # the last UNIT_ROWS, or those of the last message, believed or not
        self._last: PriceRow | None = None  # the newest of all
        self._doubted: PriceRow | None = None  # waits for the interval next to it
        self._rest_from: datetime | None = None  # since when the price has been the same
        self._stuck: dict[datetime, float] = {}  # withheld as stuck, by the instant they begin
        self._is_held = False  # this rest was found stuck

    def passed(self, rows: list[PriceRow]) -> Iterator[PriceRow]:
        """Of rows in the order of time."""
        self._arrived = [*self._arrived, *(r for r in rows if not self._arrived or r.valid_from > self._arrived[-1].valid_from)]
        self._arrived = self._arrived[-max(UNIT_ROWS, len(rows)) :]
        arrived = [r.price_per_kwh for r in self._arrived]
        if is_another_unit(arrived, self._level(before=self._arrived[0].valid_from)):
            self._withhold(rows[-1], "another unit than the week before")
        else:
            for row in rows:
                yield from self._judged(row)
        self._forget()

    def _judged(self, row: PriceRow) -> Iterator[PriceRow]:
        known = self._believed.get(row.valid_from)
        if known is not None and known.price_per_kwh == row.price_per_kwh:
            yield row  # told again
        elif self._stuck.get(row.valid_from) == row.price_per_kwh:
            return  # told again
        elif self._is_far(row):
            self._follow_rest(row)
            yield from self._far(row)
        elif (rest := self._follow_rest(row)) > STUCK_AFTER and ((self._is_held and rest <= MEMORY) or self._is_stuck(rest)):
            why = f"has not moved for {rest / timedelta(hours=1):.0f} h"
            if self._is_at_cap(row):
                yield self._believe(row)
                self._note(row, f"{why}; a cap? The plan believes it")
            else:
                self._is_held, self._stuck[row.valid_from] = True, row.price_per_kwh
                self._withhold(row, why)
        else:
            yield self._believe(row)

    # -- far from the week before -------------------------------------------------------------------------------------------------------

    def _is_far(self, row: PriceRow) -> bool:
        return abs(row.price_per_kwh) > FAR * LEAST_LEVEL_PER_KWH and self._times(row) > FAR

    def _far(self, row: PriceRow) -> Iterator[PriceRow]:
        times = self._times(row)
        if times > UNIT_FACTOR[0]:
            self._withhold(row, f"{times:.0f} times what the week before held")
        elif self._doubted is not None and _are_neighbours(self._doubted, row):
            yield self._believe(self._doubted)
            yield self._believe(row)
        elif (neighbour := self._before(row)) is not None and self._times(neighbour) > FAR / 2.0:
            yield self._believe(row)  # within a spike that was confirmed
        else:
            self._doubted = row
            self._withhold(row, f"{times:.0f} times what the week before held, to be confirmed by the interval next to it")

    def _before(self, row: PriceRow) -> PriceRow | None:
        """The believed price next before this one."""
        return max((r for r in self._believed.values() if _are_neighbours(r, row)), key=lambda r: r.valid_from, default=None)

    def _times(self, row: PriceRow) -> float:
        """How many times the upper decile of what was believed, 0 while that says nothing."""
        level = np.abs(self._level())
        if len(level) < UNIT_ROWS:
            return 0.0
        return float(abs(row.price_per_kwh) / max(np.quantile(level, 0.9), LEAST_LEVEL_PER_KWH))

    def _level(self, before: datetime | None = None) -> list[float]:
        return [r.price_per_kwh for r in self._believed.values() if before is None or r.valid_from < before]

    # -- stuck --------------------------------------------------------------------------------------------------------------------------

    def _follow_rest(self, row: PriceRow) -> timedelta:
        """How long the price has been the same at the end of this row; 0 for one that tells of earlier."""
        last = self._last
        if last is not None and row.valid_from <= last.valid_from:
            return timedelta(0)
        if last is None or row.price_per_kwh != last.price_per_kwh:
            self._rest_from, self._is_held = row.valid_from, False
        self._last = row
        return row.valid_to - (self._rest_from or row.valid_from)

    def _is_stuck(self, rest: timedelta) -> bool:
        since = self._rest_from
        past = sorted((r for r in self._believed.values() if since is None or r.valid_from < since), key=lambda r: r.valid_from)
        return bool(past) and past[-1].valid_to - past[0].valid_from >= TYPICAL and rest > STUCK_TIMES * _longest_rest(past)

    def _is_at_cap(self, row: PriceRow) -> bool:
        """Far above what the market held before it came to rest: no feed freezes there by itself."""
        before = np.abs(self._level(before=self._rest_from))
        return abs(row.price_per_kwh) > CAP_TIMES * max(np.quantile(before, 0.9), LEAST_LEVEL_PER_KWH)

    # -- memory -------------------------------------------------------------------------------------------------------------------------

    def _believe(self, row: PriceRow) -> PriceRow:
        self._believed[row.valid_from] = row
        self._doubted, self.why = None, ""
        return row

    def _withhold(self, row: PriceRow, why: str) -> None:
        self._note(row, f"{why}, {INSTEAD}")

    def _note(self, row: PriceRow, why: str) -> None:
        self.why = f"{self.name} price of {row.price_per_kwh:.4g} per kWh from {row.valid_from:%Y-%m-%d %H:%M}Z: {why}"

    def _forget(self) -> None:
        oldest = self._arrived[-1].valid_from - MEMORY if self._arrived else None
        if oldest is not None and next(iter(self._believed), oldest) < oldest:
            self._believed = {start: row for start, row in self._believed.items() if start >= oldest}
            self._stuck = {start: price for start, price in self._stuck.items() if start >= oldest}


def _can_be_judged(row: PriceRow) -> bool:
    """A finite price over an interval that stands within reach of when it became known."""
    return math.isfinite(row.price_per_kwh) and row.valid_from < row.valid_to and row.valid_from - row.available_at <= AHEAD


def _are_neighbours(before: PriceRow, row: PriceRow) -> bool:
    """Of one sign, and little or nothing between them."""
    is_next = timedelta(0) <= row.valid_from - before.valid_to <= NEXT_WITHIN
    return is_next and (before.price_per_kwh < 0.0) == (row.price_per_kwh < 0.0)


def _longest_rest(rows: list[PriceRow]) -> timedelta:
    """The longest time over which rows in the order of time repeat one price."""
    longest, since = timedelta(0), rows[0]
    for row in rows:
        since = row if row.price_per_kwh != since.price_per_kwh else since
        longest = max(longest, row.valid_to - since.valid_from)
    return longest
