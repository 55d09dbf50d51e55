"""Requests and powers of generators, ceilings of renewables: the advice inside the guard's envelopes, never more than may be exported.

A machine whose power the import limit leans on lets go slowly: the caps narrow first, are read back, then it gives less. Where its own
transfer control, or a person, has it, nothing is asked at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ems.assets.generator.envelope import is_led_elsewhere
from ems.assets.generator.model import Generator
from ems.dispatch.advice import Wish
from ems.dispatch.setpoint import Setpoint
from ems.guard.generation import firm_kw
from ems.guard.guard import Verdict
from ems.site.model import Site
from ems.state.estimate import SiteState

NO_EXPORT = "; less, or more would be exported than allowed"


def wanted_generation(site: Site, state: SiteState, verdict: Verdict, advice: Mapping[str, Wish]) -> dict[str, Wish]:
    """What each generator and renewable should give in kW, at least 0, with the reason: advice, else what its duty says."""
    wants = {
        g.id: _generator_wish(site, g, state, verdict, advice) for g in site.generators if not is_led_elsewhere(verdict.generation[g.id])
    }
    for renewable in site.renewables:
        envelope = verdict.generation[renewable.id]
        wish = advice.get(renewable.id, Wish(-renewable.power_kw, "takes what is there"))
        wants[renewable.id] = Wish(-envelope.clamp(wish.kw), _bounded(wish.reason, envelope.clamp(wish.kw) != wish.kw, envelope.low_rule))
    return _hold_export(site, state, verdict, wants)


def lean_on(state: SiteState, verdict: Verdict, wants: Mapping[str, Wish]) -> Verdict:
    """The verdict with room only for what generation will be leaned on once it gives what is wanted."""
    if not state.generators:
        return verdict
    given = {k: g.generation_kw for k, g in state.generators.items()}
    lost_kw = firm_kw(given.values()) - firm_kw(min(kw, wants[k].kw) if k in wants else kw for k, kw in given.items())
    if lost_kw <= 0.0:
        return verdict
    return replace(verdict, room=replace(verdict.room, fixed_kw=verdict.room.fixed_kw + lost_kw))


def generation_setpoints(site: Site, state: SiteState, verdict: Verdict, wants: Mapping[str, Wish]) -> Iterator[Setpoint]:
    """Run request and power per generator, ceiling per renewable. `verdict` is the guard's own, before `lean_on`."""
    released = _let_go_slowly(state, verdict, wants)
    for generator in site.generators:
        if generator.id in released:
            wish = released[generator.id]
            kw = _at_a_load(generator, wish.kw)
            yield Setpoint(generator.id, "run_request", 1.0 if kw > 0.0 else 0.0, wish.reason, state.now)
            yield Setpoint(generator.id, "power_setpoint_kw", -kw, wish.reason, state.now)
    for renewable in site.renewables:
        wish = released[renewable.id]
        kw = math.floor(wish.kw) if wish.kw < renewable.power_kw else renewable.power_kw
        yield Setpoint(renewable.id, "generation_limit_kw", float(kw), wish.reason, state.now)


def _generator_wish(site: Site, generator: Generator, state: SiteState, verdict: Verdict, advice: Mapping[str, Wish]) -> Wish:
    envelope = verdict.generation[generator.id]
    wish = advice.get(generator.id)
    if wish is None or (generator.is_emergency and not wish.is_ordered):
        wish = _by_duty(site, generator, state, verdict)
    kw = -envelope.clamp(wish.kw)
    bound = envelope.low_rule if kw < -wish.kw else envelope.high_rule
    return Wish(_at_a_load(generator, kw), _bounded(wish.reason, abs(kw + wish.kw) > 0.5, bound), wish.is_ordered)


def _by_duty(site: Site, generator: Generator, state: SiteState, verdict: Verdict) -> Wish:
    """Without advice: baseload gives all it has, a permitted machine stops when it may, an emergency machine holds what an order asks."""
    envelope = verdict.generation[generator.id]
    if generator.is_baseload:
        return Wish(-generator.power_kw, "baseload")
    if generator.is_emergency and envelope.low_kw < 0.0:
        need_kw = max(generator.min_power_kw, _short_kw(site, state, verdict) * _share(site, verdict, generator))
        return Wish(-need_kw, f"{envelope.high_rule}: what the import limit is short of, at least its minimum load")
    return Wish(0.0, "no request")


def _short_kw(site: Site, state: SiteState, verdict: Verdict) -> float:
    """Import of the load as asked for above the target, with what of the other machines may be leaned on."""
    room = verdict.room
    asked_kw = sum(c.demand_kw for c in state.clusters.values()) * (1.0 + room.loss_fraction + room.cooling_fraction) + state.fixed_kw
    return asked_kw - firm_kw(state.generators[g.id].generation_kw for g in site.generators if not g.is_emergency) - room.target_kw


def _share(site: Site, verdict: Verdict, generator: Generator) -> float:
    """This machine's part of all emergency machines that may run now, by rating."""
    return generator.power_kw / sum(g.power_kw for g in site.generators if g.is_emergency and verdict.generation[g.id].low_kw < 0.0)


def _at_a_load(generator: Generator, kw: float) -> float:
    """A machine gives nothing, or at least its minimum load."""
    return 0.0 if kw < 0.5 * generator.min_power_kw or kw <= 0.0 else max(kw, generator.min_power_kw)


def _bounded(reason: str, is_bounded: bool, rule: str) -> str:
    return f"{reason}; bounded by {rule}" if is_bounded else reason


def _hold_export(site: Site, state: SiteState, verdict: Verdict, wants: dict[str, Wish]) -> dict[str, Wish]:
    """Less where all together would export too much: sun and wind first, then machines down to their least."""
    led_kw = sum(g.generation_kw for k, g in state.generators.items() if k not in wants)
    over_kw = led_kw + sum(min(w.kw, _can_give_kw(state, k)) for k, w in wants.items()) - verdict.most_generation_kw
    out = dict(wants)
    for name in [r.id for r in site.renewables] + [g.id for g in site.generators if g.id in wants]:
        if over_kw <= 0.0:
            break
        gives_kw = min(out[name].kw, _can_give_kw(state, name))
        kw = max(_least_kw(site, verdict, name), gives_kw - over_kw)
        if kw < gives_kw:
            over_kw -= gives_kw - kw
            out[name] = replace(out[name], kw=kw, reason=out[name].reason + NO_EXPORT)
    return out


def _can_give_kw(state: SiteState, name: str) -> float:
    """What there is of sun or wind; a machine can give what it is asked for."""
    if name not in state.renewables:
        return math.inf
    available_kw = state.renewables[name].available_kw
    return math.inf if available_kw is None else available_kw


def _least_kw(site: Site, verdict: Verdict, name: str) -> float:
    """A machine that may stop is taken to its minimum load here; stopping it is the plan's business."""
    asset = site.assets[name]
    least_kw = -verdict.generation[name].high_kw
    return max(least_kw, asset.min_power_kw) if isinstance(asset, Generator) else least_kw


def _let_go_slowly(state: SiteState, verdict: Verdict, wants: Mapping[str, Wish]) -> dict[str, Wish]:
    """Machines keep what they give until the caps in force no longer need it, and go down as far as those leave room; a stop waits for all
    of it. A machine that the guard closes is not kept."""
    given = {k: g.generation_kw for k, g in state.generators.items()}
    now_kw = firm_kw(given.values())
    after_kw = firm_kw(min(kw, wants[k].kw) if k in wants else kw for k, kw in given.items())
    spare_kw = verdict.room.storage_kw(verdict.confirmed_it_kw) - sum(verdict.storage_now_kw.values())
    if now_kw - after_kw <= max(0.0, spare_kw):
        return dict(wants)
    out, part = dict(wants), max(0.0, spare_kw) / (now_kw - after_kw)  # what is left when the largest trips falls by no larger part
    for name, wish in wants.items():
        kept_kw = -verdict.generation[name].clamp(-given.get(name, 0.0))
        if kept_kw > wish.kw:
            kept_kw -= part * (kept_kw - wish.kw) if wish.kw > 0.0 else 0.0
            out[name] = replace(wish, kw=kept_kw, reason=f"{wish.reason}; not before the caps have narrowed")
    return out
