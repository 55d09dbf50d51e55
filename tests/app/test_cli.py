"""The command line: a problem is a line on stderr with the promised exit status, never a traceback."""

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ems.app import cli
from ems.app.ordering import duration, give_order
from ems.app.ports import PortRow
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, hold_lock
from ems.app.wrong_usage import WrongUsage
from ems.clock import Clock
from ems.errors import EmsError
from ems.journal.journal import Journal
from ems.mailbox import Mailbox
from ems.messages import Mode, OrderKind
from ems.resources import bundled
from ems.site.load import load_site
from tests.app.rig import PATIENT_S, until

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
DEMO_SITE = bundled("config/sites/demo-2mw.yaml")


def ems(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of a command, run here."""
    monkeypatch.setattr(sys, "argv", ["ems", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def run_ems(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EMS_STATE_DIR", raising=False)
    monkeypatch.delenv("EMS_DB_URL", raising=False)
    return lambda *words: ems(capsys, monkeypatch, *words)


COMMANDS = (
    "demo",
    "run",
    "simulate",
    "status",
    "why",
    "stop",
    "hold",
    "release",
    "mode",
    "override",
    "replay",
    "check",
    "verify-journal",
    "commission",
)
GROUPED = ("db upgrade", "db downgrade", "db current", "db check", "devices list", "devices probe", "devices self-test")


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPED])
def test_every_promised_command_has_help(run_ems, command: str):
    status, out, _ = run_ems(*command.split(), "--help")
    assert status == 0 and "Usage:" in out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["status"], 1, "no site runs here"),
        (["why", "bess-1"], 1, "no site runs here"),
        (["why", "bess-1", "--at", "noon"], 1, "no site runs here"),
        (["hold", "bess-1", "--by", "A", "--why", "test"], 1, "no site runs here"),
        (["hold", "bess-1", "--by", "A"], 2, "--why"),
        (["hold", "bess-1", "--by", " ", "--why", "x"], 2, "expected a name and a reason"),
        (["mode", "bess-1", "fly", "--by", "A", "--why", "x"], 2, "expected observe, advise or control"),
        (["override", "bess-1", "--kw", "nan", "--for", "1h", "--by", "A", "--why", "x"], 2, "finite"),
        (["override", "bess-1", "--kw", "10", "--for", "soon", "--by", "A", "--why", "x"], 2, "90s, 15m or 1h30m"),
        (["override", "bess-1", "--kw", "1e308", "--for", "1h", "--by", "A", "--why", "x"], 2, "finite"),
        (["override", "bess-1", "--kw", "1", "--for", "999999999999h", "--by", "A", "--why", "x"], 2, "at most 7 days"),
        (["hold", "bess-1", "--by", "A\nB", "--why", "x"], 2, "one line each"),
        (["hold", "bess-1", "--by", "A", "--why", "\x1b[31mred"], 2, "one line each"),
        (["hold", "bess-1", "--by", "A", "--why", "x" * 201], 2, "one line each"),
        (["run", str(DEMO_SITE), "--speed", "0"], 2, "--speed"),
        (["replay", "generated-day", "--out", "o", "--seeds", "-5"], 2, "--seeds -5: expected whole numbers from 0"),
        (["db", "current", "--db", "postgresql://u:p@h:no-port/x"], 1, "expected a database URL"),
        (["run", "nowhere.yaml"], 2, "nowhere.yaml: no such file"),
        (["run", "no-such-site"], 2, "no-such-site"),
        (["run", str(DEMO_SITE), "--mode", "fast"], 2, "expected observe, advise or control"),
        (["replay"], 2, "SCENARIO.yaml and --out"),
        (["replay", "x.yaml", "--out", "o", "--policy", "best"], 2, "--policy best: expected some of"),
        (["replay", "--from-journal", "nowhere"], 1, "there is no journal"),
        (["verify-journal", "nowhere"], 1, "there is no journal"),
        (["check", "nowhere.yaml"], 2, "no such file"),
        (["db", "current", "--db", "sqlite:////nowhere/at/all.db"], 1, "nowhere"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_a_wrong_command_is_one_clear_line(run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, status: int, says: str):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_ems(*words)
    assert code == status and says in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["run", "demo-2nw"], "demo-2mw"),
        (["replay", "generated-dya", "--out", "o"], "generated-day"),
        (["replay", "generated-day", "--out", "o", "--policy", "caped"], "capped"),
        (["mode", "bess-1", "obserb", "--by", "A", "--why", "x"], "observe"),
        (["events", "add", "--kind", "reduceby", "--kw", "1", "--start", "s", "--end", "e", "--by", "A", "--why", "x"], "reduce_by"),
        (["check", "generic-coling"], "generic-cooling"),
    ],
)
def test_a_mistyped_word_is_told_with_the_near_one(run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], near: str):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_ems(*words)
    assert status == 2 and err.endswith(f", perhaps `{near}`\n") and len(err.splitlines()) == 1


def test_a_mistyped_asset_of_an_order_is_told_with_the_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = StateDir(tmp_path)
    RunFile(load_site(DEMO_SITE), {}, Mode.CONTROL, "demo", 0, state.history_url).save(state.site)
    Clock.starting_at(NOON, 1.0).save(state.clock)
    mailbox, post = Mailbox(state.mailbox), Mailbox.post

    def refused(self: Mailbox, topic: str, body: dict[str, object], now: datetime, until: datetime) -> int | None:
        sequence = post(self, topic, body, now, until)
        post(self, "order_ack", {"sequence": sequence, "is_done": False, "text": "no asset bess-l"}, now, until)
        return sequence

    monkeypatch.setattr(Mailbox, "post", refused)
    with pytest.raises(EmsError, match="no asset bess-l, perhaps `bess-1`"):
        give_order(state, OrderKind.HOLD, "bess-l", "Ada", "a look")
    mailbox.close()


def test_check_gives_every_error_of_a_site_with_its_place(run_ems, tmp_path: Path):
    broken = tmp_path / "site.yaml"
    broken.write_text(DEMO_SITE.read_text().replace("power_kw: 500", "power_kw: -500").replace("soc_min: 0.05", "soc_minn: 0.05"))
    status, _, err = run_ems("check", str(broken))
    lines = err.splitlines()
    assert status == 2 and len(lines) >= 2
    assert all(line.startswith(f"{broken}:") and "expected" in line for line in lines)


@pytest.mark.parametrize("text", ["a: [1, 2", "just words", "", "\t- x", "a: 1\na: 2", "\x00\x01"])
def test_check_survives_what_is_no_file_of_ours(run_ems, tmp_path: Path, text: str):
    path = tmp_path / "thing.yaml"
    path.write_text(text)
    status, _, err = run_ems("check", str(path))
    assert status == 2 and str(path) in err and "Traceback" not in err


def test_check_accepts_every_shipped_site_device_tariff_and_generated_scenario(run_ems):
    files = [*bundled("config/sites").glob("*.yaml"), *bundled("config/devices").glob("*.yaml"), *bundled("config/tariffs").glob("*.yaml")]
    files += bundled("config/scenarios").glob("generated-*.yaml")
    status, out, err = run_ems("check", *map(str, files))
    assert (status, err) == (0, "") and all(line.startswith("note: ") for line in out.splitlines())


@pytest.mark.parametrize("page", ["sunspec-der-battery", "janitza-umg-96pa"])
def test_a_page_for_another_kind_of_device_is_refused_with_its_place(run_ems, tmp_path: Path, page: str):
    site = tmp_path / "site.yaml"
    site.write_text(DEMO_SITE.read_text().replace(page, "generic-it-cluster"))
    for words in (("check", str(site)), ("run", str(site), "--state-dir", str(tmp_path / "state"))):
        status, _, err = run_ems(*words)
        assert status == 2 and "page = generic-it-cluster: expected a page for a" in err and err.startswith(f"{site}:")
    assert not (tmp_path / "state").exists()


def test_a_broken_site_stops_the_daemon_before_it_starts(run_ems, tmp_path: Path):
    broken = tmp_path / "site.yaml"
    broken.write_text("name: x\n")
    status, _, err = run_ems("run", str(broken), "--state-dir", str(tmp_path / "state"))
    assert status == 2 and f"{broken}:" in err
    assert not (tmp_path / "state").exists()


def test_real_equipment_is_never_started_in_control_nor_on_an_assumed_page(run_ems, tmp_path: Path):
    real = tmp_path / "site.yaml"
    monitored = DEMO_SITE.read_text().replace("127.0.0.1", "192.0.2.7")
    real.write_text(monitored)
    status, _, err = run_ems("run", str(real), "--state-dir", str(tmp_path / "state"))
    assert status == 2 and "evidence = assumed" in err and "not loopback" in err
    assert not (tmp_path / "state").exists()


def test_a_second_instance_on_the_same_state_directory_is_refused(run_ems, tmp_path: Path):
    held = hold_lock(StateDir(tmp_path), "run")
    status, _, err = run_ems("run", str(DEMO_SITE), "--state-dir", str(tmp_path))
    assert status == 1 and "another instance runs on this state directory" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "site.json").exists()
    assert held


@pytest.mark.parametrize("place", ["/proc/ems-state", "/dev/null/state", "/sys/kernel"])
def test_a_state_directory_that_cannot_be_written_is_one_clear_line(run_ems, place: str):
    status, _, err = run_ems("run", str(DEMO_SITE), "--state-dir", place)
    assert status == 1 and f"{place}: the state directory cannot be written" in err and len(err.splitlines()) == 1


def test_the_schema_goes_up_and_down_from_the_command_line(run_ems, tmp_path: Path):
    database = ["--db", f"sqlite:///{tmp_path / 'history.sqlite'}"]
    assert run_ems("db", "check", *database)[0] == 1
    assert run_ems("db", "upgrade", *database)[0] == 0
    assert run_ems("db", "check", *database) == (0, "the schema is at the newest revision\n", "")
    assert run_ems("db", "downgrade", "base", *database)[0] == 0
    assert run_ems("db", "current", *database)[1] == "no schema\n"
    assert run_ems("db", "upgrade", *database)[0] == 0
    assert run_ems("db", "downgrade", "-1", *database)[0] == 0
    assert run_ems("db", "check", *database)[0] == 1


def test_simulated_equipment_on_taken_ports_and_wrong_faults_are_clear_lines(run_ems, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, err = run_ems("simulate", "demo-2mw", "--loopback", str(taken.getsockname()[1]))
    assert status == 1 and "poc: 127.0.0.1" in err
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults:\n  - {at: 1, device: bess-9, fault: silent, for_s: 3}\n")
    status, _, err = run_ems("simulate", "demo-2mw", "--faults", str(faults))
    assert status == 2 and f"{faults}:2" in err and "bess-1" in err


def test_a_busy_dashboard_port_stops_the_demo_with_one_line(run_ems):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = run_ems("demo", "--port", str(port))
    assert (status, err.splitlines()) == (1, [f"ems: port {port} of 127.0.0.1 is in use; --port names another"])


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_busy_dashboard_port_stops_the_first_start_of_a_site_and_no_later_one(
    run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran_before: bool
):
    started: list[bool] = []
    monkeypatch.setattr("ems.app.supervisor.Supervisor.run", lambda _: started.append(True))
    if ran_before:
        RunFile(load_site(DEMO_SITE), {}, Mode.CONTROL, "demo", 0, StateDir(tmp_path).history_url).save(StateDir(tmp_path).site)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = run_ems("run", str(DEMO_SITE), "--state-dir", str(tmp_path), "--port", str(port))
    assert started == [True] * ran_before
    if not ran_before:
        assert (status, err.splitlines()) == (1, [f"ems: port {port} of 127.0.0.1 is in use; --port names another"])
        assert not StateDir(tmp_path).site.exists()


def test_a_simulated_site_is_not_commissioned_into_a_record_nobody_reads(run_ems, tmp_path: Path):
    state = tmp_path / "state"
    words = ["commission", str(DEMO_SITE), "--by", "Ada Byron", "--why", "a look", "--state-dir", str(state)]
    status, _, err = run_ems(*words)
    assert status == 1 and "demo-2mw is simulated" in err and len(err.splitlines()) == 1
    assert not state.exists()


def test_verify_journal_prints_the_first_break(run_ems, tmp_path: Path):
    journal = Journal(StateDir(tmp_path).journal, lambda: 0.0)
    for n in range(3):
        journal.append("cycle", NOON + timedelta(seconds=n), {"n": n})
    journal.close()
    assert run_ems("verify-journal", str(tmp_path))[0] == 0
    import sqlite3

    db = sqlite3.connect(StateDir(tmp_path).journal)
    db.execute("update entry set at_us = 0 where sequence = 2")
    db.commit()
    db.close()
    status, _, err = run_ems("verify-journal", str(tmp_path))
    assert status == 1 and "entry 2 was changed" in err


@pytest.mark.parametrize("newer", ["journal", "memory"])
def test_a_state_directory_of_a_newer_version_is_refused_in_one_line_and_left_alone(run_ems, tmp_path: Path, newer: str):
    journal = Journal(StateDir(tmp_path).journal, lambda: 0.0)
    journal.append("memory", NOON, {"site": "demo-2mw", "format": 99 if newer == "memory" else 1})
    journal.close()
    import sqlite3

    if newer == "journal":
        db = sqlite3.connect(StateDir(tmp_path).journal)
        db.execute("pragma user_version = 99")
        db.close()
    before = StateDir(tmp_path).journal.read_bytes()
    status, _, err = run_ems("run", str(DEMO_SITE), "--state-dir", str(tmp_path))
    assert status == 1 and "written by a newer version" in err and len(err.splitlines()) == 1
    assert StateDir(tmp_path).journal.read_bytes() == before and not (tmp_path / "site.json").exists()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--by", "Ada"], 2, "--device ID together"),
        (["--device", "bess-1"], 2, "--device ID together"),
        ([], 0, "dry run: nothing was written"),
    ],
)
def test_a_self_test_needs_a_name_and_a_device_and_is_dry_without(run_ems, tmp_path: Path, words: list[str], status: int, says: str):
    found, out, err = run_ems("devices", "self-test", str(DEMO_SITE), "--state-dir", str(tmp_path), *words)
    assert found == status and says in out + err


def test_an_order_nobody_answers_says_so_and_fails(run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = StateDir(tmp_path)
    state.site.write_text("{}")
    Clock.starting_at(NOON, 1.0).save(state.clock)
    monkeypatch.setattr("ems.app.ordering.ANSWER_WITHIN_S", 0.2)
    status, _, err = run_ems("stop", "all", "--by", "A. Tester", "--why", "test", "--state-dir", str(tmp_path))
    assert status == 1 and "no answer within" in err
    (order,) = Mailbox(state.mailbox).since("order", 0)
    assert (order.body["kind"], order.body["by"], order.body["why"]) == ("stop", "A. Tester", "test")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2min", 120), ("0.5h", 1800)])
def test_a_duration_is_read_as_written(text: str, seconds: float):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "1x", "h", "-5m", "0s", "1h banana"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(WrongUsage, match="expected a duration"):
        duration(text)


@pytest.mark.parametrize("text", [None, "", "{", "{}", "[]", '{"epoch": "noon", "epoch_monotonic_s": 0, "speed": 1}'])
def test_a_lost_or_broken_clock_is_one_clear_line(run_ems, tmp_path: Path, text: str | None):
    state = StateDir(tmp_path)
    state.site.write_text("{}")
    if text is not None:
        state.clock.write_text(text)
    for words in (["status"], ["stop", "all", "--by", "A", "--why", "x"]):
        status, _, err = run_ems(*words, "--state-dir", str(tmp_path))
        assert status == 1 and "not the clock of a run" in err and err.count("\n") == 1


def test_a_demo_leaves_a_running_daemons_state_directory_alone(run_ems, tmp_path: Path):
    state = StateDir(tmp_path)
    state.site.write_text("theirs")
    held = hold_lock(state, "run")
    row = PortRow()  # nobody else takes the port meanwhile
    try:
        status, _, err = run_ems("demo", "--state-dir", str(tmp_path), "--seconds", "1", "--port", str(row.base))
    finally:
        os.close(held)
        row.let_go()
    assert status == 1 and "another instance runs" in err
    assert state.site.read_text() == "theirs" and not state.clock.exists()


def test_a_defect_of_ours_is_one_line_too(run_ems, monkeypatch: pytest.MonkeyPatch):
    def broken(file: str) -> list[str]:
        raise IndexError(file)

    monkeypatch.setattr("ems.app.checking.complaints_of", broken)
    monkeypatch.delenv("EMS_TRACEBACK", raising=False)
    status, _, err = run_ems("check", "x.yaml")
    assert status == 1 and err == "ems: a defect of this program: IndexError: x.yaml; EMS_TRACEBACK=1 shows where\n"
    monkeypatch.setenv("EMS_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["ems", "check", "x.yaml"])
    with pytest.raises(IndexError):
        cli.main()


def test_a_result_folder_that_cannot_be_replaced_is_one_line(run_ems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("ems.replay.command.run_replay", full)
    status, _, err = run_ems("replay", "generated-day", "--out", str(tmp_path))
    signal.signal(signal.SIGTERM, before)
    assert status == 1 and "cannot be written (No space left on device)" in err


def test_sigterm_ends_a_replay_and_all_its_processes(tmp_path: Path):
    started = [sys.executable, "-m", "ems.app.cli", "replay", "generated-day", "--policy", "capped,plan", "--jobs", "2"]
    replay = subprocess.Popen([*started, "--out", str(tmp_path)], stderr=subprocess.PIPE, start_new_session=True)
    try:
        until(lambda: len(list(tmp_path.glob(".*.part"))) == 2, 2 * PATIENT_S, "both workers write")
        replay.terminate()
        _, rest = replay.communicate(timeout=120)  # ends only when the workers, which hold this pipe too, have ended
    finally:
        try:
            os.killpg(replay.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert replay.returncode == 130 and b"Traceback" not in rest
    assert not list(tmp_path.glob(".*.part"))


def test_looking_and_ordering_load_no_solver_frame_or_web_framework():
    script = "import sys; from ems.app import cli, show, ordering\nprint(*sys.modules)"  # what `ems status` and `ems hold` need
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in ("cvxpy", "scipy", "pandas", "sqlalchemy", "fastapi", "pydantic") if name in loaded] == []
