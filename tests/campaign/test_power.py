"""Two thousand power cuts: nothing acknowledged is lost, and the chain is whole."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ems.errors import DataError
from ems.journal import file
from ems.journal.journal import Journal
from ems.journal.read import verify_journal
from tests.campaign.power import Recorder, cuts, put_down
from tests.campaign.world import EPOCH, RAM

CUTS = 2000


class Direct(Journal):
    """The journal without its thread: a commit is made when it is asked for."""

    def _begin(self) -> Any:
        return None

    def commit(self) -> None:
        self._asked_at = 0.0
        self._turn()


def recorded(path: Path, synchronous: str | None = None, commits: int = 60) -> Recorder:
    """A journal's life as its disk sees it, checkpoints included; with its own `synchronous` unless another is given."""
    rng = random.Random("bodies")
    with Recorder() as recorder:
        journal = Direct(path, lambda: 0.0)
        journal._db.execute("pragma wal_autocheckpoint = 15")
        if synchronous is not None:
            journal._db.execute(f"pragma synchronous = {synchronous}")
        for k in range(commits):
            for n in range(1 + k % 3):
                journal.append(("cycle", "memory")[n % 2], EPOCH, {"k": k, "rows": [rng.random() for _ in range(rng.randrange(40))]})
            journal.commit()
            assert journal.durable == journal._given
            recorder.acknowledge(journal.durable)
        journal._db.close()
    return recorder


def lost(recorder: Recorder, count: int, folder: Path) -> tuple[int, int]:
    """How many of `count` cuts lost acknowledged entries, and how many left a broken chain."""
    lost_cuts = broken = 0
    for number, (acknowledged, files) in enumerate(cuts(recorder.ops, count, random.Random("cuts"))):
        place = folder / "cut"
        place.mkdir()
        put_down(files, place)
        found, why = _found(place)
        lost_cuts += found < acknowledged
        broken += why is not None and acknowledged > 0
        if number % 50 == 0 and acknowledged:  # and life goes on after it
            journal = Direct(place / file.FILE_NAME, lambda: 0.0)
            journal.append("start", EPOCH, {"again": True})
            journal.commit()
            journal._db.close()
            assert verify_journal(place) is None and journal.durable == found + 1
        shutil.rmtree(place)
    return lost_cuts, broken


def _found(place: Path) -> tuple[int, str | None]:
    try:
        why = verify_journal(place)
        db = sqlite3.connect(place / file.FILE_NAME)
        try:
            return file.head(db)[0], why
        finally:
            db.close()
    except (DataError, sqlite3.Error) as error:
        return 0, str(error)


@pytest.fixture
def ram(tmp_path: Path) -> Path:
    """A folder that costs no disk."""
    place = RAM / f"power-{tmp_path.name}-{tmp_path.parent.name}" if RAM.is_dir() else tmp_path / "ram"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def test_two_thousand_power_cuts_lose_nothing_that_was_acknowledged_and_leave_the_chain_whole(ram: Path):
    recorder = recorded(ram / file.FILE_NAME)
    assert {"write", "sync", "ack"} <= {op.kind for op in recorder.ops}
    assert lost(recorder, CUTS, ram) == (0, 0)
    shutil.rmtree(ram)


def test_the_cuts_find_a_journal_that_does_not_wait_for_the_disk(ram: Path):
    """With `synchronous = normal` the same cuts do lose acknowledged entries: the test can fail."""
    lost_cuts, broken = lost(recorded(ram / file.FILE_NAME, "normal"), 100, ram)
    assert lost_cuts > 25 and broken == 0
    shutil.rmtree(ram)
