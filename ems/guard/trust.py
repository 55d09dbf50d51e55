"""How far each device is trusted: unknown → identified → proven → active → suspect → quarantined, and why.

Only what answers as the device it should be, does what it is told and shows what can be true is active. A device that disobeys three
times within four hours is quarantined: it counts as delivering nothing and gets no power until a named person releases it or it passes its
self-test. Proof, strikes and quarantine survive a restart; the rest is seen again within seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ems.messages import Mode
from ems.site.model import Site
from ems.state.image import SiteImage

STRIKES = 3  # disobediences after which a device is quarantined
STRIKES_WITHIN = timedelta(hours=4)
SURE_AFTER = timedelta(seconds=3)  # devices may feel a disturbance of the grid before it is seen
ONE_EPISODE = timedelta(seconds=60)  # what comes and goes within it is one disobedience
LONG_EPISODE = timedelta(minutes=10)  # one that lasts counts again
TOLD = "told "  # in the words of every disobedience, of the field as of response.py
CHECKS = (" charge", " energy", " cap")  # checks beside the device's own problem: image key asset + one of these


class Trust(StrEnum):
    """The state of one device."""

    UNKNOWN = "unknown"  # does not answer, or was never read
    IDENTIFIED = "identified"  # answers as the device it should be
    PROVEN = "proven"  # passed its self-test
    ACTIVE = "active"  # in control, and does what it is told
    SUSPECT = "suspect"  # something contradicts it now
    QUARANTINED = "quarantined"  # not counted on until a person says so


@dataclass(frozen=True)
class Proof:
    """The last self-test of a device: who, when, whether it passed, else why not."""

    by: str
    at: str  # ISO instant of site time
    is_passed: bool
    why: str = ""


@dataclass(frozen=True)
class Change:
    """A device changed its state."""

    asset: str
    before: Trust
    after: Trust
    cause: str


@dataclass
class Record:
    """What is kept of one device."""

    state: Trust = Trust.UNKNOWN
    cause: str = "not read yet"
    proof: Proof | None = None
    quarantine: str = ""  # why, "" when it is not
    strikes: deque[datetime] = field(default_factory=deque)
    charge: tuple[datetime, str] | None = None  # a strike to be, and its words
    is_disobeying: bool = False


class TrustBook:
    """The states of all devices of a site; `update` once a cycle."""

    def __init__(self, site: Site) -> None:
        self._stale_s = site.control.stale_after_s
        self.records = {asset: Record() for asset in site.links}
        self.changes: list[Change] = []  # of the last update

    def update(self, image: SiteImage, modes: Mapping[str, Mode], is_disturbed: bool = False) -> None:
        """Takes one image, what does not follow named in its problems. While the grid is disturbed nobody disobeys: a device that trips at
        an outage, or comes back as it was delivered, does what it must."""
        self.changes = []
        for asset, record in self.records.items():
            problem = image.problems.get(asset, "")
            record.charge = None if is_disturbed else record.charge
            self._count(record, "" if is_disturbed else problem, image.now)
            state, cause = self._judged(asset, record, image, problem, modes.get(asset))
            if state is not record.state:
                self.changes.append(Change(asset, record.state, state, cause))
            record.state, record.cause = state, cause

    def quarantined(self) -> dict[str, str]:
        """Devices that do not count, and why."""
        return {asset: f"quarantined: {r.quarantine}" for asset, r in self.records.items() if r.quarantine}

    def release(self, asset: str) -> None:
        """A named person trusts the device again."""
        if asset in self.records:
            self.records[asset].quarantine = ""
            self.records[asset].strikes.clear()
            self.records[asset].charge = None

    def prove(self, asset: str, proof: Proof) -> None:
        """Takes the result of a self-test: a pass ends a quarantine, a failure is kept until the next test."""
        self.records[asset].proof = proof
        if proof.is_passed:
            self.release(asset)

    def refusal(self, asset: str) -> str:
        """Why the device may not be taken into control, "" when it may."""
        proof = self.records[asset].proof if asset in self.records else None
        return "" if proof is None or proof.is_passed else f"{asset} failed its self-test: {proof.why}"

    def encode(self) -> dict[str, Any]:
        """What must survive a restart."""
        return {asset: _encoded(r) for asset, r in self.records.items() if r.proof or r.quarantine or r.strikes}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave, for the devices that still exist."""
        for asset, kept in data.items():
            if asset in self.records:
                record = self.records[asset]
                record.proof = Proof(**kept["proof"]) if kept["proof"] else None
                record.quarantine = kept["quarantine"]
                record.strikes = deque(map(datetime.fromisoformat, kept["strikes"]))

    def _count(self, record: Record, problem: str, now: datetime) -> None:
        """A strike is the beginning of a disobedience, or ten minutes of it, once nothing has excused it for three seconds."""
        is_disobeying = TOLD in problem
        lasts = bool(record.strikes) and now - record.strikes[-1] >= LONG_EPISODE
        begins, record.is_disobeying = is_disobeying and (lasts or not record.is_disobeying), is_disobeying
        while record.strikes and now - record.strikes[0] > STRIKES_WITHIN:
            record.strikes.popleft()
        if begins and not record.quarantine and (not record.strikes or now - record.strikes[-1] > ONE_EPISODE):
            record.charge = record.charge or (now, problem)
        if record.charge is not None and now - record.charge[0] >= SURE_AFTER:
            begun_at, words = record.charge
            record.strikes.append(begun_at)
            record.charge = None
            if len(record.strikes) >= STRIKES:
                record.quarantine = f"{STRIKES} times within {STRIKES_WITHIN.total_seconds() / 3600.0:.0f} h, last {words}"

    def _judged(self, asset: str, record: Record, image: SiteImage, problem: str, mode: Mode | None) -> tuple[Trust, str]:
        if record.quarantine:
            return Trust.QUARANTINED, record.quarantine
        ages = [r.age_s(image.now) for r in image.readings.get(asset, {}).values()]
        if not ages or min(ages) > self._stale_s:
            return Trust.UNKNOWN, problem or "does not answer"
        doubt = problem or _first(image.problems.get(asset + check, "") for check in CHECKS)
        if doubt:
            return Trust.SUSPECT, doubt
        if mode is Mode.CONTROL:
            return Trust.ACTIVE, "in control"
        if record.proof is not None and record.proof.is_passed:
            return Trust.PROVEN, f"self-test by {record.proof.by}"
        return Trust.IDENTIFIED, "answers as the device it should be"


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _encoded(record: Record) -> dict[str, Any]:
    return {
        "proof": asdict(record.proof) if record.proof else None,
        "quarantine": record.quarantine,
        "strikes": [at.isoformat() for at in record.strikes],
    }
