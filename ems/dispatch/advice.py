"""Advice to the arbiter: what somebody would like, with a reason. Never a command."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wish:
    """A power in kW and why."""

    kw: float
    reason: str
    is_ordered: bool = False  # by a person: above the plan, below the limits


@dataclass(frozen=True, slots=True)
class SupplyWish:
    """A supply temperature in degrees C and why."""

    temp_c: float
    reason: str


@dataclass(frozen=True)
class Advice:
    """Wishes of one adviser (plan, rules, limits only).

    `storage` is battery power per store, charging positive. `limits` are ceilings per cluster and class, recovery included; a class that is
    absent is free. `goal_kw` is the mean import the running billing interval may reach at most, None when nobody cares; between
    `free_goal_kw`, which costs nothing more, and the goal it goes only as high as planned for now (`planned_kw`): a peak once set stays.
    `relieve` tells that discharge is only meant to hold the goal and may shrink when the load is lower than foreseen.
    """

    name: str
    storage: dict[str, Wish]
    limits: dict[str, dict[str, Wish]] = field(default_factory=dict)
    generation: dict[str, Wish] = field(default_factory=dict)  # per generator and renewable, generating negative; absent: by its duty
    supply: dict[str, SupplyWish] = field(default_factory=dict)  # per plant whose supply may be led; absent: as commissioned
    goal_kw: float | None = None
    work_goal_kw: float | None = None  # the mean for which work is cut, where it may be higher than the goal; None: the goal
    free_goal_kw: float = 0.0
    planned_kw: float = 0.0
    relieve: bool = False
    spend_storage_at_limit: bool = False  # storage may serve work that would be cut at the import limit
    only_shaves: bool = False  # no work is cut to hold the goal, and what is discharged lowers the import instead of widening the caps
    deepest_kw: dict[str, float] = field(default_factory=dict)  # per store: the lowest power (discharging negative) spent to hold the goal
