"""What the site's users got: tokens per energy, and work put off or lost."""

from __future__ import annotations


def tokens_per_joule(tokens: float, energy_kwh: float) -> float | None:
    """Tokens delivered per joule at a boundary (IT or facility); None without energy."""
    return tokens / (energy_kwh * 3.6e6) if energy_kwh > 0 else None


def token_energy_index(tokens: float, facility_kwh: float, asked_tokens: float, asked_it_kwh: float) -> float | None:
    """Energy the delivered tokens would take at the reference, over the facility energy they took; above 1 is better.

    sum(N x EPT_ref) / E_facility with EPT_ref = uncapped IT energy per token of the same trace (this software's own definition: the
    published index of that name has no public formula). None when the trace has no tokens.
    """
    if asked_tokens <= 0 or facility_kwh <= 0:
        return None
    return tokens * (asked_it_kwh / asked_tokens) / facility_kwh


def share_lost(lost_kwh: float, asked_kwh: float) -> float:
    """The share of the energy asked for that was never served."""
    return lost_kwh / asked_kwh if asked_kwh > 0 else 0.0
