"""Faults that a published table shows as a whole and no single value does: stamps without a zone, edges half filled, shares unknown, seams.

Each answers with the alarms of `ems.forecast.validators`, the window in seconds of the table's own stamps (NaN where it has none).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ems.forecast.protocol import Bools, Floats
from ems.forecast.validators import Alarm

LEAST_KNOWN = 0.5  # of what a total counts; below it a total scaled up from the known part says little
RATIO_TOLERANCE = 0.2  # two published figures of the same thing may differ by this


def zone_alarms(is_naive: bool, count: int) -> list[Alarm]:
    """`no zone`: stamps of wall time with no zone stated; somebody has to say which before they become instants."""
    return [Alarm("no zone", math.nan, math.nan, count, "wall time, zone not stated")] if is_naive else []


def edge_alarms(first_event_s: float, last_event_s: float, step_s: float, least: float = 0.99) -> list[Alarm]:
    """`partial`: the first and last bin of counts made from events that begin or end within them."""
    begun = 1.0 - (first_event_s % step_s) / step_s
    ended = (last_event_s % step_s) / step_s
    edges = [(math.floor(at / step_s) * step_s, share) for at, share in ((first_event_s, begun), (last_event_s, ended)) if share < least]
    return [Alarm("partial", at, at + step_s, 1, f"{100 * share:.0f} % of the bin was recorded") for at, share in edges]


def share_alarms(stamps_s: Floats, known_share: Floats, least: float = LEAST_KNOWN) -> list[Alarm]:
    """`partly known`: windows in which less than `least` of the total is known; a missing share counts as nothing known."""
    return _alarm("partly known", stamps_s, ~(known_share >= least), f"down to {_least(known_share):.2f} of the total")


def seam_alarms(stamps_s: Floats, source: Sequence[object]) -> list[Alarm]:
    """`spliced`: the first value of every part taken from another source (another year, another station) than the one before."""
    seam = np.array([False, *(a != b for a, b in pairwise(source))])
    return _alarm("spliced", stamps_s, seam[: len(source)], "the value before comes from another source")


def ratio_alarms(given: Floats, computed: Floats, tolerance: float = RATIO_TOLERANCE) -> list[Alarm]:
    """`inconsistent`: published figures that their own parts contradict, a zero among them."""
    ok = np.isfinite(given) & np.isfinite(computed) & (computed > 0)
    ratio = np.where(ok, given / np.where(ok, computed, 1.0), 1.0)
    wrong = np.abs(ratio - 1.0) > tolerance
    detail = f"{ratio[wrong].min():.2g} to {ratio[wrong].max():.2g} of what follows from their parts" if wrong.any() else ""
    return _alarm("inconsistent", np.full(len(given), np.nan), wrong, detail)


def _alarm(name: str, stamps_s: Floats, where: Bools, detail: str) -> list[Alarm]:
    at = np.flatnonzero(where)
    return [Alarm(name, float(stamps_s[at[0]]), float(stamps_s[at[-1]]), len(at), detail)] if len(at) else []


def _least(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else 0.0
