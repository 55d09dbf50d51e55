"""The lease of one device as its master sees it: when to arm, when to beat, and when the device has let go by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from adapters.modbus.page import Page, Point
from adapters.modbus.registers import RANGES, raw_to_registers
from ems.site.leases import REFRESH_SHARE


class Lifeline:
    """The lease of one device as we see it: when it was armed, when it was last fed. Seconds of site time."""

    def __init__(self, page: Page, lease_s: float) -> None:
        self.asked_s = self.seconds = lease_s  # what the next arming tells; what runs
        self._page = page
        self._rests_s = max((c.min_write_interval_s for c in page.commands), default=0.0)
        self._armed_at: datetime | None = None
        self._fed_at: datetime | None = None
        self._beat = 0

    def lasts(self, seconds: float) -> None:
        """The lease from the next arming on, where the device can be told one."""
        if self._page.lease.is_settable:
            self.asked_s = seconds

    def is_fed(self, now: datetime) -> bool:
        """True while the device still follows us."""
        if self._page.lease.kind == "none":
            return True
        return self._fed_at is not None and (now - self._fed_at).total_seconds() < self.seconds

    @property
    def is_armed(self) -> bool:
        """True for a device armed since it was met."""
        return self._armed_at is not None

    def needs_arming(self, now: datetime) -> bool:
        """True for a device not armed since it was met, or for another lease, one that has lapsed, and one kept by being armed again."""
        if self._page.lease.kind == "none":
            return False
        is_kept_by_arming = self._page.lease.counter is None
        is_due = not self.is_fed(now) or (is_kept_by_arming and self._is_hungry(now))
        return self._armed_at is None or self.asked_s != self.seconds or is_due

    def needs_beat(self, now: datetime) -> bool:
        """True for an armed heartbeat device whose lease is due, or that was armed just now."""
        return self._page.lease.counter is not None and self._armed_at is not None and (self._is_hungry(now) or self._armed_at == now)

    def arm(self, now: datetime) -> None:
        """The whole sequence was written."""
        self._armed_at, self.seconds = now, self.asked_s
        if self._page.lease.counter is None:
            self._fed_at = now

    def feed(self, now: datetime) -> None:
        """A beat arrived."""
        self._fed_at = now

    def disarm(self) -> None:
        """The device may have forgotten."""
        self._armed_at = None

    def lose(self) -> None:
        """We let go."""
        self._armed_at = self._fed_at = None

    def next_beat(self) -> tuple[Point, tuple[int, ...]]:
        """The next value of the heartbeat register; never 0, which would let go."""
        point = self._page.register(self._page.lease.counter or "")
        self._beat = self._beat % min(65535, RANGES[point.type][1]) + 1
        return point, raw_to_registers(point, self._beat)

    def _is_hungry(self, now: datetime) -> bool:
        """Refreshed at a tenth; a device kept by writing its command again no sooner than that may be written, as far as a third allows."""
        rests_s = 0.0 if self._page.lease.counter is not None else min(self._rests_s, self.seconds / 3.0)
        return self._fed_at is None or now - self._fed_at >= timedelta(seconds=max(self.seconds / REFRESH_SHARE, rests_s))
