"""The command line. Each command loads what it needs when it runs, so that `ems status` does not wait for a solver."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ems.app.cli_jobs import announce
from ems.app.cli_orders import COMMANDS
from ems.app.cli_tools import db_app, devices_app
from ems.app.events import events_app
from ems.app.feeds import feeds_app
from ems.app.forecasting import forecast_app
from ems.app.options import DbOption, StateOption, instant_of, mode_of, show
from ems.app.programs import programs_app
from ems.app.tariffs import tariffs_app
from ems.errors import ConfigError, EmsError

app = typer.Typer(
    name="ems",
    help="Energy management for one AI data centre: guards its grid limits, plans its storage and workload, replays its history.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(db_app, name="db")
app.add_typer(devices_app, name="devices")
app.add_typer(forecast_app, name="forecast")
app.add_typer(feeds_app, name="feeds")
app.add_typer(tariffs_app, name="tariffs")
app.add_typer(programs_app, name="programs")
app.add_typer(events_app, name="events")


def main() -> None:
    """Runs the command line: problems are lines, never tracebacks. Exit 2 for wrong usage or configuration, 1 for failure."""
    try:
        app()
    except ConfigError as error:
        fail(map(str, error.complaints), 2)
    except EmsError as error:
        from ems.app.wrong_usage import WrongUsage

        fail([f"ems: {error}"], 2 if isinstance(error, WrongUsage) else 1)
    except KeyboardInterrupt:
        fail(["ems: interrupted"], 130)
    except OSError as error:
        fail([f"ems: {error}"], 1)
    except Exception as error:
        if os.environ.get("EMS_TRACEBACK"):
            raise
        fail([f"ems: a defect of this program: {type(error).__name__}: {error}; EMS_TRACEBACK=1 shows where"], 1)


def fail(lines: Iterable[str], status: int) -> None:
    """Says what is wrong on stderr and exits."""
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(status)


# Running


@app.command()
def demo(
    site: Annotated[str, typer.Option("--site", help="A site file, or the name of a shipped one.")] = "demo-2mw",
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=100, help="Site seconds per second.")] = 20.0,
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="Ends by itself after so long.", show_default=False)] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the dashboard on 127.0.0.1.")] = 8080,
    head_end: Annotated[bool, typer.Option("--head-end", help="With a simulated OpenADR 3 utility that calls once.")] = False,
    state_dir: StateOption = None,
) -> None:
    """The simulated site in closed loop: equipment, controller, dashboard and a live status line. Ctrl-C ends it."""
    from ems.app.demo import run_demo

    sys.exit(run_demo(site, speed, seconds, port, state_dir, head_end))


@app.command()
def run(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    db: DbOption = None,
    state_dir: StateOption = None,
    loopback: Annotated[
        int | None,
        typer.Option("--loopback", min=1, max=65000, help="Maps the n-th device endpoint to 127.0.0.1:BASE+n.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the dashboard on 127.0.0.1.")] = 8080,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Mode every asset starts in: observe, advise or (on loopback) control.", show_default=False)
    ] = None,
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=100, hidden=True)] = 1.0,
    keep_clock: Annotated[bool, typer.Option("--keep-clock", hidden=True)] = False,
    is_tied: Annotated[bool, typer.Option("--tied", hidden=True)] = False,
    log: Annotated[Path | None, typer.Option("--log", help="Log file; default standard error.", show_default=False)] = None,
) -> None:
    """The daemon: a supervisor of control, planner and office. SIGTERM lets go of the devices and ends within 10 s."""
    from ems.app.beat import watch_supervisor
    from ems.app.prepare import prepared_run
    from ems.app.statedir import find_state_dir
    from ems.app.supervisor import end_this_process, supervise
    from ems.clock import Clock

    if is_tied:
        watch_supervisor(end_this_process)
    state, start_mode = find_state_dir(state_dir), mode_of(mode) if mode else None
    clock = None if keep_clock else Clock.starting_at(Clock.real().epoch, speed)
    sys.exit(supervise(state, lambda: prepared_run(site, state, loopback, start_mode, port, db), clock, log))


@app.command()
def commission(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    by: Annotated[str, typer.Option("--by", help="The name of the person.", show_default=False)],
    why: Annotated[str, typer.Option("--why", help="The reason.", show_default=False)],
    state_dir: StateOption = None,
) -> None:
    """Takes the limits and ratings of a real site's file as commissioned: `ems run` refuses a file that loosens any of them until this."""
    from ems.app.commissioned import commission as commission_site
    from ems.app.prepare import find_file
    from ems.app.statedir import find_state_dir
    from ems.clock import Clock
    from ems.site.load import load_site

    state, found = find_state_dir(state_dir), load_site(find_file("sites", site))
    looser = commission_site(found, state, by, why, Clock.real().now())
    show([*(f"loosened {x.key}: {x.commissioned}, now {x.found}" for x in looser), f"{found.name} commissioned by {by}: {why}"])


@app.command()
def simulate(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=100, help="Site seconds per second.")] = 1.0,
    faults: Annotated[Path | None, typer.Option("--faults", help="A file of faults to inject.", show_default=False)] = None,
    loopback: Annotated[
        int | None, typer.Option("--loopback", min=1, max=65000, help="First port; default the site's own addresses.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the generated load and of meter noise.")] = 7,
    state_dir: StateOption = None,
) -> None:
    """Only the simulated equipment, as Modbus/TCP servers."""
    from ems.app.simulating import simulate_site

    simulate_site(site, speed, faults, loopback, seed, state_dir)


# Looking


@app.command()
def status(
    state_dir: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole snapshot as JSON.")] = False,
) -> None:
    """The running site now."""
    import json

    from ems.app.feeds import feed_lines
    from ems.app.show import fresh_snapshot, last_tests, status_lines
    from ems.app.statedir import running_state_dir

    state = running_state_dir(state_dir)
    snapshot = fresh_snapshot(state)
    show([json.dumps(snapshot)] if as_json else [*status_lines(snapshot, last_tests(state)), *feed_lines(state)])


@app.command()
def why(
    asset: Annotated[str, typer.Argument(help="An asset id.", show_default=False)],
    at: Annotated[str | None, typer.Option("--at", help="An instant with its offset, as 2026-01-31T12:00:00Z.", show_default=False)] = None,
    state_dir: StateOption = None,
) -> None:
    """Why an asset got its setpoint, now or then."""
    from ems.app.show import why_lines
    from ems.app.statedir import running_state_dir

    show(why_lines(running_state_dir(state_dir), asset, instant_of(at) if at else None))


for order_command in (*COMMANDS, announce):
    app.command()(order_command)


# Replaying and checking


@app.command()
def replay(
    scenario: Annotated[str | None, typer.Argument(help="A scenario file, or the name of a shipped one.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results.", show_default=False)] = None,
    policy: Annotated[str, typer.Option("--policy", help="none, capped, rules, plan, oracle, bound; several with commas.")] = "plan",
    seeds: Annotated[str | None, typer.Option("--seeds", help="Several seeds with commas.", show_default=False)] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Replays at the same time.")] = 1,
    from_journal: Annotated[
        Path | None, typer.Option("--from-journal", help="Re-runs the recorded cycles of a state directory.", show_default=False)
    ] = None,
) -> None:
    """Replays a scenario under one or more policies, or re-runs a journal."""
    from ems.app.replaying import replay_scenario, rerun_state_dir
    from ems.app.wrong_usage import WrongUsage

    if from_journal is not None:
        sys.exit(rerun_state_dir(from_journal, typer.echo))
    if scenario is None or out is None:
        raise WrongUsage("expected SCENARIO.yaml and --out DIR, or --from-journal STATE_DIR")
    sys.exit(replay_scenario(scenario, out, policy, seeds, jobs))


@app.command()
def check(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of any kind in config/, or names of shipped ones.", show_default=False),
    ],
) -> None:
    """One line per error, with file, line, column, key, value and what would be right. Exit 2 when there are any. What is allowed but
    hardly meant is a line with `note:`."""
    from ems.app.checking import complaints_of, notes_of

    complaints = {file: complaints_of(file) for file in files}
    show(line for file in files if not complaints[file] for line in notes_of(file))
    lines = [line for file in files for line in complaints[file]]
    if lines:
        fail(lines, 2)


@app.command("verify-journal")
def verify_journal(state_dir: Annotated[Path, typer.Argument(help="A state directory.", show_default=False)]) -> None:
    """Checks the hash chain; prints the first break and exits 1."""
    from ems.journal.read import verify_journal as first_break

    broken = first_break(state_dir)
    if broken is not None:
        fail([f"{state_dir}: {broken}"], 1)
    typer.echo(f"{state_dir}: the journal is whole")


if __name__ == "__main__":
    main()
