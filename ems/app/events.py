"""`ems events ...`: grid events of the running site, entered, looked at, decided and proven by a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems.app.options import ByOption, StateOption, WhyOption, show, words

if TYPE_CHECKING:
    from decimal import Decimal

    from ems.office.programs import Programs
    from ems.program.desk import Desk
    from ems.program.event import GridEvent
    from ems.program.evidence import Evidence
    from ems.program.status import EventStatus

events_app = typer.Typer(help="Grid events of the running site.", no_args_is_help=True)
EventArgument = Annotated[str, typer.Argument(help="The id of an event.", show_default=False)]
InstantHelp = "An instant with its offset, as 2026-07-15T16:00:00Z."


@events_app.command("list")
def events_list(state_dir: StateOption = None) -> None:
    """Every event known, with where it stands."""
    with opened(state_dir) as (_, desk, _now):
        show(list_lines(list(desk.events.values())))


@events_app.command("show")
def events_show(event: EventArgument, state_dir: StateOption = None) -> None:
    """One event: what was asked, what was decided and why, what the site was told to hold."""
    with opened(state_dir) as (_, desk, _now):
        show(show_lines(desk, known(desk, event)))


@events_app.command("add")
def events_add(
    kind: Annotated[str, typer.Option("--kind", help="import_limit, reduce_by or reduce_to.", show_default=False)],
    kw: Annotated[float, typer.Option("--kw", help="kW at the point of connection.", show_default=False)],
    start: Annotated[str, typer.Option("--start", help=InstantHelp, show_default=False)],
    end: Annotated[str, typer.Option("--end", help=InstantHelp, show_default=False)],
    by: ByOption,
    why: WhyOption,
    program: Annotated[str, typer.Option("--program", help="The programme it belongs to.")] = "manual",
    event_id: Annotated[str | None, typer.Option("--id", help="Its id; default from programme and start.", show_default=False)] = None,
    modification: Annotated[int, typer.Option("--modification", min=0, help="Higher for a newer version of a known event.")] = 0,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancels the known event of that id.")] = False,
    state_dir: StateOption = None,
) -> None:
    """Enters an event that came by phone, letter or mail. It goes the way of every other event, with your name."""
    by, why = words(by, why)
    written = {"kind": kind, "kw": kw, "start": start, "end": end, "program": program, "id": event_id, "modification": modification}
    event = entered({**written, "cancel": cancel})
    raw = json.dumps({**written, "cancel": cancel, "by": by, "why": why}, sort_keys=True)
    with opened(state_dir) as (programs, desk, now):
        show(add_lines(programs, desk, event, raw, by, now))


@events_app.command("opt")
def events_opt(
    event: EventArgument,
    opt: Annotated[str, typer.Argument(help="in, out or abort.", show_default=False)],
    by: ByOption,
    why: WhyOption,
    state_dir: StateOption = None,
) -> None:
    """Decides in place of the machine: a person's decision always wins."""
    by, why = words(by, why)
    with opened(state_dir) as (programs, desk, now):
        answer = desk.override(known(desk, event).event.id, opt, by, why, now)
        programs.send(desk, now)
        show([answer])


@events_app.command("settle")
def events_settle(
    event: EventArgument,
    amount: Annotated[str, typer.Option("--amount", help="What the counterparty's statement says.", show_default=False)],
    by: ByOption,
    why: WhyOption,
    state_dir: StateOption = None,
) -> None:
    """Enters the counterparty's statement and shows how far it lies from the estimate."""
    by, why = words(by, why)
    with opened(state_dir) as (_, desk, now):
        show([desk.statement(known(desk, event).event.id, money(amount), f"{by}: {why}", now)])


@events_app.command("evidence")
def events_evidence(
    event: EventArgument,
    out: Annotated[Path | None, typer.Option("--out", help="The bundle; default EVENT.zip here.", show_default=False)] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Of a connection: from when; default as its limits say.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Of a connection: until when; default as its limits say, or now.", show_default=False)
    ] = None,
    state_dir: StateOption = None,
) -> None:
    """Writes one bundle: raw messages, decisions, setpoints, meter data, baseline with its days and reasons, hashes and chain.

    Of a capacity limit, or of a whole connection by the id of its channel: what was told, what held when, and what the meter says.
    """
    from ems.app.limit_evidence import limit_bundle
    from ems.program.evidence import write_bundle

    with opened(state_dir) as (programs, desk, now):
        path = out or Path(f"{''.join(c if c.isalnum() or c in '-_.' else '-' for c in event)}.zip")
        hashes = limit_bundle(programs, desk, event, start, end, now, path) if event not in desk.events else None
        if hashes is None:
            hashes = write_bundle(collected(programs, desk, known(desk, event), now), path)
        show([f"{path}: {len(hashes)} files", *(f"  {digest[:16]}  {name}" for name, digest in sorted(hashes.items()))])


@events_app.command("recompute")
def events_recompute(bundle: Annotated[Path, typer.Argument(help="A bundle of `ems events evidence`.", show_default=False)]) -> None:
    """Reckons baseline and settlement again from the bundle alone; exit 1 where anything disagrees."""
    from ems.errors import DataError
    from ems.program.evidence import recompute

    faults = recompute(bundle)
    if faults:
        raise DataError(f"{bundle}: {'; '.join(faults)}")
    show([f"{bundle}: {' and '.join(parts_of(bundle))} agree"])


def parts_of(bundle: Path) -> list[str]:
    """What a bundle holds to be checked: an event that is not measured yet has no baseline and no settlement."""
    from zipfile import ZipFile

    with ZipFile(bundle) as held:
        names = set(held.namelist())
    return ["hashes", "chain", *(part for part in ("baseline", "settlement", "limits") if f"{part}.json" in names)]


@contextmanager
def opened(state_dir: Path | None) -> Iterator[tuple[Programs, Desk, datetime]]:
    """The desk of the running site, beside the daemon's, and the site's time."""
    from ems.app.runfile import RunFile
    from ems.app.statedir import is_stopped, running_state_dir, shared_clock
    from ems.history.engine import open_engine
    from ems.mailbox import Mailbox
    from ems.office.programs import Programs

    state = running_state_dir(state_dir)
    run_file, mailbox = RunFile.load(state.site), Mailbox(state.mailbox, busy_ms=3000)
    if is_stopped(state):
        typer.echo(f"note: nothing runs on {state.path}: nothing acts on this until it runs again", err=True)
    engine = open_engine(run_file.db_url)
    programs = Programs(run_file.site, state.path, mailbox, engine)
    try:
        yield programs, programs.desk(), shared_clock(state).now()
    finally:
        programs.close()
        engine.dispose()
        mailbox.close()


def known(desk: Desk, event: str) -> EventStatus:
    """The event of that id; DataError with near names otherwise."""
    from ems.errors import DataError
    from ems.nearest import near_miss

    if event not in desk.events:
        raise DataError(f"no event {event}{near_miss(event, desk.events)}")
    return desk.events[event]


def money(text: str) -> Decimal:
    """An amount; WrongUsage on anything else."""
    from decimal import Decimal, InvalidOperation

    from ems.app.wrong_usage import WrongUsage

    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise WrongUsage(f"--amount {text}: expected a sum such as 1234.56") from None
    if not amount.is_finite():
        raise WrongUsage(f"--amount {text}: expected a sum such as 1234.56")
    return amount


def entered(written: dict[str, Any]) -> GridEvent:
    """The event a person means; WrongUsage where the words mean none."""
    from ems.app.options import finite, instant_of
    from ems.app.wrong_usage import WrongUsage
    from ems.nearest import perhaps
    from ems.obligation import ObligationKind
    from ems.program.event import EventInterval, GridEvent, normalised_priority

    kinds = [k.value for k in ObligationKind]
    if written["kind"] not in kinds:
        raise WrongUsage(f"--kind {written['kind']}: expected {', '.join(kinds)}{perhaps(written['kind'], kinds)}")
    start, end = (instant_of(written[name], f"--{name}") for name in ("start", "end"))
    name = written["id"] or f"{written['program']}-{start:%Y%m%dT%H%M%SZ}"
    if not name.isprintable() or len(name) > 120 or "/" in name:
        raise WrongUsage("--id: expected at most 120 letters that can be shown, without /")
    interval = EventInterval(start, end, finite(written["kw"]))
    priority = normalised_priority(None, "manual")
    return GridEvent(
        name,
        written["program"],
        written["modification"],
        ObligationKind(written["kind"]),
        (interval,),
        priority,
        is_cancelled=written["cancel"],
    )


def add_lines(programs: Programs, desk: Desk, event: GridEvent, raw: str, by: str, now: datetime) -> Iterator[str]:
    """Hands the event to the desk, sends what it asks, and says what became of it."""
    from ems.errors import DataError
    from ems.program.desk import Message

    if event.is_cancelled:
        known(desk, event.id)  # by phone nothing is cancelled before it was called: the id is mistyped
    answer = desk.receive(Message(f"manual entry by {by}", raw, event), now)
    if answer.verdict == "refused":
        raise DataError(f"event {event.id} refused: {answer.why}")
    status = desk.events[event.id]
    if status.state == "rejected":
        raise DataError(f"event {event.id} rejected, and kept as such: {status.why}")
    sent = programs.send(desk, now)
    yield f"{event.id}: {answer.verdict}, {status.state}{': ' + status.why if status.why else ''}"
    yield f"{sent} limits sent to control and planner"
    yield from (f"alarm: {a}" for a in desk.alarms)


def list_lines(events: list[EventStatus]) -> Iterator[str]:
    """One line per event, by start."""
    if not events:
        yield "no events"
        return
    yield f"{'event':<36} {'programme':<18} {'state':<17} {'start':<17} {'end':<17} {'kW':>8} {'opt':<7} why"
    for s in sorted(events, key=lambda s: s.since):
        e = s.event
        kw = e.intervals[0].kw if e.intervals else 0.0
        span = f"{e.start:%Y-%m-%d %H:%M}  {e.end:%Y-%m-%d %H:%M}" if e.intervals else f"{'-':<17} -"
        yield f"{e.id:<36} {e.program:<18} {s.state:<17} {span}  {kw:>8.0f} {s.opt or '-':<7} {s.why}"


def show_lines(desk: Desk, status: EventStatus) -> Iterator[str]:
    """The event's records, its limits and its result."""
    e = status.event
    yield f"{e.id}  {e.program}  modification {e.modification}  {e.kind}  {status.state}"
    yield from (f"  asked {i.start:%Y-%m-%d %H:%M:%S} to {i.end:%H:%M:%S} UTC: {i.kw:.0f} kW" for i in e.intervals[:24])
    for r in desk.store.since(0, e.id):
        what = r.body.get("to") or (r.body.get("verdict") if r.kind == "message" else f"{len(r.body.get('posted', ()))} limits")
        detail = r.body.get("why") or r.body.get("intent") or r.body.get("source") or ""
        yield f"  {r.at:%Y-%m-%d %H:%M:%S}  {r.kind:<8} {what:<18} {detail}{' (' + r.body['by'] + ')' if r.body.get('by') else ''}"
    yield from (f"  limit {o.id.split('/')[-1]:<9} {o.start:%H:%M:%S} to {o.end:%H:%M:%S}: {o.kw:.0f} kW" for o in status.posted)
    settlement = (status.result or {}).get("settlement")
    if settlement:
        low, expected, high = (settlement[k] for k in ("low", "expected", "high"))
        yield f"  settlement {low} / {expected} / {high} {settlement['currency']} (low/expected/high)"
        yield f"  delivered {settlement['delivered_kwh']:.1f} of {settlement['obligation_kwh']:.1f} kWh, rules {settlement['rule_version']}"


def collected(programs: Programs, desk: Desk, status: EventStatus, now: datetime) -> Evidence:
    """Everything about one event, read from the store, the history and the journal."""
    from ems.program.evidence import Evidence
    from ems.program.library import program_path

    event = status.event.id
    return Evidence(
        event=event,
        records=desk.store.since(0, event),
        chain=[r.hash for r in desk.store.since()],
        program=status.event.program,
        program_text=program_path(status.event.program, programs.enrolments_path).read_text(),
        enrolment=desk.enrolments.get(status.event.program),
        setpoints=setpoints_between(programs.state_dir, status, now),
    )


def setpoints_between(state_dir: Path, status: EventStatus, now: datetime) -> Iterator[dict[str, Any]]:
    """The cycles of control from receipt to recovery whose setpoints changed, as the journal holds them."""
    return changed_setpoints(state_dir, status.moved_at or status.received_at, status.since if status.ended_at else now)


def changed_setpoints(state_dir: Path, first: datetime, last: datetime) -> Iterator[dict[str, Any]]:
    """The cycles of control in a time whose setpoints differ from the cycle before."""
    from ems.journal.file import FILE_NAME
    from ems.journal.read import read_journal

    before: object = None
    if not (state_dir / FILE_NAME).exists():
        return
    for entry in read_journal(state_dir, "cycle"):
        if first <= entry.at <= last and entry.body.get("setpoints") != before:
            before = entry.body.get("setpoints")
            yield {"at": entry.at.isoformat(), "sequence": entry.sequence, "level": entry.body.get("level"), "setpoints": before}
