"""The stream of events: every cycle, every new plan, and a beat when there is nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from tests.office.conftest import PATIENT_S, Served


async def test_a_program_hears_the_newest_cycle_the_plan_and_then_each_new_one(office: Served):
    async with Listener(office) as stream:
        first = await stream.until("snapshot")
        plan = await stream.until("plan")
        office.running.cycle()
        second = await stream.until("snapshot")
    assert first["at"] < second["at"]
    assert len(plan["import_kw"]) == 192


async def test_a_new_plan_is_sent_once(office: Served):
    async with Listener(office) as stream:
        await stream.until("plan")
        office.running.plan(peak_kw=1111.0)
        assert (await stream.until("plan"))["peak_kw"] == 1111.0
        office.running.cycle()
        await stream.until("snapshot")
        assert stream.heard.count("plan") == 2


async def test_a_page_also_gets_trail_points_and_rendered_panels(office: Served):
    async with Listener(office, "?view=page") as stream:
        trail = await stream.until("trail")
        point = await stream.until("point")
        plan = await stream.until("plan")
        panels = await stream.until("panels")
    assert trail[-1] == point
    assert len(plan["t"]) == len(plan["price"]) == 193
    assert [s["id"] for s in plan["stores"]] == ["bess-1", "ups-1"]
    assert "kW" in panels["now"] and "hall-b" in panels["assets"]


async def test_a_beat_tells_the_age_while_control_is_silent(office: Served):
    async with Listener(office) as stream:
        first = await stream.until("beat")
        office.running.loop.now += timedelta(seconds=3)
        second = await stream.until("beat")
    assert second["snapshot_age_s"] == first["snapshot_age_s"] + 3.0


async def test_a_client_that_comes_back_is_not_told_the_same_cycle_again_and_nonsense_does_no_harm(office: Served):
    async with Listener(office, last_id=str(office.service.live.sequence)) as stream:
        await stream.until("beat")
        assert "snapshot" not in stream.heard
    for nonsense in ("-7", "x" * 5000, "99999999999999999999", "٣"[:0] or "1.5"):
        async with Listener(office, last_id=nonsense) as stream:
            await stream.until("snapshot")


async def test_at_most_four_cycles_a_second_are_sent(office: Served):
    began = time.perf_counter()
    async with Listener(office) as stream:
        await stream.until("snapshot")
        for _ in range(40):
            office.running.cycle()
            await asyncio.sleep(0.01)
        await stream.until("beat")
        await stream.until("beat")
    assert 2 <= stream.heard.count("snapshot") <= 1 + 4.0 * (time.perf_counter() - began)


async def test_streams_are_bounded(office: Served):
    office.service.feed.open = 40
    assert (await office.client.get("/events")).status_code == 503


async def test_an_open_stream_does_not_keep_the_office_from_ending(office: Served):
    async with Listener(office) as stream:
        await stream.until("beat")
        await asyncio.wait_for(office.service.stop(), PATIENT_S)
        async for _ in stream.events:
            pass


class Listener:
    """One client of the stream."""

    def __init__(self, office: Served, query: str = "", last_id: str | None = None) -> None:
        headers = {"last-event-id": last_id} if last_id is not None else {}
        self._request = office.client.stream("GET", f"/events{query}", headers=headers)
        self.heard: list[str] = []

    async def __aenter__(self) -> Listener:
        response = await self._request.__aenter__()
        assert response.headers["content-type"].startswith("text/event-stream")
        self.events = self._parsed(response.aiter_lines())
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._request.__aexit__(*error)

    async def until(self, name: str) -> Any:
        """The body of the next event of that name."""
        async with asyncio.timeout(PATIENT_S):
            async for heard, body in self.events:
                if heard == name:
                    return body
        raise AssertionError(f"the stream ended before {name}")

    async def _parsed(self, lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Any]]:
        name = ""
        async for line in lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                self.heard.append(name)
                yield name, json.loads(line.removeprefix("data: "))
