"""`ems announce`: load that somebody knows of beforehand (a queued job, a training start, a launch) told to the running planner."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems.app.options import ByOption, StateOption, finite, instant_of, show

if TYPE_CHECKING:
    from ems.site.model import Site

KEPT = timedelta(days=1)  # after its end: a planner that starts anew still takes it out of what it learns
BEGAN_WITHIN = timedelta(days=7)  # load that already runs may be told; what began earlier has long been learnt
FURTHEST = timedelta(days=366)


def announce(
    cluster: Annotated[str, typer.Argument(help="The cluster it runs on.", show_default=False)],
    kw: Annotated[float, typer.Option("--kw", help="IT power on top of everything else; 0 withdraws it.", show_default=False)],
    start: Annotated[str, typer.Option("--start", help="An instant such as 2026-01-31T12:00:00Z.", show_default=False)],
    end: Annotated[str, typer.Option("--end", help="An instant.", show_default=False)],
    by: ByOption,
    confidence: Annotated[float, typer.Option("--confidence", min=0.0, max=1.0, help="How sure it is to run, 0 to 1.")] = 1.0,
    state_dir: StateOption = None,
) -> None:
    """Announces load to the planner: in its forecasts at once, believed as far as those by the same name came true before."""
    from ems.app.runfile import RunFile
    from ems.app.statedir import running_state_dir, shared_clock
    from ems.errors import EmsError
    from ems.mailbox import Mailbox

    state = running_state_dir(state_dir)
    now = shared_clock(state).now()
    body, until = announcement(RunFile.load(state.site).site, cluster, finite(kw), start, end, by, confidence, now)
    mailbox = Mailbox(state.mailbox, busy_ms=3000)
    if mailbox.post("jobs", {"loads": [{**body, "announced_at": now.isoformat()}]}, now, max(now, until) + KEPT) is None:
        raise EmsError(f"the announcement could not be sent: {mailbox.notes[-1]}")
    show([f"announced: {kw:,.0f} kW on {cluster} from {body['start']} to {body['end']}"])


def announcement(
    site: Site, cluster: str, kw: float, start: str, end: str, by: str, confidence: float, now: datetime
) -> tuple[dict[str, Any], datetime]:
    """The announcement as plain data, and when it ends. WrongUsage names what is wrong."""
    from ems.app.wrong_usage import WrongUsage
    from ems.nearest import near_miss

    clusters = {c.id: c for c in site.clusters}
    if cluster not in clusters:
        raise WrongUsage(f"{cluster}: expected a cluster of this site" + (near_miss(cluster, clusters) or ", which has none"))
    if not 0.0 <= kw <= clusters[cluster].rating_kw:
        raise WrongUsage(f"--kw {kw:g}: expected 0 to {clusters[cluster].rating_kw:g}, the rating of {cluster}")
    begins, ends = instant_of(start, "--start"), instant_of(end, "--end")
    if ends <= begins:
        raise WrongUsage(f"--end {end}: expected an instant after --start {start}")
    if ends <= now:
        raise WrongUsage(f"--end {end}: expected an instant still to come; it is {now:%Y-%m-%dT%H:%M:%SZ} at the site")
    if begins < now - BEGAN_WITHIN:
        raise WrongUsage(f"--start {start}: expected an instant to come, or of the last {BEGAN_WITHIN.days} days")
    if ends > now + FURTHEST:
        raise WrongUsage(f"--end {end}: expected an instant of the next {FURTHEST.days} days")
    if not by.strip():
        raise WrongUsage("--by: expected a name")
    return {
        "cluster": cluster,
        "start": begins.isoformat(),
        "end": ends.isoformat(),
        "kw": kw,
        "confidence": confidence,
        "source": by.strip(),
    }, ends
