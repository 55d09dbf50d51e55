"""`ems programs ...`: the grid programmes known, and which of them a load can safely join."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ems.app.channels import programs_channels
from ems.app.options import DbOption, StateOption, show

if TYPE_CHECKING:
    from datetime import date, datetime

    from ems.office.programs import Programs
    from ems.plan.plan import Plan
    from ems.program.desk import Desk
    from ems.program.meter import MeterSeries
    from ems.program.offer import Offer
    from ems.program.resolved_offer import Memory
    from ems.program.schema import ProgramFile

programs_app = typer.Typer(help="Grid programmes: their rules, and what this site can do in them.", no_args_is_help=True)


@programs_app.command("list")
def programs_list(
    on: Annotated[str | None, typer.Option("--on", help="The day whose rules are shown; default today.", show_default=False)] = None,
) -> None:
    """The programmes known, with the rules that decide whether a site fits."""
    from ems.program.library import load_program, program_paths

    show(list_lines([load_program(p) for p in program_paths()], on))


@programs_app.command("lint")
def programs_lint(
    files: Annotated[list[Path] | None, typer.Argument(help="Programme files; default the shipped ones.", show_default=False)] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Also says for which of them this site does not qualify, and why.", show_default=False)
    ] = None,
    channels: Annotated[
        Path | None, typer.Option("--channels", help="Its channels.yaml; default what the meter's history gives.", show_default=False)
    ] = None,
) -> None:
    """One line per error, with file, line, column, key, value and what would be right. Exit 2 when there are any."""
    from ems.errors import ConfigError
    from ems.program.library import lint, load_program, program_paths

    paths = files or program_paths()
    complaints = lint(paths)
    if complaints:
        raise ConfigError(complaints)
    found = [load_program(p) for p in paths]
    show([count_line(found), *(qualify_lines(found, site, channels) if site is not None else ())])


programs_app.command("channels")(programs_channels)


def list_lines(files: list[ProgramFile], on: str | None) -> Iterator[str]:
    """One line per programme under a heading."""
    lines = [list_line(file, day_of(on, file)) for file in files]
    columns = ("programme", "kind", "notice min", "min kW", "hours/year", "baseline", "must")
    yield "{:<20} {:<11} {:>10} {:>8} {:>10}  {:<15} {:<5} rules to be checked".format(*columns)
    yield from lines


def list_line(file: ProgramFile, day: date) -> str:
    """A programme's rules on a day; `-` where it says nothing."""
    from ems.program.terms import is_ruled, terms_on

    head = f"{file.name:<20} {file.kind:<11} "
    if words := not_ruled(file, day):
        return head + words
    t = terms_on(file, day)
    baseline = t.baseline.method if t.baseline else "-"
    numbers = {"notice_min": (t.notice_min, 10), "min_kw": (t.min_kw, 8), "max_hours_per_year": (t.max_hours_per_year, 10)}
    shown = " ".join(f"{f'{value:g}' if is_ruled(file, name, day) else '-':>{width}}" for name, (value, width) in numbers.items())
    head += f"{shown}  {baseline:<15} {'yes' if t.is_mandatory else 'no':<5} "
    return head + (f"{len(t.general)}: {', '.join(t.general)}" if t.general else "0")


def not_ruled(file: ProgramFile, day: date) -> str:
    """That the programme has no rules yet on a day, "" when it has some."""
    from ems.program.terms import first_day

    first = first_day(file)
    return f"no rules on {day}: its first hold from {first}" if first is not None and day < first else ""


def count_line(files: list[ProgramFile]) -> str:
    """How many rules there are, and how many of them were read."""
    rules = [r for f in files for name in type(f.rules).model_fields for r in getattr(f.rules, name) or []]
    read = sum(r.basis == "read" for r in rules)
    return f"{len(files)} programmes: {read} rules read in a source, {len(rules) - read} from general knowledge"


def qualify_lines(files: list[ProgramFile], name: str, channels: Path | None) -> Iterator[str]:
    """One line per programme that the site does not qualify for today, or that it does for all of them."""
    from ems.app.prepare import find_file
    from ems.errors import DataError
    from ems.program.channel import load_channels
    from ems.program.library import program_paths
    from ems.program.qualify import unqualified
    from ems.program.terms import terms_on
    from ems.site.load import load_site

    if channels is not None and not channels.is_file():
        raise DataError(f"{channels}: there is no such file")
    site, names = load_site(find_file("sites", name)), {*(f.name for f in files), *(p.stem for p in program_paths())}
    lines = load_channels(channels, names).channels if channels is not None else []
    whys = [(f.name, unqualified(terms_on(f, day_of(None, f)), site, lines)) for f in files]
    yield from (f"{site.name} does not qualify for {program}: {why}" for program, why in whys if why)
    if not any(why for _, why in whys):
        yield f"{site.name}: nothing speaks against joining any of them"


def day_of(text: str | None, file: ProgramFile) -> date:
    """A day given as text; when none is, today where the programme is."""
    from datetime import UTC, date, datetime

    from ems.app.wrong_usage import WrongUsage
    from ems.program.terms import local_day

    if text is None:
        return local_day(file, datetime.now(UTC))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"--on {text}: expected a day such as 2026-07-01") from None


@programs_app.command("risk")
def programs_risk(
    meter: Annotated[
        Path | None,
        typer.Option("--meter", help="A table of time and kw (csv, parquet); default the running site's history.", show_default=False),
    ] = None,
    reduce_kw: Annotated[
        float | None, typer.Option("--reduce-kw", min=0.0, help="Reduction to be sold; default 20 % of the mean.", show_default=False)
    ] = None,
    time_zone: Annotated[str | None, typer.Option("--time-zone", help="Zone of naive times in the table.", show_default=False)] = None,
    on: Annotated[str | None, typer.Option("--on", help="The day whose rules hold; default today.", show_default=False)] = None,
    state_dir: StateOption = None,
    db: DbOption = None,
) -> None:
    """Which programme can this load safely join, judged by its own history: the baseline's error on its ordinary days."""
    from ems.app.metering import history_meter, table_meter

    series = table_meter(meter, time_zone) if meter is not None else history_meter(state_dir, db)
    show(risk_lines(series, reduce_kw, on))


def risk_lines(meter: MeterSeries, reduce_kw: float | None, on: str | None) -> Iterator[str]:
    """One line per programme under a heading that says what was judged."""
    from ems.program.library import load_program, program_paths
    from ems.program.risk import Risk, assess, mean_kw
    from ems.program.terms import terms_on

    files = [(file, day_of(on, file)) for file in map(load_program, program_paths())]
    mean = mean_kw(meter)
    reduction_kw = reduce_kw if reduce_kw is not None or mean is None else 0.2 * mean
    missing = sum(kw is None for kw in meter.kw) / max(1, len(meter.kw))
    span = f"{meter.start:%Y-%m-%d} to {meter.end:%Y-%m-%d}, {meter.interval_min} min, {missing:.1%} missing"
    shown, sold = (f"{kw:.0f} kW" if kw is not None else "unknown" for kw in (mean, reduction_kw))
    yield f"{span}; mean {shown}, reduction {sold}"
    yield f"{'programme':<20} {'verdict':<9} {'baseline':<15} {'rrmse':>7} {'bias':>7} {'short':>6}  why"
    for file, day in files:
        words = not_ruled(file, day)
        risk = Risk(file.name, "unknown", words) if words else assess(terms_on(file, day), meter, reduction_kw)
        a = risk.accuracy
        numbers = f"{a.rrmse:>7.1%} {a.bias:>+7.1%} {risk.chance_short or 0.0:>6.0%}" if a else f"{'-':>7} {'-':>7} {'-':>6}"
        yield f"{risk.program:<20} {risk.verdict:<9} {risk.method or '-':<15} {numbers}  {risk.why}"


@programs_app.command("offer")
def programs_offer(
    program: Annotated[str | None, typer.Option("--program", help="Only this programme; default all.", show_default=False)] = None,
    at: Annotated[str | None, typer.Option("--at", help="Start; default the next quarter of an hour.", show_default=False)] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.25, max=24, help="Length; default the programme's.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only reckoned from the running plan, not solved again.")] = False,
    state_dir: StateOption = None,
) -> None:
    """What the running site could deliver: kW held throughout with 50, 90 and 95 % probability, and what limits it. Reckoned from what the
    running plan leaves free, then held against the optimizer: the plan is solved again with each offer in it."""
    from ems.app.events import opened
    from ems.app.options import instant_of
    from ems.program.library import find_program, known_programs, load_program

    with opened(state_dir) as (programs, desk, now):
        beside = programs.enrolments_path
        files = [find_program(program, beside)] if program else [load_program(p) for _, p in sorted(known_programs(beside).items())]
        show(offer_lines(programs, desk, files, instant_of(at) if at else None, now, hours, as_json, quick))


def offer_lines(
    programs: Programs,
    desk: Desk,
    files: list[ProgramFile],
    at: datetime | None,
    now: datetime,
    hours: float | None,
    as_json: bool,
    quick: bool = False,
) -> Iterator[str]:
    """One line per programme under a heading."""
    import json
    from datetime import timedelta

    from ems.errors import DataError
    from ems.program.channel import FILE_NAME, load_channels
    from ems.program.offer import offer
    from ems.program.terms import local_day, terms_on
    from ems.timegrid import interval_start

    plan = programs.ports.plan(now)
    if plan is None:
        raise DataError("no plan to offer from: is the planner running?")
    start = at if at is not None else interval_start(max(now, plan.starts[0]) + timedelta(minutes=15), 900)
    reserve, trust = programs.ports.reserve_kwh(plan, now), programs.ports.trust(now)
    if not as_json:
        yield f"{'programme':<20} {'hours':>5} {'P50 kW':>7} {'P90 kW':>7} {'P95 kW':>7}  limited by"
    again = None if quick else resolver_of(programs, desk, plan, now)
    memory: Memory = {}
    channels = load_channels(programs.state_dir / FILE_NAME, set(desk.enrolments)).channels
    for file in files:
        terms = terms_on(file, local_day(file, start))
        found = offer(terms, programs.site, plan, start, reserve, desk.ledger, trust, hours, channels)
        if again is not None and not found.refusal:
            found = again(found, terms.step_kw, memory, terms.allows_generators)
        if as_json:
            yield json.dumps(found.encode())
            continue
        kw = " ".join(f"{v:>7.0f}" for v in found.kw.values())
        yield f"{found.program:<20} {found.hours:>5g} {kw}  {found.limiting}{'; not offered: ' + found.refusal if found.refusal else ''}"
    if not as_json:
        yield "held against the plan solved again" if again is not None else "reckoned from the running plan, not solved again"


def resolver_of(programs: Programs, desk: Desk, plan: Plan, now: datetime) -> Callable[..., Offer] | None:
    """The optimizer on the running site's state; None where that is not known."""
    from ems.program.resolved_offer import Resolver, resolved

    state = programs.ports.plan_state(now)
    if state is None:
        return None
    resolver = Resolver(programs.site, plan, state, now, desk.obligations())
    return lambda found, step_kw, memory, generators: resolved(found, resolver, step_kw, memory, generators)


@programs_app.command("statement")
def programs_statement(
    month: Annotated[
        str | None, typer.Option("--month", help="A local month such as 2027-07; default this one.", show_default=False)
    ] = None,
    program: Annotated[str | None, typer.Option("--program", help="Only this programme; default all enrolled.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    state_dir: StateOption = None,
) -> None:
    """What each programme owes for a month: readiness scaled by performance, and its events, as low, expected and high."""
    from ems.app.events import opened
    from ems.errors import DataError
    from ems.nearest import near_miss
    from ems.program.terms import local_day

    with opened(state_dir) as (_, desk, now):
        if program is not None and program not in desk.enrolments:
            raise DataError(f"the site is not enrolled in {program}{near_miss(program, desk.enrolments)}")
        names = [program] if program is not None else sorted(desk.enrolments)
        months = {name: month_of(month, local_day(desk.programs[name], now)) for name in names}
        show(statement_lines(desk, months, as_json))


def month_of(text: str | None, today: date) -> date:
    """The first day of a month given as text, of today's when none is."""
    from datetime import date

    from ems.app.wrong_usage import WrongUsage

    if text is None:
        return today.replace(day=1)
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise WrongUsage(f"--month {text}: expected a month such as 2027-07") from None


def statement_lines(desk: Desk, months: dict[str, date], as_json: bool) -> Iterator[str]:
    """Per programme and its month a heading, a line per kind of pay and per event, and the sum."""
    import json

    from ems.program.months import month_statement

    if not months:
        yield "the site is enrolled in no programme"
    for name, month in months.items():
        found = month_statement(desk.programs[name], desk.enrolments[name], month, desk.events.values())
        if as_json:
            yield json.dumps(found.encode())
            continue
        low, expected, high = found.performance
        yield f"{name}  {found.month}  {found.committed_kw:g} kW, {found.hours:g} h, rules {found.rule_version}"
        yield f"  delivered of what was owed: {low:.1%} / {expected:.1%} / {high:.1%}"
        yield from (f"  {x.name:<32} {x.low:>12} {x.expected:>12} {x.high:>12}" for x in found.lines)
        yield from (f"  {c.event:<32} {c.low:>12} {c.expected:>12} {c.high:>12}  {c.note}".rstrip() for c in found.called)
        yield f"  {'sum in ' + found.currency + ' (low, expected, high)':<32} {found.low:>12} {found.expected:>12} {found.high:>12}"
