"""Where SunSpec points lie: addresses computed from the published model definitions that pysunspec2 carries.

A SunSpec device answers "SunS" at its base address and then one model after the other, each with its id and length, closed by 0xFFFF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sunspec2 import device as sunspec

BASE = 40000
MARKER = b"SunS"
END = b"\xff\xff\x00\x00"
TYPES = {
    "enum16": "uint16",
    "sunssf": "int16",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "uint64": "uint64",
}


@dataclass(frozen=True)
class Place:
    """One point of a model on the wire: its address, our type name, and the name of its scale factor."""

    address: int
    type: str
    scale_factor: str | None
    unit: str


@dataclass(frozen=True)
class Layout:
    """Models in the order the device holds them, and the registers with every point "not implemented" except `texts`."""

    models: tuple[int, ...]
    places: Mapping[tuple[int, str], Place]
    image: bytes

    def place(self, model: int, point: str) -> Place:
        """Where a point lies; KeyError when the layout has no such model or point."""
        return self.places[(model, point)]


def layout(models: Sequence[int], texts: Mapping[str, str], base: int = BASE) -> Layout:
    """The layout of a device with these models; `texts` fills points of the common model (Mn, Md, Vr, SN)."""
    places: dict[tuple[int, str], Place] = {}
    image = MARKER
    for number in models:
        model = sunspec.Model(number)
        for name, text in texts.items() if number == 1 else ():
            model.points[name].value = text
        body = model.get_mb()
        places.update(_places(model, number, base + len(image) // 2))
        image += _with_length(body)
    return Layout(tuple(models), places, image + END)


def _places(model: sunspec.Model, number: int, start: int) -> dict[tuple[int, str], Place]:
    return {
        (number, name): Place(start + point.offset, TYPES[kind], point.pdef.get("sf"), point.pdef.get("units") or "")
        for name, point in model.points.items()
        if (kind := point.pdef["type"]) in TYPES
    }


def _with_length(body: bytes) -> bytes:
    """The model with its length register right: nested groups count, pysunspec2's default does not always say so."""
    return body[:2] + (len(body) // 2 - 2).to_bytes(2, "big") + body[4:]
