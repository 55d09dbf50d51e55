"""A person enters an event at the command line: the same desk, the same trail, limits in the mailbox of the running site."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ems.app.cli import app
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.clock import Clock
from ems.control.news import decode_obligation
from ems.history import schema
from ems.history.engine import open_engine
from ems.history.tables import site_minute
from ems.history.write import put
from ems.mailbox import Mailbox
from ems.messages import Mode
from ems.office.programs import Programs
from ems.program.states import State
from ems.program.store import EventStore, broken_at
from ems.resources import bundled
from ems.signals.events import known_obligations
from ems.site.load import load_site

SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
BY = ["--by", "Ada Byron", "--why", "called by the utility"]


@pytest.fixture
def state(tmp_path) -> StateDir:
    """A state directory as a run leaves it, with a mailbox, no daemon."""
    found = StateDir(tmp_path / "run")
    found.path.mkdir()
    RunFile(SITE, {}, Mode.CONTROL, "demo", 8080, found.history_url).save(found.site)
    Clock.starting_at(Clock.real().epoch, 1.0).save(found.clock)
    Mailbox(found.mailbox).close()
    schema.upgrade(found.history_url)
    return found


def ems(state: StateDir, *words: str) -> Result:
    return CliRunner().invoke(app, ["events", *words, "--state-dir", str(state.path)])


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def add(state: StateDir, *more: str, begins_min: float = 30, lasts_min: float = 60, kw: str = "900", kind: str = "import_limit") -> Result:
    start = shared_clock(state).now() + timedelta(minutes=begins_min)
    span = ["--start", stamp(start), "--end", stamp(start + timedelta(minutes=lasts_min))]
    return ems(state, "add", "--kind", kind, "--kw", kw, "--id", "phone-1", *span, *BY, *more)


def limits(state: StateDir, now: datetime) -> dict[str, float]:
    sent = [decode_obligation(m.body) for m in Mailbox(state.mailbox).since("event", 0)]
    return {o.id: o.kw for o in known_obligations(sent, now)}


def programs_of(state: StateDir) -> Programs:
    return Programs(SITE, state.path, Mailbox(state.mailbox), open_engine(state.history_url))


def test_an_event_entered_by_a_person_reaches_control_and_planner_with_the_name(state):
    result = add(state)
    assert result.exit_code == 0, result.exception
    assert "taken" in result.output and "limits sent to control and planner" in result.output
    now = shared_clock(state).now()
    assert limits(state, now)["phone-1/hold-0"] == 900.0
    trail = EventStore(state.path / "programs.db").since()
    assert broken_at(trail) is None
    assert trail[0].body["source"] == "manual entry by Ada Byron" and json.loads(trail[0].body["raw"])["why"] == "called by the utility"
    assert "prepositioning" in ems(state, "list").output
    shown = ems(state, "show", "phone-1").output
    assert "manual entry by Ada Byron" in shown and "limit hold-0" in shown


def test_a_cancel_by_phone_withdraws_every_limit(state):
    add(state)
    assert add(state, "--modification", "1", "--cancel").exit_code == 0
    assert limits(state, shared_clock(state).now()) == {}
    assert "cancelled" in ems(state, "list").output


def test_a_cancel_of_an_event_nobody_knows_is_an_error_and_leaves_no_trace(state):
    add(state)
    result = add(state, "--id", "phone-l", "--modification", "1", "--cancel")
    assert result.exit_code != 0 and "no event phone-l, perhaps `phone-1`" in str(result.exception)
    assert set(programs_of(state).desk().events) == {"phone-1"}
    assert limits(state, shared_clock(state).now())["phone-1/hold-0"] == 900.0


def test_the_office_goes_on_with_what_a_person_entered_and_the_person_with_what_the_office_did(state):
    programs = programs_of(state)
    programs.desk()
    add(state, begins_min=2)
    now = shared_clock(state).now()
    programs.tick(now + timedelta(minutes=5))
    assert programs.desk().events["phone-1"].state is State.HOLDING
    assert "abort" in ems(state, "opt", "phone-1", "abort", *BY).output
    programs.tick(now + timedelta(minutes=6))
    assert programs.desk().events["phone-1"].state is State.RECOVERING


def test_what_was_sent_is_not_sent_again_until_it_changes(state):
    add(state)
    programs, now = programs_of(state), shared_clock(state).now()
    assert programs.tick(now) > 0  # a new process sends once what stands
    assert programs.tick(now + timedelta(seconds=5)) == 0


def test_a_site_without_programmes_and_events_opens_nothing(state):
    assert programs_of(state).tick(shared_clock(state).now()) == 0
    assert not (state.path / "programs.db").exists()


def test_a_metered_event_is_proven_by_its_bundle(state, tmp_path):
    now = shared_clock(state).now().replace(second=0, microsecond=0)
    start = now - timedelta(minutes=40)
    rows = [{"start": start + timedelta(minutes=n), "poc_kw": 1100.0 if n < 50 or n >= 80 else 850.0} for n in range(240)]
    engine = open_engine(state.history_url)
    with engine.begin() as connection:
        put(connection, site_minute, rows)
    event_start = start + timedelta(minutes=50)
    span = ["--start", stamp(event_start), "--end", stamp(event_start + timedelta(minutes=30))]
    assert ems(state, "add", "--kind", "reduce_by", "--kw", "250", "--id", "e-1", *span, *BY).exit_code == 0
    programs = programs_of(state)
    for minute in range(0, 160):
        programs.tick(now + timedelta(minutes=minute))
    status = programs.desk().events["e-1"]
    assert status.state is State.SETTLED_ESTIMATE and status.result is not None
    assert status.result["settlement"]["delivered_kwh"] == pytest.approx(125.0)
    bundle = tmp_path / "e-1.zip"
    written = ems(state, "evidence", "e-1", "--out", str(bundle))
    assert "meter.json" in written.output, written.exception
    assert "hashes and chain and baseline and settlement agree" in CliRunner().invoke(app, ["events", "recompute", str(bundle)]).output


def test_a_bundle_without_a_measurement_does_not_claim_one(state, tmp_path):
    assert add(state).exit_code == 0
    bundle = tmp_path / "open.zip"
    event = next(iter(programs_of(state).desk().events))
    assert ems(state, "evidence", event, "--out", str(bundle)).exit_code == 0
    said = CliRunner().invoke(app, ["events", "recompute", str(bundle)]).output
    assert "chain agree" in said and "settlement" not in said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--program", "free-money"], "no programme"),
        (["--kind", "please"], "expected import_limit, reduce_by, reduce_to"),
        (["--kw", "nan"], "finite"),
        (["--kw", "-5"], "rejected"),
        (["--start", "2026-07-15T16:00:00"], "offset"),
        (["--id", "a/b"], "--id"),
        (["--by", " "], "a name and a reason"),
    ],
)
def test_senseless_words_are_one_clear_line(state, more, says):
    result = add(state, *more)
    assert result.exit_code != 0 and says in str(result.exception)
    assert limits(state, shared_clock(state).now()) == {}


def test_an_unknown_event_is_told_with_those_there_are(state):
    add(state)
    assert "perhaps `phone-1`" in str(ems(state, "show", "phone-2").exception)


def test_enrolments_that_are_wrong_are_told_with_their_place(state):
    (state.path / "enrolments.yaml").write_text("enrolments:\n  - {program: pge-bib, status: active, since: 2026-01-01}\n")
    error = ems(state, "list").exception
    expected = "a programme known or in config/programs beside this, perhaps `pge-bip`"
    assert f"enrolments.yaml:2:6 enrolments[0].program = pge-bib: expected {expected}" in str(error)


def test_a_site_may_enrol_in_a_programme_of_its_own(state):
    """The file lies in config/programs of the state directory, or of a folder above it."""
    own = state.path / "config" / "programs"
    own.mkdir(parents=True)
    shipped = (bundled("config/programs") / "pge-bip.yaml").read_text()
    (own / "our-bip.yaml").write_text(shipped.replace("name: pge-bip", "name: our-bip"))
    (state.path / "enrolments.yaml").write_text("enrolments:\n  - {program: our-bip, status: active, since: 2026-01-01, level_kw: 900}\n")
    desk = programs_of(state).desk()
    assert desk.programs["our-bip"].name == "our-bip" and set(desk.enrolments) == {"our-bip"}


def test_the_file_of_a_programme_is_read_only_when_it_is_needed(state):
    assert set(programs_of(state).desk().programs) == {"manual"}
    assert Path(bundled("config/programs")).is_dir()
