"""A store charges or discharges. Where prices are negative the linear program may do both at once to burn energy: no device does that.

The plan is solved again with the direction of those steps fixed by their net power; rare, so no binaries are carried for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.block import ColdStore
from ems.assets.workload.block import SlowedWork
from ems.plan.blocks import StoreBlock

Array = NDArray[np.float64]
OVERLAP_KW = 0.01  # below this it is rounding
ROUNDS = 3  # single steps are closed this often before whole horizons are


def fix_directions(stores: Mapping[str, StoreBlock | ColdStore], value: Callable[[cp.Variable], Array], everywhere: bool = False) -> int:
    """Closes the weaker direction of every store in every step in which it charges and discharges at once; returns how many there were.

    `everywhere` closes it in all steps of such a store, so that another solve cannot move the overlap to other steps. The limits it lowers
    are set anew by the blocks' next update.
    """
    closed = 0
    for block in stores.values():
        charge_kw, discharge_kw = value(block.charge_kw), value(block.discharge_kw)
        both = np.minimum(charge_kw, discharge_kw) > OVERLAP_KW
        if both.any():
            stays = charge_kw >= discharge_kw
            where = both | everywhere
            _close(block.max_discharge_kw, where & stays)
            _close(block.max_charge_kw, where & ~stays)
            closed += int(both.sum())
    return closed


def fix_order(works: Iterable[SlowedWork], value: Callable[[cp.Variable], Array], everywhere: bool = False) -> int:
    """Closes the later parts of a cut in every step in which an earlier one has room left: losing work never pays. Returns how many.

    `everywhere` closes them in all steps with such room, so that another solve cannot move the disorder to other steps.
    """
    closed = 0
    for work in works:
        for k in range(1, len(work.part_kw)):
            has_room = value(work.part_kw[k - 1]) < np.asarray(work.most_kw[k - 1].value) - OVERLAP_KW
            wrong = has_room & (value(work.part_kw[k]) > OVERLAP_KW)
            if wrong.any():
                for later in work.most_kw[k:]:
                    _close(later, has_room if everywhere else wrong)
                closed += int(wrong.sum())
    return closed


def overlaps(stores: Mapping[str, StoreBlock | ColdStore], value: Callable[[cp.Variable], Array]) -> list[str]:
    """The stores that charge and discharge at once in some step."""
    return [name for name, b in stores.items() if (np.minimum(value(b.charge_kw), value(b.discharge_kw)) > OVERLAP_KW).any()]


def _close(limit_kw: cp.Parameter, steps: NDArray[np.bool_]) -> None:
    limit_kw.value = np.where(steps, 0.0, np.asarray(limit_kw.value, float))
