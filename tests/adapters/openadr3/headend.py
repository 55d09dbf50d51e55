"""A simulated head-end on a free port, the independent client as its business side, and our VEN against it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from openadr3 import OpenADRClient

from adapters.openadr3.times import written
from adapters.openadr3.ven import Ven
from ems.program.channel import ChannelFile
from simulators.openadr3.serve import BUSINESS, SITE, AppServer
from simulators.openadr3.vtn import Vtn

NOW = datetime(2027, 7, 15, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class HeadEnd:
    """The server, its business side and its clock."""

    vtn: Vtn
    server: AppServer
    business: OpenADRClient
    time: list[datetime] = field(default_factory=lambda: [NOW])

    @property
    def now(self) -> datetime:
        return self.time[0]

    def wait(self, length: timedelta) -> datetime:
        self.time[0] += length
        return self.time[0]

    def program(self, name: str = "Flex", **more: Any) -> str:
        answer = self.business.create_program({"programName": name, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def event(self, program: str, kind: str, values: list[Any], **more: Any) -> dict[str, Any]:
        answer = self.business.create_event(event_body(program, kind, values, **more))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def channel(self, folder: Path, **more: Any) -> ChannelFile:
        (folder / "secret").write_text(SITE.secret + "\n")
        given = {"id": "dso", "profile": "openadr-3.1", "url": self.server.url, "programs": {"Flex": "nonfirm-connection"}}
        return ChannelFile.model_validate({**given, "client_id": SITE.id, "secret_file": "secret", **more})

    def ven(self, folder: Path, **more: Any) -> Ven:
        return Ven(self.channel(folder, **more), folder / "channels.yaml")


def event_body(
    program: str, kind: str, values: list[Any], start: datetime | str = NOW + HOUR, length: str = "PT1H", **more: Any
) -> dict[str, Any]:
    """An event with one interval per value, one after the other."""
    period = {"start": start if isinstance(start, str) else written(start), "duration": length}
    intervals = [{"id": n, "payloads": [{"type": kind, "values": [v]}]} for n, v in enumerate(values)]
    return {"programID": program, "intervalPeriod": period, "intervals": intervals, **more}


@contextmanager
def head_end(profile: str = "3.1", **tls: Any) -> Iterator[HeadEnd]:
    time = [NOW]
    vtn = Vtn([BUSINESS, SITE], lambda: time[0], profile)
    with AppServer(vtn.app, **tls) as server:
        business = OpenADRClient(server.url)
        business._http.timeout = 60.0  # this machine may be busy
        business.fetch_token(BUSINESS.id, BUSINESS.secret)
        try:
            yield HeadEnd(vtn, server, business, time)
        finally:
            business.close()
