"""Days without a fault in one process: memory and descriptors must stand still, and nothing may raise an alarm.

The real control process and the simulated plant under virtual time, as in the campaign; the load drifts over the days, noise is in load and
readings. A line per day, and the same last line when it is interrupted: what ran is counted. Exit 1 when a promise does not hold.

    python tests/campaign/soak.py --days 10 [--seed 1] [--limit 1250]
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ems.alarms import conditions
from ems.office.alarms.book import AlarmBook
from ems.office.alarms.desk import lines_of
from tests.campaign.faults import put
from tests.campaign.world import EPOCH, Second, Setting, World

DAY_S, HOUR_S, LOOK_S = 86400, 3600, 600
WARM_S = 6 * HOUR_S  # caches fill; the regression begins here
SLOPE_MB_PER_DAY = 1.0
ALARMS_PER_DAY = 0.1
KEPT_JOURNAL_BYTES = 256 << 20  # the segments live in memory; older ones are retired as on a small disk


class Soak:
    """One world and what is counted of it."""

    def __init__(self, seed: int, limit_kw: float) -> None:
        self.world = World(Setting(seed, limit_kw, demand_scale=1.3))
        self.raised: Counter[tuple[str, str]] = Counter()
        self.over_s = self.cycles = 0
        self.megabytes: list[tuple[float, float]] = []  # day, resident memory
        self.descriptors: list[int] = []
        self._book = AlarmBook()
        self._subjects = (*self.world.site.links, *self.world.site.assets)
        self.world.on_second.append(self._second)
        self.world.mailbox.watchers.append(self._message)
        put(self.world, [])
        self._look()

    def hours(self, days: int) -> Iterator[int]:
        """Runs hour by hour; yields how many are done."""
        self.world.run(60)
        assert self.world.loop is not None
        self.world.loop.journal._keep_bytes = KEPT_JOURNAL_BYTES
        for hour in range(days * 24):
            self.world.setting = replace(self.world.setting, demand_scale=drift(hour / 24.0))
            for _ in range(HOUR_S // LOOK_S):
                self.world.run(LOOK_S)
                self.world.bus.writes.clear()  # the log of the oracle, of no use here
                self._look()
            yield hour + 1

    def slope_mb_per_day(self) -> float:
        """Megabytes of resident memory a day, by least squares after the warm-up; NaN while there is too little."""
        rows = np.array([row for row in self.megabytes if row[0] * DAY_S >= WARM_S])
        return float(np.polyfit(rows[:, 0], rows[:, 1], 1)[0]) if len(rows) > 10 else math.nan

    def close(self) -> None:
        """Ends the world and takes its folder away."""
        self.world.close()
        shutil.rmtree(self.world.folder, ignore_errors=True)

    def _look(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.megabytes.append((self.world.time.s / DAY_S, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
        self.descriptors.append(len(os.listdir("/proc/self/fd")))

    def _second(self, second: Second) -> None:
        self.over_s += second.step.poc_kw > second.limit_kw * 1.001

    def _message(self, topic: str, body: Mapping[str, Any], now: datetime) -> None:
        if topic != "snapshot":
            return
        self.cycles += 1
        for alarm in self._book.update(now, conditions(lines_of(body), self._subjects)):
            if alarm.cleared_at is None:
                self.raised[alarm.key] += 1
                if self.first_words.setdefault(alarm.key, alarm.words) is alarm.words:
                    print(
                        f"alarm after {(now - EPOCH).total_seconds() / 3600.0:.2f} h: {alarm.name} {alarm.subject}: {alarm.words}",
                        flush=True,
                    )


def drift(day: float) -> float:
    """How much is asked for: busy and quiet days by turns."""
    return 1.3 + 0.4 * math.sin(2.0 * math.pi * day / 3.0)


def last_line(soak: Soak) -> str:
    """Everything that was promised, with what was measured."""
    days, fds = soak.cycles / DAY_S, soak.descriptors
    named = ", ".join(f"{count} {name} {subject}" for (name, subject), count in soak.raised.most_common()) or "none"
    return (
        f"{days:.2f} fault-free days in one process: {sum(soak.raised.values())} alarms ({named}), "
        f"{soak.slope_mb_per_day():+.2f} MB/day (regression after {WARM_S // HOUR_S} h; {soak.megabytes[0][1]:.0f} MB at first, "
        f"{soak.megabytes[-1][1]:.0f} MB at last), {min(fds)} to {max(fds)} descriptors, {soak.over_s} s over the limit"
    )


def is_kept(soak: Soak) -> bool:
    """True when every promise that could be measured holds."""
    days, slope = soak.cycles / DAY_S, soak.slope_mb_per_day()
    has_leak = not slope < SLOPE_MB_PER_DAY or max(soak.descriptors) - min(soak.descriptors) > 1
    return not has_leak and sum(soak.raised.values()) <= max(0.0, ALARMS_PER_DAY * days) and soak.over_s == 0


def main(argv: Sequence[str]) -> int:
    """Runs the days, a line for each."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--days", type=int, default=3)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--limit", type=float, default=1250.0, help="import limit in kW")
    given = ask.parse_args(argv)
    if given.days < 1 or given.seed < 0 or given.limit <= 0.0:
        print("days and limit must be above 0, the seed at least 0", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # in the background of a shell the first is ignored
    soak, begun_s = Soak(given.seed, given.limit), time.perf_counter()
    try:
        for hours in soak.hours(given.days):
            if hours % 24 == 0:
                print(f"after {hours / 24:.0f} days, {(time.perf_counter() - begun_s) / 60.0:.0f} min: {last_line(soak)}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        soak.close()
    print(last_line(soak))
    return 0 if is_kept(soak) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
