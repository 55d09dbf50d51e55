"""Letting go of a site in order: caps down to the contract and read back, storage to zero by ramp and measured idle, then release.

A cap below the contract stays until storage is idle: a charging battery may be what it makes room for. Release then lets it rise. A
device that is locked out is neither told nor released, and lapses: its storage is not waited for, a cap that it shows too wide is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from ems.dispatch.setpoint import Setpoint
from ems.messages import Mode
from ems.site.model import Site
from ems.state.estimate import locked_out_in
from ems.state.image import SiteImage

REASON = "letting go: safe values before release"
CAP_WITHIN_KW = 1.0
IDLE_SHARE = 0.02  # of the rating: measured power below it is idle


class Drain:
    """The setpoints of the last cycles before release, for the assets in control only."""

    def __init__(self, site: Site, modes: Mapping[str, Mode], last_kw: Mapping[tuple[str, str], float], now: datetime) -> None:
        self._site = site
        self._held = {asset for asset, mode in modes.items() if mode is Mode.CONTROL}
        commands = {b.id: "power_setpoint_kw" for b in site.batteries} | {u.id: "battery_setpoint_kw" for u in site.upses}
        self._storage_kw = {key: last_kw[key] for key in commands.items() if key in last_kw and key[0] in self._held}
        self._ramp_kw_per_s = {b.id: b.ramp_kw_per_s for b in site.batteries} | {u.id: u.ramp_kw_per_s for u in site.upses}
        self._rating_kw = {b.id: b.power_kw for b in site.batteries} | {u.id: u.rating_kw for u in site.upses}
        self._cap_kw = {
            c.id: min(c.contract_cap_kw, last_kw.get((c.id, "power_cap_kw"), c.contract_cap_kw))
            for c in site.clusters
            if c.id in self._held
        }
        self._at = now
        self._locked_out: Collection[str] = ()

    @property
    def held(self) -> list[str]:
        """Assets to release, storage first: the caps stand until storage is gone. Without those locked out."""
        storage = [asset for asset, _ in self._storage_kw]
        return [asset for asset in (*storage, *sorted(self._held - set(storage))) if asset not in self._locked_out]

    def step(self, image: SiteImage) -> tuple[list[Setpoint], bool]:
        """The setpoints of this cycle, and whether the site may be released now."""
        self._locked_out = locked_out_in(self._site, image)
        caps = [Setpoint(cluster, "power_cap_kw", kw, REASON, image.now) for cluster, kw in self._cap_kw.items()]
        is_capped = all(self._is_capped(image, s) for s in caps)
        if is_capped:
            self._ramp_down(image.now)
        self._at = image.now
        storage = [Setpoint(asset, command, kw, REASON, image.now) for (asset, command), kw in self._storage_kw.items()]
        free = [s for s in storage if s.asset not in self._locked_out]
        is_idle = all(s.power_kw == 0.0 and self._is_idle(image, s.asset) for s in free)
        return [*(s for s in caps if s.asset not in self._locked_out), *free], is_capped and is_idle

    def _is_capped(self, image: SiteImage, cap: Setpoint) -> bool:
        shown = image.command(cap.asset, cap.command, self._site.control.stale_after_s)
        return shown is not None and shown <= cap.power_kw + CAP_WITHIN_KW

    def _is_idle(self, image: SiteImage, asset: str) -> bool:
        """True when the battery power is measured near zero; a UPS shows it beside its losses."""
        point = "battery_kw" if image.reading(asset, "battery_kw") is not None else "power_kw"
        measured_kw = image.value(asset, point, self._site.control.stale_after_s)
        return measured_kw is not None and abs(measured_kw) < IDLE_SHARE * self._rating_kw[asset]

    def _ramp_down(self, now: datetime) -> None:
        passed_s = max(0.0, (now - self._at).total_seconds())
        for (asset, command), kw in self._storage_kw.items():
            step_kw = self._ramp_kw_per_s[asset] * passed_s
            self._storage_kw[(asset, command)] = max(0.0, kw - step_kw) if kw > 0 else min(0.0, kw + step_kw)


def let_go_now(held_before: Collection[str], held: Collection[str], locked_out: Collection[str]) -> list[str]:
    """Assets that were taken out of control in this cycle and are let go of at once; one that is locked out gets no write and lapses."""
    return sorted(set(held_before) - set(held) - set(locked_out))
