"""What a generator may do now, and which rule bounds it. Generating is negative: `low_kw` is the most it may give."""

from __future__ import annotations

from ems.assets.envelope import Envelope
from ems.assets.generator.model import Duty, Generator, GeneratorRun, GeneratorState

ALWAYS_SINCE_H = 1e6


def generator_envelope(generator: Generator, state: GeneratorState, run: GeneratorRun, at_s: float) -> Envelope:
    """The allowed power in kW. An envelope of one point other than 0 means: leave it alone, somebody else leads it."""
    led = _led_by(state)
    if led:
        return Envelope(generator.id, state.power_kw, state.power_kw, led, led)
    closed = _closed_because(generator, state, run, at_s)
    if closed:
        return Envelope(generator.id, 0.0, 0.0, closed, closed)
    most_kw = min(generator.power_kw, max(0.0, state.available_kw))
    low_rule = "rating" if most_kw == generator.power_kw else "device limit"
    least_kw, high_rule = _least(generator, state, run)
    return Envelope(generator.id, -most_kw, -min(least_kw, most_kw), low_rule, high_rule)


def is_led_elsewhere(envelope: Envelope) -> bool:
    """True when nothing may be written: the transfer control, or a person, has the machine, or it is not heard."""
    return envelope.low_rule in (TRANSFER, LOCAL, SILENT)


TRANSFER, LOCAL, SILENT = "its transfer control carries load", "device in LOCAL", "device not trusted"


def _led_by(state: GeneratorState) -> str:
    if not state.is_fresh:
        return SILENT
    if state.is_local:
        return LOCAL
    return TRANSFER if state.carries_load else ""


def _closed_because(generator: Generator, state: GeneratorState, run: GeneratorRun, at_s: float) -> str:
    if state.mode == "fault":
        return "fault"
    if generator.is_out(at_s):
        return "outage"
    if run.permit_left_h <= 0.0:
        return "permit hours used up"
    if run.emission_left_kg <= 0.0:
        return "emissions budget used up"
    if generator.is_emergency:
        return "" if run.ordered_because else "emergency class: never for money"
    if not generator.is_baseload and not run.is_on and run.since_h < generator.min_down_h:
        return "minimum down time"
    return ""


def _least(generator: Generator, state: GeneratorState, run: GeneratorRun) -> tuple[float, str]:
    if generator.duty == Duty.BASELOAD:
        return generator.min_power_kw, "must run"
    if run.is_on and state.is_on and run.since_h < generator.min_up_h:
        return generator.min_power_kw, "minimum up time"
    return 0.0, run.ordered_because or "may stop"
