"""Whether a site may join a programme at all: its size and telemetry against what is asked for, its generators against the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ems.program.channel import ChannelFile
from ems.program.risk import LIMITING
from ems.program.terms import Terms
from ems.site.model import Site

MINUTE_S = 60.0
LIVE_LAG_S, MINUTES_LAG_S = 2.0, 90.0  # until the means of half minutes, and of minutes, are there (ems.office.replies tells no sooner)


@dataclass(frozen=True)
class Told:
    """What a counterparty is told of the meter: means of `interval_s`, `latency_s` after their end; `by` says how."""

    interval_s: float
    latency_s: float
    by: str


def unqualified(terms: Terms, site: Site, channels: Iterable[ChannelFile] = ()) -> str:
    """Why the site does not qualify for a programme, "" when nothing speaks against it."""
    return _size_fault(terms, site) or _telemetry_fault(terms, site, channels) or _generator_fault(terms, site)


def most_reduction_kw(site: Site, allows_generators: bool) -> float:
    """What a site could take off its import at the very most: everything it can move, moved at once, within what the connection carries."""
    stores_kw = sum(b.power_kw for b in site.batteries) + sum(u.rating_kw for u in site.upses if u.is_grid_interactive)
    work_kw = sum((c.peak_kw - c.idle_kw) * (1.0 + _cooling_share(site, c.id)) for c in site.clusters)
    machines_kw = sum(g.power_kw for g in site.generators) if allows_generators else 0.0
    connection = site.point_of_connection
    carried_kw = connection.import_limit_kw + connection.export_limit_kw
    return min(carried_kw, (stores_kw + work_kw + machines_kw) * (1.0 + site.worst_loss))


def telemetry_of(terms: Terms, site: Site, channels: Iterable[ChannelFile]) -> tuple[Told, ...]:
    """Every way in which the programme's counterparty can be told; by the metered history alone where no channel serves it. () without a
    meter at the point of connection."""
    if site.point_of_connection.meter is None:
        return ()
    found = tuple(_by_channel(c, site.control.cycle_s) for c in channels if terms.program in c.programs.values())
    return found or (Told(max(MINUTE_S, site.control.cycle_s), MINUTES_LAG_S, "the minutes of the history"),)


def _by_channel(channel: ChannelFile, cycle_s: float) -> Told:
    """An aggregator gets frames at its own pace; OpenADR heads get minute means, on their next poll."""
    if channel.profile == "aggregator":
        lag_s = LIVE_LAG_S if channel.telemetry_s < MINUTE_S else MINUTES_LAG_S
        return Told(max(channel.telemetry_s, cycle_s), lag_s, f"channel {channel.id}")
    return Told(max(MINUTE_S, cycle_s), MINUTES_LAG_S + channel.poll_s, f"channel {channel.id}")


def _size_fault(terms: Terms, site: Site) -> str:
    """An order or a connection is for loads from some size on, anything else for reductions."""
    if terms.kind in LIMITING:
        kw, found = site.point_of_connection.import_limit_kw, "is for loads from {:.10g} kW, the connection carries {:.0f} kW"
    else:
        kw, found = most_reduction_kw(site, terms.allows_generators), "takes {:.10g} kW at least, the site could reduce {:.0f} kW at most"
    return found.format(terms.min_kw, kw) if kw < terms.min_kw else ""


def _cooling_share(site: Site, cluster: str) -> float:
    return sum(max(c.fraction_at_10c, c.fraction_at_40c) for c in site.coolings if cluster in c.cools)


def _telemetry_fault(terms: Terms, site: Site, channels: Iterable[ChannelFile]) -> str:
    interval_s, latency_s = terms.telemetry_interval_s, terms.telemetry_latency_s
    if interval_s is None and latency_s is None:
        return ""
    ways = telemetry_of(terms, site, channels)
    if not ways:
        return "telemetry of the point of connection is asked for and the site names no meter there"
    faults = [_fault(way, interval_s, latency_s) for way in ways]
    return "" if "" in faults else faults[0]


def _fault(told: Told, interval_s: float | None, latency_s: float | None) -> str:
    if interval_s is not None and told.interval_s > interval_s:
        return f"telemetry every {interval_s:g} s is asked for, {told.by} gives {told.interval_s:g} s"
    if latency_s is not None and told.latency_s > latency_s:
        return f"telemetry within {latency_s:g} s is asked for, {told.by} takes {told.latency_s:g} s"
    return ""


def _generator_fault(terms: Terms, site: Site) -> str:
    if terms.allows_generators:
        return ""
    named: Sequence[str] = [g.id for g in site.generators if terms.program in g.ordered_by]
    return f"{named[0]} may be ordered by it (ordered_by), and it allows no generators" if named else ""
