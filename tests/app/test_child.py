"""A child process: back at once after a good life, backed off in a crash loop, replaced when it hangs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ems.app.child import Child, ChildSpec
from tests.app.rig import PATIENT_S, is_alive, kill, until

FOREVER = ("-c", "import sys; sys.stdin.read()")
CRASHES = ("-c", "raise SystemExit(3)")
BEATS_ONCE = ("-c", "import os, sys; os.write(int(os.environ['EMS_BEAT_FD']), b'.'); sys.stdin.read()")


@pytest.fixture
def children():
    made: list[Child] = []
    yield made
    for child in made:
        child.kill()


def started(children: list[Child], spec: ChildSpec) -> Child:
    child = Child(spec, None)
    children.append(child)
    child.look()
    return child


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the supervisor's clock shows, turned by hand: how long the machine takes for a process counts for nothing."""
    shown = [100.0]
    monkeypatch.setattr("ems.app.child.time", SimpleNamespace(monotonic=lambda: shown[0]))
    return shown


def test_a_killed_child_is_back_at_once(children: list[Child], wall: list[float]):
    child = started(children, ChildSpec("x", FOREVER, good_life_s=0.0))
    first = child.pid
    kill(first)
    until(child.has_ended, PATIENT_S, "the child is dead")
    child.look()  # sees it
    child.look()
    assert child.pid not in {None, first} and is_alive(child.pid) and not is_alive(first)


def test_a_child_that_keeps_crashing_is_started_less_and_less_often(children: list[Child], wall: list[float]):
    child, pauses_s = started(children, ChildSpec("x", CRASHES, most_pause_s=0.6)), []
    for count in range(2, 6):
        until(child.has_ended, PATIENT_S, "the child has crashed")
        child.look()
        died_s = wall[0]
        while child.starts < count:
            wall[0] += 0.01
            child.look()
        pauses_s.append(wall[0] - died_s)
    assert pauses_s == pytest.approx([0.25, 0.5, 0.6, 0.6], abs=0.011)


def test_a_child_that_stops_beating_is_replaced(children: list[Child], wall: list[float]):
    child = started(children, ChildSpec("x", BEATS_ONCE, beat_within_s=5.0, first_beat_within_s=20.0, good_life_s=0.0))
    first = child.pid
    until(lambda: (child.look(), child._has_beaten)[1], PATIENT_S, "its beat")
    wall[0] += 4.9
    child.look()
    assert child.pid == first
    wall[0] += 0.2
    child.look()
    assert not is_alive(first)
    child.look()
    assert child.pid not in {None, first}


def test_a_child_of_a_dead_supervisor_reads_the_end_of_its_input(tmp_path: Path):
    import subprocess
    import sys

    script = (
        "import time; from ems.app.child import *\n"
        f"c = Child(ChildSpec('x', {FOREVER!r}), None); c.look(); print(c.pid, flush=True); time.sleep(60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    until(lambda: not is_alive(pid), PATIENT_S, "the child ends with its supervisor")
