"""An uninterruptible power supply: it carries critical load and keeps energy to ride through an outage.

The power of the asset is its own share of the site: conversion losses + battery charging - battery discharging,
that is input minus output. A UPS can relieve the grid by at most the load it carries unless declared bidirectional.
"""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink

READINGS = ("power_kw", "load_kw", "battery_kw", "soc", "mode", "is_local")
COMMANDS = ("battery_setpoint_kw",)
MODES = ("normal", "on_battery", "bypass", "eco", "generator", "fault")  # value of `mode` is the index


@dataclass(frozen=True)
class Ups:
    """Ratings of the whole UPS (all blocks). `carries` names the clusters behind it."""

    id: str
    rating_kw: float
    energy_kwh: float
    ride_through_min: float
    is_bidirectional: bool
    is_lead_acid: bool
    charge_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    loss_fraction: float  # UPS and distribution losses as a fraction of the load carried
    aged_capacity: float  # usable share of the nameplate energy
    blocks: int
    redundant_blocks: int
    reserve_floor_kw: float  # the critical load is never taken below this for the reserve
    soc_error: float  # worst-case error of the state of charge, fraction
    wear_price_per_kwh: float
    ramp_kw_per_s: float
    initial_soc: float
    is_grid_interactive: bool  # False: monitored only
    carries: tuple[str, ...]
    link: DeviceLink | None
    loss_curve: tuple[float, ...] = ()  # losses / rating = a + b x + c x^2 with x = load / rating; loss_fraction is then the worst of it
    recharge_kw: float | None = None  # the most it charges with while its reserve is not whole; charge_kw when None
    walk_in_s: float = 0.0  # seconds in which it takes its load back from the battery after an outage
    cell_kwh_per_day: float | None = None  # what its cells may give per local day for the grid

    @property
    def firm_kw(self) -> float:
        """The load it still carries without its redundant blocks."""
        return self.rating_kw * (self.blocks - self.redundant_blocks) / self.blocks

    def loss_kw(self, load_kw: float) -> float:
        """Conversion and distribution losses in kW at a load."""
        if not self.loss_curve:
            return self.loss_fraction * load_kw
        a, b, c = self.loss_curve
        return self.rating_kw * a + b * load_kw + c * load_kw**2 / self.rating_kw

    def marginal_loss(self, load_kw: float) -> float:
        """kW of losses per kW more load."""
        return self.loss_curve[1] + 2.0 * self.loss_curve[2] * load_kw / self.rating_kw if self.loss_curve else self.loss_fraction

    def usable_kwh(self, soc: float) -> float:
        """Energy in kWh that can be counted on: worst-case state of charge, aged capacity, without the redundant blocks."""
        share = (self.blocks - self.redundant_blocks) / self.blocks
        return max(0.0, soc - self.soc_error) * self.energy_kwh * self.aged_capacity * share

    def reserve_kwh(self, critical_kw: float) -> float:
        """Usable energy in kWh to carry `critical_kw` (never below the floor, never above the rating) for the promised minutes."""
        carried_kw = min(max(critical_kw, self.reserve_floor_kw), self.rating_kw)
        return carried_kw * self.ride_through_min / 60.0 / self.discharge_efficiency

    def carried_kw(self, soc: float) -> float:
        """The largest load in kW that can be carried for the promised minutes from a measured state of charge, redundant blocks aside."""
        return min(self.firm_kw, self.usable_kwh(soc) * self.discharge_efficiency * 60.0 / self.ride_through_min)

    def reserve_soc(self, critical_kw: float) -> float:
        """The measured state of charge at which exactly the reserve is left."""
        share = (self.blocks - self.redundant_blocks) / self.blocks
        return self.reserve_kwh(critical_kw) / (self.energy_kwh * self.aged_capacity * share) + self.soc_error


@dataclass(frozen=True, slots=True)
class UpsState:
    """Measured: own power (input - output), load carried, battery power (charging positive), state of charge, mode."""

    power_kw: float
    load_kw: float
    battery_kw: float
    soc: float
    mode: str
    is_fresh: bool
    is_local: bool = False
