"""A child process: back at once after a good life, backed off in a crash loop, replaced when it hangs."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from ems.app.child import Child, ChildSpec
from tests.app.rig import is_alive, kill, until

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


def test_a_killed_child_is_back_at_once(children: list[Child]):
    child = started(children, ChildSpec("x", FOREVER, good_life_s=0.0))
    first = child.pid
    killed = time.perf_counter()
    kill(first)
    until(lambda: (child.look(), child.pid not in {None, first})[1], 2, "a new child")
    assert time.perf_counter() - killed < 1.0 and is_alive(child.pid) and not is_alive(first)


def test_a_child_that_keeps_crashing_is_started_less_and_less_often(children: list[Child]):
    child = started(children, ChildSpec("x", CRASHES, most_pause_s=0.6))
    began, seen = time.perf_counter(), []
    for count in range(2, 6):
        until(lambda count=count: (child.look(), child.starts == count)[1], 5, f"start {count}")
        seen.append(time.perf_counter() - began)
    gaps = [after - before for before, after in pairwise(seen)]
    assert gaps[0] >= 0.45 and gaps[1] >= 0.55  # 0.25, then 0.5, then at most 0.6 s after each death
    assert max(gaps) < 1.5


def test_a_child_that_stops_beating_is_replaced(children: list[Child]):
    child = started(children, ChildSpec("x", BEATS_ONCE, beat_within_s=0.3, first_beat_within_s=20.0, good_life_s=0.0))
    first = child.pid
    until(lambda: (child.look(), child.pid not in {None, first})[1], 5, "a replacement")
    assert not is_alive(first)


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
    until(lambda: not is_alive(pid), 5, "the child ends with its supervisor")
