"""MQTT notifications of a head-end are hints: the line looks at once. Without a broker, a token or the library the poll goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.openadr3.mqtt import broker_of, topics_in, user_of
from adapters.openadr3.ven import Ven
from ems.errors import DataError
from ems.office.lines import Line
from ems.program.channel import ChannelFile
from simulators.openadr3.broker import Broker
from simulators.openadr3.serve import SITE
from tests.adapters.openadr3.headend import HeadEnd, head_end
from tests.office.test_channels import Standing

PATIENCE_S = 30.0  # of a busy machine; nothing here takes as long


@pytest.fixture
def grid() -> Iterator[HeadEnd]:
    with head_end() as made:
        made.vtn.broker = Broker(lambda user, password: user == SITE.id and password in made.vtn._tokens)
        yield made
        made.vtn.broker.close()


class Listening:
    """A VEN that follows the broker, and what it was told."""

    def __init__(self, grid: HeadEnd, folder: Path, **more: Any) -> None:
        self.hinted = threading.Event()
        self.ven: Ven = grid.ven(folder, mqtt=True, **more)
        self.ven.listen(self.hinted.set)
        self.look = self.ven.look(grid.now, ())

    def wait_for_hint(self) -> bool:
        """True once a hint has come since the last one."""
        came = self.hinted.wait(PATIENCE_S)
        self.hinted.clear()
        return came


@pytest.fixture
def listening(grid: HeadEnd, tmp_path: Path) -> Iterator[Listening]:
    made = Listening(grid, tmp_path)
    yield made
    made.ven.close()


def until(is_true: Callable[[], bool]) -> None:
    """Waits for another thread."""
    tick = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if is_true():
            return
        tick.wait(0.01)
    raise AssertionError("it did not happen")


def test_a_notification_makes_the_line_look_and_what_it_says_is_asked_for(grid: HeadEnd, listening: Listening):
    assert listening.look.trouble == "" and listening.look.remarks == ()
    assert listening.wait_for_hint()  # connected: what was missed is looked for
    until(lambda: len(grid.vtn.broker.subscribed) == 3)
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [800.0])
    assert listening.wait_for_hint()
    (heard,) = listening.ven.look(grid.now, ()).heard
    assert heard.limits[0].kw == 800.0
    grid.vtn.broker.publish("openadr3/events/create", b"\xff not even text")
    assert listening.wait_for_hint() and listening.ven.look(grid.now, ()).heard == (heard,)


def test_a_broker_that_restarts_is_followed_again_with_the_newest_token(grid: HeadEnd, listening: Listening):
    assert listening.wait_for_hint()
    until(lambda: bool(grid.vtn.broker.subscribed))
    grid.vtn.revoke_tokens()
    listening.ven.look(grid.now, ())  # a new token
    grid.vtn.broker.drop_all()
    assert listening.wait_for_hint()
    users, tokens = zip(*grid.vtn.broker.seen, strict=True)
    assert set(users) == {SITE.id} and len(set(tokens)) == 2


def test_a_head_end_without_a_broker_is_a_remark_and_the_poll_goes_on(grid: HeadEnd, tmp_path: Path):
    grid.vtn.broker.close()
    grid.vtn.broker = None
    made = Listening(grid, tmp_path)
    assert made.look.trouble == "" and made.look.remarks == ("dso: no MQTT: the head-end names no broker or no topics; polling goes on",)
    made.ven.close()
    with_broker = Broker()
    grid.vtn.broker = with_broker  # the fixture closes it


def test_without_the_library_the_poll_goes_on(grid: HeadEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    made = Listening(grid, tmp_path)
    assert made.look.trouble == "" and "needs the extra `mqtt`" in made.look.remarks[0]
    made.ven.close()


@pytest.mark.parametrize(
    "notifier",
    [
        None,
        [],
        {},
        {"URIS": "mqtts://x"},
        {"URIS": []},
        {"URIS": ["mqtt://far.example"]},
        {"URIS": ["http://x", "mqtts://", "mqtts://x:port"]},
    ],
)
def test_an_address_that_is_none_or_not_safe_is_not_followed(notifier: Any):
    with pytest.raises(DataError, match="no broker with mqtts"):
        broker_of(notifier)


def test_addresses_users_and_topics_are_read():
    assert broker_of({"URIS": ["mqtt://far.example", "mqtts://broker.example"]}) == ("broker.example", 8883, True)
    assert broker_of({"URIS": ["mqtt://127.0.0.1:1234"]}) == ("127.0.0.1", 1234, False)
    channel = ChannelFile.model_validate(
        {"id": "dso", "profile": "openadr-3.1", "url": "https://x", "programs": {"a": "b"}, "client_id": "me", "secret_file": "s"}
    )
    assert user_of({"authentication": {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}}, channel) == "me"
    assert user_of({"authentication": {"method": "ANONYMOUS"}}, channel) is None
    with pytest.raises(DataError, match="asks for BASIC"):
        user_of({"authentication": {"method": "BASIC"}}, channel)
    assert topics_in({"topics": {"CREATE": "a/b", "UPDATE": "a/b", "DELETE": "#", "ALL": "a/+", "X": 7}}) == ["a/b"]
    assert topics_in([]) == topics_in({"topics": None}) == []


def test_a_hint_makes_the_line_of_a_running_office_look_before_its_time(grid: HeadEnd, tmp_path: Path):
    ven = grid.ven(tmp_path, mqtt=True)
    line = Line(ven.channel, ven, Standing(grid))  # type: ignore[arg-type]
    line.step()
    until(lambda: len(grid.vtn.broker.subscribed) == 3 and line._hint.is_set())
    line.step()  # the look that the connection asked for
    looks = len(grid.vtn.requests)
    line.step()
    assert len(grid.vtn.requests) == looks  # not due for a minute
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [800.0])
    until(line._hint.is_set)
    line.step()
    assert len(line.brought[-1].heard) == 1
    ven.close()
