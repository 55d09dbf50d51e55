"""The site's end of an aggregator's REST interface: GET dispatches (the truth), a webhook that brings one at once, POST telemetry.

Telemetry is stamped with the END of its interval, as aggregators want it; ours are labelled by their start.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.aggregator.meaning import meaning_of
from adapters.head_end import HeadEndClient, problem_in
from adapters.openadr3.times import written
from ems.errors import DataError
from ems.program.channel import ChannelFile
from ems.program.heard import Look, Telemetry


class Aggregator:
    """One aggregator as this site sees it. Used by one thread, but for `read_call`."""

    def __init__(self, channel: ChannelFile, path: Path) -> None:
        self.channel = channel
        self._client = HeadEndClient(channel, path)

    def look(self, now: datetime, expected: Collection[str]) -> Look:
        """Every dispatch of this site. One that is no longer listed is not cancelled by that: cancelling is said (`authorized`)."""
        try:
            found = self._client.ask("GET", "dispatches", now, params=[("site_id", self.channel.resource)])
            rows = found.data.get("dispatches") if isinstance(found.data, dict) else None
            if found.status != 200 or not isinstance(rows, list):
                raise DataError(f"{self.channel.id}: dispatches: {problem_in(found)}")
        except DataError as error:
            return Look(now, trouble=str(error))
        heard = tuple(meaning_of(raw, json.dumps(raw, sort_keys=True), self.channel) for raw in rows)
        return Look(now, heard, telemetry=Telemetry(self.channel.telemetry_s, self.channel.telemetry_s))

    def read_call(self, body: bytes, now: datetime) -> Look:
        """A webhook: one dispatch, perhaps for the second time, perhaps late. Its number says which version it is."""
        text = body.decode("utf-8", "replace")
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            raw = None
        return Look(now, (meaning_of(raw, text, self.channel),), is_full=False)

    def send(self, items: Collection[tuple[str, Mapping[str, Any]]], now: datetime) -> tuple[tuple[tuple[str, str], ...], str]:
        """Hands in telemetry, oldest first; stops at the first that is not taken, so that the order stays."""
        taken: list[tuple[str, str]] = []
        for key, item in sorted(items):
            body = {"site_id": self.channel.resource, "readings": [reading(row) for row in item["rows"]]}
            try:
                answer = self._client.ask("POST", "telemetry", now, body=body)
            except DataError as error:
                return tuple(taken), str(error)
            if answer.status not in (200, 201, 202, 204):
                return tuple(taken), f"{self.channel.id}: telemetry: {problem_in(answer)}"
            taken.append((key, json.dumps(body, sort_keys=True)))
        return tuple(taken), ""

    def close(self) -> None:
        """Drops the connections."""
        self._client.close()


def reading(row: tuple[datetime, float, float, str]) -> dict[str, Any]:
    """A mean with the stamp of its end."""
    start, seconds, kw, quality = row
    return {"timestamp": written(start + timedelta(seconds=seconds)), "interval_s": seconds, "load_kw": round(kw, 3), "quality": quality}
