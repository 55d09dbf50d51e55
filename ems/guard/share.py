"""Sharing a scarce total among consumers: everybody's floor first, then wants, then the rest by what each could still take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def share_total(total: float, floor: Mapping[str, float], want: Mapping[str, float], ceiling: Mapping[str, float]) -> dict[str, float]:
    """Splits `total` so that the shares sum to it (or to the floors, or to the ceilings, where it lies outside them).

    Between floor and want everybody gets the same fraction of what is wanted; what is left over goes out in proportion to the distance to
    each ceiling.
    """
    wanted = {k: min(max(want[k], floor[k]), ceiling[k]) for k in floor}
    floors, wants, ceilings = sum(floor.values()), sum(wanted.values()), sum(ceiling.values())
    if total <= wants:
        part = _fraction(total - floors, wants - floors)
        return {k: floor[k] + part * (wanted[k] - floor[k]) for k in floor}
    part = _fraction(total - wants, ceilings - wants)
    return {k: wanted[k] + part * (ceiling[k] - wanted[k]) for k in floor}


def _fraction(amount: float, whole: float) -> float:
    return min(1.0, max(0.0, amount / whole)) if whole > 0 else 0.0


def fit(
    out: dict[str, float],
    inside: Sequence[str],
    room_kw: float,
    floor: Mapping[str, float],
    want_kw: Mapping[str, float],
    drawn_kw: Mapping[str, float],
) -> None:
    """Lowers the ceilings `out`, in kW, of the clusters `inside` to the room they have together. Everybody gets a share of it; what one
    draws, or may draw, above its own (`drawn_kw`) the others do not get."""
    out.update(_lowered(out, inside, room_kw, floor, want_kw))
    above_kw = {c: drawn_kw[c] for c in inside if drawn_kw.get(c, 0.0) > out[c]}
    others = [c for c in inside if c not in above_kw]
    out.update(_lowered(out, others, room_kw - sum(above_kw.values()), floor, want_kw))


def _lowered(
    out: Mapping[str, float], inside: Sequence[str], room_kw: float, floor: Mapping[str, float], want_kw: Mapping[str, float]
) -> dict[str, float]:
    ceiling = {c: out[c] for c in inside}
    if sum(ceiling.values()) <= room_kw:
        return ceiling
    return share_total(room_kw, {c: floor[c] for c in inside}, {c: want_kw[c] for c in inside}, ceiling)
