"""Faults on a schedule: what goes wrong with which device, when, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ems.errors import ConfigError
from ems.site.model import Site
from ems.site.source import FileModel, Instant, read_source, validated
from simulators.devices.device import Device

Kind = Literal["silent", "frozen", "slow", "reject", "ignores", "wrong_sign", "trip", "local", "reboot", "refuse", "lying", "no_lease"]


@dataclass(frozen=True)
class Fault:
    """One device fails in one way (`devices.device.FAULTS`) over `[at, at + for_s)`, seconds of site time."""

    at: datetime
    device: str
    kind: str
    for_s: float


class FaultSchedule:
    """Injects each fault once when its time has come."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._waiting = sorted(faults, key=lambda f: f.at, reverse=True)
        self._next_s = self._waiting[-1].at.timestamp() if self._waiting else float("inf")

    def apply(self, devices: Mapping[str, Device], at_s: float) -> list[Fault]:
        """Begins the faults that are due at an epoch second and returns them."""
        begun: list[Fault] = []
        while at_s >= self._next_s:
            fault = self._waiting.pop()
            devices[fault.device].inject(fault.kind, fault.at.timestamp() + fault.for_s)
            begun.append(fault)
            self._next_s = self._waiting[-1].at.timestamp() if self._waiting else float("inf")
        return begun


class FaultEntry(FileModel):
    """One row of a faults file; `at` is an instant, or seconds after the simulation's start."""

    at: Instant | Annotated[float, Field(ge=0)]
    device: str
    fault: Kind
    for_s: Annotated[float, Field(gt=0)]


class FaultsFile(FileModel):
    """`faults: [{at, device, fault, for_s}, ...]`, rows as in a scenario."""

    faults: list[FaultEntry]


def load_faults(path: Path, site: Site, start: datetime) -> list[Fault]:
    """The faults of a file. Raises ConfigError with every complaint and its line."""
    source = read_source(path)
    rows = validated(source, FaultsFile).faults
    unknown = [i for i, row in enumerate(rows) if row.device not in site.links]
    if unknown:
        raise ConfigError([source.complaint(("faults", i, "device"), "one of " + ", ".join(site.links)) for i in unknown])
    return [Fault(_instant(row.at, start), row.device, row.fault, row.for_s) for row in rows]


def _instant(at: datetime | float, start: datetime) -> datetime:
    return at if isinstance(at, datetime) else start + timedelta(seconds=at)
