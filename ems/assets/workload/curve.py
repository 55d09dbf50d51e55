"""Throughput over power: the share of a class's work that is done with a share of its power above idle, as points on a concave line.

Clocks and caps slow work less than they save power (2507.00909: 20 % less power costs batch work 5 to 14 % of its speed), so the first
kilowatts cut cost the least. Without points work is done in proportion to power. A cut of all the power always costs all the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]  # (share of power, share of work), from (0, 0) to (1, 1)


def cut_pieces(points: Sequence[Point]) -> list[Point]:
    """(width, slope) of a cut, its first part first: the share of power it may take, and kW of work lost per kW of power."""
    return [(x1 - x0, (y1 - y0) / (x1 - x0)) for (x0, y0), (x1, y1) in reversed(list(pairwise(points)))]


def lost_kw(points: Sequence[Point], cut_kw: float, arriving_kw: float) -> float:
    """Work not done, in kW at full speed, when the power of work arriving is cut by so much."""
    if not points:
        return cut_kw
    lost = 0.0
    for width, slope in cut_pieces(points):
        part_kw = min(cut_kw, width * max(arriving_kw, 0.0))
        lost, cut_kw = lost + slope * part_kw, cut_kw - part_kw
    return lost + cut_kw  # more than arrives cannot be cut: what a rounding leaves counts in full


def is_throughput(points: Sequence[Point]) -> bool:
    """True for points from (0, 0) to (1, 1) that rise, and never steeper than before."""
    if len(points) < 2 or tuple(points[0]) != (0.0, 0.0) or tuple(points[-1]) != (1.0, 1.0):
        return False
    rises = all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points))
    slopes = [slope for _, slope in cut_pieces(points)] if rises else []
    return rises and all(a <= b + 1e-9 for a, b in pairwise(slopes))
