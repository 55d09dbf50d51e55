"""Limits and prices given as points: what a battery may take at a state of charge or in the heat, what a cycle of some depth costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]


def share_at(points: Sequence[Point], x: float) -> float:
    """The value at `x` on the line through the points, level outside; 1 without points."""
    if not points:
        return 1.0
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def lines(points: Sequence[Point]) -> list[Point]:
    """(value at 0, slope) of each piece that is not level at 1: a concave curve is the least of its lines."""
    pieces = []
    for (x0, y0), (x1, y1) in pairwise(points):
        slope = (y1 - y0) / (x1 - x0)
        if slope != 0.0 or y0 < 1.0:
            pieces.append((y0 - slope * x0, slope))
    return pieces


def is_concave(points: Sequence[Point]) -> bool:
    """True when the slopes never rise."""
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(points)]
    return all(b <= a + 1e-9 for a, b in pairwise(slopes))


def band_widths(bands: Sequence[Point], energy_kwh: float) -> list[float]:
    """Energies in kWh of the bands of depth, shallowest first."""
    return [(upto - below) * energy_kwh for (upto, _), below in zip(bands, [0.0, *(b[0] for b in bands)], strict=False)]


def fill_bands(energy_kwh: float, widths: Sequence[float]) -> list[float]:
    """Where energy stands when nothing is known of its past: the shallow bands full first, the deepest takes what is left."""
    held = []
    for width in widths[:-1]:
        held.append(min(max(energy_kwh, 0.0), width))
        energy_kwh -= held[-1]
    return [*held, energy_kwh]


def move_bands(held: Sequence[float], change_kwh: float, widths: Sequence[float]) -> list[float]:
    """The bands after the store gained `change_kwh` (or lost it): always the shallowest that can. This is how rainflow counts."""
    out = list(held)
    for n, width in enumerate(widths[:-1]):
        room = min(change_kwh, width - out[n]) if change_kwh > 0.0 else max(change_kwh, -out[n])
        out[n] += room
        change_kwh -= room
    out[-1] += change_kwh
    return out
