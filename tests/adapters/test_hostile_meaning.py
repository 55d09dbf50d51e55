"""Whatever stands in a dispatch of an aggregator or an event of OpenADR 2.0b, it is a meaning or a reason, and never anything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.aggregator.meaning import meaning_of as aggregator_meaning
from adapters.openadr2.meaning import meaning_of as openadr2_meaning
from ems.program.channel import ChannelFile
from ems.program.event import fault_of, unreadable

NOW = datetime(2027, 7, 15, 12, tzinfo=UTC)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["", "x", "P1D", "2027-07-15T12:00:00Z"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["site_id", "a"]), inner, max_size=2), max_leaves=5
)
DISPATCH: dict[str, Any] = {
    "id": "d1",
    "modification_number": 0,
    "program": "standard",
    "sites": [{"site_id": "site", "commitment_kw": 100}],
    "start_time": "2027-07-15T13:00:00Z",
    "end_time": "2027-07-15T14:00:00Z",
}
AGGREGATOR = ChannelFile.model_validate(
    {"id": "agg", "profile": "aggregator", "url": "https://a.example", "programs": {"standard": "nonfirm-connection"}}
)
UTILITY = AGGREGATOR.model_copy(
    update={"id": "util", "programs": {"http://context": "nonfirm-connection"}, "simple_levels_kw": [1.0, 2.0, 3.0]}
)


@given(st.dictionaries(st.sampled_from(sorted(DISPATCH)), JSON, max_size=3))
def test_any_dispatch(broken: dict[str, Any]):
    found = aggregator_meaning({**DISPATCH, **broken}, "", AGGREGATOR)
    assert found.problem or (found.event is not None and not unreadable(found.event))


@given(JSON)
def test_anything_at_all_as_a_dispatch(raw: Any):
    assert aggregator_meaning(raw, "", AGGREGATOR).problem


def event(value: Any = 1, **changed: Any) -> dict[str, Any]:
    interval = {"duration": timedelta(hours=1), "signal_payload": value}
    return {
        "event_descriptor": {"event_id": "e1", "modification_number": 0, "market_context": "http://context", "priority": 1},
        "active_period": {"dtstart": NOW, "duration": timedelta(hours=1)},
        "event_signals": [{"signal_name": "SIMPLE", "signal_type": "level", "intervals": [interval]}],
        **changed,
    }


@given(
    SCALARS, st.dictionaries(st.sampled_from(["event_descriptor", "active_period", "event_signals", "response_required"]), JSON, max_size=2)
)
def test_any_event(value: Any, broken: dict[str, Any]):
    for raw in (event(value), event(1, **broken)):
        found = openadr2_meaning(raw, "", UTILITY, NOW, "r")
        assert found.problem or found.event is None or found.event.is_cancelled or not unreadable(found.event)


def test_the_plain_ones_are_meant():
    assert fault_of(aggregator_meaning(DISPATCH, "", AGGREGATOR).event, NOW) == ""  # type: ignore[arg-type]
    assert fault_of(openadr2_meaning(event(), "", UTILITY, NOW, "r").event, NOW) == ""  # type: ignore[arg-type]
