"""Several stores answer together: none fills another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from ems.dispatch.advice import Wish
from ems.dispatch.arbiter import _discharge
from ems.guard.guard import Verdict

STORE = st.tuples(st.floats(-500, 500), st.floats(-500, 0))  # wish and the lowest allowed
EXPORT_KW = 1e6  # as good as no limit on the sum


@given(st.lists(STORE, min_size=1, max_size=5), st.floats(0, 2000))
def test_nobody_discharges_more_while_another_still_charges(stores: list[tuple[float, float]], over_kw: float) -> None:
    wishes = {f"b{k}": Wish(max(kw, low_kw), "plan") for k, (kw, low_kw) in enumerate(stores)}
    verdict = cast(
        Verdict,
        SimpleNamespace(
            storage={f"b{k}": SimpleNamespace(low_kw=low_kw) for k, (_, low_kw) in enumerate(stores)},
            deepest_storage_kw=-EXPORT_KW,
            feeds=[],
        ),
    )
    given_, left_kw = _discharge(verdict, wishes, over_kw, "hold the billing mean")
    taken_kw = sum(wishes[k].kw - given_[k].kw for k in wishes)
    most_kw = sum(wishes[k].kw - verdict.storage[k].low_kw for k in wishes)
    assert abs(taken_kw - min(over_kw, most_kw)) < 1e-6
    assert abs(left_kw - (over_kw - taken_kw)) < 1e-6
    if any(given_[k].kw < min(0.0, wishes[k].kw) - 1e-9 for k in wishes):
        assert all(w.kw <= 1e-9 for w in given_.values())
