"""Who may write is a port: the fence of one host can be replaced by a lease that two hosts share."""

from __future__ import annotations

import shutil
from unittest import mock

from tests.campaign import world as world_module
from tests.campaign.world import Setting, World


class SharedLease:
    """Stands for a lease in a store that two hosts can see."""

    epoch = 7
    is_stalled = False

    def __init__(self) -> None:
        self.is_ours, self.fed = True, 0

    def feed(self) -> None:
        self.fed += 1

    def may_write(self) -> bool:
        return self.is_ours


def test_with_another_authority_the_loop_writes_under_its_epoch_and_stops_with_the_first_no():
    lease = SharedLease()
    with mock.patch.object(world_module, "Fence", lambda *a, **k: lease):
        world = World(Setting(3, 1000.0, demand_scale=1.6))
        try:
            world.run(60)
            assert {w.writer for w in world.bus.writes} == {7} and lease.fed > 50
            lease.is_ours, before = False, len(world.bus.writes)
            world.run(30)
            assert len(world.bus.writes) == before
        finally:
            world.close()
            shutil.rmtree(world.folder, ignore_errors=True)
