"""What sun and wind give, as a share of the rating: generated, a function of time and seed alone. Nothing in it was measured.

Sun: the sine of its elevation (latitude 35 degrees, longitude by the hour angle given) to the power 1.15, times a sky of slow weather
and passing clouds. Wind: the cube of a slowly wandering speed between cut-in and rating.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from simulators.demand import smooth_noise

Array = NDArray[np.float64]
LATITUDE_RAD = np.radians(35.0)
GRID_S = 10.0
PART_S = 3600.0
KEPT_PARTS = 8


def pv_share(seed: int, name: str, at_s: Array, solar_offset_h: float) -> Array:
    """Share of the rating at epoch seconds; 0 at night."""
    day = at_s / 86400.0
    declination = np.radians(-23.44) * np.cos(2.0 * np.pi * (day - 9.0) / 365.25)
    hour_angle = 2.0 * np.pi * ((at_s / 3600.0 + solar_offset_h) % 24.0 - 12.0) / 24.0
    elevation = np.sin(LATITUDE_RAD) * np.sin(declination) + np.cos(LATITUDE_RAD) * np.cos(declination) * np.cos(hour_angle)
    weather = smooth_noise(seed, f"{name} weather", 6 * 3600.0, at_s)
    clouds = smooth_noise(seed, f"{name} clouds", 300.0, at_s)
    sky = np.clip(0.85 + 0.15 * weather + 0.1 * clouds * np.clip(-weather, 0.0, 1.0), 0.15, 1.0)
    return np.asarray(sky * np.maximum(elevation, 0.0) ** 1.15, dtype=np.float64)


def wind_share(seed: int, name: str, at_s: Array) -> Array:
    """Share of the rating at epoch seconds."""
    speed = 8.0 + 2.5 * smooth_noise(seed, f"{name} wind", 3 * 3600.0, at_s) + 0.8 * smooth_noise(seed, f"{name} gusts", 120.0, at_s)
    return np.asarray(np.where(speed < 3.0, 0.0, np.clip((speed / 12.0) ** 3, 0.0, 1.0)), dtype=np.float64)


def resource_share(technology: str, seed: int, name: str, at_s: Array, solar_offset_h: float) -> Array:
    """Share of the rating that sun or wind give at epoch seconds."""
    return pv_share(seed, name, at_s, solar_offset_h) if technology == "pv" else wind_share(seed, name, at_s)


class Resource:
    """The same for one instant after another, worked out an hour at a time."""

    def __init__(self, technology: str, seed: int, name: str, solar_offset_h: float) -> None:
        self.technology, self.seed, self.name, self.solar_offset_h = technology, seed, name, solar_offset_h
        self._parts: OrderedDict[int, list[float]] = OrderedDict()

    def at(self, at_s: float) -> float:
        """Share of the rating at an epoch second."""
        number, into_s = divmod(at_s, PART_S)
        part = self._parts.get(int(number))
        if part is None:
            points = np.asarray(number * PART_S + GRID_S * (np.arange(round(PART_S / GRID_S)) + 0.5), dtype=np.float64)
            part = self._parts[int(number)] = self.over(points).tolist()
            if len(self._parts) > KEPT_PARTS:
                self._parts.popitem(last=False)
        return part[min(len(part) - 1, int(into_s / GRID_S))]

    def over(self, at_s: Array) -> Array:
        """Shares at many instants."""
        return resource_share(self.technology, self.seed, self.name, np.asarray(at_s, np.float64), self.solar_offset_h)
