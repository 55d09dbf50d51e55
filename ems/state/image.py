"""The frozen readings of one cycle: asset id -> point name -> Reading. Nothing in it changes after it was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ems.reading import Quality, Reading


@dataclass(frozen=True, slots=True)
class SiteImage:
    """All readings known at `now`, in our units and signs. `commands` holds the command registers as read back, per asset and command."""

    now: datetime
    readings: Mapping[str, Mapping[str, Reading]]
    commands: Mapping[str, Mapping[str, Reading]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)  # asset id -> why its device is not to be trusted

    def reading(self, asset: str, point: str) -> Reading | None:
        """The reading of a point, None when the device never gave it."""
        return self.readings.get(asset, {}).get(point)

    def value(self, asset: str, point: str, stale_after_s: float) -> float | None:
        """The value of a point if it is good and fresh, else None."""
        reading = self.reading(asset, point)
        return reading.value if reading is not None and reading.is_fresh(self.now, stale_after_s) else None

    def command(self, asset: str, command: str, stale_after_s: float) -> float | None:
        """The value a command register was last read back as, None when unknown or stale."""
        reading = self.commands.get(asset, {}).get(command)
        return reading.value if reading is not None and reading.is_fresh(self.now, stale_after_s) else None


def encode_image(image: SiteImage) -> dict[str, Any]:
    """The image as plain data for the journal: values with their age in seconds (exact) and quality."""

    def pack(part: Mapping[str, Mapping[str, Reading]]) -> dict[str, dict[str, list[Any]]]:
        return {
            asset: {p: [r.value, (image.now - r.at) / timedelta(microseconds=1), r.quality.value] for p, r in points.items()}
            for asset, points in part.items()
        }

    return {
        "now": image.now.isoformat(),
        "readings": pack(image.readings),
        "commands": pack(image.commands),
        "problems": dict(image.problems),
    }


def decode_image(data: Mapping[str, Any]) -> SiteImage:
    """The image back from the journal; equal to the one encoded."""
    now = datetime.fromisoformat(data["now"])

    def unpack(part: Mapping[str, Any]) -> dict[str, dict[str, Reading]]:
        return {
            asset: {p: Reading(v, now - timedelta(microseconds=age), Quality(q)) for p, (v, age, q) in points.items()}
            for asset, points in part.items()
        }

    return SiteImage(now, unpack(data["readings"]), unpack(data["commands"]), data["problems"])
