"""Published baselines as parameters of one frame (`baseline.py`). What stands here is the shape; programmes may change single values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ems.errors import DataError
from ems.nearest import near_miss

Form = Literal["like_days", "near_event", "constant", "nominated"]
Pick = Literal["all", "highest", "middle", "closest"]


@dataclass(frozen=True)
class BaselineMethod:
    """Candidate days -> like days -> pick -> mean per interval -> same-day adjustment. Pairs hold (weekdays, other days).

    `like`: which kinds of day count as alike; each word is one group. Hours of windows count back from the event's start (or on from its
    end); a window is `[from, to)`.
    """

    id: str
    form: Form = "like_days"
    interval_min: int = 60
    lookback_days: int = 45
    like: tuple[tuple[str, ...], ...] = (("weekday",), ("saturday", "sunday", "holiday"))
    target_days: tuple[int, int] = (10, 4)
    minimum_days: tuple[int, int] = (5, 4)
    fills_with_event_days: bool = False
    low_usage_share: float | None = None  # days under this share of the mean are left out
    pick: Pick = "all"
    keep_days: tuple[int, int] = (10, 4)
    adjustment: Literal["none", "ratio", "additive"] = "none"
    adjust_from_h: float = 4.0
    adjust_to_h: float = 1.0
    adjust_cap: tuple[float, float] | None = None  # of a ratio
    before_h: tuple[float, float] = (0.0, 0.0)  # near_event: hours before the start
    after_h: tuple[float, float] = (0.0, 0.0)  # near_event: hours after the end
    output_only: bool = False  # a storage meter: charging counts as zero output
    loss_factor: float = 1.0  # meter -> settlement point
    constant_kw: float | None = None  # the enrolment's number for `constant`


THREE_GROUPS = (("weekday",), ("saturday",), ("sunday", "holiday"))
METHODS: Mapping[str, BaselineMethod] = {
    m.id: m
    for m in (
        BaselineMethod("caiso_10in10", fills_with_event_days=True, adjustment="ratio", adjust_cap=(0.8, 1.2)),
        BaselineMethod(
            "pjm_4of5",
            like=THREE_GROUPS,
            target_days=(5, 3),
            minimum_days=(5, 3),
            low_usage_share=0.25,
            pick="highest",
            keep_days=(4, 2),
            adjustment="additive",
        ),
        BaselineMethod("pjm_same_day_3p2", form="near_event", before_h=(4.0, 1.0), after_h=(1.0, 3.0)),
        BaselineMethod("pjm_match_day_3", target_days=(45, 45), minimum_days=(3, 3), pick="closest", keep_days=(3, 3)),
        BaselineMethod(
            "nyiso_5of10",
            like=THREE_GROUPS,
            target_days=(10, 3),
            minimum_days=(5, 2),
            low_usage_share=0.25,
            pick="highest",
            keep_days=(5, 2),
            adjustment="ratio",
            adjust_to_h=2.0,
            adjust_cap=(0.8, 1.2),
        ),
        BaselineMethod("ercot_mid8of10", minimum_days=(10, 4), pick="middle", keep_days=(8, 2), adjustment="ratio", adjust_to_h=2.0),
        BaselineMethod("gb_p376_bl01", interval_min=30, lookback_days=60, pick="middle", keep_days=(8, 2), adjustment="additive"),
        BaselineMethod("mbma", form="near_event", interval_min=5, before_h=(0.25, 0.0)),
        BaselineMethod("fsl", form="constant", interval_min=15),
        BaselineMethod("max_base_load", form="constant", interval_min=15),
        BaselineMethod("nominated", form="nominated", interval_min=30),
        BaselineMethod("meter_output", interval_min=15, output_only=True),
    )
}


def method_of(name: str, changes: Mapping[str, Any] | None = None) -> BaselineMethod:
    """A published method with a programme's own values laid over it. DataError names what does not exist."""
    if name not in METHODS:
        raise DataError(f"baseline: no method {name}{near_miss(name, METHODS)}")
    known = {f.name for f in fields(BaselineMethod)} - {"id", "form"}
    unknown = sorted(set(changes or {}) - known)
    if unknown:
        raise DataError(f"baseline: {name} has no {unknown[0]}{near_miss(unknown[0], known)}")
    values = {k: _frozen(v) for k, v in (changes or {}).items()}
    try:
        return checked(replace(METHODS[name], **values))
    except (TypeError, ValueError) as error:
        raise DataError(f"baseline: {name}: {error}") from None


def checked(method: BaselineMethod) -> BaselineMethod:
    """The method; ValueError where its numbers contradict each other."""
    if method.interval_min not in (1, 5, 15, 30, 60):
        raise ValueError(f"interval_min = {method.interval_min}: expected 1, 5, 15, 30 or 60")
    for target, keep, least in zip(method.target_days, method.keep_days, method.minimum_days, strict=True):
        if keep < 1 or not 1 <= least <= target <= method.lookback_days:
            raise ValueError(f"days = {keep} of {target}, at least {least}: expected no more than the lookback of {method.lookback_days}")
    if method.adjustment != "none" and method.adjust_from_h <= method.adjust_to_h:
        raise ValueError("adjust_from_h: expected earlier (more hours before the start) than adjust_to_h")
    return method


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
