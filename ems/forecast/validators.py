"""A feed's values judged one by one, by what came before: what cannot be true becomes a marked estimate, and a named alarm says why.

Nothing here looks ahead. A value refused as a jump is taken once `confirm` cells in a row agree, unless their ratio to the old level is
one of UNIT_FACTORS: then an operator has to acknowledge it. Estimates are never learnt from and widen the quantiles.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ems.forecast.protocol import History

UNIT_FACTORS = (1000.0, 100.0, 60.0, 3.6, 1e-3, 1e-2, 1 / 60.0, 1 / 3.6)
UNIT_TOLERANCE = 0.15  # relative; between daily patterns a level is not known better
NEAR_ZERO = 0.02  # of the day's median
FAR = 20.0  # times beyond the day's range that nothing positive reaches from one cell to the next
TYPICAL_CELLS = 24  # good values before jumps and zeros are judged
ALARMS = (
    "flat line",
    "jump",
    "out of range",
    "all zero",
    "missing",
    "missing share",
    "unit change",
    "clock skew",
    "duplicate stamp",
    "backward stamp",
    "no stamp",
    "step change",
    "dst",
    "no zone",
    "partial",
    "partly known",
    "spliced",
    "inconsistent",
)


@dataclass(frozen=True)
class Rules:
    """What is possible for one kind of series. `jump` is in units of the largest step of the last day; infinite: any jump is possible."""

    low: float = -math.inf
    high: float = math.inf
    jump: float = math.inf
    least_jump_share: float = 0.5  # of the level; smaller jumps are always possible
    confirm: int = 3
    flat_cells: int = 36  # equal values in a row, other than zero, that no meter shows
    zero_is_gap: bool = True  # a zero among values never near zero is a gap of the collection
    missing_share: float = 0.1  # of a day
    late_s: float = 900.0  # a value older than this when it comes, or from the future, has a wrong clock


LOAD = Rules(low=0.0, jump=6.0, least_jump_share=0.8)
POWER_W = Rules(low=0.0, zero_is_gap=False, flat_cells=10**9)
PRICE = Rules(low=-5000.0, high=20000.0, zero_is_gap=False, flat_cells=10**9)
CARBON = Rules(low=0.0, high=1500.0, jump=3.0, least_jump_share=0.4, confirm=12)
TEMPERATURE = Rules(low=-60.0, high=60.0, jump=3.0, zero_is_gap=False, flat_cells=12)
FREQUENCY = Rules(low=45.0, high=65.0, flat_cells=600)


@dataclass(frozen=True)
class Alarm:
    """A fault of a feed over `[from_s, to_s)`; `count` values were concerned."""

    name: str
    from_s: float
    to_s: float
    count: int = 1
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.count} values" + (f" ({self.detail})" if self.detail else "")


class Validator:
    """Judges the cells of one regular series; `history` is what forecasters may see, `alarms` what people should."""

    def __init__(self, rules: Rules, step_s: float, time_zone: str = "UTC") -> None:
        self.rules, self.step_s, self.time_zone = rules, step_s, time_zone
        self.alarms: list[Alarm] = []
        self._day = max(TYPICAL_CELLS, round(86400.0 / step_s))
        self._good: deque[float] = deque(maxlen=self._day)
        self._values: list[float] = []
        self._estimates: list[bool] = []
        self._doubted: list[float] = []
        self._equal = 0
        self._first = 0
        self._factor = 1.0
        self._pending_factor = 1.0
        self._is_short = False

    def take(self, start_s: float, value: float | None, received_s: float | None = None) -> bool:
        """Judges the mean over the cell that begins at `start_s`; True when it was taken as it is. Cells in between are missing."""
        if not math.isfinite(start_s):
            why = "no stamp" if value is None or self._is_possible(value) else "out of range"
            self.alarms.append(Alarm(why, math.nan, math.nan))
            return False
        cell = math.floor(start_s / self.step_s + 1e-6)
        self._check_clock(start_s, received_s)
        if not self._values:
            self._first = cell
        behind = self._first + len(self._values) - cell
        if behind > 0:
            self._alarm("duplicate stamp" if behind == 1 else "backward stamp", start_s)
            return False
        for gap in range(-behind):
            self._append(None, (cell + behind + gap) * self.step_s)
        return self._append(value, start_s)

    def acknowledge(self, factor: float) -> None:
        """An operator confirms that the feed's values are now `factor` times what they were: they are divided by it from now on."""
        self._factor, self._doubted, self._pending_factor = factor, [], 1.0

    def history(self) -> History:
        """Everything taken so far; refused and missing cells as marked estimates where one could be made."""
        return History(self.step_s, self._first, np.array(self._values), np.array(self._estimates, dtype=bool), self.time_zone)

    def _append(self, value: float | None, start_s: float) -> bool:
        raw = math.nan if value is None else float(value) / self._factor
        why = self._fault(raw)
        if why:
            self._alarm(why, start_s, self._detail(why))
        else:
            self._good.append(raw)
        self._estimates.append(bool(why))
        self._values.append(self._estimate() if why else raw)
        self._check_share(start_s)
        return not why

    def _fault(self, x: float) -> str:
        """The name of what is wrong with a value, empty when nothing is."""
        if not math.isfinite(x):
            return "missing"
        if not self._is_possible(x):
            return "out of range"
        typical = len(self._good) >= TYPICAL_CELLS
        if typical and self.rules.zero_is_gap and x == 0.0 and self._is_never_near_zero():
            return "all zero"
        if typical and self._is_jump(x):
            return self._doubt(x)
        self._doubted.clear()
        self._equal = self._equal + 1 if self._good and x == self._good[-1] and x != 0.0 else 0
        return "flat line" if self._equal >= self.rules.flat_cells else ""

    def _is_possible(self, x: float) -> bool:
        return self.rules.low <= x <= self.rules.high

    def _is_never_near_zero(self) -> bool:
        good = np.abs(np.array(self._good))
        return float(np.quantile(good, 0.05)) > NEAR_ZERO * float(np.median(good))

    def _is_jump(self, x: float) -> bool:
        if math.isinf(self.rules.jump):
            return False
        good = np.array(self._good)
        level = float(np.median(np.abs(good)))
        step = abs(x - self._good[-1])
        low, high = np.quantile(good, [0.02, 0.98])
        if self.rules.low >= 0.0 and low > NEAR_ZERO * level and not low / FAR <= x <= high * FAR:
            return True
        return step > self.rules.jump * float(np.abs(np.diff(good)).max()) and step > self.rules.least_jump_share * level

    def _doubt(self, x: float) -> str:
        """A jump until enough cells agree: then a new level, or a change of unit that stays refused."""
        self._doubted.append(x)
        recent = np.array(self._doubted[-self.rules.confirm :])
        if len(recent) < self.rules.confirm:
            return "jump"
        ratio = float(np.median(recent)) / float(np.median(np.array(self._good)))
        factor = unit_factor(ratio)
        if factor is not None:
            self._pending_factor = factor
            return "unit change"
        self._doubted.clear()
        self._good.clear()
        return ""

    def _estimate(self) -> float:
        """The value a day ago, else the newest, NaN without any."""
        if len(self._values) >= self._day and math.isfinite(self._values[-self._day]):
            return self._values[-self._day]
        return self._values[-1] if self._values else math.nan

    def _detail(self, why: str) -> str:
        return f"about x {self._pending_factor:g}" if why == "unit change" else ""

    def _check_clock(self, start_s: float, received_s: float | None) -> None:
        if received_s is None:
            return
        age = received_s - (start_s + self.step_s)
        if age < -self.step_s or age > self.rules.late_s:
            self._alarm("clock skew", start_s, f"{age:.0f} s after the end of its interval")

    def _check_share(self, start_s: float) -> None:
        if len(self._estimates) < self._day:
            return
        was, self._is_short = self._is_short, sum(self._estimates[-self._day :]) > self.rules.missing_share * self._day
        if self._is_short and not was:
            self._alarm("missing share", start_s, f"more than {100 * self.rules.missing_share:.0f} % of a day")

    def _alarm(self, name: str, start_s: float, detail: str = "") -> None:
        """Adds an alarm, or lengthens the same one that ends here."""
        newest = next((a for a in reversed(self.alarms[-4:]) if a.name == name), None)
        if newest is not None and start_s - newest.to_s < self.step_s / 2 and start_s >= newest.from_s:
            at = len(self.alarms) - 1 - self.alarms[::-1].index(newest)
            self.alarms[at] = replace(newest, to_s=start_s + self.step_s, count=newest.count + 1, detail=detail or newest.detail)
        else:
            self.alarms.append(Alarm(name, start_s, start_s + self.step_s, 1, detail))


def screened(
    values: Iterable[float | None], step_s: float, rules: Rules, first: int = 0, time_zone: str = "UTC"
) -> tuple[History, list[Alarm]]:
    """A regular series judged from its first cell to its last."""
    validator = Validator(rules, step_s, time_zone)
    for i, value in enumerate(values):
        validator.take((first + i) * step_s, value)
    return validator.history(), validator.alarms


def stamp_alarms(stamps_s: Sequence[float], step_s: float | None = None) -> list[Alarm]:
    """Faults of the time stamps of a raw feed, in the order it came: duplicate, backward, gaps, a step that is not the usual one."""
    raw = np.asarray(stamps_s, dtype=float)
    stamps = raw[np.isfinite(raw)]
    moves = np.diff(stamps)
    ahead = moves[moves > 0]
    usual = step_s or (float(np.median(ahead)) if len(ahead) else 0.0)
    kinds = {
        "duplicate stamp": moves == 0,
        "backward stamp": moves < 0,
        "missing": moves > 1.5 * usual,
        "step change": (moves > 0) & (np.abs(moves - usual) > 0.01 * usual) & (moves < 1.5 * usual),
    }
    found = [_summary(name, stamps, np.flatnonzero(where), moves) for name, where in kinds.items() if where.any()]
    unstamped = len(raw) - len(stamps)
    return found + ([Alarm("no stamp", math.nan, math.nan, unstamped)] if unstamped else [])


def local_day_alarms(hours_local: Sequence[int], days: Sequence[str], short_days: Sequence[str], long_days: Sequence[str]) -> list[Alarm]:
    """`dst` for local days of a clock change that do not have 23 or 25 hours: their stamps cannot be turned into UTC."""
    counts: dict[str, int] = {}
    for day, _ in zip(days, hours_local, strict=True):
        counts[day] = counts.get(day, 0) + 1
    wrong = [d for d in short_days if counts.get(d, 23) != 23] + [d for d in long_days if counts.get(d, 25) != 25]
    return [Alarm("dst", 0.0, 0.0, len(wrong), "24 h on " + ", ".join(sorted(wrong)))] if wrong else []


def _summary(name: str, stamps: np.ndarray, at: np.ndarray, moves: np.ndarray) -> Alarm:
    return Alarm(name, float(stamps[at[0]]), float(stamps[at[-1] + 1]), len(at), f"up to {float(np.abs(moves[at]).max()):g} s")


def unit_factor(ratio: float) -> float | None:
    """The change of unit that a lasting ratio of levels looks like, None for none.

    A near one fits within UNIT_TOLERANCE, a far one within 4 times: the hour's level stands anywhere within the day's range.
    """
    if ratio <= 0.0:
        return None
    nearest = min(UNIT_FACTORS, key=lambda factor: abs(math.log(ratio / factor)))
    distance = abs(math.log(ratio / nearest))
    is_far = not 1.0 / FAR <= ratio <= FAR
    return nearest if distance <= (math.log(4.0) if is_far else UNIT_TOLERANCE) else None
