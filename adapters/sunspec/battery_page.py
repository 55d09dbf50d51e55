"""Writes the device page of a SunSpec DER battery from the published models: `python -m adapters.sunspec.battery_page`.

SunSpec counts power out of the device as positive, so `sign: -1`. A setpoint is armed as the models say: mode, reversion to 0 W, timer,
value, enable. When the timer runs out the device goes to 0 W by itself.
"""

from __future__ import annotations

from adapters.sunspec.layout import BASE, Layout, layout

MODELS = (1, 701, 702, 704, 713, 715)
TEXTS = {"Mn": "Simulated", "Md": "DER battery", "Vr": "1", "SN": "0001"}
SCALE_FACTORS = {(701, "W_SF"): 2, (702, "W_SF"): 2, (704, "WSet_SF"): 0, (713, "Pct_SF"): -2}  # as simulated; read from real devices
CONTROLS = {"WSetEna": 0, "WSetMod": 1, "WSetRvrt": 0, "WSetEnaRvrt": 0, "WSetRvrtTms": 0}
HEX_PER_LINE = 28  # registers

HEAD = """\
# Written by `python -m adapters.sunspec.battery_page` from the SunSpec model definitions; a test compares both.
title: SunSpec DER battery (models 1, 701, 702, 704, 713, 715)
asset_kind: battery
source: SunSpec Alliance information models 1, 701, 702, 704, 713, 715 (sunspec/models, Apache-2.0, as carried by pysunspec2 1.3)
max_gap: 110  # registers inside a model always answer
gaps: zeros
settle_s: 2
defaults: {evidence: document, invalid: {int16: -32768, uint16: 65535, int32: -2147483648, uint32: 4294967295}}
points:
"""

TAIL = """\
lease:
  kind: reversion_timer
  seconds: 704.WSetRvrtTms
  enable: 704.WSetEna
  before: {704.WSetMod: 1, 704.WSetRvrt: 0, 704.WSetEnaRvrt: 1, 704.WSetRvrtTms: lease_s}  # watts; revert to 0 W
  after: {704.WSetEna: 1}
  release: {704.WSetEna: 0}
"""


def page_text() -> str:
    """The YAML of the page."""
    where = layout(MODELS, TEXTS)
    return HEAD + _readings(where) + _registers(where) + _commands(where) + TAIL + _identity() + _image(where.image)


def _readings(where: Layout) -> str:
    rows = [
        ("power_kw", 701, "W", ", scale: 0.001, sign: -1"),
        ("soc", 713, "SoC", ", scale: 0.01"),
        ("max_charge_kw", 702, "WChaRteMax", ", scale: 0.001"),
        ("max_discharge_kw", 702, "WDisChaRteMax", ", scale: 0.001"),
        ("is_local", 715, "LocRemCtl", ", values: {0: 0, 1: 1}"),
    ]
    return "".join(f"  {name}: {{{_place(where, model, point)}{more}}}\n" for name, model, point, more in rows)


def _registers(where: Layout) -> str:
    lines = [f"  SunS: {{address: {BASE}, type: uint32}}"]
    lines += [f"  {m}.ID: {{{_place(where, m, 'ID')}}}" for m in MODELS]
    lines += [f"  {m}.{p}: {{{_place(where, m, p)}, default: {value}}}" for (m, p), value in SCALE_FACTORS.items()]
    lines += [f"  704.{p}: {{{_place(where, 704, p, False)}, default: {value}}}" for p, value in CONTROLS.items()]
    return "registers:\n" + "\n".join(lines) + "\n"


def _commands(where: Layout) -> str:
    limits = "scale: 0.001, sign: -1, min_kw: -100000, max_kw: 100000, memory: volatile"
    return f"commands:\n  power_setpoint_kw: {{{_place(where, 704, 'WSet')}, {limits}}}\n"


def _identity() -> str:
    return f"identity: {{SunS: {0x53756E53}, " + ", ".join(f"{m}.ID: {m}" for m in MODELS) + "}\n"


def _image(image: bytes) -> str:
    step = 2 * HEX_PER_LINE
    rows = [(BASE + i // 2, image[i : i + step].hex()) for i in range(0, len(image), step)]
    return "image:\n" + "".join(f"  - {{address: {address}, hex: '{text}'}}\n" for address, text in rows)


def _place(where: Layout, model: int, point: str, with_scale: bool = True) -> str:
    place = where.place(model, point)
    text = f"address: {place.address}, type: {place.type}"
    if place.unit:
        text += f", unit: {place.unit}"
    return text + (f", scale_factor: {model}.{place.scale_factor}" if with_scale and place.scale_factor else "")


if __name__ == "__main__":
    print(page_text(), end="")
