"""Who may write: the newest epoch, with a recent cycle, and nobody else."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from adapters.modbus.link import Link, NotInCharge
from ems.app.fence import STALL_S, Fence
from ems.errors import EmsError
from tests.adapters.fake_device import Request, fake_device, honest


class Wall:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_every_process_that_takes_over_has_a_higher_epoch_and_only_the_newest_may_write(tmp_path: Path):
    wall = Wall()
    fences = [Fence(tmp_path / "control.epoch", wall) for _ in range(3)]
    assert [f.epoch for f in fences] == [1, 2, 3]
    assert [f.may_write() for f in fences] == [False, False, True]


def test_a_process_without_a_recent_cycle_may_not_write_until_one_is_complete(tmp_path: Path):
    wall = Wall()
    fence = Fence(tmp_path / "control.epoch", wall)
    wall.s += STALL_S + 0.1
    assert fence.is_stalled and not fence.may_write()
    fence.feed()
    assert not fence.is_stalled and fence.may_write()


def test_slow_cycles_are_no_stall(tmp_path: Path):
    wall = Wall()
    fence = Fence(tmp_path / "control.epoch", wall, period_s=5.0)
    wall.s += 6.0
    assert fence.may_write()


@pytest.mark.parametrize("left", [None, b"", b"many"])
def test_an_epoch_that_cannot_be_read_lets_nobody_write(tmp_path: Path, left: bytes | None):
    path = tmp_path / "control.epoch"
    fence = Fence(path, Wall())
    path.unlink() if left is None else path.write_bytes(left)
    assert not fence.may_write()


def test_an_epoch_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(EmsError, match="epoch cannot be written"):
        Fence(tmp_path / "absent" / "control.epoch", Wall())


async def test_the_link_asks_before_the_frame_goes_out_and_sends_nothing_when_told_no():
    seen: list[Any] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        await honest(request, writer)

    async with fake_device(script) as port:
        link = Link("127.0.0.1", port, random.Random(3), deadline_s=20.0, connect_s=20.0)
        link.may_write = lambda: False
        with pytest.raises(NotInCharge):
            await link.write(1, 10, [1, 2])
        assert await link.read(1, "holding", 10, 1)
        assert len(seen) == 1
        link.close()
